//! The callers as they stand at one moment, and the credentials that stand for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;

use super::{CredentialError, Taken};
use crate::domain::{
    caller::Caller,
    ids::CallerName,
    principal::{Grant, Principal},
    record::Source,
    secret::TokenHash,
};

/// A caller, and where it is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The caller.
    pub caller: Caller,
    /// Where.
    pub source: Source,
}

/// One state of the roll. Never changed, only replaced.
#[derive(Debug, Default)]
pub(super) struct Roll {
    callers: BTreeMap<CallerName, Arc<Registered>>,
    tokens: HashMap<TokenHash, CallerName>,
    identities: HashMap<String, CallerName>,
}

impl Roll {
    pub(super) fn of(callers: impl IntoIterator<Item = Arc<Registered>>) -> Self {
        let mut roll = Self::default();
        for registered in callers {
            let Caller { name, tokens, identities, .. } = &registered.caller;
            roll.tokens.extend(tokens.iter().map(|token| (token.hash, name.clone())));
            roll.identities.extend(identities.iter().map(|identity| (identity.clone(), name.clone())));
            roll.callers.insert(name.clone(), registered);
        }
        roll
    }

    pub(super) fn with(&self, registered: Arc<Registered>) -> Result<Self, Taken> {
        self.check(&registered.caller)?;
        let name = registered.caller.name.clone();
        let others = self.callers.values().filter(|other| other.caller.name != name).cloned();
        Ok(Self::of(others.chain([registered])))
    }

    pub(super) fn without(&self, name: &CallerName) -> Self {
        Self::of(self.callers.values().filter(|registered| registered.caller.name != *name).cloned())
    }

    /// Whether no credential of the caller stands for another one.
    pub(super) fn check(&self, caller: &Caller) -> Result<(), Taken> {
        let other = |found: &CallerName| (*found != caller.name).then(|| found.clone());
        for token in &caller.tokens {
            if let Some(other) = self.tokens.get(&token.hash).and_then(other) {
                return Err(Taken { what: format!("token {}", token.id), other });
            }
        }
        for identity in &caller.identities {
            if let Some(other) = self.identities.get(identity).and_then(other) {
                return Err(Taken { what: identity.clone(), other });
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, name: &CallerName) -> Option<&Arc<Registered>> {
        self.callers.get(name)
    }

    pub(super) fn grants(&self, name: &CallerName) -> &[Grant] {
        self.get(name).map_or(&[], |registered| &registered.caller.grants)
    }

    pub(super) fn all(&self) -> Vec<Arc<Registered>> {
        self.callers.values().cloned().collect()
    }

    /// Whose token it is, if it is accepted at that time.
    pub(super) fn by_token(&self, hash: &TokenHash, at: Timestamp) -> Result<Principal, CredentialError> {
        let caller = self.tokens.get(hash).and_then(|name| self.get(name)).ok_or(CredentialError::Invalid)?;
        let caller = &caller.caller;
        let token = caller.tokens.iter().find(|token| token.hash == *hash).ok_or(CredentialError::Invalid)?;
        if caller.disabled || token.revoke_time.is_some() {
            return Err(CredentialError::Invalid);
        }
        if !token.is_live(at) {
            return Err(CredentialError::Expired);
        }
        let credential = format!("token:{}", token.id).into();
        Ok(Principal { caller: caller.name.clone(), credential, expires: token.expire_time })
    }

    /// Whether what the principal showed is accepted at that time, and when it ends by itself.
    pub(super) fn still(&self, principal: &Principal, at: Timestamp) -> Result<Option<Timestamp>, CredentialError> {
        let caller = &self.get(&principal.caller).ok_or(CredentialError::Invalid)?.caller;
        let known = match principal.credential.strip_prefix("token:") {
            Some(id) => {
                let token = caller.tokens.iter().find(|token| token.id == id && token.revoke_time.is_none());
                // A token's end may have been moved since it was shown.
                token.map(|token| token.expire_time)
            }
            None => caller.identities.iter().any(|known| **known == *principal.credential).then_some(principal.expires),
        };
        let end = known.filter(|_| !caller.disabled).ok_or(CredentialError::Invalid)?;
        if end.is_some_and(|end| end <= at) { Err(CredentialError::Expired) } else { Ok(end) }
    }

    /// Who is known by something else than a token.
    pub(super) fn by_identity(&self, identity: &str) -> Option<Principal> {
        let caller = self.identities.get(identity).and_then(|name| self.get(name))?;
        let principal = Principal { caller: caller.caller.name.clone(), credential: identity.into(), expires: None };
        (!caller.caller.disabled).then_some(principal)
    }
}
