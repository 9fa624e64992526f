//! Who uses a number's key, and who changes it.
//!
//! A lock prefers those who change: once one waits, no further use begins. Whoever held one use and waited for another would
//! therefore wait for good, behind somebody who waits for the first. Nobody does: an [`InUse`] is the last thing that a call
//! takes before it goes out, and the first that it gives back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::Number;
use crate::domain::{ids::NumberName, secret::NumberKey};

/// One lock for each number that is registered, and for those that somebody uses or changes although they are not.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<NumberName, Arc<RwLock<()>>>>);

/// A number whose key is in use, and does not change meanwhile.
#[derive(Debug)]
pub struct InUse {
    pub(super) number: Arc<Number>,
    #[expect(dead_code, reason = "held, never read")]
    pub(super) guard: OwnedRwLockReadGuard<()>,
}

/// The right to change a number's key: no call is under way with it, and none begins.
#[derive(Debug)]
pub struct Exclusive {
    pub(super) name: NumberName,
    #[expect(dead_code, reason = "held, never read")]
    pub(super) guard: OwnedRwLockWriteGuard<()>,
}

/// Why a number's key cannot be used right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// There is no such number.
    #[error("there is no such number")]
    Absent,
    /// It is being changed, or whether it was changed is not known yet.
    #[error("the number's key is being changed")]
    Changing,
}

impl Locks {
    pub(super) fn of(&self, name: &NumberName) -> Arc<RwLock<()>> {
        let mut locks = self.lock();
        match locks.get(name) {
            Some(lock) => Arc::clone(lock),
            None => Arc::clone(locks.entry(name.clone()).or_default()),
        }
    }

    /// Forgets locks that nobody holds or waits for, but for those of numbers that are `kept`. Whoever takes one does so
    /// under the same mutex, so that there are never two for one number.
    pub(super) fn forget(&self, kept: impl Fn(&NumberName) -> bool) {
        self.lock().retain(|name, lock| kept(name) || Arc::strong_count(lock) > 1);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NumberName, Arc<RwLock<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Gives the key back, and tells which it was.
    pub fn into_generation(self) -> u32 {
        self.number.generation
    }
}

impl Exclusive {
    /// Whose.
    pub const fn name(&self) -> &NumberName {
        &self.name
    }
}
