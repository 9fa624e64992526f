//! What Pilot Status tells by itself, statuses of sent messages and everything that comes in at a number, and statuses that
//! are read back.
//!
//! Owns the decision whether a webhook is genuine and what becomes of it, and when and how messages are read back. An `Ok`
//! means that whatever was told is on disk. Knows no HTTP server: the door hands over the path token, the signature header
//! and the bytes. Called by `http` and `api`, and run by `server`.

mod pulse;
mod read_back;
mod reader;
mod reconcile;
pub mod registration;
mod unattributed;
mod verdicts;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use self::verdicts::Tally;
pub use self::{
    pulse::Pulses,
    reader::{Reader, RefreshError},
    reconcile::{ReconcileCounts, ReconcileOptions, Reconciler},
    verdicts::Verdicts,
};
use crate::{
    domain::{ids::NumberName, read_back::ReadBack, sources::Sources},
    keys::{KeyRing, Number},
    store::{Entry, Recorded, Sighting, Store, StoreError},
    upstream::{
        Signature, verify,
        webhook::{self, Arrival, Item},
    },
    vault::Vault,
};

/// So many things that a body tells are recorded in one commit, between two of which others write.
const STEP: usize = 200;

/// What becomes of what comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which statuses told by webhook are read back, where a number does not say otherwise.
    pub read_back: ReadBack,
    /// How long a status waits for its message before it is told as unattributed.
    pub unattributed_after: Duration,
}

/// Takes webhooks in.
#[derive(Clone)]
pub struct Tracking {
    store: Arc<dyn Store>,
    keys: Arc<KeyRing>,
    vault: Vault,
    sources: Sources,
    options: Options,
    pulses: Pulses,
    tally: Arc<Tally>,
}

/// What became of a body that was taken in: one verdict for each thing it told, at least one, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake(pub Vec<Recorded>);

/// Why a webhook was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// No number takes webhooks at this path.
    #[error("unknown path")]
    UnknownPath,
    /// The number has secrets, and none of them made the signature.
    #[error("signature missing or wrong")]
    BadSignature,
    /// Not JSON.
    #[error("not json")]
    Malformed,
    /// There is no such number.
    #[error("unknown number")]
    UnknownNumber,
    /// It was not recorded; the sender should try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tracking {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn Store>,
        keys: Arc<KeyRing>,
        vault: Vault,
        sources: Sources,
        options: Options,
        pulses: Pulses,
    ) -> Self {
        Self { store, keys, vault, sources, options, pulses, tally: Arc::default() }
    }

    /// Whether webhooks are taken at this path; notes the refusal if not. To be asked before a body is read, so that one that
    /// is for nobody costs nothing.
    pub fn is_taken_at(&self, path_token: &str) -> bool {
        let known = self.keys.behind(path_token).is_some();
        if !known {
            self.tally.count(&Err(IntakeError::UnknownPath));
        }
        known
    }

    /// Checks a webhook, reads it and records what it tells.
    pub async fn ingest(&self, path_token: &str, signature: Option<&str>, body: &[u8]) -> Result<Intake, IntakeError> {
        let taken = match self.admit(path_token, signature, body) {
            Ok(number) => {
                let policy = number.read_back.unwrap_or(self.options.read_back);
                let taken = self.record(&number, body, None, policy).await;
                if let Ok(Intake(recorded)) = &taken {
                    self.pulses.told(&number.name, recorded);
                }
                taken
            }
            Err(refused) => Err(refused),
        };
        self.tally.count(&taken);
        taken
    }

    /// Records what a body tells that Pilot Status was asked for, so that nothing has to prove where it comes from.
    /// `delivered_at` is when it was first told, if that is known: an event that is told here and by webhook is recorded once.
    pub async fn take(
        &self,
        number: &NumberName,
        body: &[u8],
        delivered_at: Option<Timestamp>,
    ) -> Result<Intake, IntakeError> {
        let taken = match self.keys.get(number) {
            Some(number) => self.record(&number, body, delivered_at, ReadBack::Never).await,
            None => Err(IntakeError::UnknownNumber),
        };
        self.tally.count(&taken);
        taken
    }

    /// Notes a webhook that was refused unread, because it is too long.
    pub fn refused_as_too_large(&self) {
        self.tally.count_too_large();
    }

    /// What became of everything that came in since the start.
    pub fn verdicts(&self) -> Verdicts {
        self.tally.verdicts()
    }

    /// The number that a webhook is for, if it is genuine.
    fn admit(&self, path_token: &str, signature: Option<&str>, body: &[u8]) -> Result<Arc<Number>, IntakeError> {
        let number = self.keys.behind(path_token).ok_or(IntakeError::UnknownPath)?;
        let secrets = number.webhook.as_ref().map_or(&[][..], |door| &door.secrets);
        let signed = || {
            let signature = signature.and_then(Signature::from_header);
            signature.is_some_and(|signature| verify(&signature, secrets, body))
        };
        if !secrets.is_empty() && !signed() {
            tracing::warn!(number = %number.name, "a webhook was refused: its signature is missing or wrong");
            return Err(IntakeError::BadSignature);
        }
        Ok(number)
    }

    /// Reads a body and records all that it tells, step by step. If a step fails, those before it stay, and the sender tries
    /// again: what is told twice is recorded once. The path and the signature prove at which number it came in,
    /// whatever number it names itself.
    async fn record(
        &self,
        number: &Number,
        body: &[u8],
        delivered_at: Option<Timestamp>,
        policy: ReadBack,
    ) -> Result<Intake, IntakeError> {
        let observed_at = self.sources.now();
        let arrival = Arrival {
            number: &number.name,
            upstream_id: number.upstream_id.as_deref(),
            key: &number.key,
            observed_at,
            delivered_at: delivered_at.unwrap_or(observed_at),
        };
        let Some(delivery) = webhook::read(body, &arrival) else {
            tracing::warn!(number = %number.name, "a webhook was refused: it is not json");
            return Err(IntakeError::Malformed);
        };
        if delivery.other_number.is_some() {
            tracing::warn!(number = %number.name, "a webhook names another number than the one it came in at");
        }
        let mut recorded = Vec::with_capacity(delivery.items.len());
        let mut items = delivery.items.into_iter();
        while items.len() > 0 {
            let step = items.by_ref().take(STEP).map(|item| self.entry(number, item, policy)).collect();
            recorded.extend(self.store.record(&number.name, step).await?);
        }
        tracing::debug!(number = %number.name, ?recorded, "taken in");
        Ok(Intake(recorded))
    }

    /// What is recorded of one thing that was told.
    fn entry(&self, number: &Number, item: Item, policy: ReadBack) -> Entry {
        match item {
            Item::Status(told) => {
                let said = told.said.as_ref();
                let likeness = said.map(|(to, text)| self.vault.likeness(&number.name, to, text));
                let trust = read_back::trust(policy, &told.fact.status);
                Sighting { fact: told.fact, likeness, trust }.into()
            }
            Item::Event(inbound, identity) => Entry::Inbound(inbound, identity),
        }
    }
}
