//! Inbound events as JSON, with the field names of the contract and every field always there.
//!
//! As in [`json`](crate::cli::render::json), enums are the contract's words without their prefix, and a time or part that
//! is not set is `null`. What came as JSON is JSON again.

use serde::Serialize;

use super::{plain, source_word};
use crate::{
    cli::render::{
        json::{Failure, time},
        status_word,
    },
    proto::v1::{self, stream_inbound_events_response::Frame},
};

/// A frame with an event.
#[derive(Debug, Serialize)]
pub struct EventFrame<'a> {
    cursor: &'a str,
    #[serde(flatten)]
    frame: Kind<'a>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind<'a> {
    Message(Box<Message<'a>>),
    Number(Number<'a>),
    Call(Call<'a>),
    Lead(Box<Lead<'a>>),
    Unattributed(Unattributed<'a>),
    Unrecognized(Unrecognized<'a>),
}

#[derive(Debug, Serialize)]
struct Event<'a> {
    number: &'a str,
    event: &'a str,
    event_time: Option<String>,
    observe_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    event: Option<Event<'a>>,
    source: &'static str,
    upstream_id: &'a str,
    external_id: &'a str,
    correlation_id: &'a str,
    from_me: bool,
    r#type: &'a str,
    from: &'a str,
    to: &'a str,
    participant_name: &'a str,
    text: &'a str,
    media: Option<Media<'a>>,
    quoted: Option<Quoted<'a>>,
    room: Option<Room<'a>>,
    button: &'a str,
    extra: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Media<'a> {
    url: &'a str,
    media_id: &'a str,
    r#type: &'a str,
    caption: &'a str,
    file_name: &'a str,
}

#[derive(Debug, Serialize)]
struct Quoted<'a> {
    message_id: &'a str,
    upstream_id: &'a str,
    external_id: &'a str,
    text: &'a str,
}

#[derive(Debug, Serialize)]
struct Room<'a> {
    id: &'a str,
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Number<'a> {
    event: Option<Event<'a>>,
    phone_number: &'a str,
    display_name: &'a str,
    error: &'a str,
    error_code: &'a str,
    extra: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Call<'a> {
    event: Option<Event<'a>>,
    call_id: &'a str,
    external_id: &'a str,
    direction: &'a str,
    status: &'a str,
    from: &'a str,
    to: &'a str,
    duration: Option<String>,
    extra: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Lead<'a> {
    event: Option<Event<'a>>,
    lead_id: &'a str,
    leadgen_id: &'a str,
    page_id: &'a str,
    form_id: &'a str,
    platform: &'a str,
    full_name: &'a str,
    email: &'a str,
    phone_number: &'a str,
    organic: Option<bool>,
    consent_given: Option<bool>,
    fields: Vec<Field<'a>>,
    extra: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Field<'a> {
    key: &'a str,
    label: &'a str,
    values: &'a [String],
}

#[derive(Debug, Serialize)]
struct Unattributed<'a> {
    event: Option<Event<'a>>,
    status: &'static str,
    raw_status: &'a str,
    failure: Option<Failure<'a>>,
    upstream_id: &'a str,
    correlation_id: &'a str,
    external_id: &'a str,
    verified: bool,
}

#[derive(Debug, Serialize)]
struct Unrecognized<'a> {
    event: Option<Event<'a>>,
    raw: Option<serde_json::Value>,
}

impl<'a> EventFrame<'a> {
    /// The frame behind which `cursor` resumes; `None` for one without an event.
    pub fn new(cursor: &'a str, frame: &'a Frame) -> Option<Self> {
        let frame = match frame {
            Frame::Message(it) => Kind::Message(Box::new(it.into())),
            Frame::Number(it) => Kind::Number(it.into()),
            Frame::Call(it) => Kind::Call(it.into()),
            Frame::Lead(it) => Kind::Lead(Box::new(it.into())),
            Frame::Unattributed(it) => Kind::Unattributed(it.into()),
            Frame::Unrecognized(it) => {
                Kind::Unrecognized(Unrecognized { event: event(it.event.as_ref()), raw: it.raw.as_ref().map(plain) })
            }
            Frame::Heartbeat(_) | Frame::Gap(_) | Frame::Drain(_) => return None,
        };
        Some(Self { cursor, frame })
    }
}

fn event(from: Option<&v1::InboundEvent>) -> Option<Event<'_>> {
    from.map(|from| Event {
        number: &from.number,
        event: &from.event,
        event_time: time(from.event_time.as_ref()),
        observe_time: time(from.observe_time.as_ref()),
    })
}

impl<'a> From<&'a v1::InboundMessage> for Message<'a> {
    fn from(from: &'a v1::InboundMessage) -> Self {
        Self {
            event: event(from.event.as_ref()),
            source: source_word(from.source()),
            upstream_id: &from.upstream_id,
            external_id: &from.external_id,
            correlation_id: &from.correlation_id,
            from_me: from.from_me,
            r#type: &from.r#type,
            from: &from.from,
            to: &from.to,
            participant_name: &from.participant_name,
            text: &from.text,
            media: from.media.as_ref().map(|media| Media {
                url: &media.url,
                media_id: &media.media_id,
                r#type: &media.r#type,
                caption: &media.caption,
                file_name: &media.file_name,
            }),
            quoted: from.quoted.as_ref().map(|quoted| Quoted {
                message_id: &quoted.message_id,
                upstream_id: &quoted.upstream_id,
                external_id: &quoted.external_id,
                text: &quoted.text,
            }),
            room: from.room.as_ref().map(|room| Room { id: &room.id, name: &room.name }),
            button: &from.button,
            extra: from.extra.as_ref().map(plain),
        }
    }
}

impl<'a> From<&'a v1::NumberEvent> for Number<'a> {
    fn from(from: &'a v1::NumberEvent) -> Self {
        Self {
            event: event(from.event.as_ref()),
            phone_number: &from.phone_number,
            display_name: &from.display_name,
            error: &from.error,
            error_code: &from.error_code,
            extra: from.extra.as_ref().map(plain),
        }
    }
}

impl<'a> From<&'a v1::CallEvent> for Call<'a> {
    fn from(from: &'a v1::CallEvent) -> Self {
        Self {
            event: event(from.event.as_ref()),
            call_id: &from.call_id,
            external_id: &from.external_id,
            direction: &from.direction,
            status: &from.status,
            from: &from.from,
            to: &from.to,
            duration: from.duration.as_ref().map(|span| format!("{}s", span.seconds)),
            extra: from.extra.as_ref().map(plain),
        }
    }
}

impl<'a> From<&'a v1::LeadEvent> for Lead<'a> {
    fn from(from: &'a v1::LeadEvent) -> Self {
        let fields = from.fields.iter();
        Self {
            event: event(from.event.as_ref()),
            lead_id: &from.lead_id,
            leadgen_id: &from.leadgen_id,
            page_id: &from.page_id,
            form_id: &from.form_id,
            platform: &from.platform,
            full_name: &from.full_name,
            email: &from.email,
            phone_number: &from.phone_number,
            organic: from.organic,
            consent_given: from.consent_given,
            fields: fields.map(|it| Field { key: &it.key, label: &it.label, values: &it.values }).collect(),
            extra: from.extra.as_ref().map(plain),
        }
    }
}

impl<'a> From<&'a v1::UnattributedStatus> for Unattributed<'a> {
    fn from(from: &'a v1::UnattributedStatus) -> Self {
        Self {
            event: event(from.event.as_ref()),
            status: status_word(from.status()),
            raw_status: &from.raw_status,
            failure: from.failure.as_ref().map(Failure::from),
            upstream_id: &from.upstream_id,
            correlation_id: &from.correlation_id,
            external_id: &from.external_id,
            verified: from.verified,
        }
    }
}
