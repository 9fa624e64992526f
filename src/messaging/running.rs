//! Attempts that run in this process, so that a repeated call can wait for the first one instead of calling again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::outcome::Ended;
use crate::domain::ids::MessageId;

/// The attempts of this process, by message, each with those who wait for its end. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashMap<MessageId, Vec<oneshot::Sender<Ended>>>>>);

/// Tells how an attempt ended; an error if nothing is told of it.
pub(super) type Receiver = oneshot::Receiver<Ended>;

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
}

impl Running {
    /// Begins an attempt, or finds the one that runs.
    pub(super) fn enter(&self, id: MessageId) -> Entry {
        let mut attempts = self.lock();
        match attempts.get_mut(&id) {
            Some(waiting) => Entry::Theirs(wait(waiting)),
            None => {
                attempts.insert(id, Vec::new());
                Entry::Mine(Guard { running: self.clone(), id })
            }
        }
    }

    /// The attempt that runs for this message, if one does.
    pub(super) fn find(&self, id: MessageId) -> Option<Receiver> {
        self.lock().get_mut(&id).map(wait)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Vec<oneshot::Sender<Ended>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait(waiting: &mut Vec<oneshot::Sender<Ended>>) -> Receiver {
    let (sender, receiver) = oneshot::channel();
    waiting.push(sender);
    receiver
}

impl Guard {
    /// Tells everyone who waits.
    pub(super) fn end(self, ended: &Ended) {
        // The entry goes with the guard, and only then does another attempt begin.
        let waiting = self.running.lock().get_mut(&self.id).map(std::mem::take).unwrap_or_default();
        for sender in waiting {
            // Whoever waited may have gone.
            let _ = sender.send(ended.clone());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messaging::SendError;

    #[tokio::test]
    async fn one_attempt_at_a_time_and_its_end_is_told_to_those_who_wait() {
        let (running, id) = (Running::default(), MessageId::from_uuid(uuid::Uuid::from_u128(1)));
        let Entry::Mine(first) = running.enter(id) else { panic!("nothing ran") };
        let Entry::Theirs(waiting) = running.enter(id) else { panic!("two at once") };
        first.end(&Err(SendError::InProgress(id)));
        assert_eq!(waiting.await, Ok(Err(SendError::InProgress(id))));

        let Entry::Mine(second) = running.enter(id) else { panic!("the first one has ended") };
        let Entry::Theirs(waiting) = running.enter(id) else { panic!("two at once") };
        drop(second);
        assert!(waiting.await.is_err(), "nothing is told of it");
        assert!(running.find(id).is_none());
    }
}
