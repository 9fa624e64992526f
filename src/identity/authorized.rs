//! Proofs of a check. Their fields are private to this room: nobody else can make one.

use std::{marker::PhantomData, sync::Arc};

use super::{NotGranted, Registered};
use crate::domain::{
    content::Content,
    ids::{CallerName, NumberName},
    intent::Intent,
    principal::{Grant, NumberScope, Permission},
    quota::Quota,
};

/// Proof that a caller may do `P` on a number.
#[derive(Clone, Debug)]
pub struct Authorized<P> {
    caller: CallerName,
    number: NumberName,
    quota: Quota,
    right: PhantomData<P>,
}

impl<P> Authorized<P> {
    pub(super) const fn prove(caller: CallerName, number: NumberName) -> Self {
        Self { caller, number, quota: Quota::NONE, right: PhantomData }
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
        self.quota
    }
}

/// Proof that a caller may send something from a number, though perhaps not everything: [`permit`](Self::permit) tells.
#[derive(Clone, Debug)]
pub struct SendRight {
    registered: Arc<Registered>,
    number: NumberName,
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
    pub(super) fn prove(registered: Arc<Registered>, number: NumberName) -> Result<Self, NotGranted> {
        let right = Self { registered, number };
        if right.grants().next().is_some() { Ok(right) } else { Err(NotGranted) }
    }

    /// Proof that this may be sent. Grants add up, but one of them has to allow all of it.
    pub fn permit(self, intent: &Intent) -> Result<Authorized<Send>, Narrowed> {
        self.covers(intent)?;
        let caller = &self.registered.caller;
        let (caller, quota) = (caller.name.clone(), caller.quota);
        Ok(Authorized { caller, number: self.number, quota, right: PhantomData })
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
