//! Who calls, and what they may do.
//!
//! Owns the callers' token hashes and grants. A use case asks for an [`Authorized`] value, which only [`Identity`] can
//! make, so that a use case without a check does not compile. Knows no transport: the gRPC door hands over the text of
//! the credential.

mod authorized;

use std::collections::HashMap;

pub use self::authorized::{Authorized, Cancel, InboxSight, Read, Send, Visibility};
use crate::domain::{
    ids::{CallerName, NumberName},
    principal::{Grant, Permission, Principal},
    secret::TokenHash,
};

/// A registered caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its name.
    pub name: CallerName,
    /// Hashes of its tokens; any of them is accepted.
    pub tokens: Vec<TokenHash>,
    /// What it may do; nothing by default.
    pub grants: Vec<Grant>,
}

/// The callers and their rights.
#[derive(Clone, Debug)]
pub struct Identity {
    by_token: HashMap<TokenHash, CallerName>,
    grants: HashMap<CallerName, Vec<Grant>>,
}

/// Why a credential was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// There was none.
    #[error("no credential")]
    Missing,
    /// It is not one of ours. Whether its shape, its text or its scheme is wrong is not told.
    #[error("credential not accepted")]
    Invalid,
}

/// The caller has no such right on this number, or the number does not exist; which of the two is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not granted")]
pub struct NotGranted;

impl Identity {
    /// Takes the callers. A token hash that stands for two callers was refused by the configuration.
    pub fn of(callers: Vec<Caller>) -> Self {
        let mut by_token = HashMap::new();
        let mut grants = HashMap::new();
        for caller in callers {
            by_token.extend(caller.tokens.iter().map(|hash| (*hash, caller.name.clone())));
            grants.insert(caller.name, caller.grants);
        }
        Self { by_token, grants }
    }

    /// Accepts the value of an `authorization` header: `Bearer` and a token.
    ///
    /// The lookup goes by the token's hash, so that its timing tells nothing that helps in guessing a token.
    pub fn authenticate(&self, authorization: Option<&[u8]>) -> Result<Principal, CredentialError> {
        let value = authorization.ok_or(CredentialError::Missing)?;
        let value = std::str::from_utf8(value).map_err(|_| CredentialError::Invalid)?;
        let (scheme, token) = value.split_once(' ').ok_or(CredentialError::Invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(CredentialError::Invalid);
        }
        let caller = self.by_token.get(&TokenHash::of(token.trim())).ok_or(CredentialError::Invalid)?;
        Ok(Principal { caller: caller.clone() })
    }

    /// Proof that the principal may do `P` on the number. `None` stands for a number that is not registered.
    pub fn authorize<P: authorized::Right>(
        &self,
        principal: &Principal,
        number: Option<NumberName>,
    ) -> Result<Authorized<P>, NotGranted> {
        let number = number.ok_or(NotGranted)?;
        if self.allows(principal, &number, P::PERMISSION) {
            Ok(Authorized::prove(principal.caller.clone(), number))
        } else {
            Err(NotGranted)
        }
    }

    /// What the principal sees of messages and updates.
    pub fn visibility(&self, principal: &Principal) -> Visibility {
        let grants = self.grants.get(&principal.caller).map_or(&[][..], Vec::as_slice);
        Visibility::of(principal.caller.clone(), grants)
    }

    /// What the principal sees of inbound events.
    pub fn inbox_sight(&self, principal: &Principal) -> InboxSight {
        let grants = self.grants.get(&principal.caller).map_or(&[][..], Vec::as_slice);
        InboxSight::of(principal.caller.clone(), grants)
    }

    fn allows(&self, principal: &Principal, number: &NumberName, permission: Permission) -> bool {
        let grants = self.grants.get(&principal.caller);
        grants.is_some_and(|grants| {
            grants.iter().any(|grant| grant.numbers.covers(number) && grant.permissions.contains(&permission))
        })
    }
}
