//! Records: sealed whole, changed only by who names the version it has seen.

use std::{fmt, str::FromStr, sync::Arc};

use zeroize::Zeroizing;

use crate::{
    domain::{
        Invalid,
        principal::AdminRight,
        record::{Place, RecordKey},
        sources::Sources,
    },
    store::{Change, Changed, Record, Store, StoreError},
    vault::{UnsealError, Vault},
};

/// Seals, reads and changes records.
#[derive(Clone)]
pub struct Records {
    store: Arc<dyn Store>,
    vault: Vault,
    sources: Sources,
}

/// The version of a record as its reader sees it. Never the same again, also when a record of the same name is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Etag(pub i64);

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl FromStr for Etag {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let version = i64::from_str_radix(text, 16);
        version.map(Self).map_err(|_| Invalid::because("must be the etag of an earlier answer"))
    }
}

/// Why an act of administration was not done. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is none of that name.
    #[error("{0} does not exist")]
    NotFound(String),
    /// There is one of that name.
    #[error("{0} exists already")]
    Exists(String),
    /// It was changed since the etag was read.
    #[error("{0} was changed meanwhile")]
    Changed(String),
    /// The configuration declares it and alone can change it.
    #[error("{0} is declared in the configuration")]
    Declared(String),
    /// A word, path or credential stands for another one.
    #[error("{0}")]
    Taken(String),
    /// It cannot be done in this state.
    #[error("{0}")]
    NotNow(String),
    /// The record cannot be read: it is damaged, was tampered with, or is sealed under another root key.
    #[error("the record of {0} cannot be read: {1}")]
    Unreadable(String, UnsealError),
    /// Whoever acts has lost the right to it while the act waited.
    #[error("the right {0} was lost meanwhile")]
    Lost(AdminRight),
    /// Nobody gives a right that it does not hold.
    #[error("the right {0} is not yours to give")]
    Beyond(AdminRight),
    /// Pilot Status does not accept the number's key.
    #[error("pilot status does not accept the key")]
    KeyRefused,
    /// Pilot Status refused, with this HTTP status and text.
    #[error("pilot status refused: {1}")]
    Refused(u16, String),
    /// Pilot Status did not answer, so that nothing is known of what became of it.
    #[error("pilot status did not answer: {0}")]
    Unavailable(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Records {
    pub(super) const fn new(store: Arc<dyn Store>, vault: Vault, sources: Sources) -> Self {
        Self { store, vault, sources }
    }

    /// A record that says this and replaces the one with that version; with the version that it replaces.
    pub(crate) fn sealed(
        &self,
        key: RecordKey,
        replaces: Option<i64>,
        bytes: &[u8],
    ) -> Result<(Record, Option<i64>), AdminError> {
        let version = self.sources.now().as_microsecond().max(replaces.map_or(0, |version| version + 1));
        let sealed = self.vault.seal(&Place::Record(key.clone(), version), bytes);
        let sealed = sealed.map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok((Record { key, version, sealed }, replaces))
    }

    /// What a record says.
    pub(crate) fn opened(&self, record: &Record) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        self.vault.unseal(&Place::Record(record.key.clone(), record.version), &record.sealed)
    }

    /// Makes a change that was prepared against these versions.
    pub(crate) async fn change(&self, change: Change) -> Result<(), AdminError> {
        match self.store.change(change).await? {
            Changed::Done => Ok(()),
            Changed::Conflict(key) => Err(AdminError::Changed(key.to_string())),
        }
    }
}
