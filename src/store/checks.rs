//! Messages that are to be read back: when, and what that brought.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{ids::MessageId, merge::Fact, message::Message, status::Status};

/// How long after its last news a message becomes due to be read back. What happens then, and when it is due next, is up
/// to whoever reads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstChecks {
    /// While it is IN_DOUBT, QUEUED or SENT; for one that shall leave later, counted from that time.
    pub open: Duration,
    /// While it is DELIVERED, so that only READ may follow.
    pub delivered: Duration,
}

impl Default for FirstChecks {
    fn default() -> Self {
        Self { open: Duration::from_secs(5), delivered: Duration::from_secs(60) }
    }
}

/// Messages of one number that are due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueChecks {
    /// Those with a claim first, then the longest due. Claims are no more than half of what was asked for, so that made-up
    /// ones keep nothing else from being read.
    pub due: Vec<DueCheck>,
    /// When the next one is due that is not among these; some time up to `at` if some that are due by then are left out.
    pub next: Option<Timestamp>,
}

/// A message that is due to be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCheck {
    /// The message.
    pub message: Message,
    /// Since when.
    pub due: Timestamp,
    /// How often it has been read back since its last news.
    pub checks: u32,
    /// The furthest status that was claimed of it, until it is known or the message is not read back any more.
    pub claimed: Option<Status>,
}

/// What reading back a message brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub id: MessageId,
    /// Since when it was due; if that has changed since, it stays due as it is now.
    pub due: Timestamp,
    /// What was read; nothing new if empty.
    pub facts: Vec<Fact>,
    /// How often it has been read back now, and when it is due next; both count only if the facts bring no news, or leave
    /// a claim that is not confirmed. `None`: not before there are news.
    pub then: (u32, Option<Timestamp>),
}
