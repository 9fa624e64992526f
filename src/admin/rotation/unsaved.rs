//! New keys that could not be written down yet. They are not used, and not forgotten either.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::{
    domain::{ids::NumberName, secret::NumberKey},
    keys::Number,
};

/// By number, each with when the change began that it came from. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::admin) struct Unsaved(Arc<Mutex<HashMap<NumberName, (Timestamp, NumberKey)>>>);

impl Unsaved {
    /// Holds the key that the change of a number that is under way has brought.
    pub(super) fn hold(&self, number: &Number, key: NumberKey) {
        if let Some(rotation) = &number.rotation {
            self.keys().insert(number.name.clone(), (rotation.begun, key));
        }
    }

    /// The key that the change has brought which the number is in.
    pub(super) fn of(&self, number: &Number) -> Option<NumberKey> {
        let begun = number.rotation.as_ref()?.begun;
        self.keys().get(&number.name).filter(|(held, _)| *held == begun).map(|(_, key)| key.clone())
    }

    /// The number's key is known otherwise.
    pub(super) fn let_go(&self, name: &NumberName) {
        self.keys().remove(name);
    }

    /// Whether a key of this number is held.
    pub(super) fn holds(&self, name: &NumberName) -> bool {
        self.keys().contains_key(name)
    }

    /// The numbers of which one is held.
    pub(super) fn names(&self) -> Vec<NumberName> {
        self.keys().keys().cloned().collect()
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<NumberName, (Timestamp, NumberKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
