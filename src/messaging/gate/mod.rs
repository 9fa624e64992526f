//! Leave to call Pilot Status: is it there, does it take this number's key, is it this number's turn, is there a place.
//!
//! Every attempt passes here and reports back how it ended. Nothing is recorded here, and nothing survives a restart: what
//! is learned wrongly or forgotten costs time and never a message.

mod breaker;
mod pace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

pub use self::breaker::BreakerOptions;
use self::{
    breaker::{Breaker, Pass},
    pace::Pace,
};
use crate::{
    domain::{ids::NumberName, sources::Sources},
    keys::Number,
    upstream::{Doubt, RefusalClass, SendOutcome, Slot, Upstream},
};

/// Longer than anything that is waited for.
const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// When calls are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateOptions {
    /// The switch of the upstream host, opened by calls without an answer and by 5xx other than 500.
    pub host: BreakerOptions,
    /// The switch of each number, opened when its key is refused or it is blocked.
    pub number: BreakerOptions,
}

/// The gate. Clones share it.
#[derive(Clone)]
pub(super) struct Gate {
    upstream: Upstream,
    sources: Sources,
    options: GateOptions,
    host: Breaker,
    lanes: Arc<Mutex<HashMap<NumberName, Arc<Lane>>>>,
}

/// What is particular to a number.
struct Lane {
    hold: Breaker,
    /// The code for which it is held.
    cause: Mutex<String>,
    pace: Pace,
}

/// Leave for one call, to be handed back with its outcome.
pub(super) struct Leave {
    slot: Slot,
    turn: Turn,
    began: Instant,
    // Held until the outcome is known, for they may be probes.
    #[expect(dead_code, reason = "held, never read")]
    hold: Pass,
    #[expect(dead_code, reason = "held, never read")]
    host: Pass,
}

/// A place in the number's pace, which is free again if it is not used.
struct Turn {
    place: pace::Turn,
    lane: Arc<Lane>,
    used: bool,
}

/// Why there is no leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    /// The upstream does not answer.
    Host {
        /// When it is worth asking again.
        retry: Duration,
    },
    /// The number is held back.
    Held {
        /// When it is worth asking again.
        retry: Duration,
        /// The upstream's code, or its class in words.
        cause: String,
    },
    /// It would not be this number's turn in time.
    Pace {
        /// When it is.
        wait: Duration,
    },
    /// Too many wait already, or no place became free in time.
    Overloaded,
}

/// How long somebody waits for leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the number's turn.
    pub(super) turn: Instant,
    /// For a place, once it is that turn.
    pub(super) place: Duration,
}

impl Gate {
    pub(super) fn new(upstream: Upstream, sources: Sources, options: GateOptions) -> Self {
        Self { host: Breaker::new(options.host), lanes: Arc::default(), upstream, sources, options }
    }

    /// Leave that takes no waiting.
    pub(super) fn pass_at_once(&self, number: &Number) -> Result<Leave, Shut> {
        let lane = self.lane(number);
        let (hold, host) = self.open(&lane)?;
        let slot = self.upstream.free_slot().ok_or(Shut::Overloaded)?;
        let turn = self.turn(&lane, Duration::ZERO)?;
        Ok(Leave { slot, turn, began: Instant::now(), hold, host })
    }

    /// Waits for leave as long as the patience lasts.
    pub(super) async fn pass(&self, number: &Number, patience: Patience) -> Result<Leave, Shut> {
        let lane = self.lane(number);
        self.open(&lane)?;
        let turn = loop {
            let turn = self.turn(&lane, patience.turn.saturating_duration_since(Instant::now()))?;
            sleep_until(turn.place.at).await;
            if lane.pace.counts(turn.place) {
                break turn;
            }
        };
        let place = timeout(patience.place, self.upstream.slot()).await;
        let slot = place.ok().flatten().ok_or(Shut::Overloaded)?;
        // Asked again, since things may have changed meanwhile; only now can it be a probe.
        let (hold, host) = self.open(&lane)?;
        Ok(Leave { slot, turn, began: Instant::now(), hold, host })
    }

    /// Waits for leave, however long that takes.
    pub(super) async fn pass_in_time(&self, number: &Number) -> Leave {
        let lane = self.lane(number);
        loop {
            let patience = Patience { turn: Instant::now() + FAR, place: FAR };
            let (retry, switch) = match self.pass(number, patience).await {
                Ok(leave) => return leave,
                Err(Shut::Host { retry }) => (retry, &self.host),
                Err(Shut::Held { retry, .. }) => (retry, &lane.hold),
                // Nobody is that patient in vain.
                Err(Shut::Pace { wait }) => (wait, &self.host),
                Err(Shut::Overloaded) => (Duration::ZERO, &self.host),
            };
            // Whatever is first: its time has come, or somebody else's probe went well.
            let _ = timeout(retry, switch.closed()).await;
        }
    }

    /// Hands leave back, and learns from how the call ended.
    pub(super) fn report(&self, number: &NumberName, mut leave: Leave, outcome: &SendOutcome) {
        leave.turn.used = true;
        let lane = &leave.turn.lane;
        match outcome {
            SendOutcome::NotSent { .. } => self.host_failed(None),
            // Pilot Status says 500 also of a message that it cannot prepare, for want of its media for example. Ten of
            // those must not stop everybody.
            SendOutcome::Unknown(Doubt { status: Some(500), .. }) => {}
            SendOutcome::Unknown(Doubt { status: None | Some(501..), retry_after, .. }) => {
                self.host_failed(*retry_after);
            }
            // An earlier call with the same key still runs: the host answers, and says nothing about the number.
            SendOutcome::Unknown(_) => self.host.succeed(),
            SendOutcome::Accepted(_) => {
                self.host.succeed();
                lane.hold.succeed();
                lane.pace.went_well();
            }
            SendOutcome::Refused(refusal) => {
                self.host.succeed();
                match refusal.class {
                    RefusalClass::RateLimited => lane.pace.slow_down(leave.began, refusal.retry_after),
                    RefusalClass::KeyRefused | RefusalClass::Blocked => {
                        let cause = refusal.code.as_deref().unwrap_or(match refusal.class {
                            RefusalClass::KeyRefused => "key refused",
                            _ => "blocked",
                        });
                        cause.clone_into(&mut lane.cause.lock().unwrap_or_else(PoisonError::into_inner));
                        if lane.hold.fail(refusal.retry_after) {
                            tracing::warn!(%number, %refusal, "the number is held back");
                        }
                    }
                    RefusalClass::Invalid
                    | RefusalClass::Payment
                    | RefusalClass::Forbidden
                    | RefusalClass::NotFound
                    | RefusalClass::Conflict => lane.hold.succeed(),
                }
            }
        }
    }

    fn turn(&self, lane: &Arc<Lane>, patience: Duration) -> Result<Turn, Shut> {
        let place = lane.pace.reserve(patience, || self.sources.chance()).map_err(|wait| Shut::Pace { wait })?;
        Ok(Turn { place, lane: Arc::clone(lane), used: false })
    }

    fn host_failed(&self, hint: Option<Duration>) {
        if self.host.fail(hint) {
            tracing::warn!("pilot status does not answer; calls are held back");
        }
    }

    fn open(&self, lane: &Lane) -> Result<(Pass, Pass), Shut> {
        let held = |retry| {
            let cause = lane.cause.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Shut::Held { retry, cause }
        };
        let hold = lane.hold.pass().map_err(held)?;
        let host = self.host.pass().map_err(|retry| Shut::Host { retry })?;
        Ok((hold, host))
    }

    fn lane(&self, number: &Number) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(&number.name) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane {
            hold: Breaker::new(self.options.number),
            cause: Mutex::default(),
            pace: Pace::new(number.pacing),
        });
        lanes.insert(number.name.clone(), Arc::clone(&lane));
        lane
    }
}

impl Leave {
    pub(super) const fn slot(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.used {
            self.lane.pace.give_back(self.place);
        }
    }
}
