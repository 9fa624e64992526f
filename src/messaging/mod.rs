//! Sending: accept, attempt, settle; reading and canceling what was sent.
//!
//! Owns the order of things around a send, so that a crash at any point leaves a question and never a silence or a blind
//! second send. Knows neither protobuf nor HTTP. Called by `api`.

mod cancel;
mod look;
mod outcome;
mod running;
mod send;
mod settle;

use std::{sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use self::running::Running;
pub use self::{
    cancel::{CancelOutcome, CancelResult},
    look::LookError,
    outcome::{SendError, Sent},
    send::SendRequest,
};
use crate::{
    domain::{
        ids::MessageId,
        merge::{Fact, Observed},
        message::ForeignIds,
        sources::Sources,
        status::{Origin, Status},
    },
    keys::KeyRing,
    store::{Claim, Settlement, Store, StoreError},
    upstream::Upstream,
};

/// How sends are bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How long a send waits for leave to call Pilot Status before it is refused as overload.
    pub slot_wait: Duration,
    /// How long a repeated call waits for the first one to end before it is told that it is still running.
    pub repeat_wait: Duration,
    /// For how long after accepting a message its idempotency key is relied on. Pilot Status remembers keys for 24 h.
    pub replay_window: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slot_wait: Duration::from_secs(2),
            repeat_wait: Duration::from_secs(10),
            replay_window: Duration::from_secs(23 * 3600),
        }
    }
}

/// The use cases around a message.
#[derive(Clone)]
pub struct Messaging {
    store: Arc<dyn Store>,
    upstream: Upstream,
    keys: Arc<KeyRing>,
    sources: Sources,
    options: Options,
    running: Running,
    tasks: TaskTracker,
}

impl Messaging {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn Store>,
        upstream: Upstream,
        keys: Arc<KeyRing>,
        sources: Sources,
        options: Options,
    ) -> Self {
        Self { store, upstream, keys, sources, options, running: Running::default(), tasks: TaskTracker::new() }
    }

    /// Turns sends that an earlier process accepted and never settled into questions. To be called before serving, as
    /// long as nothing is running. Returns how many there were.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let mut recovered = 0;
        loop {
            let pending = self.store.pending(500).await?;
            if pending.is_empty() {
                return Ok(recovered);
            }
            for message in pending {
                // The crash may have come before or after the call, so nothing is known of it.
                let settlement = self.settlement(Observed::Reached(Status::InDoubt), Origin::Gateway, Claim::Kept);
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

    fn settlement(&self, status: Observed, origin: Origin, claim: Claim) -> Settlement {
        let now = self.sources.now();
        let fact = Fact { status, at: now, observed_at: now, origin, ids: ForeignIds::default() };
        Settlement { fact, flow_token: None, claim }
    }
}

/// The key under which Pilot Status recognises a repeated send: one for each message, whatever number of attempts.
fn idempotency_key(id: MessageId) -> String {
    format!("pilotgate-{id}")
}
