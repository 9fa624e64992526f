//! The gateway's own webhooks at Pilot Status: registered at start, looked after from then on.
//!
//! Owns when each number's webhook is looked at, and what is known of it. Nothing waits for it: a gateway serves whether
//! its webhooks are registered or not. One call at a time, so that many numbers are no burst. Run by `server`.
//!
//! An address holds the path token, and neither a state, an error nor a log entry tells it.

mod check;
mod find;
mod missed;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::check::Known;
use super::Tracking;
use crate::{
    domain::{ids::NumberName, sources::Sources},
    keys::{KeyRing, Number},
    store::StoreError,
    upstream::{ReadError, Refusal, RefusalClass, Upstream},
};

/// The wait after a first failure, doubled after each further one up to the interval.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// How webhooks are kept registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often each number's webhook is looked at.
    pub check_interval: Duration,
    /// What is done about one that is not as it should be.
    pub on_drift: OnDrift,
    /// For how long an event is remembered that was taken in: what the log tells of before that is not taken.
    pub remembered: Duration,
}

/// What is done about a webhook that somebody else paused, changed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDrift {
    /// It is made as it was.
    Repair,
    /// It is left alone, and a warning tells of it.
    Report,
}

/// How a webhook differs from what the gateway wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drift {
    /// It was there before and is not there any more.
    Deleted,
    /// It is paused.
    Paused,
    /// It tells of other events.
    Events,
    /// It goes elsewhere.
    Address,
}

/// What is known of a number's webhook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookState {
    /// Its id at Pilot Status, once it is known.
    pub id: Option<String>,
    /// When it was last looked at with success.
    pub checked_at: Option<Timestamp>,
    /// How it differed then, what was repaired left out.
    pub drift: Vec<Drift>,
    /// Ids of further webhooks that look like the gateway's own; they are left alone.
    pub others: Vec<String>,
    /// Why the last look failed.
    pub error: Option<RegistrationError>,
    /// How often it was registered or repaired.
    pub writes: u64,
    /// Events that were taken in from the log of its deliveries, be they known or not.
    pub taken: u64,
}

/// Why a webhook could not be looked after.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// The key, be it the number's or the account-wide one, is not accepted.
    #[error("the key is refused: {0}")]
    KeyRefused(Refusal),
    /// The key is accepted, but not for this.
    #[error("the key may not manage webhooks: {0}")]
    Forbidden(Refusal),
    /// Pilot Status cannot tell which number is meant, or does not know it.
    #[error("which number is meant is not understood, see its upstream_id: {0}")]
    Number(Refusal),
    /// The webhook, or all of them, was not found.
    #[error("not found: {0}")]
    NotFound(Refusal),
    /// Refused for another reason.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No answer, or none that could be read.
    #[error("no usable answer: {detail}")]
    Unavailable {
        /// For operators.
        detail: String,
    },
    /// What had been missed could not be recorded.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ReadError> for RegistrationError {
    fn from(error: ReadError) -> Self {
        let refusal = match error {
            ReadError::Refused(refusal) => refusal,
            ReadError::Unavailable { detail } => return Self::Unavailable { detail },
            ReadError::NotFound => return Self::Unavailable { detail: error.to_string() },
        };
        match (refusal.class, refusal.code.as_deref()) {
            (_, Some("NUMBER_REQUIRED" | "NUMBER_MISMATCH" | "NUMBER_NOT_FOUND")) => Self::Number(refusal),
            (RefusalClass::KeyRefused, _) => Self::KeyRefused(refusal),
            (RefusalClass::Forbidden | RefusalClass::Payment, _) => Self::Forbidden(refusal),
            (RefusalClass::NotFound, _) => Self::NotFound(refusal),
            (RefusalClass::Invalid | RefusalClass::Conflict | RefusalClass::Blocked | RefusalClass::RateLimited, _) => {
                Self::Refused(refusal)
            }
        }
    }
}

impl RegistrationError {
    /// How long Pilot Status asks to be left alone.
    const fn hint(&self) -> Option<Duration> {
        match self {
            Self::KeyRefused(refusal)
            | Self::Forbidden(refusal)
            | Self::Number(refusal)
            | Self::NotFound(refusal)
            | Self::Refused(refusal) => refusal.retry_after,
            Self::Unavailable { .. } | Self::Store(_) => None,
        }
    }
}

/// Looks after the webhooks of all numbers that have a door and an address for it.
#[derive(Clone)]
pub struct Registration(Arc<Shared>);

struct Shared {
    tracking: Tracking,
    upstream: Upstream,
    keys: Arc<KeyRing>,
    sources: Sources,
    options: Options,
    states: Mutex<BTreeMap<NumberName, HookState>>,
}

/// A number whose webhook is looked after.
struct Watched {
    number: NumberName,
    known: Known,
    due: Instant,
    failures: u32,
}

impl Registration {
    /// Puts the parts together.
    pub fn new(tracking: Tracking, upstream: Upstream, keys: Arc<KeyRing>, sources: Sources, options: Options) -> Self {
        let states = watched(&keys).map(|name| (name, HookState::default())).collect();
        Self(Arc::new(Shared { tracking, upstream, keys, sources, options, states: Mutex::new(states) }))
    }

    /// What is known of each number's webhook. Numbers whose webhooks the gateway does not register are not in it.
    pub fn state(&self) -> BTreeMap<NumberName, HookState> {
        self.0.states().clone()
    }

    /// Looks after them until `draining`, and then breaks off what it is doing: a webhook that was written without an answer
    /// is found by the next start.
    pub async fn run(self, draining: CancellationToken) {
        let mut changes = self.0.keys.changes();
        let mut all: Vec<Watched> = Vec::new();
        let work = async {
            loop {
                changes.borrow_and_update();
                self.0.follow(&mut all);
                let next = all.iter_mut().min_by_key(|watched| watched.due);
                // What has begun is not broken off by a change: the key of a number that goes is held until it has ended.
                let turn = async {
                    match next {
                        Some(next) => {
                            sleep_until(next.due).await;
                            next
                        }
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    next = turn => {
                        let wait = self.0.turn(next).await;
                        next.due = Instant::now() + wait;
                    }
                    _ = changes.changed() => {}
                }
            }
        };
        draining.run_until_cancelled(work).await;
    }
}

/// The numbers whose webhooks the gateway registers.
fn watched(keys: &KeyRing) -> impl Iterator<Item = NumberName> + use<> {
    let is_watched = |number: &Arc<Number>| number.webhook.as_ref().is_some_and(|door| door.url.is_some());
    keys.all().into_iter().filter(is_watched).map(|number| number.name.clone())
}

impl Shared {
    /// Begins to look after numbers that are new, and forgets those that have gone.
    fn follow(&self, all: &mut Vec<Watched>) {
        let names: BTreeSet<NumberName> = watched(&self.keys).collect();
        all.retain(|watched| names.contains(&watched.number));
        let mut states = self.states();
        states.retain(|name, _| names.contains(name));
        for number in names {
            if !all.iter().any(|watched| watched.number == number) {
                states.entry(number.clone()).or_default();
                all.push(Watched { number, known: Known::new(), due: Instant::now(), failures: 0 });
            }
        }
    }

    /// One look, and how long to wait for the next.
    async fn turn(&self, watched: &mut Watched) -> Duration {
        let name = &watched.number;
        let result = self.check(name, &mut watched.known).await;
        let before = self.change(name, |state| {
            if result.is_ok() {
                state.checked_at = Some(self.sources.now());
            }
            mem::replace(&mut state.error, result.as_ref().err().cloned())
        });
        let Err(error) = result else {
            watched.failures = 0;
            if before.is_some() {
                tracing::info!(number = %name, "the webhook could be looked after again");
            }
            return self.options.check_interval;
        };
        // The same failure over and over is told once.
        if before.is_none_or(|before| mem::discriminant(&before) != mem::discriminant(&error)) {
            tracing::warn!(number = %name, %error, "the webhook could not be looked after; it is tried again");
        } else {
            tracing::debug!(number = %name, %error, "the webhook could not be looked after again");
        }
        watched.failures = watched.failures.saturating_add(1);
        wait(watched.failures, self.options.check_interval, error.hint(), self.sources.chance())
    }

    fn change<T>(&self, name: &NumberName, change: impl FnOnce(&mut HookState) -> T) -> T {
        // One that has gone during its look is forgotten by the next one.
        change(self.states().entry(name.clone()).or_default())
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<NumberName, HookState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wait after so many failures in a row: doubled up to `longest` and cut by a random part of up to one half, but at
/// least as long as the other side asked for. `chance` is in 0 to 1.
fn wait(failures: u32, longest: Duration, asked: Option<Duration>, chance: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(longest);
    doubled.mul_f64(chance.mul_add(0.5, 0.5)).max(asked.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_waited_for_up_to_the_interval_and_as_long_as_asked() {
        let interval = Duration::from_secs(10);
        let waits = [1, 2, 3, 4, 5, 1000].map(|failures| wait(failures, interval, None, 1.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(wait(2, interval, None, 0.0), Duration::from_secs(1));
        assert_eq!(wait(1, Duration::from_millis(50), None, 1.0), Duration::from_millis(50));
        assert_eq!(wait(1, interval, Some(Duration::from_secs(17)), 0.5), Duration::from_secs(17));
    }
}
