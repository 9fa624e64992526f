//! Proofs of a check. Their fields are private to this room: nobody else can make one.

use std::sync::Arc;

use super::{CredentialError, Identity, NotGranted, Registered};
use crate::domain::{
    content::Content,
    ids::{CallerName, NumberName},
    intent::Intent,
    principal::{Grant, NumberScope, Permission, Principal},
    quota::Quota,
};

/// Proof that a caller may do `P` on a number.
#[derive(Clone, Debug)]
pub struct Authorized<P> {
    caller: CallerName,
    number: NumberName,
    right: P,
}

impl<P> Authorized<P> {
    pub(super) const fn prove(caller: CallerName, number: NumberName, right: P) -> Self {
        Self { caller, number, right }
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

impl Authorized<Send> {
    /// How much the caller may send over all numbers.
    pub const fn quota(&self) -> Quota {
        self.right.quota
    }

    /// The same proof as of now, for a send that has waited since it was proven.
    pub fn renewed(&self, intent: &Intent) -> Result<Self, SendDenied> {
        let Send { identity, principal, .. } = &self.right;
        identity.still(principal, identity.sources.now())?;
        Ok(identity.may_send(principal, Some(self.number.clone()))?.permit(intent)?)
    }
}

/// Why what was proven before can be proven no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendDenied {
    /// The credential is no longer accepted.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Nothing is granted on the number.
    #[error(transparent)]
    NotGranted(#[from] NotGranted),
    /// What is granted does not go as far.
    #[error(transparent)]
    Narrowed(#[from] Narrowed),
}

/// Proof that a caller may send something from a number, though perhaps not everything: [`permit`](Self::permit) tells.
#[derive(Clone, Debug)]
pub struct SendRight {
    registered: Arc<Registered>,
    number: NumberName,
    identity: Arc<Identity>,
    principal: Principal,
}

/// No grant that the caller has on the number goes this far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Narrowed {
    /// Each is for certain templates, and this is none of them.
    #[error("not a template that is granted")]
    Template,
    /// Those that allow the content are for certain recipients, and this is none of them.
    #[error("not a recipient that is granted")]
    Recipient,
}

impl SendRight {
    pub(super) fn prove(identity: Arc<Identity>, principal: Principal, number: NumberName) -> Result<Self, NotGranted> {
        let registered = identity.caller(&principal.caller).ok_or(NotGranted)?;
        let right = Self { registered, number, identity, principal };
        if right.grants().next().is_some() { Ok(right) } else { Err(NotGranted) }
    }

    /// Proof that this may be sent. Grants add up, but one of them has to allow all of it.
    pub fn permit(self, intent: &Intent) -> Result<Authorized<Send>, Narrowed> {
        self.covers(intent)?;
        let caller = &self.registered.caller;
        let (name, quota) = (caller.name.clone(), caller.quota);
        let right = Send { quota, identity: self.identity, principal: self.principal };
        Ok(Authorized::prove(name, self.number, right))
    }

    fn covers(&self, intent: &Intent) -> Result<(), Narrowed> {
        let mut for_content = self.grants().filter(|grant| allows_content(grant, &intent.content)).peekable();
        for_content.peek().ok_or(Narrowed::Template)?;
        let allowed = for_content.any(|grant| allows_recipient(grant, intent.recipient.address()));
        if allowed { Ok(()) } else { Err(Narrowed::Recipient) }
    }

    fn grants(&self) -> impl Iterator<Item = &Grant> {
        granted(&self.registered.caller.grants, Permission::Send).filter(|grant| grant.numbers.covers(&self.number))
    }
}

fn allows_content(grant: &Grant, content: &Content) -> bool {
    match content {
        _ if grant.templates.is_empty() => true,
        Content::Template(template) => grant.templates.contains(&template.template),
        Content::Text(_) | Content::Media(_) | Content::List(_) | Content::Carousel(_) | Content::Flow(_) => false,
    }
}

fn allows_recipient(grant: &Grant, address: &str) -> bool {
    let mut prefixes = grant.recipient_prefixes.iter();
    grant.recipient_prefixes.is_empty() || prefixes.any(|prefix| address.starts_with(prefix.as_str()))
}

fn granted(grants: &[Grant], permission: Permission) -> impl Iterator<Item = &Grant> {
    grants.iter().filter(move |grant| grant.permissions.contains(&permission))
}

/// The scopes of these grants, in a form that is the same whenever they cover the same.
fn scopes(grants: &[Grant], permission: Permission) -> Vec<NumberScope> {
    let mut scopes: Vec<_> = granted(grants, permission).map(|grant| grant.numbers.clone()).collect();
    if scopes.contains(&NumberScope::All) {
        return vec![NumberScope::All];
    }
    scopes.sort();
    scopes.dedup();
    scopes
}

/// A right that one check is enough for.
pub trait Right: Default {
    /// The permission that gives it.
    const PERMISSION: Permission;
}

/// The right to send, and what proves it again.
#[derive(Clone, Debug)]
pub struct Send {
    quota: Quota,
    identity: Arc<Identity>,
    principal: Principal,
}
/// The right to cancel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cancel;
/// The right to read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Read;

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
        Self { caller, reads: scopes(grants, Permission::Read), observes: scopes(grants, Permission::Observe) }
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
        Self { caller, scopes: scopes(grants, Permission::Inbox) }
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
