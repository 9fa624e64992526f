//! Entries of the log: one observed status of one message, or one inbound event, complete in itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    inbound::Inbound,
    merge::{Fact, Observed},
    message::{ForeignIds, Message, Micros, Origins},
    position::Position,
    status::{Origin, Status},
};

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place.
    pub position: Position,
    /// What it tells.
    pub payload: Payload,
}

/// What an entry tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A status of a message.
    Update(Update),
    /// Something that came in.
    Inbound(Inbound),
}

impl Event {
    /// The status it tells, if it tells one.
    pub const fn update(&self) -> Option<&Update> {
        match &self.payload {
            Payload::Update(update) => Some(update),
            Payload::Inbound(_) => None,
        }
    }

    /// When the gateway learned of it.
    pub const fn observed_at(&self) -> Timestamp {
        match &self.payload {
            Payload::Update(update) => update.observed_at,
            Payload::Inbound(inbound) => inbound.observed_at,
        }
    }
}

/// A status update, with all that a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The message's constant part.
    pub origins: Origins,
    /// Ids of others, as known by then.
    pub ids: ForeignIds,
    /// What was observed.
    pub observed: Observed,
    /// The message's status with this fact merged in.
    pub current: Status,
    /// Whether it contradicts what was reported before.
    pub correction: bool,
    /// When it happened.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub at: Timestamp,
    /// When the gateway learned of it.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub observed_at: Timestamp,
    /// Where it came from.
    pub origin: Origin,
}

impl Update {
    /// The update for a fact that has just been merged into `message`. Its times are cut to what is stored, so that it is
    /// the same before and after.
    pub fn of(message: &Message, fact: &Fact, correction: bool) -> Self {
        Self {
            origins: message.origins.clone(),
            ids: message.ids.clone(),
            observed: fact.status.clone(),
            current: message.status,
            correction,
            at: Micros::of(fact.at).get(),
            observed_at: Micros::of(fact.observed_at).get(),
            origin: fact.origin,
        }
    }
}
