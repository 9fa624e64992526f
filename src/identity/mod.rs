//! Who calls, and what they may do.
//!
//! Owns the callers' credentials and grants. A use case asks for an [`Authorized`] or [`Acting`] value, which only
//! [`Identity`] can make, so that a use case without a check does not compile. What is registered may change at any time:
//! every check goes by what stands now, and [`Identity::changes`] tells that something else does. Whatever lasts longer than
//! a check holds a [`Standing`], which ends with the right. Knows no transport: the gRPC door hands over what was shown.

mod acting;
mod authorized;
pub mod jwt;
mod roll;
mod standing;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use tokio::sync::watch;

pub use self::{
    acting::{
        Acting, Duty, ManageCallers, ManageNumbers, ManageOutbox, ManageSubscriptions, ManageVault, ViewAudit,
        ViewCallers, ViewNumbers, ViewOutbox, ViewSubscriptions, ViewVault,
    },
    authorized::{Authorized, Cancel, InboxSight, Narrowed, Read, Send, SendDenied, SendRight, Visibility},
    roll::Registered,
    standing::{Lapse, Standing},
};
use self::{jwt::Issuers, roll::Roll, standing::Standings};
use crate::domain::{
    caller::Caller,
    ids::{CallerName, NumberName},
    principal::{Permission, Principal},
    record::Source,
    secret::TokenHash,
    sources::Sources,
};

/// The callers and their rights. Changes are seen by all who hold it.
#[derive(Debug)]
pub struct Identity {
    roll: ArcSwap<Roll>,
    issuers: Arc<Issuers>,
    /// Changes are made one at a time.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
    standings: Arc<Standings>,
    sources: Sources,
}

/// What a call showed of who makes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// The value of its `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The names in the client certificate that the connection was verified by, as in [`Caller::identities`].
    pub certificate: &'a [String],
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
    /// It was one of ours until it ended.
    #[error("credential expired")]
    Expired,
}

/// The caller has no such right on this number, or the number does not exist; which of the two is not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not granted")]
pub struct NotGranted;

/// The caller does not administer this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an administrator of this")]
pub struct NotAdministrator;

/// A credential already stands for another caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} already stands for caller {other}")]
pub struct Taken {
    /// Which; never one that could be presented.
    pub what: String,
    /// For whom.
    pub other: CallerName,
}

impl Identity {
    /// Takes the callers that the configuration declares. That no credential stands for two of them was checked there.
    pub fn of(callers: Vec<Caller>) -> Self {
        let declared = callers.into_iter().map(|caller| Arc::new(Registered { caller, source: Source::Declared }));
        Self {
            roll: ArcSwap::from_pointee(Roll::of(declared)),
            issuers: Arc::default(),
            changing: Mutex::default(),
            changes: watch::Sender::new(0),
            standings: Arc::default(),
            sources: Sources::system(),
        }
    }

    /// The same, by this clock.
    pub fn by(self, sources: Sources) -> Self {
        Self { sources, ..self }
    }

    /// Takes tokens of these issuers too.
    #[must_use]
    pub fn believing(mut self, issuers: Arc<Issuers>) -> Self {
        self.issuers = issuers;
        self
    }

    /// Accepts what a call shows: `Bearer` and a token, ours or an issuer's, or a client certificate. A wrong token is
    /// refused, whatever certificate there is: who shows one means to be known by it.
    ///
    /// The lookup goes by the token's hash, so that its timing tells nothing that helps in guessing a token.
    pub fn authenticate(&self, shown: Shown<'_>, at: Timestamp) -> Result<Principal, CredentialError> {
        let roll = self.roll.load();
        let Some(value) = shown.authorization else {
            return match shown.certificate {
                [] => Err(CredentialError::Missing),
                names => names.iter().find_map(|name| roll.by_identity(name)).ok_or(CredentialError::Invalid),
            };
        };
        let value = std::str::from_utf8(value).map_err(|_| CredentialError::Invalid)?;
        let (scheme, token) = value.split_once(' ').ok_or(CredentialError::Invalid)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(CredentialError::Invalid);
        }
        let token = token.trim();
        if Issuers::is_one(token) {
            let (identity, until) = self.issuers.verify(token, at)?;
            let principal = roll.by_identity(&identity).ok_or(CredentialError::Invalid)?;
            return Ok(Principal { expires: Some(until), ..principal });
        }
        roll.by_token(&TokenHash::of(token), at)
    }

    /// Proof that the principal may do `P` on the number. `None` stands for a number that is not registered.
    pub fn authorize<P: authorized::Right>(
        &self,
        principal: &Principal,
        number: Option<NumberName>,
    ) -> Result<Authorized<P>, NotGranted> {
        let number = number.ok_or(NotGranted)?;
        if self.allows(principal, &number, P::PERMISSION) {
            Ok(Authorized::prove(principal.caller.clone(), number, P::default()))
        } else {
            Err(NotGranted)
        }
    }

    /// Proof that the principal may send from the number, as far as its grants go. `None` stands for a number that is not
    /// registered.
    pub fn may_send(
        self: &Arc<Self>,
        principal: &Principal,
        number: Option<NumberName>,
    ) -> Result<SendRight, NotGranted> {
        SendRight::prove(Arc::clone(self), principal.clone(), number.ok_or(NotGranted)?)
    }

    /// Whether what the principal showed is still accepted.
    pub fn still(&self, principal: &Principal, at: Timestamp) -> Result<(), CredentialError> {
        self.roll.load().still(principal, at).map(drop)
    }

    /// Proof that the principal administers `D`, for an act that comes from this address and for this reason.
    pub fn administer<D: Duty>(
        &self,
        principal: &Principal,
        from: Option<IpAddr>,
        reason: &str,
    ) -> Result<Acting<D>, NotAdministrator> {
        let registered = self.caller(&principal.caller).filter(|registered| !registered.caller.disabled);
        let rights = registered.map(|registered| registered.caller.admin.clone()).unwrap_or_default();
        if rights.iter().any(|right| right.covers(D::RIGHT)) {
            Ok(Acting::prove(principal, rights, from, reason))
        } else {
            Err(NotAdministrator)
        }
    }

    /// The same proof as of now, for an act that has waited since it was proven: its author may have lost the right.
    pub fn confirm<D: Duty>(&self, acting: &Acting<D>) -> Result<Acting<D>, NotAdministrator> {
        let Some((principal, from, reason)) = acting.who() else { return Ok(acting.clone()) };
        self.still(principal, self.sources.now()).map_err(|_| NotAdministrator)?;
        self.administer(principal, from, reason)
    }

    /// What the principal sees of messages and updates.
    pub fn visibility(&self, principal: &Principal) -> Visibility {
        Visibility::of(principal.caller.clone(), self.roll.load().grants(&principal.caller))
    }

    /// What the principal sees of inbound events.
    pub fn inbox_sight(&self, principal: &Principal) -> InboxSight {
        InboxSight::of(principal.caller.clone(), self.roll.load().grants(&principal.caller))
    }

    /// The caller with this name.
    pub fn caller(&self, name: &CallerName) -> Option<Arc<Registered>> {
        self.roll.load().get(name).cloned()
    }

    /// All callers, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Registered>> {
        self.roll.load().all()
    }

    /// Counts the changes. It may skip values; it is a hint to look.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Registers a caller, or changes it. Every [`Standing`] whose right goes with that has ended when this returns.
    pub fn put(&self, registered: Registered) -> Result<(), Taken> {
        let name = registered.caller.name.clone();
        self.swap(&name, |roll| roll.with(Arc::new(registered)))
    }

    /// Takes a caller out. Every [`Standing`] of it has ended when this returns.
    pub fn remove(&self, name: &CallerName) {
        // Nothing can be taken by what goes.
        let _ = self.swap(name, |roll| Ok(roll.without(name)));
    }

    /// Whether the caller could be put, without putting it.
    pub fn check(&self, caller: &Caller) -> Result<(), Taken> {
        self.roll.load().check(caller)
    }

    fn swap(&self, name: &CallerName, change: impl FnOnce(&Roll) -> Result<Roll, Taken>) -> Result<(), Taken> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = Arc::new(change(&self.roll.load())?);
        self.roll.store(Arc::clone(&changed));
        self.standings.review(name, &changed, self.sources.now());
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn allows(&self, principal: &Principal, number: &NumberName, permission: Permission) -> bool {
        let roll = self.roll.load();
        let mut grants = roll.grants(&principal.caller).iter();
        grants.any(|grant| grant.numbers.covers(number) && grant.permissions.contains(&permission))
    }
}
