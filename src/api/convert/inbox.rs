//! Streams of inbound events, from and to the wire.

use std::{collections::HashSet, time::Duration};

use tokio::time::Instant;
use tonic::Status;

use super::{
    filter::{heartbeat, numbers, on_expired, start, subscription},
    json::structure,
    reply::{self, ids, observed},
    times::{proto, proto_span},
    violations::Violations,
};
use crate::{
    domain::{
        Invalid,
        inbound::{
            Call, Happening, Inbound, InboundKind, InboundMedia, InboundMessage, Lead, MessageSource, NumberChange,
            Quoted, Trust, Unattributed,
        },
        position::Position,
    },
    fanout::{Cursors, Filter, Fingerprint, FollowRequest, Notice},
    identity::InboxSight,
    keys::KeyRing,
    proto::v1,
};

/// Checks a stream request for a caller with this sight.
pub(in crate::api) fn inbox_request(
    request: v1::StreamInboundEventsRequest,
    sight: InboxSight,
    keys: &KeyRing,
    retire_at: Option<Instant>,
) -> Result<FollowRequest, Status> {
    use v1::{stream_inbound_events_request::Start as Inbox, stream_status_updates_request::Start as Any};
    let filter = request.filter.unwrap_or_default();
    let numbers = numbers(&filter.numbers, &sight, keys)?;
    let mut wrong = Violations::default();
    wrong.count("filter.numbers", filter.numbers.len(), 0..=100);
    let kinds = kinds(&mut wrong, &filter.kinds);
    let on_expired = on_expired(&mut wrong, request.on_expired);
    let heartbeat = heartbeat(&mut wrong, request.heartbeat_interval);
    let place = request.start.map(|start| match start {
        Inbox::Cursor(text) => Any::Cursor(text),
        Inbox::StartTime(time) => Any::StartTime(time),
        Inbox::Position(position) => Any::Position(position),
    });
    let subscription = subscription(&mut wrong, &request.subscription);
    let start = start(&mut wrong, place, subscription.as_ref());
    let filter = Filter::inbox(sight, numbers, kinds);
    let until_final = false;
    let request =
        start.map(|start| FollowRequest { filter, start, on_expired, heartbeat, until_final, subscription, retire_at });
    wrong.finish(request)
}

fn kinds(wrong: &mut Violations, kinds: &[i32]) -> HashSet<InboundKind> {
    let known = |value: i32| match v1::InboundKind::try_from(value) {
        Ok(v1::InboundKind::Message) => Ok(InboundKind::Message),
        Ok(v1::InboundKind::Number) => Ok(InboundKind::Number),
        Ok(v1::InboundKind::Call) => Ok(InboundKind::Call),
        Ok(v1::InboundKind::Lead) => Ok(InboundKind::Lead),
        Ok(v1::InboundKind::Unattributed) => Ok(InboundKind::Unattributed),
        Ok(v1::InboundKind::Unrecognized) => Ok(InboundKind::Unrecognized),
        Ok(v1::InboundKind::Unspecified) | Err(_) => Err(Invalid::because("must be a known kind")),
    };
    let kinds = if wrong.count("filter.kinds", kinds.len(), 0..=16).is_some() { kinds } else { &[] };
    let kinds = kinds.iter().enumerate();
    kinds.filter_map(|(index, value)| wrong.take(format!("filter.kinds[{index}]"), known(*value))).collect()
}

/// A notice of a stream that resumes behind `after`.
pub(in crate::api) fn inbox_notice(
    notice: Notice,
    after: Position,
    cursors: &Cursors,
    filter: Fingerprint,
) -> v1::StreamInboundEventsResponse {
    use v1::stream_inbound_events_response::Frame as Wire;
    let cursor = cursors.encode(after, filter);
    let frame = match notice {
        Notice::Heartbeat { head_lag, backlog, unacknowledged, idle } => {
            Wire::Heartbeat(reply::heartbeat(head_lag, backlog, unacknowledged, idle))
        }
        Notice::Gap { from } => Wire::Gap(reply::gap(from, &cursor, cursors, filter)),
        Notice::Drain { reconnect_after } => Wire::Drain(reply::drain(reconnect_after)),
    };
    v1::StreamInboundEventsResponse { cursor, frame: Some(frame) }
}

pub(super) fn happening(inbound: &Inbound) -> v1::stream_inbound_events_response::Frame {
    use v1::stream_inbound_events_response::Frame as Wire;
    let event = v1::InboundEvent {
        number: inbound.number.to_string(),
        event: inbound.name.clone(),
        event_time: Some(proto(inbound.at)),
        observe_time: Some(proto(inbound.observed_at)),
    };
    match &inbound.what {
        Happening::Message(it) => Wire::Message(message(event, it)),
        Happening::Number(it) => Wire::Number(number(event, it)),
        Happening::Call(it) => Wire::Call(call(event, it)),
        Happening::Lead(it) => Wire::Lead(lead(event, it)),
        Happening::Unattributed(it) => Wire::Unattributed(unattributed(event, it)),
        Happening::Unrecognized(json) => {
            Wire::Unrecognized(v1::UnrecognizedEvent { event: Some(event), raw: structure(json) })
        }
    }
}

fn message(event: v1::InboundEvent, message: &InboundMessage) -> v1::InboundMessage {
    let [upstream_id, correlation_id, external_id] = ids(&message.ids);
    v1::InboundMessage {
        event: Some(event),
        source: match message.source {
            MessageSource::Received => v1::InboundSource::Received,
            MessageSource::Reply => v1::InboundSource::Reply,
            MessageSource::Group => v1::InboundSource::Group,
            MessageSource::Newsletter => v1::InboundSource::Newsletter,
        }
        .into(),
        upstream_id,
        external_id,
        correlation_id,
        from_me: message.from_me,
        r#type: message.kind.clone(),
        from: message.from.clone(),
        to: message.to.clone(),
        participant_name: message.participant.clone(),
        text: message.text.clone(),
        media: message.media.as_ref().map(media),
        quoted: message.quoted.as_ref().map(quoted),
        room: message.room.as_ref().map(|room| v1::InboundRoom { id: room.id.clone(), name: room.name.clone() }),
        button: message.button.clone(),
        extra: structure(&message.extra),
    }
}

fn media(media: &InboundMedia) -> v1::InboundMedia {
    v1::InboundMedia {
        url: media.url.clone(),
        media_id: media.id.clone(),
        r#type: media.kind.clone(),
        caption: media.caption.clone(),
        file_name: media.file_name.clone(),
    }
}

fn quoted(quoted: &Quoted) -> v1::QuotedMessage {
    let [upstream_id, _, external_id] = ids(&quoted.ids);
    v1::QuotedMessage {
        message_id: quoted.message_id.map(|id| id.to_string()).unwrap_or_default(),
        upstream_id,
        external_id,
        text: quoted.text.clone(),
    }
}

fn number(event: v1::InboundEvent, change: &NumberChange) -> v1::NumberEvent {
    v1::NumberEvent {
        event: Some(event),
        phone_number: change.phone.clone(),
        display_name: change.display_name.clone(),
        error: change.error.clone(),
        error_code: change.error_code.clone(),
        extra: structure(&change.extra),
    }
}

fn call(event: v1::InboundEvent, call: &Call) -> v1::CallEvent {
    v1::CallEvent {
        event: Some(event),
        call_id: call.call_id.clone(),
        external_id: call.external_id.clone(),
        direction: call.direction.clone(),
        status: call.status.clone(),
        from: call.from.clone(),
        to: call.to.clone(),
        duration: call.seconds.map(|seconds| proto_span(Duration::from_secs(seconds))),
        extra: structure(&call.extra),
    }
}

fn lead(event: v1::InboundEvent, lead: &Lead) -> v1::LeadEvent {
    let field = |field: &crate::domain::inbound::LeadField| v1::LeadField {
        key: field.key.clone(),
        label: field.label.clone(),
        values: field.values.clone(),
    };
    v1::LeadEvent {
        event: Some(event),
        lead_id: lead.lead_id.clone(),
        leadgen_id: lead.leadgen_id.clone(),
        page_id: lead.page_id.clone(),
        form_id: lead.form_id.clone(),
        platform: lead.platform.clone(),
        full_name: lead.full_name.clone(),
        email: lead.email.clone(),
        phone_number: lead.phone.clone(),
        organic: lead.organic,
        consent_given: lead.consent,
        fields: lead.fields.iter().map(field).collect(),
        extra: structure(&lead.extra),
    }
}

fn unattributed(event: v1::InboundEvent, unattributed: &Unattributed) -> v1::UnattributedStatus {
    let (status, raw_status, failure) = observed(&unattributed.fact.status);
    let [upstream_id, correlation_id, external_id] = ids(&unattributed.fact.ids);
    v1::UnattributedStatus {
        event: Some(event),
        status: status.into(),
        raw_status,
        failure,
        upstream_id,
        correlation_id,
        external_id,
        verified: unattributed.trust != Trust::Claimed,
    }
}
