//! A switch that opens after failures, and lets one probe at a time through once it has been open for a while.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// When it opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row that open it. At least 1.
    pub failures: u32,
    /// How long it is open at first; each failed probe doubles that...
    pub first_wait: Duration,
    /// ...up to this.
    pub longest_wait: Duration,
}

/// What whoever is turned away may be told while a probe runs: its answer is not known yet.
const PROBING: Duration = Duration::from_secs(1);

/// The switch. Clones share it.
#[derive(Clone)]
pub(super) struct Breaker(Arc<Shared>);

struct Shared {
    options: BreakerOptions,
    state: Mutex<State>,
    /// Told whenever it closes.
    closed: Notify,
}

#[derive(Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, wait: Duration },
    Probing { wait: Duration },
}

/// Leave to go through.
pub(super) struct Pass {
    probe: Option<Arc<Shared>>,
}

impl Breaker {
    pub(super) fn new(options: BreakerOptions) -> Self {
        let state = Mutex::new(State::Closed { failures: 0 });
        Self(Arc::new(Shared { options, state, closed: Notify::new() }))
    }

    /// Leave to go through, or how long to wait before asking again.
    pub(super) fn pass(&self) -> Result<Pass, Duration> {
        let now = Instant::now();
        let mut state = self.0.lock();
        match *state {
            State::Closed { .. } => Ok(Pass { probe: None }),
            State::Open { until, .. } if now < until => Err(until - now),
            State::Open { wait, .. } => {
                *state = State::Probing { wait };
                Ok(Pass { probe: Some(Arc::clone(&self.0)) })
            }
            State::Probing { .. } => Err(PROBING),
        }
    }

    /// The other side answers as it should.
    pub(super) fn succeed(&self) {
        let before = std::mem::replace(&mut *self.0.lock(), State::Closed { failures: 0 });
        if !matches!(before, State::Closed { .. }) {
            self.0.closed.notify_waiters();
        }
    }

    /// It does not; `hint` is how long it asks to be left alone. True if that opened the switch.
    pub(super) fn fail(&self, hint: Option<Duration>) -> bool {
        let options = self.0.options;
        let mut state = self.0.lock();
        let wait = match *state {
            State::Closed { failures } if failures + 1 < options.failures => {
                *state = State::Closed { failures: failures + 1 };
                return false;
            }
            State::Closed { .. } => options.first_wait,
            State::Probing { wait } => wait.saturating_mul(2).min(options.longest_wait),
            // A call that began before it opened.
            State::Open { .. } => return false,
        };
        let until = Instant::now() + hint.unwrap_or_default().max(wait).min(options.longest_wait.max(wait));
        *state = State::Open { until, wait };
        true
    }

    /// Waits until it closes.
    pub(super) async fn closed(&self) {
        let closed = self.0.closed.notified();
        if matches!(*self.0.lock(), State::Closed { .. }) {
            return;
        }
        closed.await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked had replaced the state as a whole or not at all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    /// A probe that was not made leaves room for another one.
    fn drop(&mut self) {
        let Some(shared) = &self.probe else { return };
        let mut state = shared.lock();
        if let State::Probing { wait } = *state {
            *state = State::Open { until: Instant::now(), wait };
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn breaker() -> Breaker {
        let options =
            BreakerOptions { failures: 3, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(4) };
        Breaker::new(options)
    }

    fn open(breaker: &Breaker) {
        for opens in [false, false, true] {
            assert_eq!(breaker.fail(None), opens);
        }
    }

    fn wait(breaker: &Breaker) -> Option<Duration> {
        breaker.pass().err()
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_only() {
        let breaker = breaker();
        for _ in 0..5 {
            breaker.fail(None);
            breaker.fail(None);
            breaker.succeed();
        }
        assert_eq!(wait(&breaker), None);
        open(&breaker);
        assert_eq!(wait(&breaker), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_and_each_failure_doubles_the_wait() {
        let breaker = breaker();
        open(&breaker);
        for seconds in [2, 4, 4] {
            advance(Duration::from_secs(4)).await;
            let probe = breaker.pass().unwrap();
            assert_eq!(wait(&breaker), Some(PROBING), "nobody else while a probe runs");
            assert!(breaker.fail(None));
            drop(probe);
            assert_eq!(wait(&breaker), Some(Duration::from_secs(seconds)));
        }
        advance(Duration::from_secs(4)).await;
        let probe = breaker.pass().unwrap();
        breaker.succeed();
        drop(probe);
        assert_eq!(wait(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_not_made_leaves_room_for_another() {
        let breaker = breaker();
        open(&breaker);
        advance(Duration::from_secs(1)).await;
        drop(breaker.pass().unwrap());
        assert_eq!(wait(&breaker), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_hears_of_its_closing() {
        let breaker = breaker();
        breaker.closed().await;
        open(&breaker);
        let waiting = tokio::spawn({
            let breaker = breaker.clone();
            async move { breaker.closed().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        breaker.succeed();
        waiting.await.unwrap();
    }
}
