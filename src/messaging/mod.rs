//! Sending: accept, attempt, settle; reading and canceling what was sent.
//!
//! Owns the order of things around a send, so that a crash at any point leaves a question and never a silence or a blind
//! second send. Knows neither protobuf nor HTTP. Called by `api`.

mod attempt;
mod audit;
mod backoff;
mod cancel;
mod gate;
mod list;
mod look;
mod outcome;
mod queue;
mod resolve;
mod running;
mod send;
mod settle;
mod undecided;

use std::{ops::Deref, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    audit::Recipients,
    backoff::Backoff,
    cancel::{CancelOutcome, CancelResult},
    gate::{BreakerOptions, GateOptions},
    list::{ListError, ListFilter, ListRequest, Listed, PageTokenError, PageTokens},
    look::LookError,
    outcome::{SendError, Sent},
    queue::QueueOptions,
    resolve::Resolution,
    send::{SendRequest, Waiting},
    undecided::UndecidedError,
};
use self::{gate::Gate, queue::Wakers, running::Running};
use crate::{
    domain::{
        audit::Act,
        ids::MessageId,
        merge::{Fact, Observed},
        message::ForeignIds,
        sources::Sources,
        status::{Origin, Status},
    },
    keys::KeyRing,
    store::{Claim, Settlement, Store, StoreError},
    upstream::Upstream,
    vault::Vault,
};

/// How sends are bounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How many sends are in progress at once, alone and in bulk each; further ones are refused as overload, or wait.
    pub max_in_progress: usize,
    /// How long a send waits for leave to call Pilot Status before it is refused as overload.
    pub slot_wait: Duration,
    /// How long a send whose caller sets no deadline waits for its number's turn before it is told to come back.
    pub pace_wait: Duration,
    /// How long a repeated call waits for the first one to end before it is told that it is still running.
    pub repeat_wait: Duration,
    /// For how long after its first attempt a message's idempotency key is relied on. Pilot Status remembers keys for
    /// 24 h.
    pub replay_window: Duration,
    /// Calls of Pilot Status made for one call of a caller, at most. At least 1.
    pub attempts: u32,
    /// For how long attempts go on for a caller that sets no deadline.
    pub patience: Duration,
    /// The waits between these attempts.
    pub backoff: Backoff,
    /// When calls are held back.
    pub gate: GateOptions,
    /// How queued messages are handed over.
    pub queue: QueueOptions,
    /// How the audit log names recipients.
    pub recipients: Recipients,
}

impl Default for Options {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            max_in_progress: 8192,
            slot_wait: seconds(2),
            pace_wait: seconds(10),
            repeat_wait: seconds(10),
            replay_window: seconds(23 * 3600),
            attempts: 3,
            patience: seconds(10),
            backoff: Backoff { first: Duration::from_millis(200), longest: seconds(5) },
            gate: GateOptions {
                host: BreakerOptions { failures: 10, first_wait: seconds(1), longest_wait: seconds(30) },
                number: BreakerOptions { failures: 1, first_wait: seconds(1), longest_wait: seconds(60) },
            },
            queue: QueueOptions::default(),
            recipients: Recipients::default(),
        }
    }
}

/// The use cases around a message. Clones are the same.
#[derive(Clone)]
pub struct Messaging(Arc<Parts>);

/// What the use cases work with. Opaque to others.
pub struct Parts {
    store: Arc<dyn Store>,
    upstream: Upstream,
    keys: Arc<KeyRing>,
    vault: Vault,
    sources: Sources,
    options: Options,
    gate: Gate,
    running: Running,
    wakers: Wakers,
    in_progress: Arc<Semaphore>,
    /// The same for those that wait patiently, so that they take nothing from those that do not.
    patient: Arc<Semaphore>,
    queue_places: Arc<Semaphore>,
    tasks: TaskTracker,
    draining: CancellationToken,
}

impl Messaging {
    /// Puts the parts together. Once `draining`, attempts that have begun end, and no others begin.
    pub fn new(
        store: Arc<dyn Store>,
        upstream: Upstream,
        keys: Arc<KeyRing>,
        vault: Vault,
        sources: Sources,
        options: Options,
        draining: CancellationToken,
    ) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Self(Arc::new(Parts {
            gate: Gate::new(upstream.clone(), Arc::clone(&keys), sources.clone(), options.gate),
            in_progress: places(options.max_in_progress),
            patient: places(options.max_in_progress),
            queue_places: places(options.queue.in_flight),
            store,
            upstream,
            keys,
            vault,
            sources,
            options,
            running: Running::default(),
            wakers: Wakers::default(),
            tasks: TaskTracker::new(),
            draining,
        }))
    }

    /// Turns sends that an earlier process accepted and never settled into questions. To be called before serving, as
    /// long as nothing is running. Returns how many there were.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        // Leased rows of the outbox become questions when they are leased again, and are answered right then.
        self.store.end_leases(self.sources.now()).await?;
        let mut recovered = 0;
        loop {
            let pending = self.store.pending(500).await?;
            if pending.is_empty() {
                return Ok(recovered);
            }
            for message in pending {
                // The crash may have come before or after the call, so nothing is known of it.
                let in_doubt = Observed::Reached(Status::InDoubt);
                let mut settlement = self.settlement(in_doubt, Origin::Gateway, Claim::Kept, 1);
                settlement.audit = Some(Act::lost_attempt(&message, self.sources.now()));
                self.store.settle(message.origins.message_id, settlement).await?;
                recovered += 1;
            }
        }
    }

    /// Waits until every attempt that has begun is settled.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The end of so many attempts.
    fn settlement(&self, status: Observed, origin: Origin, claim: Claim, attempts: u32) -> Settlement {
        Settlement { fact: self.fact(status, origin), attempts, flow_token: None, claim, audit: None }
    }

    fn fact(&self, status: Observed, origin: Origin) -> Fact {
        let now = self.sources.now();
        Fact { status, at: now, observed_at: now, origin, ids: ForeignIds::default() }
    }
}

impl Deref for Messaging {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// A time that lies this span after another, or the end of all times.
fn after(start: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    start.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// How long somebody without a deadline waits for a change of a number's key: the calls with the old key come to their end,
/// and then the one that changes it.
fn key_patience(upstream: &Upstream) -> Duration {
    upstream.timeout() * 2 + Duration::from_secs(2)
}

/// The key under which Pilot Status recognises a repeated send: one for each message, whatever number of attempts.
fn idempotency_key(id: MessageId) -> String {
    format!("pilotgate-{id}")
}
