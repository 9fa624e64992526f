//! What comes in by itself: statuses of messages that others name, and everything else that happens at a number.

use crate::domain::{
    inbound::{EventIdentity, Inbound, Trust},
    merge::Fact,
    secret::Likeness,
};

/// One thing that came in at a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A status.
    Status(Sighting),
    /// Something else. An event that was recorded before under the same identity, and is still kept, is not recorded again.
    Inbound(Box<Inbound>, EventIdentity),
}

/// A fact whose message is named by ids of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What was seen; its `ids` name the message.
    pub fact: Fact,
    /// What the message looks like, if that was seen as well.
    pub likeness: Option<Likeness>,
    /// Whether the fact may be folded in. A claim that tells something new makes its message due to be read back instead, and
    /// so does anything less than proven whose message is known by its likeness alone.
    pub trust: Trust,
}

impl From<Sighting> for Entry {
    fn from(sighting: Sighting) -> Self {
        Self::Status(sighting)
    }
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// Appended to the log.
    Appended,
    /// Known before.
    Known,
    /// No message with these ids is known yet. The fact is kept and joins its message when the ids become known; if they do
    /// not for a while, it is told as unattributed.
    Early,
    /// Its message is due to be read back now.
    Claimed,
}
