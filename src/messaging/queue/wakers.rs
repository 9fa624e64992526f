//! Who is told that there is something to do.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::domain::ids::NumberName;

/// The bells of the dispatchers and of the expiry. Clones share them.
#[derive(Clone, Default)]
pub(in crate::messaging) struct Wakers(Arc<Bells>);

#[derive(Default)]
struct Bells {
    numbers: Mutex<HashMap<NumberName, Arc<Notify>>>,
    expiry: Notify,
    /// When the expiry looks again by itself, in microseconds since 1970; the maximum until it knows.
    expiry_looks_at: AtomicI64,
}

impl Wakers {
    /// A message was added to the outbox.
    pub(in crate::messaging) fn added(&self, number: &NumberName, expires: Timestamp) {
        self.number(number).notify_one();
        if expires.as_microsecond() < self.0.expiry_looks_at.load(Ordering::Acquire) {
            self.0.expiry.notify_one();
        }
    }

    /// The bell of a number's dispatcher. Rung while nobody listens, it is heard by who listens next.
    pub(super) fn number(&self, number: &NumberName) -> Arc<Notify> {
        let mut numbers = self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = numbers.get(number) {
            return Arc::clone(bell);
        }
        Arc::clone(numbers.entry(number.clone()).or_default())
    }

    /// Waits for a message that expires before `next`.
    pub(super) async fn earlier_expiry(&self, next: Timestamp) {
        self.0.expiry_looks_at.store(next.as_microsecond(), Ordering::Release);
        self.0.expiry.notified().await;
    }
}
