//! What the audit log says of an act, and the chain that holds its entries together.
//!
//! Every link is the SHA-256 of the link before, the entry's number and its text exactly as stored. An entry that was
//! changed, removed or put elsewhere breaks the chain there.

mod chain;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::chain::{Chain, Fault};
use super::message::{Handoff, Message};

/// What the audit log calls the gateway itself.
pub const ITSELF: &str = "pilotgate";

/// One act: an administrator's, or an attempt to send.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// When.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub at: Timestamp,
    /// Who: the name of a caller, or `pilotgate` for what the gateway does by itself.
    pub actor: String,
    /// With which credential.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
    /// From which address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// What: `number.register`, `caller.grants.set`, `message.attempt`...
    pub action: String,
    /// On what: `number/NAME`, `caller/NAME`, `message/ID`...
    pub subject: String,
    /// Why, in the actor's own words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// How it ended: `done`, or the reason of a refusal; for an attempt `accepted`, `refused`, `not_sent` or `unknown`.
    pub outcome: String,
    /// What else is worth knowing, never a secret or a message's content.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub detail: BTreeMap<String, String>,
}

impl Act {
    /// An attempt to send this message.
    pub fn attempt(message: &Message, at: Timestamp, outcome: &str) -> Self {
        let origins = &message.origins;
        let handoff = match origins.handoff {
            Handoff::Direct => "direct",
            Handoff::Queued => "queued",
        };
        let detail = [("number", origins.number.as_str()), ("handoff", handoff)];
        Self {
            at,
            actor: origins.caller.to_string(),
            credential: None,
            from: None,
            action: "message.attempt".to_owned(),
            subject: format!("message/{}", origins.message_id),
            reason: None,
            outcome: outcome.to_owned(),
            detail: detail.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        }
    }

    /// An attempt that may have been made and left no answer, since whoever made it ended. Which key it was made with is
    /// not known any more.
    pub fn lost_attempt(message: &Message, at: Timestamp) -> Self {
        let mut act = Self::attempt(message, at, "unknown");
        act.detail.insert("cause".to_owned(), "interrupted".to_owned());
        act
    }

    /// The trimming of the log up to an entry with this link.
    pub fn trimming(at: Timestamp, through: i64, link: Link) -> Self {
        Self {
            at,
            actor: ITSELF.to_owned(),
            credential: None,
            from: None,
            action: TRIMMING.to_owned(),
            subject: "audit/log".to_owned(),
            reason: None,
            outcome: "done".to_owned(),
            detail: BTreeMap::from([("through".to_owned(), through.to_string()), ("link".to_owned(), link.to_hex())]),
        }
    }

    /// What this entry says was trimmed: up to which entry, and that entry's link.
    pub fn trimmed(&self) -> Option<(i64, Link)> {
        if self.action != TRIMMING || self.actor != ITSELF {
            return None;
        }
        Some((self.detail.get("through")?.parse().ok()?, Link::from_hex(self.detail.get("link")?)?))
    }
}

const TRIMMING: &str = "audit.trim";

/// A link of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(pub [u8; 32]);

impl Link {
    /// Before the first entry.
    pub const START: Self = Self([0; 32]);

    /// The link of the entry with this number and text behind this one.
    #[must_use]
    pub fn then(self, seq: i64, text: &str) -> Self {
        let digest = Sha256::new()
            .chain_update(b"pilotgate audit 1")
            .chain_update(self.0)
            .chain_update(seq.to_be_bytes())
            .chain_update(text.as_bytes());
        Self(digest.finalize().into())
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// Reads them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok().map(|()| Self(bytes))
    }
}
