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
    /// When the expiry looks again by itself, in microseconds since 1970; the maximum while it is looking.
    expiry_looks_at: AtomicI64,
}

impl Wakers {
    /// A message was added to the outbox.
    pub(in crate::messaging) fn added(&self, number: &NumberName, expires: Timestamp) {
        self.due(number);
        self.expires(expires);
    }

    /// A message may expire earlier than the expiry knows.
    pub(super) fn expires(&self, expires: Timestamp) {
        if expires.as_microsecond() < self.0.expiry_looks_at.load(Ordering::Acquire) {
            self.0.expiry.notify_one();
        }
    }

    /// Something of the number may be due earlier than its dispatcher knows.
    pub(in crate::messaging) fn due(&self, number: &NumberName) {
        self.number(number).notify_one();
    }

    /// The bell of a number's dispatcher. Rung while nobody listens, it is heard by who listens next.
    pub(super) fn number(&self, number: &NumberName) -> Arc<Notify> {
        let mut numbers = self.0.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = numbers.get(number) {
            return Arc::clone(bell);
        }
        Arc::clone(numbers.entry(number.clone()).or_default())
    }

    /// The expiry looks. Of what is added from now on it may see nothing, so it is told.
    pub(super) fn expiry_looks(&self) {
        self.0.expiry_looks_at.store(i64::MAX, Ordering::Release);
    }

    /// Waits for a message that expires before `next` and was added since [`expiry_looks`](Self::expiry_looks).
    pub(super) async fn earlier_expiry(&self, next: Timestamp) {
        self.0.expiry_looks_at.store(next.as_microsecond(), Ordering::Release);
        self.0.expiry.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn what_is_added_while_the_expiry_looks_is_heard_afterwards() {
        let (wakers, number) = (Wakers::default(), NumberName::from_text("main").unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        wakers.expiry_looks();
        assert_eq!(wakers.earlier_expiry(at(10)).now_or_never(), None);
        wakers.added(&number, at(20));
        assert_eq!(wakers.earlier_expiry(at(10)).now_or_never(), None, "it looks by itself before that");
        wakers.expiry_looks();
        wakers.added(&number, at(20));
        assert_eq!(wakers.earlier_expiry(Timestamp::MAX).now_or_never(), Some(()));
        assert_eq!(wakers.earlier_expiry(at(30)).now_or_never(), None, "once");
        wakers.added(&number, at(20));
        assert_eq!(wakers.earlier_expiry(at(30)).now_or_never(), Some(()));
    }
}
