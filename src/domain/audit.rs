//! What the audit log says of an act, and the chain that holds its entries together.
//!
//! Every link is the SHA-256 of the link before, the entry's number and its text exactly as stored. An entry that was
//! changed, removed or put elsewhere breaks the chain there.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
