//! What the store keeps of the platform team's records: numbers, callers and keys, each sealed whole.
//!
//! **Versions.** A record changes only if the change names the version that it replaces, and gets a greater one. A change
//! of several records happens to all of them or to none, in one commit with its entries in the audit log.
//!
//! **Sealing.** The store cannot read records. Which root key sealed bytes are under stands in their head, so that those
//! under another one are found.

use crate::domain::{
    audit::Act,
    record::{Place, RecordKey},
    secret::Sealed,
};

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub key: RecordKey,
    /// Its version.
    pub version: i64,
    /// What it says.
    pub sealed: Sealed,
}

/// A change of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Records to be written, each with the version that it replaces; `None` for one that must not exist yet.
    pub puts: Vec<(Record, Option<i64>)>,
    /// Records to be deleted, each with its version.
    pub removals: Vec<(RecordKey, i64)>,
    /// What the audit log says of it.
    pub audit: Vec<Act>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// All of it happened.
    Done,
    /// A record had another version, existed or did not; nothing was changed.
    Conflict(RecordKey),
}

/// The bytes at a place, sealed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resealed {
    /// Where.
    pub place: Place,
    /// What stands there; if it is not this any more, nothing is changed.
    pub before: Sealed,
    /// What is to stand there.
    pub after: Sealed,
}

/// How many sealed bytes there are under a root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealCount {
    /// Names the key; zeros for what is too short to name one.
    pub key_id: [u8; 8],
    /// Records.
    pub records: u64,
    /// Bodies of queued messages.
    pub bodies: u64,
}
