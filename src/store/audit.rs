//! The audit log in the store: entries are numbered from 1 in commit order and each is chained to the one before. Entries
//! are never changed; retention takes them from the start only and remembers the link that the rest hangs on.

use jiff::Timestamp;

use crate::domain::audit::{Act, Link};

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number.
    pub seq: i64,
    /// Its link.
    pub link: Link,
    /// Its text: an [`Act`] as JSON, kept exactly as it was chained.
    pub text: String,
}

impl AuditRecord {
    /// What it says; an error if it was tampered with so that it says nothing.
    pub fn act(&self) -> Result<Act, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditEnds {
    /// Number of the newest entry that was trimmed; 0 if none was.
    pub trimmed: i64,
    /// Its link.
    pub anchor: Link,
    /// Number of the newest entry.
    pub head: i64,
    /// Its link.
    pub link: Link,
}

/// Which entries to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Behind this number, if oldest first...
    pub after: i64,
    /// ...and before this one; `None`: to the end.
    pub before: Option<i64>,
    /// Newest first.
    pub backwards: bool,
    /// Not before this time.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// By this actor only.
    pub actor: Option<String>,
    /// Actions that are this one or begin with it and a dot.
    pub action: Option<String>,
    /// On this subject only.
    pub subject: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// A statement of the vault that the log had this link at this number, so that a rewritten end is noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Number of the entry.
    pub seq: i64,
    /// Keyed digest of number and link.
    pub mac: [u8; 32],
}
