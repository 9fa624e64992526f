//! The durable store: what every store promises, and what SQLite promises besides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod conformance;
mod batch;
mod custody;
mod custody_kill;
mod directory;
mod fixtures;
mod kill;
mod likeness;
mod model;
mod outbox;
mod refusal;
mod trim;

use std::sync::Arc;

use async_trait::async_trait;
use pilotgate::store::{self, Options, Store};
use tempfile::TempDir;

use self::conformance::Backend;

/// SQLite in a directory that goes when it is dropped.
struct Sqlite {
    place: TempDir,
    options: Options,
}

impl Sqlite {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let options = Options::at(place.path());
        Self { place, options }
    }

    /// Every read goes to the file, one after the other, and every write has a commit of its own.
    fn without_sharing() -> Self {
        let Self { place, options } = Self::new();
        Self { place, options: Options { commit_batch: 1, readers: 1, recent: 1, ..options } }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        store::open(self.options.clone()).await.unwrap()
    }
}

mod sqlite {
    conformance!(crate::Sqlite::new());
}

mod sqlite_without_sharing {
    conformance!(crate::Sqlite::without_sharing());
}
