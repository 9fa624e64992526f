//! The pace at which a number is polled: so many calls a second, none while it is paused, and only what sends leave free.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    domain::ids::MessageId,
    upstream::{Slot, Upstream},
};

/// Looking for doubts may take this part of a number's calls.
const DOUBTS: f64 = 0.2;

/// How long to wait for a slot that is not taken by a send.
const SLOT_PAUSE: Duration = Duration::from_millis(20);

/// The pause after a call without an answer, doubled with each further one...
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// ...up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long no pages are read where they did not help.
const PAGES_SHUT: Duration = Duration::from_secs(600);

/// Messages at most whose unanswered reads are counted. Beyond, all are counted anew, which only reads them sooner.
const MOST_UNREAD: usize = 1000;

/// The pace of one number.
pub(in crate::tracking) struct Pace {
    state: Mutex<State>,
    /// Calls of all numbers together.
    places: Arc<Semaphore>,
}

/// Leave for one call.
pub(in crate::tracking) struct Pass {
    slot: Slot,
    _place: OwnedSemaphorePermit,
}

struct State {
    calls: Bucket,
    doubts: Bucket,
    paused: Instant,
    pages_shut: Instant,
    failures: u32,
    /// How often in a row the read of a message was not answered.
    unread: HashMap<MessageId, u32>,
}

/// Tokens that flow in at a rate, up to a number. What is taken beyond has to be waited for.
struct Bucket {
    per_second: f64,
    most: f64,
    tokens: f64,
    since: Instant,
}

impl Pace {
    pub(super) fn new(per_second: f64, places: Arc<Semaphore>) -> Self {
        let now = Instant::now();
        let bucket =
            |per_second: f64| Bucket { per_second, most: burst(per_second), tokens: burst(per_second), since: now };
        let state = State {
            calls: bucket(per_second),
            doubts: bucket(per_second * DOUBTS),
            paused: now,
            pages_shut: now,
            failures: 0,
            unread: HashMap::new(),
        };
        Self { state: Mutex::new(state), places }
    }

    /// Waits for leave to make one call.
    pub(in crate::tracking) async fn pass(&self, upstream: &Upstream) -> Pass {
        let turn = self.lock().calls.take();
        sleep_until(turn).await;
        loop {
            let paused = self.lock().paused;
            if paused > Instant::now() {
                sleep_until(paused).await;
                continue;
            }
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { std::future::pending().await };
            // A place that was waited for is of no use in a pause that has begun meanwhile.
            if self.lock().paused > Instant::now() {
                continue;
            }
            if let Some(slot) = upstream.free_slot() {
                return Pass { slot, _place: place };
            }
            drop(place);
            sleep(SLOT_PAUSE).await;
        }
    }

    /// Whether there is leave to look for a doubt now.
    pub(super) fn doubt(&self) -> bool {
        let doubts = &mut self.lock().doubts;
        let is_free = doubts.next() <= Instant::now();
        if is_free {
            doubts.take();
        }
        is_free
    }

    /// The time from one doubt to the next.
    pub(super) fn doubt_gap(&self) -> Duration {
        let per_second = self.lock().doubts.per_second;
        Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(Duration::MAX)
    }

    /// Makes no calls for this long.
    pub(super) fn pause(&self, span: Duration) {
        let mut state = self.lock();
        state.paused = state.paused.max(Instant::now() + span);
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        self.lock().failures = 0;
    }

    /// A call was not: makes none for a while, longer each time.
    pub(super) fn unanswered(&self) {
        let mut state = self.lock();
        let pause = FIRST_PAUSE.saturating_mul(1 << state.failures.min(16)).min(LONGEST_PAUSE);
        state.failures = state.failures.saturating_add(1);
        state.paused = state.paused.max(Instant::now() + pause);
    }

    /// The read of this message was not answered. Returns how often that was so in a row.
    pub(super) fn unread(&self, id: MessageId) -> u32 {
        let unread = &mut self.lock().unread;
        if unread.len() >= MOST_UNREAD && !unread.contains_key(&id) {
            unread.clear();
        }
        let times = unread.entry(id).or_default();
        *times = times.saturating_add(1);
        *times
    }

    /// It was.
    pub(super) fn read(&self, id: MessageId) {
        self.lock().unread.remove(&id);
    }

    /// Pages did not help.
    pub(super) fn shut_pages(&self) {
        self.lock().pages_shut = Instant::now() + PAGES_SHUT;
    }

    /// Whether pages may help.
    pub(super) fn reads_pages(&self) -> bool {
        self.lock().pages_shut <= Instant::now()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    pub(in crate::tracking) const fn slot(&self) -> &Slot {
        &self.slot
    }
}

/// So many calls may be made at once after a quiet time: those of one second.
fn burst(per_second: f64) -> f64 {
    per_second.ceil().max(1.0)
}

impl Bucket {
    /// Takes a token and tells when it is there.
    fn take(&mut self) -> Instant {
        let turn = self.next();
        self.tokens -= 1.0;
        turn
    }

    /// When the next token is there.
    fn next(&mut self) -> Instant {
        let now = Instant::now();
        let flown = now.duration_since(self.since).as_secs_f64() * self.per_second;
        (self.tokens, self.since) = ((self.tokens + flown).min(self.most), now);
        let missing = (1.0 - self.tokens).max(0.0);
        now + Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_second: f64) -> Pace {
        Pace::new(per_second, Arc::new(Semaphore::new(2)))
    }

    fn upstream(slots: usize) -> Upstream {
        let second = Duration::from_secs(1);
        let options = crate::upstream::Options {
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            timeout: second,
            connect_timeout: second,
            max_in_flight: slots,
            idle_timeout: second,
        };
        Upstream::open(&options).unwrap()
    }

    async fn passed(pace: &Pace, upstream: &Upstream, count: usize) -> Vec<u128> {
        let began = Instant::now();
        let mut after = Vec::new();
        for _ in 0..count {
            drop(pace.pass(upstream).await);
            after.push(began.elapsed().as_millis());
        }
        after
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_the_rate() {
        let (pace, upstream) = (pace(4.0), upstream(8));
        assert_eq!(passed(&pace, &upstream, 7).await, [0, 0, 0, 0, 250, 500, 750]);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(passed(&pace, &upstream, 6).await, [0, 0, 0, 0, 250, 500], "no more is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_waited_for_and_grows_while_nothing_answers() {
        let (pace, upstream) = (pace(100.0), upstream(8));
        pace.pause(Duration::from_secs(7));
        pace.pause(Duration::from_secs(3));
        assert_eq!(passed(&pace, &upstream, 1).await, [7_000]);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.unanswered();
            pauses.push(passed(&pace, &upstream, 1).await[0] / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.answered();
        pace.unanswered();
        assert_eq!(passed(&pace, &upstream, 1).await, [1_000]);
    }

    #[tokio::test]
    async fn reads_without_an_answer_are_counted_by_message_and_in_a_row() {
        let pace = pace(5.0);
        let id = |n| MessageId::from_uuid(uuid::Uuid::from_u128(n));
        assert_eq!([1, 1, 2, 1].map(|n| pace.unread(id(n))), [1, 2, 1, 3]);
        pace.read(id(1));
        assert_eq!([1, 2].map(|n| pace.unread(id(n))), [1, 2]);
        for n in 3..5 * MOST_UNREAD as u128 {
            pace.unread(id(n));
        }
        assert!(pace.lock().unread.len() <= MOST_UNREAD);
    }

    #[tokio::test(start_paused = true)]
    async fn neither_a_slot_that_a_send_holds_nor_a_place_that_others_hold_is_taken() {
        let (pace, upstream) = (pace(100.0), upstream(1));
        let sending = upstream.free_slot().unwrap();
        let waiting = async { tokio::time::timeout(Duration::from_secs(5), pace.pass(&upstream)).await };
        assert!(waiting.await.is_err());
        drop(sending);
        drop(pace.pass(&upstream).await);
        let others = Arc::clone(&pace.places).acquire_many_owned(2).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_secs(5), pace.pass(&upstream)).await.is_err());
        assert!(upstream.free_slot().is_some(), "and no slot is held while waiting for a place");
        drop(others);
        assert!(tokio::time::timeout(Duration::from_secs(5), pace.pass(&upstream)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn doubts_have_a_part_of_the_rate_and_pages_a_rest_where_they_do_not_help() {
        let pace = pace(5.0);
        assert_eq!((pace.doubt(), pace.doubt()), (true, false));
        assert_eq!(pace.doubt_gap(), Duration::from_secs(1));
        sleep(Duration::from_millis(1_001)).await;
        assert_eq!((pace.doubt(), pace.doubt()), (true, false));
        assert!(pace.reads_pages());
        pace.shut_pages();
        assert!(!pace.reads_pages());
        sleep(PAGES_SHUT).await;
        assert!(pace.reads_pages());
    }
}
