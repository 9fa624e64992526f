//! Attempts that run in this process, so that a repeated call can wait for the first one instead of calling again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::outcome::Ended;
use crate::domain::ids::MessageId;

/// The attempts of this process, by message.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<MessageId, Receiver>>>);

/// Tells how an attempt ended, once it has.
pub(super) type Receiver = watch::Receiver<Option<Ended>>;

/// What a repeated call found.
pub(super) enum Entry {
    /// Nothing ran: the attempt is the caller's to make, until the guard is dropped.
    Mine(Guard),
    /// An attempt runs.
    Theirs(Receiver),
}

/// Keeps a message's attempt to one at a time.
pub(super) struct Guard {
    running: Running,
    id: MessageId,
    ended: watch::Sender<Option<Ended>>,
}

impl Running {
    /// Begins an attempt, or finds the one that runs.
    pub(super) fn enter(&self, id: MessageId) -> Entry {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = map.get(&id) {
            return Entry::Theirs(receiver.clone());
        }
        let (ended, receiver) = watch::channel(None);
        map.insert(id, receiver);
        Entry::Mine(Guard { running: self.clone(), id, ended })
    }

    /// The attempt that runs for this message, if one does.
    pub(super) fn find(&self, id: MessageId) -> Option<Receiver> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }
}

impl Guard {
    /// Tells everyone who waits.
    pub(super) fn end(self, ended: &Ended) {
        self.ended.send_replace(Some(ended.clone()));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
