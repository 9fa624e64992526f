//! Messages and updates as JSON.
//!
//! Owns the shapes: the field names of the protobuf contract in its order, every field always there. Enums are the
//! contract's words without their prefix (`READ`), times RFC 3339 in UTC with milliseconds; a time or part that is not
//! set is `null`, a recipient an object with the one key of its kind. Called by the client commands under `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    cli::{render, times},
    proto::v1::{self, recipient::Kind},
};

/// The answer to a send.
#[derive(Debug, Serialize)]
pub struct Sent<'a> {
    message: Option<Message<'a>>,
    replayed: bool,
}

/// The answer to a look-up.
#[derive(Debug, Serialize)]
pub struct Found<'a> {
    message: Option<Message<'a>>,
}

/// What became of one cancellation.
#[derive(Debug, Serialize)]
pub struct Canceled<'a> {
    message_id: &'a str,
    outcome: &'static str,
    message: Option<Message<'a>>,
    detail: &'a str,
}

/// A frame with an update.
#[derive(Debug, Serialize)]
pub struct UpdateFrame<'a> {
    cursor: &'a str,
    update: Update<'a>,
}

/// A frame that tells of missing updates.
#[derive(Debug, Serialize)]
pub struct GapFrame<'a> {
    cursor: &'a str,
    gap: Gap<'a>,
}

#[derive(Debug, Serialize)]
struct Gap<'a> {
    from: &'a str,
    to: &'a str,
    reason: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Recipient<'a> {
    PhoneNumber(&'a str),
    UserId(&'a str),
    GroupId(&'a str),
    NewsletterId(&'a str),
}

#[derive(Debug, Serialize)]
pub(super) struct Failure<'a> {
    code: &'static str,
    raw_code: &'a str,
    message: &'a str,
    permanent: bool,
    safe_to_resend: bool,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    message_id: &'a str,
    number: &'a str,
    caller: &'a str,
    recipient: Option<Recipient<'a>>,
    status: &'static str,
    raw_status: &'a str,
    upstream_id: &'a str,
    correlation_id: &'a str,
    external_id: &'a str,
    request_id: &'a str,
    handoff: &'static str,
    labels: &'a [String],
    metadata: &'a BTreeMap<String, String>,
    create_time: Option<String>,
    queue_time: Option<String>,
    sent_time: Option<String>,
    delivered_time: Option<String>,
    read_time: Option<String>,
    failed_time: Option<String>,
    cancel_time: Option<String>,
    failure: Option<Failure<'a>>,
    attempts: i32,
    flow_token: &'a str,
}

#[derive(Debug, Serialize)]
struct Update<'a> {
    message_id: &'a str,
    number: &'a str,
    status: &'static str,
    raw_status: &'a str,
    current_status: &'static str,
    fact_time: Option<String>,
    observe_time: Option<String>,
    origin: &'static str,
    correction: bool,
    failure: Option<Failure<'a>>,
    upstream_id: &'a str,
    correlation_id: &'a str,
    external_id: &'a str,
    request_id: &'a str,
    recipient: Option<Recipient<'a>>,
    labels: &'a [String],
    metadata: &'a BTreeMap<String, String>,
    caller: &'a str,
}

impl<'a> From<&'a v1::SendMessageResponse> for Sent<'a> {
    fn from(from: &'a v1::SendMessageResponse) -> Self {
        Self { message: from.message.as_ref().map(Message::from), replayed: from.replayed }
    }
}

impl<'a> From<&'a v1::GetMessageResponse> for Found<'a> {
    fn from(from: &'a v1::GetMessageResponse) -> Self {
        Self { message: from.message.as_ref().map(Message::from) }
    }
}

impl<'a> From<&'a v1::CancelResult> for Canceled<'a> {
    fn from(from: &'a v1::CancelResult) -> Self {
        Self {
            message_id: &from.message_id,
            outcome: render::outcome_word(from.outcome()),
            message: from.message.as_ref().map(Message::from),
            detail: &from.detail,
        }
    }
}

impl<'a> UpdateFrame<'a> {
    /// The frame of `update` behind which `cursor` resumes.
    pub fn new(cursor: &'a str, update: &'a v1::StatusUpdate) -> Self {
        Self { cursor, update: update.into() }
    }
}

impl<'a> GapFrame<'a> {
    /// The frame of `gap` behind which `cursor` resumes.
    pub fn new(cursor: &'a str, gap: &'a v1::Gap) -> Self {
        let reason = render::gap_reason_word(gap.reason());
        Self { cursor, gap: Gap { from: &gap.from, to: &gap.to, reason } }
    }
}

impl<'a> From<&'a v1::Failure> for Failure<'a> {
    fn from(from: &'a v1::Failure) -> Self {
        Self {
            code: render::failure_word(from.code()),
            raw_code: &from.raw_code,
            message: &from.message,
            permanent: from.permanent,
            safe_to_resend: from.safe_to_resend,
        }
    }
}

impl<'a> From<&'a v1::Message> for Message<'a> {
    fn from(from: &'a v1::Message) -> Self {
        Self {
            message_id: &from.message_id,
            number: &from.number,
            caller: &from.caller,
            recipient: recipient(from.recipient.as_ref()),
            status: render::status_word(from.status()),
            raw_status: &from.raw_status,
            upstream_id: &from.upstream_id,
            correlation_id: &from.correlation_id,
            external_id: &from.external_id,
            request_id: &from.request_id,
            handoff: render::handoff_word(from.handoff()),
            labels: &from.labels,
            metadata: &from.metadata,
            create_time: time(from.create_time.as_ref()),
            queue_time: time(from.queue_time.as_ref()),
            sent_time: time(from.sent_time.as_ref()),
            delivered_time: time(from.delivered_time.as_ref()),
            read_time: time(from.read_time.as_ref()),
            failed_time: time(from.failed_time.as_ref()),
            cancel_time: time(from.cancel_time.as_ref()),
            failure: from.failure.as_ref().map(Failure::from),
            attempts: from.attempts,
            flow_token: &from.flow_token,
        }
    }
}

impl<'a> From<&'a v1::StatusUpdate> for Update<'a> {
    fn from(from: &'a v1::StatusUpdate) -> Self {
        Self {
            message_id: &from.message_id,
            number: &from.number,
            status: render::status_word(from.status()),
            raw_status: &from.raw_status,
            current_status: render::status_word(from.current_status()),
            fact_time: time(from.fact_time.as_ref()),
            observe_time: time(from.observe_time.as_ref()),
            origin: render::origin_word(from.origin()),
            correction: from.correction,
            failure: from.failure.as_ref().map(Failure::from),
            upstream_id: &from.upstream_id,
            correlation_id: &from.correlation_id,
            external_id: &from.external_id,
            request_id: &from.request_id,
            recipient: recipient(from.recipient.as_ref()),
            labels: &from.labels,
            metadata: &from.metadata,
            caller: &from.caller,
        }
    }
}

fn recipient(from: Option<&v1::Recipient>) -> Option<Recipient<'_>> {
    Some(match from?.kind.as_ref()? {
        Kind::PhoneNumber(address) => Recipient::PhoneNumber(address),
        Kind::UserId(address) => Recipient::UserId(address),
        Kind::GroupId(address) => Recipient::GroupId(address),
        Kind::NewsletterId(address) => Recipient::NewsletterId(address),
    })
}

pub(super) fn time(from: Option<&prost_types::Timestamp>) -> Option<String> {
    from.map(times::rfc3339)
}
