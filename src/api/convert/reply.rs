//! Messages and frames, to the wire.

use std::time::Duration;

use prost::Message as _;
use tonic_types::pb;

use super::times::{proto, proto_span};
use crate::{
    domain::{
        event::Update,
        failure::{Failure, FailureCode},
        merge::Observed,
        message::{ForeignIds, Handoff, Message},
        position::Position,
        recipient::Recipient,
        status::{Origin, Status},
    },
    fanout::{Cursors, Fingerprint, Idle, Notice},
    messaging::{CancelOutcome, CancelResult},
    proto::v1,
};

/// A message.
pub(in crate::api) fn message(message: Message) -> v1::Message {
    let time = |status| message.times.get(status).map(proto);
    let failure = (message.status == Status::Failed).then_some(message.failure.as_ref()).flatten();
    let [upstream_id, correlation_id, external_id] = ids(&message.ids);
    v1::Message {
        message_id: message.origins.message_id.to_string(),
        number: message.origins.number.to_string(),
        caller: message.origins.caller.to_string(),
        recipient: Some(recipient(message.origins.recipient)),
        status: status(message.status).into(),
        raw_status: message.unknown_words.last().cloned().unwrap_or_default(),
        upstream_id,
        correlation_id,
        external_id,
        request_id: message.origins.request_id.map(String::from).unwrap_or_default(),
        handoff: handoff(message.origins.handoff).into(),
        labels: message.origins.labels,
        metadata: message.origins.metadata,
        create_time: Some(proto(message.origins.create_time)),
        queue_time: time(Status::Queued),
        sent_time: time(Status::Sent),
        delivered_time: time(Status::Delivered),
        read_time: time(Status::Read),
        failed_time: time(Status::Failed),
        cancel_time: time(Status::Canceled),
        failure: failure.map(self::failure),
        attempts: i32::try_from(message.attempts).unwrap_or(i32::MAX),
        flow_token: message.flow_token.unwrap_or_default(),
    }
}

pub(super) const fn handoff(handoff: Handoff) -> v1::Handoff {
    match handoff {
        Handoff::Direct => v1::Handoff::Direct,
        Handoff::Queued => v1::Handoff::Queued,
    }
}

/// A status as it stands inside a message: with its code, its text and all of its details.
pub(in crate::api) fn rpc_status(status: &tonic::Status) -> pb::Status {
    // The details of our own statuses are an encoded status already.
    let whole = pb::Status::decode(status.details()).unwrap_or_default();
    pb::Status { code: status.code().into(), message: status.message().to_owned(), details: whole.details }
}

/// The results of a cancellation.
pub(in crate::api) fn cancel_response(results: Vec<CancelResult>) -> v1::CancelMessagesResponse {
    let results = results.into_iter().map(|result| v1::CancelResult {
        message_id: result.id.to_string(),
        outcome: match result.outcome {
            CancelOutcome::Canceled => v1::CancelOutcome::Canceled,
            CancelOutcome::TooLate => v1::CancelOutcome::TooLate,
            CancelOutcome::NotFound => v1::CancelOutcome::NotFound,
            CancelOutcome::AlreadyCanceled => v1::CancelOutcome::AlreadyCanceled,
            CancelOutcome::Unclear => v1::CancelOutcome::Unspecified,
        }
        .into(),
        message: result.message.map(message),
        detail: result.detail,
    });
    v1::CancelMessagesResponse { results: results.collect() }
}

/// A notice in a stream that resumes behind `after`.
pub(in crate::api) fn notice(
    notice: Notice,
    after: Position,
    cursors: &Cursors,
    filter: Fingerprint,
) -> v1::StreamStatusUpdatesResponse {
    use v1::stream_status_updates_response::Frame as Wire;
    let cursor = cursors.encode(after, filter);
    let frame = match notice {
        Notice::Heartbeat { head_lag, backlog, unacknowledged, idle } => {
            Wire::Heartbeat(heartbeat(head_lag, backlog, unacknowledged, idle))
        }
        Notice::Gap { from } => Wire::Gap(gap(from, &cursor, cursors, filter)),
        Notice::Drain { reconnect_after } => Wire::Drain(drain(reconnect_after)),
    };
    v1::StreamStatusUpdatesResponse { cursor, frame: Some(frame) }
}

/// A sign of life.
pub(super) fn heartbeat(head_lag: Duration, backlog: u64, unacknowledged: u64, idle: Idle) -> v1::Heartbeat {
    v1::Heartbeat {
        head_lag: Some(proto_span(head_lag)),
        backlog: i64::try_from(backlog).unwrap_or(i64::MAX),
        idle_reason: match idle {
            Idle::Started => v1::IdleReason::Started,
            Idle::CaughtUp => v1::IdleReason::CaughtUp,
            Idle::CatchingUp => v1::IdleReason::CatchingUp,
        }
        .into(),
        unacknowledged: i64::try_from(unacknowledged).unwrap_or(i64::MAX),
    }
}

/// A gap behind which the stream goes on at the cursor `to`.
pub(super) fn gap(from: Position, to: &str, cursors: &Cursors, filter: Fingerprint) -> v1::Gap {
    v1::Gap {
        from: if from == Position::START { String::new() } else { cursors.encode(from, filter) },
        to: to.to_owned(),
        reason: v1::GapReason::Retention.into(),
    }
}

/// A farewell.
pub(super) fn drain(reconnect_after: Duration) -> v1::Drain {
    v1::Drain { reconnect_after: Some(proto_span(reconnect_after)) }
}

pub(super) fn update(update: &Update) -> v1::StatusUpdate {
    let origins = &update.origins;
    let (observed, raw_status, failed) = observed(&update.observed);
    let [upstream_id, correlation_id, external_id] = ids(&update.ids);
    v1::StatusUpdate {
        message_id: origins.message_id.to_string(),
        number: origins.number.to_string(),
        status: observed.into(),
        raw_status,
        current_status: status(update.current).into(),
        fact_time: Some(proto(update.at)),
        observe_time: Some(proto(update.observed_at)),
        origin: match update.origin {
            Origin::SendReply => v1::Origin::SendReply,
            Origin::Webhook => v1::Origin::Webhook,
            Origin::Poll => v1::Origin::Poll,
            Origin::Gateway => v1::Origin::Gateway,
        }
        .into(),
        correction: update.correction,
        failure: failed,
        upstream_id,
        correlation_id,
        external_id,
        request_id: origins.request_id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        recipient: Some(recipient(origins.recipient.clone())),
        labels: origins.labels.clone(),
        metadata: origins.metadata.clone(),
        caller: origins.caller.to_string(),
    }
}

/// The status, the word if it is unknown, and the failure if it is one.
pub(super) fn observed(observed: &Observed) -> (v1::MessageStatus, String, Option<v1::Failure>) {
    match observed {
        Observed::Reached(reached) => (status(*reached), String::new(), None),
        Observed::Failed(reported) => (v1::MessageStatus::Failed, String::new(), Some(failure(reported))),
        Observed::Unknown(word) => (v1::MessageStatus::Unspecified, word.clone(), None),
    }
}

/// Pilot Status's id, the business id, the provider's id; those that are not known are empty.
pub(super) fn ids(ids: &ForeignIds) -> [String; 3] {
    [
        ids.upstream.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        ids.correlation.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
        ids.external.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default(),
    ]
}

fn recipient(recipient: Recipient) -> v1::Recipient {
    use v1::recipient::Kind;
    let kind = match recipient {
        Recipient::Phone(phone) => Kind::PhoneNumber(phone.into()),
        Recipient::User(id) => Kind::UserId(id),
        Recipient::Group(jid) => Kind::GroupId(jid),
        Recipient::Newsletter(jid) => Kind::NewsletterId(jid),
    };
    v1::Recipient { kind: Some(kind) }
}

pub(super) const fn status(status: Status) -> v1::MessageStatus {
    match status {
        Status::Pending => v1::MessageStatus::Pending,
        Status::InDoubt => v1::MessageStatus::InDoubt,
        Status::Queued => v1::MessageStatus::Queued,
        Status::Sent => v1::MessageStatus::Sent,
        Status::Canceled => v1::MessageStatus::Canceled,
        Status::Failed => v1::MessageStatus::Failed,
        Status::Delivered => v1::MessageStatus::Delivered,
        Status::Read => v1::MessageStatus::Read,
    }
}

fn failure(failure: &Failure) -> v1::Failure {
    v1::Failure {
        code: failure.code().map_or(v1::FailureCode::Unspecified, failure_code).into(),
        raw_code: failure.raw_code.clone(),
        message: failure.message.clone(),
        permanent: failure.is_permanent(),
        safe_to_resend: failure.is_safe_to_resend(),
    }
}

const fn failure_code(code: FailureCode) -> v1::FailureCode {
    match code {
        FailureCode::DeliveredNotConfirmed => v1::FailureCode::DeliveredNotConfirmed,
        FailureCode::TemplateVersionNotFound => v1::FailureCode::TemplateVersionNotFound,
        FailureCode::InvalidDestination => v1::FailureCode::InvalidDestination,
        FailureCode::PilotSelfNumber => v1::FailureCode::PilotSelfNumber,
        FailureCode::NeverAttemptedMaxAgeExceeded => v1::FailureCode::NeverAttemptedMaxAgeExceeded,
        FailureCode::ExpiredAfterAttempts => v1::FailureCode::ExpiredAfterAttempts,
        FailureCode::MessageExpired => v1::FailureCode::MessageExpired,
        FailureCode::DeliveryTimeout => v1::FailureCode::DeliveryTimeout,
        FailureCode::NumberNotFoundRemoved => v1::FailureCode::NumberNotFoundRemoved,
        FailureCode::LinkedWhatsappInstanceNotFound => v1::FailureCode::LinkedWhatsappInstanceNotFound,
        FailureCode::WhatsappNotExist => v1::FailureCode::WhatsappNotExist,
        FailureCode::MetaTemplateNotApproved => v1::FailureCode::MetaTemplateNotApproved,
        FailureCode::MetaOutside24hWindow => v1::FailureCode::MetaOutside24hWindow,
        FailureCode::MetaNoConversation => v1::FailureCode::MetaNoConversation,
        FailureCode::MetaRateLimited => v1::FailureCode::MetaRateLimited,
        FailureCode::Rejected => v1::FailureCode::Rejected,
        FailureCode::NotSent => v1::FailureCode::NotSent,
        FailureCode::QueueExpired => v1::FailureCode::QueueExpired,
        FailureCode::BodyUnreadable => v1::FailureCode::BodyUnreadable,
        FailureCode::Discarded => v1::FailureCode::Discarded,
        FailureCode::ResolvedNotSent => v1::FailureCode::ResolvedNotSent,
    }
}
