//! Custody of the root key: which keys are known, changing the current one, sealing anew what is under earlier ones.
//!
//! An earlier root key is a record, sealed under the present one, for as long as anything is sealed under it. So the present
//! key alone opens everything, whenever the process ends.

mod opening;
mod resealing;
mod rotation;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{sync::Notify, time::Instant};

pub use self::opening::OpenVaultError;
use super::AdminError;
use crate::{
    domain::{
        record::{Place, RecordKey, RecordKind},
        sources::Sources,
    },
    identity::{Acting, ViewVault},
    store::{Record, Store},
    vault::{KeyId, RootKeySource, UnsealError, Vault},
};

/// How many unreadable places are named.
const NAMED: usize = 100;

/// How many bodies under one key are looked at for that.
const LOOKED_AT: usize = 1000;

/// Keeps the root keys. Clones are the same.
#[derive(Clone)]
pub struct Custody(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    vault: Vault,
    source: RootKeySource,
    sources: Sources,
    /// Held by who changes which keys there are.
    turn: tokio::sync::Mutex<()>,
    /// There is something to seal anew.
    wake: Notify,
    seen: Mutex<Seen>,
}

/// What this process has seen.
struct Seen {
    /// When it began.
    opened: Instant,
    /// Places under an earlier key that cannot be read, so that they are not tried for ever.
    unreadable: HashMap<Place, KeyId>,
    /// When a key was replaced.
    replaced: HashMap<KeyId, Instant>,
}

/// How the vault stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultState {
    /// The key that is sealed under.
    pub current: KeyId,
    /// Where that one comes from.
    pub origin: Origin,
    /// What is sealed under which key, the current one first.
    pub keys: Vec<KeyUse>,
    /// Whether something is still to be sealed anew.
    pub resealing: bool,
    /// What cannot be read, at most 100 places.
    pub unreadable: Vec<Unreadable>,
}

/// Where the root key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The gateway makes it and keeps it in the data directory.
    Kept,
    /// A file or command gives it, and may give another one later.
    Read,
    /// The environment or the configuration gives it, once.
    Fixed,
}

/// What is sealed under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Names it.
    pub id: KeyId,
    /// Whether it can be opened.
    pub known: bool,
    /// Records.
    pub records: u64,
    /// Bodies of queued messages.
    pub bodies: u64,
}

/// A place that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which.
    pub place: Place,
    /// Why not.
    pub error: UnsealError,
}

impl Custody {
    /// The vault under these keys.
    pub fn vault(&self) -> &Vault {
        &self.0.vault
    }

    /// How the vault stands. Reads every record, and of the bodies under each key the first thousand.
    pub async fn status(&self, _proof: &Acting<ViewVault>) -> Result<VaultState, AdminError> {
        self.state().await
    }

    async fn state(&self) -> Result<VaultState, AdminError> {
        let Inner { store, vault, source, .. } = &*self.0;
        let current = vault.current();
        let mut keys = vec![KeyUse { id: current, known: true, records: 0, bodies: 0 }];
        for count in store.seal_counts().await? {
            let id = KeyId(count.key_id);
            let used = KeyUse { id, known: vault.knows(id), records: count.records, bodies: count.bodies };
            match keys.iter_mut().find(|key| key.id == id) {
                Some(key) => *key = used,
                None => keys.push(used),
            }
        }
        let mut unreadable: Vec<_> = store.records().await?.iter().filter_map(|record| self.trouble(record)).collect();
        for key in keys.iter().filter(|key| key.bodies > 0) {
            let looked_at = if key.known { LOOKED_AT } else { NAMED };
            // Records come first, and were looked at.
            let limit = usize::try_from(key.records).unwrap_or(usize::MAX).saturating_add(looked_at);
            let places = store.sealed_under(key.id.0, limit).await?;
            let bodies = places.into_iter().filter(|(place, _)| matches!(place, Place::Outbox(_)));
            unreadable.extend(bodies.filter_map(|(place, sealed)| {
                vault.unseal(&place, &sealed).err().map(|error| Unreadable { place, error })
            }));
        }
        unreadable.truncate(NAMED);
        let seen = self.seen();
        let resealing = keys.iter().filter(|key| key.known && key.id != current).any(|key| {
            let given_up = seen.unreadable.values().filter(|id| **id == key.id).count();
            key.records + key.bodies > given_up as u64
        });
        Ok(VaultState { current, origin: Origin::of(source), keys, resealing, unreadable })
    }

    fn trouble(&self, record: &Record) -> Option<Unreadable> {
        let place = place(record);
        let error = self.0.vault.unseal(&place, &record.sealed).err()?;
        Some(Unreadable { place, error })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn begun() -> Self {
        Self { opened: Instant::now(), unreadable: HashMap::new(), replaced: HashMap::new() }
    }
}

impl Origin {
    fn of(source: &RootKeySource) -> Self {
        match source {
            RootKeySource::Kept(_) => Self::Kept,
            RootKeySource::Given(given) if given.again.is_some() => Self::Read,
            RootKeySource::Given(_) => Self::Fixed,
        }
    }
}

fn place(record: &Record) -> Place {
    Place::Record(record.key.clone(), record.version)
}

/// The record in which an earlier root key is kept.
fn record_of(id: KeyId) -> RecordKey {
    RecordKey::of(RecordKind::RootKey, &id.to_string())
}
