//! Statuses that come in by webhook.
//!
//! Owns the decision whether a webhook is genuine and what becomes of it. An `Ok` means that whatever it told is on disk.
//! Knows no HTTP: the door hands over the path token, the signature header and the bytes. Called by `http`.

use std::sync::Arc;

use crate::{
    domain::{inbound::Trust, sources::Sources},
    keys::KeyRing,
    store::{Recorded, Sighting, Store, StoreError},
    upstream::{
        Signature, verify,
        webhook::{self, Delivery, Told},
    },
    vault::Vault,
};

/// Takes webhooks in.
#[derive(Clone)]
pub struct Tracking {
    store: Arc<dyn Store>,
    keys: Arc<KeyRing>,
    vault: Vault,
    sources: Sources,
}

/// What became of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intake {
    /// It told statuses; one verdict for each.
    Recorded(Vec<Recorded>),
    /// It told nothing about a sent message. Its event name, for the log.
    Ignored(String),
}

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
    /// It was not recorded; the sender should try again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Tracking {
    /// Puts the parts together.
    pub fn new(store: Arc<dyn Store>, keys: Arc<KeyRing>, vault: Vault, sources: Sources) -> Self {
        Self { store, keys, vault, sources }
    }

    /// Checks a webhook, reads it and records what it tells.
    pub async fn ingest(&self, path_token: &str, signature: Option<&str>, body: &[u8]) -> Result<Intake, IntakeError> {
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
        match webhook::read(body, self.sources.now(), &number.key) {
            Delivery::Malformed => {
                tracing::warn!(number = %number.name, "a webhook was refused: it is not json");
                Err(IntakeError::Malformed)
            }
            Delivery::Other(event) => {
                tracing::info!(number = %number.name, event, "a webhook tells nothing about a sent message");
                Ok(Intake::Ignored(event))
            }
            Delivery::Facts(facts) => {
                let likeness =
                    |(recipient, text): (String, String)| self.vault.likeness(&number.name, &recipient, &text);
                let sighting =
                    |told: Told| Sighting { fact: told.fact, likeness: told.said.map(likeness), trust: Trust::Proven };
                let entries = facts.into_iter().map(|told| sighting(told).into()).collect();
                Ok(Intake::Recorded(self.store.record(&number.name, entries).await?))
            }
        }
    }
}
