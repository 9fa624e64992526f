//! The durable store: messages, the log of their updates, and facts that came before their message.
//!
//! # The contract
//!
//! **Durability.** When a write returns `Ok`, everything it did survives the death of the process and of the machine.
//! When it returns an error, nothing of it happened, except after [`StoreError::Unknown`], where the answer was lost on
//! the way and a later read tells.
//!
//! **Atomicity.** Each write is one transaction: the message row and the log entries it causes appear together or not at
//! all. Writes that wait at the same time may share one commit; none sees half of another.
//!
//! **Order.** Log positions are given in commit order, without ever being reused, also after trimming. A reader that has
//! read up to a position never sees a new entry at or below it.
//!
//! **Waking.** [`Store::head`] tells the newest committed position. It may skip values; it is a hint to read, and what is
//! read is the truth.
//!
//! **Merging.** Facts are folded into messages by [`Message::merge`] inside the transaction; a fact that was known
//! before appends nothing.
//!
//! **Trimming.** [`Store::trim`] deletes the oldest of a kind, a bounded step at a time, and never a message that is PENDING,
//! still has to be handed off, or has a claim that was not read back. The log loses entries from its start only, so that it has no holes behind
//! [`Store::oldest`]; what is behind it stays readable in order. A message that is gone is not found by any of its ids, and
//! its `request_id` is free: a repeated call is recognised for as long as the message is kept. A fact that comes after its
//! message has gone is early like any other.
//!
//! **Reading back.** A message that is open becomes due to be read back a while after its last news ([`FirstChecks`]), and at
//! once when a claim about it comes in. A message that has ended is not due, unless its end may be contradicted. A claim
//! shows in no update and no message; it stays with its message until the claimed status is known or given up, and other
//! news do not put it off.
//!
//! **Inbound events** stand in the same log as updates.
//!
//! **Doubts.** A fact whose ids nobody knows belongs to the message in doubt with the same likeness, if there is exactly
//! one that is not settled and the fact is not from before it. It does not matter which of the two, doubt or fact, is
//! first. What is ambiguous stays in doubt.
//!
//! **Quotas.** A draft that is recorded counts towards each of its limits in the same commit, one that is not counts towards
//! none. What counts goes by the time the draft was created.
//!
//! **One owner.** A data directory belongs to one open store at a time; a second `open` fails and changes nothing. So
//! does an `open` of a damaged store or of one written by a newer version.
//!
//! Adapters stay private; every adapter passes the suite in `tests/store/conformance/`.

mod audit;
mod checks;
mod outbox;
mod record;
mod registry;
pub mod retention;
mod sqlite;
mod subscriptions;
mod undecided;

use std::{ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use self::retention::{Trim, Trimmed};
pub use self::{
    audit::{AuditEnds, AuditQuery, AuditRecord, Checkpoint},
    checks::{Checked, DueCheck, DueChecks, FirstChecks},
    outbox::{
        Expired, Expiry, Lease, LeaseEnd, LeaseSettled, Leased, Leases, Next, OutboxBounds, Queued, Terms, Withdrawn,
    },
    record::{Entry, Recorded, Sighting},
    registry::{Change, Changed, Record, Resealed, SealCount},
    subscriptions::{
        Begin, Commit, Committed, Seek, StoredSubscription, Subscribe, Subscribed, SubscriptionKey, SubscriptionsQuery,
    },
    undecided::{Hasten, Hastened, Undecided, UndecidedPage, UndecidedQuery, UndecidedRow},
};
use crate::domain::{
    audit::Act,
    event::Event,
    ids::{CallerName, CorrelationId, ExternalId, MessageId, NumberName, RequestId, UpstreamId},
    merge::Fact,
    message::{ForeignIds, Message, Origins},
    position::{Epoch, Position},
    quota::{Exceeded, Limit},
    record::Place,
    secret::{Likeness, Sealed},
    status::Status,
};

/// Where and how the store is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The data directory. Created with access for its owner alone if it does not exist.
    pub directory: PathBuf,
    /// How many writes may wait for a commit; further ones wait before they are queued. At least 1.
    pub write_queue: usize,
    /// How many writes share one commit at most. At least 1.
    pub commit_batch: usize,
    /// How many reads run at once; further ones wait. At least 1.
    pub readers: usize,
    /// How many of the newest log entries are kept in memory for those who read along.
    pub recent: usize,
    /// How much the outbox may hold.
    pub outbox: OutboxBounds,
    /// When messages become due to be read back.
    pub checks: FirstChecks,
}

impl Options {
    /// The defaults, for this directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            write_queue: 4096,
            commit_batch: 512,
            readers: 4,
            recent: 4096,
            outbox: OutboxBounds { messages: 1_000_000, bytes: 4 << 30 },
            checks: FirstChecks::default(),
        }
    }
}

/// Opens the store, creating or migrating it as needed.
pub async fn open(options: Options) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(sqlite::open(options).await?))
}

/// Why a store could not be opened. Nothing was changed, unless a migration itself failed and was rolled back.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has it open.
    #[error("the data directory {0} is in use by another pilotgate; stop that one or choose another directory")]
    InUse(PathBuf),
    /// Written by a later version.
    #[error(
        "the store {path} has schema version {found}, but this pilotgate knows up to {known}; \
         it was left untouched, start the newer version instead"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version this build knows.
        known: i64,
    },
    /// Not a store, or a damaged one.
    #[error(
        "the store {path} is damaged or is not a pilotgate store ({detail}); it was left untouched, restore a backup"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file system refused.
    #[error("cannot open the data directory {path}: {detail}")]
    Io {
        /// What was opened.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
}

/// Why a read or write failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing happened.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The store was closed before it answered; whether the write happened is told by a later read.
    #[error("the store was closed before it answered")]
    Unknown,
}

/// A send to be recorded before anything leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The message to be.
    pub origins: Origins,
    /// A digest of everything that the request asks for. A `request_id` stands for one fingerprint.
    pub fingerprint: [u8; 32],
    /// What a webhook may recognise the message by whose id is not known; `None` if it is not a text.
    pub likeness: Option<Likeness>,
    /// For the outbox, if the message is handed over later.
    pub queued: Option<Queued>,
    /// Limits that the message counts towards.
    pub limits: Vec<Limit>,
}

/// What became of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Recorded now.
    New(Message),
    /// The caller's `request_id` was used before, for the same request; nothing was recorded.
    Before(Message),
    /// The caller's `request_id` was used before, for another request; nothing was recorded.
    Reused(MessageId),
    /// The outbox holds as much as it may; nothing was recorded.
    Full,
    /// A limit is used up; nothing was recorded, and no limit counts it.
    OverQuota(Exceeded),
}

/// What a `request_id` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The digest of the request it was used for.
    pub fingerprint: [u8; 32],
    /// The message.
    pub message: Message,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The status it led to.
    pub fact: Fact,
    /// Calls of Pilot Status that this counts for.
    pub attempts: u32,
    /// Token of a flow, if the answer carried one.
    pub flow_token: Option<String>,
    /// What becomes of the caller's `request_id`.
    pub claim: Claim,
    /// What the audit log says of the attempt; `None` if there was none.
    pub audit: Option<Act>,
}

/// What becomes of a `request_id` when an attempt is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It goes on standing for this message.
    Kept,
    /// Nothing was sent, so it may be used again, also for another request.
    Released,
}

/// An id under which Pilot Status knows a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Its own id.
    Upstream(UpstreamId),
    /// The business id.
    Correlation(CorrelationId),
    /// The provider's id.
    External(ExternalId),
}

/// Which of a caller's messages to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Whose.
    pub caller: CallerName,
    /// Between which ids; the start is included, the end is not.
    pub ids: Range<MessageId>,
    /// At most so many.
    pub limit: usize,
}

/// A stretch of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries in order, the first one behind the position asked for.
    pub events: Vec<Arc<Event>>,
    /// The newest position at the time of reading.
    pub head: Position,
}

/// How much has been written since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Writes that were asked for.
    pub writes: u64,
    /// Commits that these shared.
    pub commits: u64,
}

/// The durable store. The module's text is the contract.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Records a send as pending, with its first log entry, unless the caller used the `request_id` before.
    async fn accept(&self, draft: Draft) -> Result<Accepted, StoreError>;

    /// What a caller's `request_id` stands for.
    async fn claimed(&self, caller: &CallerName, request_id: &RequestId) -> Result<Option<Claimed>, StoreError>;

    /// Records how an attempt ended, counts it, and joins the early facts of ids that became known by it.
    async fn settle(&self, id: MessageId, settlement: Settlement) -> Result<Message, StoreError>;

    /// Records what came in at one number. All or nothing.
    async fn record(&self, number: &NumberName, entries: Vec<Entry>) -> Result<Vec<Recorded>, StoreError>;

    /// Tells facts as unattributed that have waited for their message since before that time, at most `limit`, and returns
    /// how many. They are told as of `at`. They go on waiting: a message that becomes known still gets them.
    async fn tell_unattributed(&self, at: Timestamp, before: Timestamp, limit: usize) -> Result<usize, StoreError>;

    /// At most `limit` messages of the number that are due to be read back at `at`.
    async fn checks(&self, number: &NumberName, at: Timestamp, limit: usize) -> Result<DueChecks, StoreError>;

    /// Records what reading back brought. Tells for each one how many updates that appended.
    async fn checked(&self, checked: Vec<Checked>) -> Result<Vec<usize>, StoreError>;

    /// Opens a subscription, making it if it is new.
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscribed, StoreError>;

    /// Acknowledges a subscription.
    async fn commit(&self, commit: Commit) -> Result<Committed, StoreError>;

    /// Subscriptions of all callers.
    async fn subscriptions(&self, query: SubscriptionsQuery) -> Result<Vec<StoredSubscription>, StoreError>;

    /// The subscription of this key.
    async fn subscription(&self, key: &SubscriptionKey) -> Result<Option<StoredSubscription>, StoreError>;

    /// Moves or deletes a subscription, and tells whether there was one.
    async fn seek(&self, seek: Seek) -> Result<bool, StoreError>;

    /// Messages that are not decided yet.
    async fn undecided(&self, query: UndecidedQuery) -> Result<UndecidedPage, StoreError>;

    /// Makes a row of the outbox due.
    async fn hasten(&self, hasten: Hasten) -> Result<Hastened, StoreError>;

    /// Folds facts into a message that is known by our id.
    async fn merge(&self, id: MessageId, facts: Vec<Fact>) -> Result<Message, StoreError>;

    /// The message with this id.
    async fn message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// What the message with this id may be recognised by.
    async fn likeness(&self, id: MessageId) -> Result<Option<Likeness>, StoreError>;

    /// The messages with these ids that exist, in any order.
    async fn messages(&self, ids: Vec<MessageId>) -> Result<Vec<Message>, StoreError>;

    /// The newest message of the number with this foreign id.
    async fn find(&self, number: &NumberName, key: Key) -> Result<Option<Message>, StoreError>;

    /// The caller's messages with the greatest ids of the range, greatest first.
    async fn list(&self, listing: Listing) -> Result<Vec<Message>, StoreError>;

    /// Messages that were accepted for hand-over at once and are still pending, oldest first, at most `limit`.
    async fn pending(&self, limit: usize) -> Result<Vec<Message>, StoreError>;

    /// Leases rows of the outbox.
    async fn lease(&self, terms: Terms) -> Result<Leases, StoreError>;

    /// Records how a leased attempt ended; `None`, and nothing is recorded, if the lease is no longer the newest one or
    /// its row is gone.
    async fn settle_lease(&self, lease: Lease, end: LeaseEnd) -> Result<Option<LeaseSettled>, StoreError>;

    /// Takes out the rows that have expired.
    async fn expire(&self, expiry: Expiry) -> Result<Expired, StoreError>;

    /// Takes a message with the expected status out of the outbox, folds the fact in, and joins the early facts of ids that
    /// became known by it; unless it is under a lease. The act goes into the audit log with it.
    async fn withdraw(
        &self,
        id: MessageId,
        expected: Status,
        fact: Fact,
        act: Option<Act>,
    ) -> Result<Withdrawn, StoreError>;

    /// Ends every lease as of `at`. For an owner who has just opened the store: those who held them are gone.
    async fn end_leases(&self, at: Timestamp) -> Result<(), StoreError>;

    /// The oldest body in the outbox, with its message: what tells whether the bodies can still be read.
    async fn oldest_body(&self) -> Result<Option<(MessageId, Sealed)>, StoreError>;

    /// At most `limit` entries behind `after`, oldest first; fewer where they are long, but none only if there are none.
    async fn events(&self, after: Position, limit: usize) -> Result<Page, StoreError>;

    /// The position before the first entry that was observed at or after `time`; the head if there is none, and
    /// [`Position::START`] if such entries were trimmed.
    async fn position_before(&self, time: Timestamp) -> Result<Position, StoreError>;

    /// The position before the oldest entry kept, and when that entry was observed.
    async fn oldest(&self) -> Result<(Position, Option<Timestamp>), StoreError>;

    /// Takes one step of trimming. The step is small, and those that wait to write come in between two.
    async fn trim(&self, step: Trim) -> Result<Trimmed, StoreError>;

    /// How many bytes of storage are in use. What was deleted counts no more, whether or not the system has it back.
    async fn used_bytes(&self) -> Result<u64, StoreError>;

    /// Every record of the platform team.
    async fn records(&self) -> Result<Vec<Record>, StoreError>;

    /// Changes records.
    async fn change(&self, change: Change) -> Result<Changed, StoreError>;

    /// At most `limit` places whose bytes are sealed under this key. Which key that is stands in bytes 1 to 8 of what is sealed.
    async fn sealed_under(&self, key_id: [u8; 8], limit: usize) -> Result<Vec<(Place, Sealed)>, StoreError>;

    /// Replaces sealed bytes by the same sealed anew, and returns how many.
    async fn reseal(&self, resealed: Vec<Resealed>) -> Result<usize, StoreError>;

    /// What is sealed under which key.
    async fn seal_counts(&self) -> Result<Vec<SealCount>, StoreError>;

    /// Appends to the audit log.
    async fn audit(&self, acts: Vec<Act>) -> Result<(), StoreError>;

    /// Entries of the audit log.
    async fn audited(&self, query: AuditQuery) -> Result<Vec<AuditRecord>, StoreError>;

    /// Where the audit log begins and ends.
    async fn audit_ends(&self) -> Result<AuditEnds, StoreError>;

    /// Keeps a checkpoint of the audit log.
    async fn keep_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError>;

    /// The checkpoints of the audit log that are kept, oldest first.
    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError>;

    /// How much of each limit is used at that time: what counts in its present window.
    async fn used(&self, limits: Vec<Limit>, at: Timestamp) -> Result<Vec<u64>, StoreError>;

    /// Identifies this log.
    fn epoch(&self) -> Epoch;

    /// Random bytes made when the log was created, for signing cursors into it.
    fn cursor_key(&self) -> [u8; 32];

    /// The newest committed position.
    fn head(&self) -> watch::Receiver<Position>;

    /// How much has been written, for whoever watches how well writes share commits.
    fn written(&self) -> Written;

    /// Finishes the writes in the queue and closes. Later calls fail.
    async fn close(&self);
}

impl Key {
    /// The foreign ids that this key stands for.
    pub fn into_ids(self) -> ForeignIds {
        match self {
            Self::Upstream(id) => ForeignIds { upstream: Some(id), ..ForeignIds::default() },
            Self::Correlation(id) => ForeignIds { correlation: Some(id), ..ForeignIds::default() },
            Self::External(id) => ForeignIds { external: Some(id), ..ForeignIds::default() },
        }
    }
}
