//! The dispatcher of one number: a look, then leave, then leases, so that no leave is taken for nothing and nothing is leased
//! that cannot be attempted at once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::{
    super::{Messaging, after, gate::Leave},
    STORE_PAUSE,
};
use crate::{
    domain::ids::NumberName,
    store::{StoreError, Terms},
};

/// How many are leased at once.
const BATCH: usize = 32;

impl Messaging {
    /// Hands over what is due of a number, for as long as there is that number.
    pub(super) async fn dispatch(self, name: NumberName) {
        let bell = self.wakers.number(&name);
        while self.keys.get(&name).is_some() {
            match self.work_off(&name).await {
                Ok(next) => tokio::select! {
                    () = bell.notified() => {}
                    () = self.until(next) => {}
                },
                Err(error) => {
                    tracing::error!(number = %name, %error, "the queue could not be read");
                    sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    /// Leases and starts as long as something is due, and tells when there will be more.
    async fn work_off(&self, number: &NumberName) -> Result<Option<Timestamp>, StoreError> {
        // A look before leave is taken: leave for nothing would cost a direct send its turn.
        let mut next = self.store.lease(self.terms(number, 0)).await?.next;
        while next.is_some_and(|next| next <= self.sources.now()) {
            next = self.lease_and_start(number).await?;
        }
        Ok(next)
    }

    fn terms(&self, number: &NumberName, limit: usize) -> Terms {
        let at = self.sources.now();
        let until = after(at, self.options.queue.lease);
        Terms { number: number.clone(), at, until, replay: self.replay_window(), limit }
    }

    /// Leases what there is leave for and starts its attempts; tells when the next one is due.
    async fn lease_and_start(&self, number: &NumberName) -> Result<Option<Timestamp>, StoreError> {
        let Some((leave, place)) = self.leave_and_place(number).await? else { return Ok(None) };
        let (mut leaves, mut places) = (vec![leave], vec![place]);
        while leaves.len() < BATCH {
            let Ok(place) = Arc::clone(&self.queue_places).try_acquire_owned() else { break };
            let Ok(leave) = self.gate.pass_at_once(number) else { break };
            places.push(place);
            leaves.push(leave);
        }
        let terms = self.terms(number, leaves.len());
        // Not to be left half-way: what is leased has to be attempted, or it would wait for its lease to end.
        let messaging = self.clone();
        let started = self.tasks.spawn(async move {
            let leases = messaging.store.lease(terms).await?;
            for ((leased, leave), place) in leases.leased.into_iter().zip(leaves).zip(places) {
                // A lease that ended without an answer has changed that.
                messaging.wakers.expires(leased.expires);
                let messaging = messaging.clone();
                messaging.tasks.clone().spawn(async move {
                    messaging.hand_off(leased, leave).await;
                    drop::<OwnedSemaphorePermit>(place);
                });
            }
            Ok(leases.next)
        });
        started.await.unwrap_or(Err(StoreError::Unknown))
    }

    /// Waits for leave, and for a place among all that are handed over. Neither is held while waiting for the other: a
    /// number that is held back would keep a place from other numbers, and leave does not keep. `None` once there is no such
    /// number.
    async fn leave_and_place(&self, number: &NumberName) -> Result<Option<(Leave, OwnedSemaphorePermit)>, StoreError> {
        loop {
            let Some(leave) = self.gate.pass_in_time(number).await else { return Ok(None) };
            if let Ok(place) = Arc::clone(&self.queue_places).try_acquire_owned() {
                return Ok(Some((leave, place)));
            }
            drop(leave);
            let place = Arc::clone(&self.queue_places).acquire_owned().await;
            let place = place.map_err(|_| StoreError::Failed("the queue is closed".to_owned()))?;
            if let Ok(leave) = self.gate.pass_at_once(number) {
                return Ok(Some((leave, place)));
            }
        }
    }

    /// Waits until a time; for good if there is none.
    pub(super) async fn until(&self, time: Option<Timestamp>) {
        match time {
            Some(time) => {
                let wait = Duration::try_from(time.duration_since(self.sources.now())).unwrap_or_default();
                // No faster than this, whatever the store says.
                sleep(wait.max(Duration::from_millis(1))).await;
            }
            None => std::future::pending().await,
        }
    }
}
