//! Owns time: one ordered set of things due and the one task that runs them.
//! It knows no meaning of a thing due; `messages` and `webhooks` do.
//!
//! Bounded by its callers: a message has at most two entries and takes them
//! along when it goes, and pending webhook attempts are counted by the outbox.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::state::{Shared, held};
use super::webhooks::Job;
use super::{messages, webhooks};

/// Names an entry, so that its owner can take it back.
pub type Alarm = (Instant, u64);

pub enum Due {
    /// The next step of a message.
    Advance(u64),
    /// `deliverUntil` of a message.
    Expire(u64),
    /// An attempt at a webhook.
    Attempt(Box<Job>),
}

#[derive(Default)]
pub struct Clock {
    set: Mutex<(BTreeMap<Alarm, Due>, u64)>,
    wake: Notify,
}

impl Clock {
    /// Has `due` run once, `after` from now.
    pub fn set(&self, after: Duration, due: Due) -> Alarm {
        let mut set = held(&self.set);
        set.1 += 1;
        let alarm = (Instant::now() + after, set.1);
        let earliest = set.0.first_key_value().is_none_or(|(k, _)| alarm < *k);
        set.0.insert(alarm, due);
        drop(set);
        if earliest {
            self.wake.notify_one();
        }
        alarm
    }

    /// Takes an entry back; nothing if it already ran.
    pub fn unset(&self, alarm: Alarm) {
        held(&self.set).0.remove(&alarm);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        held(&self.set).0.clear();
    }

    fn pop(&self) -> Result<Due, Option<Instant>> {
        let mut set = held(&self.set);
        match set.0.first_key_value() {
            Some((alarm, _)) if alarm.0 <= Instant::now() => set.0.pop_first().map(|(_, due)| due).ok_or(None),
            Some((alarm, _)) => Err(Some(alarm.0)),
            None => Err(None),
        }
    }
}

/// Runs what falls due until the double stops.
pub async fn run(state: Shared) {
    let mut in_a_row = 0_u32;
    loop {
        match state.clock.pop() {
            Ok(due) => {
                run_one(&state, due);
                // A burst must not keep a whole runtime thread to itself.
                in_a_row += 1;
                if in_a_row.is_multiple_of(64) {
                    tokio::task::yield_now().await;
                }
            }
            Err(next) => {
                // Looking once an hour for nothing costs nothing and keeps
                // the timer clear of dates far ahead.
                let latest = Instant::now() + Duration::from_secs(3600);
                let next = next.map_or(latest, |next| next.min(latest));
                tokio::select! {
                    () = state.stop.cancelled() => return,
                    () = state.clock.wake.notified() => {}
                    () = tokio::time::sleep_until(next.into()) => {}
                }
            }
        }
    }
}

fn run_one(state: &Shared, due: Due) {
    match due {
        Due::Advance(seq) => drop(messages::advance(state, seq, messages::Witness::None)),
        Due::Expire(seq) => messages::expire(state, seq),
        Due::Attempt(job) => webhooks::retry(state, *job),
    }
}

/// A time as upstream writes it: UTC with milliseconds.
pub fn iso(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// The same, or null.
pub fn iso_or_null(time: Option<Timestamp>) -> serde_json::Value {
    time.map_or(serde_json::Value::Null, |t| iso(t).into())
}

/// From now until `time`; zero when it is past.
pub fn until(time: Timestamp) -> Duration {
    let millis = time.as_millisecond() - Timestamp::now().as_millisecond();
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
