//! What the vault seals: places in the store, and the records of the platform team.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::ids::MessageId;

/// Where sealed bytes stand. They are bound to it, so that they cannot be moved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The body of a queued message.
    Outbox(MessageId),
    /// A record, in this version.
    Record(RecordKey, i64),
}

/// Which record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// What it is.
    pub kind: RecordKind,
    /// Its name among its kind.
    pub name: Arc<str>,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// A registered number with its key.
    Number,
    /// A registered caller.
    Caller,
    /// The account-wide key.
    TenantKey,
    /// The key under which digests are made.
    DigestKey,
    /// An earlier root key, sealed under the present one until nothing needs it.
    RootKey,
}

/// Where a number or caller is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the configuration, which alone can change it.
    Declared,
    /// In the store, in this version.
    Stored {
        /// Of the record.
        version: i64,
        /// When it was registered.
        create_time: Timestamp,
        /// When it was last changed.
        update_time: Timestamp,
    },
}

impl RecordKind {
    const WORDS: [(Self, &str); 5] = [
        (Self::Number, "number"),
        (Self::Caller, "caller"),
        (Self::TenantKey, "tenant-key"),
        (Self::DigestKey, "digest-key"),
        (Self::RootKey, "root-key"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }
}

impl RecordKey {
    /// Of this kind and name.
    pub fn of(kind: RecordKind, name: &str) -> Self {
        Self { kind, name: name.into() }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.word(), self.name)
    }
}

impl Place {
    /// The kind and the row, so that no two places look alike.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Outbox(id) => [b"outbox/", &id.as_bytes()[..]].concat(),
            Self::Record(key, version) => {
                [b"record/", key.kind.word().as_bytes(), b"/", key.name.as_bytes(), b"/", &version.to_be_bytes()]
                    .concat()
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outbox(id) => write!(f, "outbox/{id}"),
            Self::Record(key, _) => key.fmt(f),
        }
    }
}
