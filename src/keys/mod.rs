//! The key ring: which numbers are registered, and each one's key.
//!
//! The only way from a number's name to its key. Keys go from here into a request header and nowhere else. What is
//! registered may change at any time: whoever looks gets what stands now, and [`KeyRing::changes`] tells that something
//! else does.
//!
//! **Use and change of a key.** Whoever calls Pilot Status with a number's key holds an [`InUse`] for as long as the call
//! lasts. Whoever changes the key holds an [`Exclusive`], which waits until no call is under way with the old key and keeps
//! others waiting until the new one stands. So a change of the key costs a send some time and nothing else.

mod number;
mod ring;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

pub use self::number::{KeyState, Number, Pacing, Rotation, WebhookDoor};
use self::ring::Ring;
pub use crate::domain::record::Source;
use crate::domain::{
    ids::NumberName,
    secret::{NumberKey, TenantKey},
};

/// The registered numbers. Changes are seen by all who hold it.
#[derive(Debug)]
pub struct KeyRing {
    ring: ArcSwap<Ring>,
    /// One for each number that was ever used, so that it outlives a change of the number.
    locks: Mutex<HashMap<NumberName, Arc<RwLock<()>>>>,
    /// Changes are made one at a time.
    changing: Mutex<()>,
    changes: watch::Sender<u64>,
}

/// A number whose key is in use, and does not change meanwhile.
#[derive(Debug)]
pub struct InUse {
    number: Arc<Number>,
    #[expect(dead_code, reason = "held, never read")]
    guard: OwnedRwLockReadGuard<()>,
}

/// The right to change a number's key: no call is under way with it, and none begins.
#[derive(Debug)]
pub struct Exclusive {
    name: NumberName,
    #[expect(dead_code, reason = "held, never read")]
    guard: OwnedRwLockWriteGuard<()>,
}

/// A name, id, phone or webhook path already stands for another number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} already stands for number {other}")]
pub struct Taken {
    /// What; never the path itself.
    pub what: String,
    /// For which number.
    pub other: NumberName,
}

impl KeyRing {
    /// Takes the numbers. That no name, id, phone or path token stands for two of them was checked by the configuration.
    pub fn of(numbers: Vec<Number>, tenant_key: Option<TenantKey>) -> Self {
        Self {
            ring: ArcSwap::from_pointee(Ring::of(numbers.into_iter().map(Arc::new), tenant_key)),
            locks: Mutex::default(),
            changing: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// The number with this name.
    pub fn get(&self, name: &NumberName) -> Option<Arc<Number>> {
        self.ring.load().get(name).cloned()
    }

    /// The name of the number that a caller means by its name, its upstream id or its phone.
    pub fn find(&self, word: &str) -> Option<NumberName> {
        self.ring.load().find(word)
    }

    /// All numbers, in the order of their names.
    pub fn all(&self) -> Vec<Arc<Number>> {
        self.ring.load().all()
    }

    /// The names of all numbers, in order.
    pub fn names(&self) -> Vec<NumberName> {
        self.all().iter().map(|number| number.name.clone()).collect()
    }

    /// The number whose webhooks come in at this path. The lookup goes by hash, so its timing helps no one to guess.
    pub fn behind(&self, path_token: &str) -> Option<Arc<Number>> {
        self.ring.load().behind(path_token).cloned()
    }

    /// The account-wide key.
    pub fn tenant_key(&self) -> Option<TenantKey> {
        self.ring.load().tenant_key().cloned()
    }

    /// The key under which a number's webhook is managed: the account-wide one, which needs to be told the number's upstream
    /// id as well, or if either is unknown the number's own.
    pub fn managing(&self, number: &Number) -> (NumberKey, Option<String>) {
        match (self.tenant_key(), &number.upstream_id) {
            (Some(key), Some(id)) => (key.as_key().clone(), Some(id.clone())),
            _ => (number.key.clone(), None),
        }
    }

    /// Counts the changes. It may skip values; it is a hint to look.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The number with its key for a call, if the key is not being changed right now. `None` also if there is no such
    /// number.
    pub fn use_now(&self, name: &NumberName) -> Option<InUse> {
        let guard = self.lock(name).try_read_owned().ok()?;
        // Looked up under the guard: what is read now does not change before the guard goes.
        Some(InUse { number: self.get(name)?, guard })
    }

    /// The same, waiting for a change of the key to end. `None` if there is no such number.
    pub async fn use_in_time(&self, name: &NumberName) -> Option<InUse> {
        let guard = self.lock(name).read_owned().await;
        Some(InUse { number: self.get(name)?, guard })
    }

    /// Waits until nobody uses the number's key, and keeps others from it until the answer is dropped.
    pub async fn exclusive(&self, name: &NumberName) -> Exclusive {
        Exclusive { name: name.clone(), guard: self.lock(name).write_owned().await }
    }

    /// Registers a number, or changes it. Its key may be another one only under the right to that.
    pub fn put(&self, number: Number, _right: &Exclusive) -> Result<(), Taken> {
        self.swap(|ring| ring.with(Arc::new(number)))
    }

    /// Takes a number out.
    pub fn remove(&self, right: &Exclusive) {
        // Nothing can be taken by what goes.
        let _ = self.swap(|ring| Ok(ring.without(&right.name)));
    }

    /// Puts the account-wide key in place, or takes it out.
    pub fn set_tenant_key(&self, key: Option<TenantKey>) {
        let _ = self.swap(|ring| Ok(Ring::of(ring.all(), key)));
    }

    /// Whether the number could be put, without putting it.
    pub fn check(&self, number: &Number) -> Result<(), Taken> {
        self.ring.load().check(number)
    }

    fn swap(&self, change: impl FnOnce(&Ring) -> Result<Ring, Taken>) -> Result<(), Taken> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&self.ring.load())?;
        self.ring.store(Arc::new(changed));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn lock(&self, name: &NumberName) -> Arc<RwLock<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        match locks.get(name) {
            Some(lock) => Arc::clone(lock),
            None => Arc::clone(locks.entry(name.clone()).or_default()),
        }
    }
}

impl InUse {
    /// The number as it stands while the key is in use.
    pub const fn number(&self) -> &Arc<Number> {
        &self.number
    }

    /// Its key.
    pub fn key(&self) -> &NumberKey {
        &self.number.key
    }
}

impl Exclusive {
    /// Whose.
    pub const fn name(&self) -> &NumberName {
        &self.name
    }
}
