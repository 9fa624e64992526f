//! Named subscriptions: how far a caller has acknowledged a stream.

use jiff::Timestamp;

use crate::domain::{
    audit::Act,
    ids::{CallerName, SubscriptionName},
    position::Position,
    signed::Fingerprint,
};

/// Which subscription.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionKey {
    /// Whose.
    pub caller: CallerName,
    /// Its name, unique within the caller.
    pub name: SubscriptionName,
}

/// A stream that is to carry a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Which.
    pub key: SubscriptionKey,
    /// The stream's filter. A subscription belongs to one filter.
    pub filter: Fingerprint,
    /// Where the stream begins.
    pub begin: Begin,
    /// Now.
    pub at: Timestamp,
    /// How many a caller may have.
    pub most: usize,
}

/// Where a stream that is to carry a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Behind what was acknowledged; a new subscription is acknowledged up to this position.
    Resume(Position),
    /// Behind this position, up to which a new subscription is acknowledged, and one that had another filter.
    At(Position),
}

/// What became of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribed {
    /// It is acknowledged up to here.
    Committed(Position),
    /// It has another filter; nothing was changed.
    OtherFilter,
    /// The caller has as many as it may; nothing was changed.
    TooMany,
}

/// An acknowledgement of everything up to a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Of which subscription.
    pub key: SubscriptionKey,
    /// The filter that the position belongs to.
    pub filter: Fingerprint,
    /// Up to where. Earlier than what was acknowledged before changes nothing.
    pub position: Position,
    /// Now.
    pub at: Timestamp,
}

/// What became of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is acknowledged up to here now.
    UpTo(Position),
    /// There is no such subscription.
    Unknown,
    /// It has another filter.
    OtherFilter,
}

/// Which subscriptions to read, in the order of callers and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionsQuery {
    /// Behind this one.
    pub after: Option<SubscriptionKey>,
    /// Of this caller only.
    pub caller: Option<CallerName>,
    /// At most so many.
    pub limit: usize,
}

/// A subscription as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Which.
    pub key: SubscriptionKey,
    /// Its filter.
    pub filter: Fingerprint,
    /// Up to where it is acknowledged.
    pub position: Position,
    /// When it was last opened or acknowledged.
    pub used_at: Timestamp,
}

/// The wish to move a subscription. Until a stream carries it again, acknowledgements do not move it: they are of what came
/// before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// Which.
    pub key: SubscriptionKey,
    /// Where to; `None` deletes it.
    pub to: Option<Position>,
    /// What the audit log says of it.
    pub act: Act,
}
