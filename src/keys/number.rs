//! A registered number.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    ids::NumberName,
    quota::Quota,
    read_back::ReadBack,
    recipient::PhoneNumber,
    record::Source,
    secret::{NumberKey, TokenHash, WebhookSecret, WebhookUrl},
};

/// A registered number.
#[derive(Clone, Debug)]
pub struct Number {
    /// Its stable name.
    pub name: NumberName,
    /// For people.
    pub description: String,
    /// Its id at Pilot Status.
    pub upstream_id: Option<String>,
    /// Its phone number.
    pub phone: Option<PhoneNumber>,
    /// Its key.
    pub key: NumberKey,
    /// Counts its keys, from 1.
    pub generation: u32,
    /// When this key was set; `None` for one that the configuration declares.
    pub key_time: Option<Timestamp>,
    /// How often the gateway regenerates it by itself; `None`: never.
    pub rotate_every: Option<Duration>,
    /// A change of the key whose outcome is not known yet.
    pub rotation: Option<Rotation>,
    /// Nothing is sent for now.
    pub disabled: bool,
    /// How its webhooks are recognised; `None` if it takes none.
    pub webhook: Option<WebhookDoor>,
    /// How fast it sends.
    pub pacing: Pacing,
    /// How much may be sent by all callers together.
    pub quota: Quota,
    /// Which statuses told by webhook are read back; `None`: as for all numbers.
    pub read_back: Option<ReadBack>,
    /// Where it is registered.
    pub source: Source,
}

/// A change of the key at Pilot Status that has begun. As long as it stands here nobody knows which key is the right one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rotation {
    /// When it began.
    pub begun: Timestamp,
    /// Who began it.
    pub actor: String,
    /// The key was changed, and the new one is not to be had: somebody has to set one. It is looked for all the same.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub lost: bool,
}

/// What is known of a number's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is the one.
    Settled,
    /// It is being changed, or whether it was changed is still being found out.
    Rotating,
    /// It was changed, and the new one is not to be had.
    Lost,
}

impl Number {
    /// Whether its key is the one that it had there, and no change of it has begun or ended since.
    pub fn has_key_of(&self, seen: &Self) -> bool {
        let begun = |number: &Self| number.rotation.as_ref().map(|rotation| rotation.begun);
        (self.generation, begun(self)) == (seen.generation, begun(seen))
    }

    /// What is known of its key.
    pub fn key_state(&self) -> KeyState {
        match &self.rotation {
            None => KeyState::Settled,
            Some(Rotation { lost: false, .. }) => KeyState::Rotating,
            Some(Rotation { lost: true, .. }) => KeyState::Lost,
        }
    }
}

/// How fast a number sends at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// Sends a second on average; `None`: no bound of our own.
    pub per_second: Option<f64>,
    /// So many may go at once after a quiet time. At least 1.
    pub burst: u32,
    /// Smallest time between two sends...
    pub min_gap: Duration,
    /// ...and by which part of itself it grows at most, at random.
    pub gap_jitter: f64,
}

impl Default for Pacing {
    /// No bound.
    fn default() -> Self {
        Self { per_second: None, burst: 1, min_gap: Duration::ZERO, gap_jitter: 0.0 }
    }
}

/// How the webhooks of a number are recognised.
#[derive(Clone, Debug)]
pub struct WebhookDoor {
    /// Hash of the unguessable last segment of the webhook path.
    pub path_token: TokenHash,
    /// Secrets that sign; any of them is accepted. Empty: signatures are not checked, the path alone is the proof.
    pub secrets: Vec<WebhookSecret>,
    /// Where Pilot Status reaches this door; `None` unless the gateway registers it there.
    pub url: Option<WebhookUrl>,
}
