//! Proofs that somebody administers something. Their fields are private to this room: nobody else can make one.

use std::{marker::PhantomData, net::IpAddr};

use jiff::Timestamp;

use crate::domain::{
    audit::{Act, ITSELF},
    principal::{AdminRight, Area, Level, Principal},
};

/// Proof that somebody may do what `D` stands for, with what the audit log says of who it is.
#[derive(Clone, Debug)]
pub struct Acting<D> {
    /// `None`: the gateway itself.
    principal: Option<Principal>,
    from: Option<IpAddr>,
    reason: Option<String>,
    rights: Vec<AdminRight>,
    duty: PhantomData<D>,
}

/// Something to administer.
pub trait Duty: Clone {
    /// The right that it takes.
    const RIGHT: AdminRight;
}

macro_rules! duties {
    ($($(#[$doc:meta])* $name:ident = $area:ident, $level:ident;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl Duty for $name {
            const RIGHT: AdminRight = AdminRight { area: Area::$area, level: Level::$level };
        })*
    };
}

duties! {
    /// Looking at numbers.
    ViewNumbers = Numbers, View;
    /// Changing numbers and their keys.
    ManageNumbers = Numbers, Manage;
    /// Looking at callers.
    ViewCallers = Callers, View;
    /// Changing callers, their credentials and rights.
    ManageCallers = Callers, Manage;
    /// Reading the audit log.
    ViewAudit = Audit, View;
    /// Looking at what is on its way.
    ViewOutbox = Outbox, View;
    /// Deciding about what is on its way.
    ManageOutbox = Outbox, Manage;
    /// Looking at every caller's subscriptions.
    ViewSubscriptions = Subscriptions, View;
    /// Changing them.
    ManageSubscriptions = Subscriptions, Manage;
    /// Looking at how much is sealed under which root key.
    ViewVault = Vault, View;
    /// Changing the root key.
    ManageVault = Vault, Manage;
}

impl<D> Acting<D> {
    pub(super) fn prove(principal: &Principal, rights: Vec<AdminRight>, from: Option<IpAddr>, reason: &str) -> Self {
        let reason = Some(reason.to_owned()).filter(|reason| !reason.is_empty());
        Self { principal: Some(principal.clone()), from, reason, rights, duty: PhantomData }
    }

    /// For what the gateway does by itself, which nobody has asked for.
    pub fn of_the_gateway(reason: &str) -> Self {
        let reason = Some(reason.to_owned());
        Self { principal: None, from: None, reason, rights: Vec::new(), duty: PhantomData }
    }

    /// What the audit log calls whoever acts.
    pub fn actor(&self) -> &str {
        self.principal.as_ref().map_or(ITSELF, |principal| principal.caller.as_str())
    }

    /// Who acts, from where and why; `None` if it is the gateway itself.
    pub(super) fn who(&self) -> Option<(&Principal, Option<IpAddr>, &str)> {
        Some((self.principal.as_ref()?, self.from, self.reason.as_deref().unwrap_or_default()))
    }

    /// Whether whoever acts has this right, and so may give it.
    pub fn holds(&self, right: AdminRight) -> bool {
        self.rights.iter().any(|own| own.covers(right))
    }

    /// An entry of the audit log about this act.
    pub fn act(&self, at: Timestamp, action: &str, subject: impl Into<String>, outcome: &str) -> Act {
        Act {
            at,
            actor: self.actor().to_owned(),
            credential: self.principal.as_ref().map(|principal| principal.credential.to_string()),
            from: self.from.map(|from| from.to_string()),
            action: action.to_owned(),
            subject: subject.into(),
            reason: self.reason.clone(),
            outcome: outcome.to_owned(),
            detail: std::collections::BTreeMap::new(),
        }
    }
}
