//! The queue: stored messages are leased, attempted and settled until each is decided.
//!
//! One dispatcher for each number takes leases as fast as the gate gives leave. What an attempt means for its message is
//! decided in [`hand_off`]; what has waited too long is taken out by [`expiry`].

mod dispatch;
mod expiry;
mod hand_off;
mod wakers;

use std::{sync::Arc, time::Duration};

pub(super) use self::wakers::Wakers;
use super::{Backoff, Messaging};
use crate::keys::for_each;

/// How long to wait after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// How queued messages are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// How many are handed over at once, over all numbers.
    pub in_flight: usize,
    /// How long one is tried, unless its own `deliver_until` comes first.
    pub max_age: Duration,
    /// The waits between its attempts.
    pub backoff: Backoff,
    /// How long a lease lasts. Longer than any call of Pilot Status.
    pub lease: Duration,
}

impl Default for QueueOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            in_flight: 64,
            max_age: seconds(24 * 3600),
            backoff: Backoff { first: seconds(1), longest: seconds(300) },
            lease: seconds(120),
        }
    }
}

impl Messaging {
    /// Starts to hand over what the queue holds and what comes in, until the gateway drains.
    pub fn run_queue(&self) {
        let messaging = self.clone();
        let dispatch = move |number| messaging.clone().dispatch(number);
        self.tasks.spawn(for_each(Arc::clone(&self.keys), self.draining.clone(), dispatch));
        self.tasks.spawn(self.clone().expire_overdue());
    }
}
