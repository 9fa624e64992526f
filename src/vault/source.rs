//! Where the root key comes from, and where a new one will come from.

use std::{fmt, path::PathBuf, sync::Arc};

use super::{RootKey, RootKeyError};
use crate::domain::sources::Sources;

/// Where the root key comes from.
#[derive(Clone)]
pub enum RootKeySource {
    /// The gateway makes it and keeps it in this file.
    Kept(PathBuf),
    /// Somebody else keeps it.
    Given(Given),
}

/// A root key that somebody else keeps.
#[derive(Clone)]
pub struct Given {
    /// As it was at the start.
    pub key: RootKey,
    /// Reads it again; `None` if it cannot be another one as long as the process runs.
    pub again: Option<Arc<ReadAgain>>,
}

/// Reads a root key. It may take seconds.
pub type ReadAgain = dyn Fn() -> Result<RootKey, RootKeyError> + Send + Sync;

/// The root keys that the configuration tells of.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The present one; `None`: it is kept in the data directory.
    pub given: Option<Given>,
    /// Earlier ones.
    pub previous: Vec<RootKey>,
}

impl RootKeySource {
    /// The key at the start.
    pub fn first(&self, sources: &Sources) -> Result<RootKey, RootKeyError> {
        match self {
            Self::Kept(path) => RootKey::kept_in(path, sources),
            Self::Given(given) => Ok(given.key.clone()),
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(..)")
    }
}

impl fmt::Debug for RootKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(path) => f.debug_tuple("Kept").field(path).finish(),
            Self::Given(given) => given.fmt(f),
        }
    }
}
