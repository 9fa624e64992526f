//! A message as the gateway remembers it: everything but its body.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, FailureCode},
    ids::{CallerName, CorrelationId, ExternalId, MessageId, NumberName, RequestId, UpstreamId},
    recipient::Recipient,
    status::Status,
};

/// How a message is handed off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handoff {
    /// The caller waits for Pilot Status's answer.
    Direct,
    /// The gateway delivers with retries.
    Queued,
}

/// What is known of a message from the moment it is accepted; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// Ours.
    pub message_id: MessageId,
    /// Who asked.
    pub caller: CallerName,
    /// Which number sends.
    pub number: NumberName,
    /// Where it goes.
    pub recipient: Recipient,
    /// The caller's idempotency key.
    pub request_id: Option<RequestId>,
    /// How it is handed off.
    pub handoff: Handoff,
    /// Tags, sent upstream.
    pub labels: Vec<String>,
    /// The caller's notes, never sent upstream.
    pub metadata: BTreeMap<String, String>,
    /// When it was accepted here.
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    pub create_time: Timestamp,
    /// When it shall leave, if not at once.
    #[serde(
        with = "jiff::fmt::serde::timestamp::microsecond::optional",
        skip_serializing_if = "Option::is_none",
        default
    )]
    pub deliver_at: Option<Timestamp>,
}

/// Ids given by others; filled in as they become known, then constant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignIds {
    /// Pilot Status's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream: Option<UpstreamId>,
    /// The business id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation: Option<CorrelationId>,
    /// The provider's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external: Option<ExternalId>,
}

impl ForeignIds {
    /// Takes over what is not known yet.
    pub fn fill_from(&mut self, other: &Self) {
        fn fill<T: Clone>(into: &mut Option<T>, from: &Option<T>) {
            if into.is_none() {
                into.clone_from(from);
            }
        }
        fill(&mut self.upstream, &other.upstream);
        fill(&mut self.correlation, &other.correlation);
        fill(&mut self.external, &other.external);
    }
}

/// A message and everything observed of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What never changes.
    pub origins: Origins,
    /// Ids of others.
    pub ids: ForeignIds,
    /// The merge of all facts.
    pub status: Status,
    /// The earliest time observed for each status; a status without a time was never observed.
    pub times: StatusTimes,
    /// The failure with the earliest time, if any was observed.
    pub failure: Option<Failure>,
    /// Status words of Pilot Status that the gateway does not know, in order of appearance; the last one is shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub unknown_words: Vec<String>,
    /// Failure codes observed, in order of appearance.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub failure_codes: Vec<String>,
    /// Calls of Pilot Status made for it and settled.
    pub attempts: u32,
    /// Token of a flow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow_token: Option<String>,
}

impl Message {
    /// A message that has just been accepted.
    pub fn accepted(origins: Origins) -> Self {
        let mut times = StatusTimes::default();
        times.observe(Status::Pending, origins.create_time);
        Self {
            origins,
            ids: ForeignIds::default(),
            status: Status::Pending,
            times,
            failure: None,
            unknown_words: Vec::new(),
            failure_codes: Vec::new(),
            attempts: 0,
            flow_token: None,
        }
    }

    /// Failed for want of a delivery report, which may still come.
    pub fn may_be_contradicted(&self) -> bool {
        let code = self.failure.as_ref().and_then(Failure::code);
        self.status == Status::Failed && code == Some(FailureCode::DeliveredNotConfirmed)
    }
}

/// The earliest time observed for each status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusTimes(BTreeMap<Status, Micros>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Micros(#[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")] Timestamp);

impl Micros {
    /// Cut to what is stored, so that times compare the same before and after.
    pub(super) fn of(at: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
    }

    pub(super) const fn get(self) -> Timestamp {
        self.0
    }
}

impl StatusTimes {
    /// When the status was reached; `None` if that was never observed.
    pub fn get(&self, status: Status) -> Option<Timestamp> {
        self.0.get(&status).map(|micros| micros.0)
    }

    /// Notes a time, keeping the earliest. True if the status had not been observed before.
    pub fn observe(&mut self, status: Status, at: Timestamp) -> bool {
        let at = Micros::of(at);
        match self.0.get_mut(&status) {
            Some(known) => {
                *known = at.min(*known);
                false
            }
            None => {
                self.0.insert(status, at);
                true
            }
        }
    }
}
