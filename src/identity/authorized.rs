//! Proofs of a check. Their fields are private to this room: nobody else can make one.

use std::marker::PhantomData;

use crate::domain::{
    ids::{CallerName, NumberName},
    principal::{Grant, NumberScope, Permission},
};

/// Proof that a caller may do `P` on a number.
#[derive(Clone, Debug)]
pub struct Authorized<P> {
    caller: CallerName,
    number: NumberName,
    right: PhantomData<P>,
}

impl<P> Authorized<P> {
    pub(super) const fn prove(caller: CallerName, number: NumberName) -> Self {
        Self { caller, number, right: PhantomData }
    }

    /// Who may.
    pub const fn caller(&self) -> &CallerName {
        &self.caller
    }

    /// On which number.
    pub const fn number(&self) -> &NumberName {
        &self.number
    }
}

/// A right that can be proven.
pub trait Right {
    /// The permission that gives it.
    const PERMISSION: Permission;
}

/// The right to send.
#[derive(Clone, Copy, Debug)]
pub enum Send {}
/// The right to cancel.
#[derive(Clone, Copy, Debug)]
pub enum Cancel {}
/// The right to read.
#[derive(Clone, Copy, Debug)]
pub enum Read {}

impl Right for Send {
    const PERMISSION: Permission = Permission::Send;
}
impl Right for Cancel {
    const PERMISSION: Permission = Permission::Cancel;
}
impl Right for Read {
    const PERMISSION: Permission = Permission::Read;
}

/// What a caller sees: its own messages on numbers it may read, and every caller's on numbers it may observe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visibility {
    caller: CallerName,
    reads: Vec<NumberScope>,
    observes: Vec<NumberScope>,
}

impl Visibility {
    pub(super) fn of(caller: CallerName, grants: &[Grant]) -> Self {
        let with = |permission| {
            let matching = grants.iter().filter(|grant| grant.permissions.contains(&permission));
            matching.map(|grant| grant.numbers.clone()).collect()
        };
        Self { caller, reads: with(Permission::Read), observes: with(Permission::Observe) }
    }

    /// Whose view this is.
    pub const fn caller(&self) -> &CallerName {
        &self.caller
    }

    /// Whether a message of `caller` on `number` is seen.
    pub fn sees(&self, caller: &CallerName, number: &NumberName) -> bool {
        let covered = |scopes: &[NumberScope]| scopes.iter().any(|scope| scope.covers(number));
        (*caller == self.caller && covered(&self.reads)) || covered(&self.observes)
    }

    /// Whether nothing can be seen at all.
    pub const fn is_blind(&self) -> bool {
        self.reads.is_empty() && self.observes.is_empty()
    }

    /// Whether anything on the number can be seen.
    pub fn reaches(&self, number: &NumberName) -> bool {
        self.reads.iter().chain(&self.observes).any(|scope| scope.covers(number))
    }
}

/// The numbers whose inbound events a caller sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxSight {
    caller: CallerName,
    scopes: Vec<NumberScope>,
}

impl InboxSight {
    pub(super) fn of(caller: CallerName, grants: &[Grant]) -> Self {
        let granted = grants.iter().filter(|grant| grant.permissions.contains(&Permission::Inbox));
        Self { caller, scopes: granted.map(|grant| grant.numbers.clone()).collect() }
    }

    /// Whose view this is.
    pub const fn caller(&self) -> &CallerName {
        &self.caller
    }

    /// Whether nothing can be seen at all.
    pub const fn is_blind(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether what comes in at the number is seen.
    pub fn reaches(&self, number: &NumberName) -> bool {
        self.scopes.iter().any(|scope| scope.covers(number))
    }
}
