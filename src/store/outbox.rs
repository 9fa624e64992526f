//! What the store keeps of queued messages until they are handed over.
//!
//! **Leases.** A row is worked on by whoever leased it, until the lease ends or is settled. Every lease of a row has a
//! greater generation than the one before, and only the newest generation settles: whoever was overtaken changes nothing.
//! A lease that ends without being settled leaves a question, so that the message is `IN_DOUBT` when it is leased again.
//!
//! **Order.** Of each number and recipient only the oldest row is due; the next one becomes due when that one is gone.

use jiff::{SignedDuration, Timestamp};

use super::Settlement;
use crate::domain::{
    failure::Failure,
    ids::{MessageId, NumberName},
    message::Message,
    secret::Sealed,
};

/// What is kept of a message that is to be handed over later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// Its body. Erased when the row goes.
    pub body: Sealed,
    /// From then on it is no longer due but overdue.
    pub expires: Timestamp,
}

/// How much the outbox may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBounds {
    /// Messages.
    pub messages: u64,
    /// Bytes of their sealed bodies.
    pub bytes: u64,
}

/// On what terms rows are leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Of which number: those that are due and have not expired, and those whose last lease ended without an answer.
    pub number: NumberName,
    /// The present time.
    pub at: Timestamp,
    /// When the leases end.
    pub until: Timestamp,
    /// For how long after its first attempt a message in doubt is tried again.
    pub replay: SignedDuration,
    /// At most this many.
    pub limit: usize,
}

/// The right to settle a row, until another lease follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose row.
    pub id: MessageId,
    /// Which lease of it, counted from 1.
    pub generation: i64,
}

/// A row to be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// What settles it.
    pub lease: Lease,
    /// The message, in doubt if an earlier lease ended without an answer.
    pub message: Message,
    /// Its body.
    pub body: Sealed,
    /// When the first attempt began that may have arrived: this one, or an earlier one that left a doubt.
    pub since: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
}

/// Rows to be worked on, and when there will be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// At most as many as asked for.
    pub leased: Vec<Leased>,
    /// When the next row of the number is due, if nothing is added or settled before; `None` if there is none. Rows under
    /// a lease count from its end, those that have expired not at all.
    pub next: Option<Timestamp>,
}

/// What becomes of a row when its lease is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes.
    Gone,
    /// It is tried again.
    Again {
        /// Not before this time.
        due: Timestamp,
        /// Until when.
        expires: Timestamp,
        /// Whether this attempt may have arrived, so that the time of the first such one stands.
        arrived: bool,
    },
}

/// How a leased attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseEnd {
    /// For the message.
    pub settlement: Settlement,
    /// For its row.
    pub next: Next,
}

/// A settled lease.
#[derive(Clone, Debug, PartialEq)]
pub struct LeaseSettled {
    /// The message afterwards.
    pub message: Message,
    /// The next row of the same recipient has become due.
    pub followed: bool,
}

/// What is done with rows that have expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The present time.
    pub at: Timestamp,
    /// Rows whose lease ended before this time are taken as well: nobody came back for them.
    pub forsaken: Timestamp,
    /// How messages fail that were surely not handed over. The others stay in doubt.
    pub failure: Failure,
    /// At most this many.
    pub limit: usize,
}

/// Messages whose rows expired and are gone, and when there will be more.
#[derive(Clone, Debug, PartialEq)]
pub struct Expired {
    /// Failed now, or in doubt for good.
    pub messages: Vec<Message>,
    /// When to ask again: at once if there were as many as the limit, else when the next row expires, or may be forsaken if
    /// it has expired under a lease; `None` if there is none.
    pub next: Option<Timestamp>,
}

/// What became of the wish to take a message out of the outbox.
#[derive(Clone, Debug, PartialEq)]
pub enum Withdrawn {
    /// Its row is gone and the fact recorded.
    Done(Box<Message>),
    /// It is under a lease, or its status is not the expected one; nothing was changed.
    Busy,
    /// It has no row; nothing was changed.
    Absent,
}
