//! Leave to call Pilot Status: is it there, does it take this number's key, is it this number's turn, is there a place, and
//! last, is the key free to be used.
//!
//! The key comes last and nothing is waited for with it; if it is being changed, turn and place are given back before that is
//! waited for. So a change of the key waits for calls only, and keeps no place from other numbers. Every attempt passes here and reports back how it ended. Nothing is recorded here, and nothing survives a restart: what
//! is learned wrongly or forgotten costs time and never a message.

mod breaker;
mod pace;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

pub use self::breaker::BreakerOptions;
use self::{
    breaker::{Breaker, Pass},
    pace::Pace,
};
use crate::{
    domain::{ids::NumberName, secret::NumberKey, sources::Sources},
    keys::{InUse, KeyRing, NotUsable, Number},
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
    keys: Arc<KeyRing>,
    sources: Sources,
    options: GateOptions,
    host: Breaker,
    lanes: Arc<Mutex<HashMap<NumberName, Arc<Lane>>>>,
}

/// What is particular to a number.
struct Lane {
    hold: Breaker,
    /// The newest key that is known here.
    generation: AtomicU32,
    /// The code for which it is held.
    cause: Mutex<String>,
    pace: Pace,
}

/// Leave for one call, to be handed back with its outcome.
pub(super) struct Leave {
    in_use: InUse,
    slot: Slot,
    turn: Turn,
    began: Instant,
    // Held until the outcome is known, for they may be probes.
    hold: Pass,
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
    /// The number's key is being changed, and that did not end in time.
    Key,
    /// The number is disabled.
    Disabled,
    /// There is no such number.
    Absent,
}

/// How long somebody waits for leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the number's turn.
    pub(super) turn: Instant,
    /// For a place, once it is that turn.
    pub(super) place: Duration,
    /// For a change of the number's key to end. The time that takes is added to that for the turn, up to this.
    pub(super) key: Instant,
}

impl Gate {
    pub(super) fn new(upstream: Upstream, keys: Arc<KeyRing>, sources: Sources, options: GateOptions) -> Self {
        Self { host: Breaker::new(options.host), lanes: Arc::default(), upstream, keys, sources, options }
    }

    /// Leave that takes no waiting.
    pub(super) fn pass_at_once(&self, name: &NumberName) -> Result<Leave, Shut> {
        let lane = self.lane(name)?;
        let (hold, host) = self.open(&lane)?;
        let slot = self.upstream.free_slot().ok_or(Shut::Overloaded)?;
        let turn = self.turn(&lane, Duration::ZERO)?;
        let in_use = self.keys.use_now(name)?;
        Ok(Leave { in_use, slot, turn, began: Instant::now(), hold, host })
    }

    /// Waits for leave as long as the patience lasts.
    pub(super) async fn pass(&self, name: &NumberName, mut patience: Patience) -> Result<Leave, Shut> {
        loop {
            let lane = self.lane(name)?;
            self.open(&lane)?;
            let turn = self.turn_in_time(name, &lane, patience).await?;
            let place = timeout(patience.place, self.upstream.slot()).await;
            let slot = place.ok().flatten().ok_or(Shut::Overloaded)?;
            match self.keys.use_now(name) {
                Ok(in_use) => {
                    // Asked again, since things may have changed meanwhile; only now can it be a probe.
                    self.lane(name)?;
                    let (hold, host) = self.open(&lane)?;
                    return Ok(Leave { in_use, slot, turn, began: Instant::now(), hold, host });
                }
                Err(NotUsable::Absent) => return Err(Shut::Absent),
                Err(NotUsable::Changing) => drop((slot, turn)),
            }
            let began = Instant::now();
            let usable = timeout_at(patience.key, self.keys.use_in_time(name)).await.map_err(|_| Shut::Key)?;
            drop(usable.ok_or(Shut::Absent)?);
            patience.turn = (patience.turn + began.elapsed()).min(patience.turn.max(patience.key));
        }
    }

    /// Waits for leave, however long that takes; until there is no such number.
    pub(super) async fn pass_in_time(&self, name: &NumberName) -> Option<Leave> {
        let mut changes = self.keys.changes();
        loop {
            changes.borrow_and_update();
            let far = Instant::now() + FAR;
            let shut = match self.pass(name, Patience { turn: far, place: FAR, key: far }).await {
                Ok(leave) => return Some(leave),
                Err(Shut::Absent) => return None,
                Err(shut) => shut,
            };
            let changed = changes.changed();
            let Ok(lane) = self.lane(name) else {
                // Disabled, or gone.
                changed.await.ok()?;
                continue;
            };
            let (retry, switch) = match shut {
                Shut::Host { retry } => (retry, &self.host),
                Shut::Held { retry, .. } => (retry, &lane.hold),
                // Nobody is that patient in vain.
                Shut::Pace { wait } => (wait, &self.host),
                Shut::Overloaded | Shut::Key | Shut::Disabled | Shut::Absent => (Duration::ZERO, &self.host),
            };
            // Whatever is first: its time has come, somebody else's probe went well, or the number is another one now.
            tokio::select! {
                _ = timeout(retry, switch.closed()) => {}
                _ = changed => {}
            }
        }
    }

    /// Hands leave back, and learns from how the call ended. `false` if the answer says nothing, because the key that it
    /// refuses is not the number's any more, or is being changed right now.
    pub(super) fn report(&self, leave: Leave, outcome: &SendOutcome) -> bool {
        // The probes are held until the end.
        let Leave { in_use, slot: _slot, mut turn, began, hold: _hold, host: _host } = leave;
        turn.used = true;
        let lane = &turn.lane;
        let number = &in_use.number().name.clone();
        let generation = in_use.into_generation();
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
                    RefusalClass::RateLimited => lane.pace.slow_down(began, refusal.retry_after),
                    RefusalClass::KeyRefused if !self.keys.is_settled(number, generation) => return false,
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
        true
    }

    /// Waits until it is the number's turn. A change of the number may have changed its pace, so that it asks anew.
    async fn turn_in_time(&self, name: &NumberName, lane: &Arc<Lane>, patience: Patience) -> Result<Turn, Shut> {
        let mut changes = self.keys.changes();
        loop {
            changes.borrow_and_update();
            self.lane(name)?;
            let turn = self.turn(lane, patience.turn.saturating_duration_since(Instant::now()))?;
            while lane.pace.counts(turn.place) {
                let Ok(_) = timeout_at(turn.place.at, changes.changed()).await else {
                    if lane.pace.counts(turn.place) {
                        return Ok(turn);
                    }
                    break;
                };
                self.lane(name)?;
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

    /// The lane of a number that may send, as the number stands now.
    fn lane(&self, name: &NumberName) -> Result<Arc<Lane>, Shut> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(number) = self.keys.get(name) else {
            lanes.remove(name);
            return Err(Shut::Absent);
        };
        if number.disabled {
            return Err(Shut::Disabled);
        }
        let Some(lane) = lanes.get(name) else {
            let lane = Arc::new(Lane::of(&number, self.options.number));
            lanes.insert(name.clone(), Arc::clone(&lane));
            return Ok(lane);
        };
        lane.pace.follow(number.pacing);
        // What was refused with another key says nothing about this one.
        if lane.generation.swap(number.generation, Relaxed) != number.generation {
            lane.hold.succeed();
        }
        Ok(Arc::clone(lane))
    }
}

impl Lane {
    fn of(number: &Number, hold: BreakerOptions) -> Self {
        Self {
            hold: Breaker::new(hold),
            generation: AtomicU32::new(number.generation),
            cause: Mutex::default(),
            pace: Pace::new(number.pacing),
        }
    }
}

impl From<NotUsable> for Shut {
    fn from(error: NotUsable) -> Self {
        match error {
            NotUsable::Absent => Self::Absent,
            NotUsable::Changing => Self::Key,
        }
    }
}

impl Leave {
    pub(super) const fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The number that calls.
    pub(super) fn number(&self) -> &Number {
        self.in_use.number()
    }

    /// The key to call with.
    pub(super) fn key(&self) -> &NumberKey {
        self.in_use.key()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.used {
            self.lane.pace.give_back(self.place);
        }
    }
}
