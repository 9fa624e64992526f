//! Statuses of a message and where a status comes from.

use serde::{Deserialize, Serialize};

/// Where a message stands, in order of precedence: of all statuses ever observed for a message, the greatest is the
/// current one.
///
/// That order is the whole merge. `Failed` outranks `Sent` but never `Delivered`; `Canceled` outranks `Queued` and
/// `Sent`, and a proof of delivery outranks both, whatever the order in which the facts came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Stored here, not handed off.
    Pending,
    /// Perhaps handed off.
    InDoubt,
    /// Accepted by Pilot Status.
    Queued,
    /// Handed to WhatsApp.
    Sent,
    /// Canceled before it left.
    Canceled,
    /// Will not be delivered.
    Failed,
    /// On the device.
    Delivered,
    /// Read.
    Read,
}

impl Status {
    /// Every status, in order of precedence.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::InDoubt,
        Self::Queued,
        Self::Sent,
        Self::Canceled,
        Self::Failed,
        Self::Delivered,
        Self::Read,
    ];

    /// The word that Pilot Status and people use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::InDoubt => "IN_DOUBT",
            Self::Queued => "QUEUED",
            Self::Sent => "SENT",
            Self::Canceled => "CANCELED",
            Self::Failed => "FAILED",
            Self::Delivered => "DELIVERED",
            Self::Read => "READ",
        }
    }

    /// No further progress is expected. `Delivered` is not final: `Read` may follow.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Canceled | Self::Failed | Self::Read)
    }

    /// The hand-off is not decided yet.
    pub const fn is_unsettled(self) -> bool {
        matches!(self, Self::Pending | Self::InDoubt)
    }

    /// Proof that the message reached the device.
    pub const fn is_delivery(self) -> bool {
        matches!(self, Self::Delivered | Self::Read)
    }
}

/// Where a status came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    /// The answer to the send.
    SendReply,
    /// A webhook.
    Webhook,
    /// A read by the gateway.
    Poll,
    /// The gateway itself.
    Gateway,
}
