//! One event of every kind, full and bare, with the frame that it becomes.

use pilotgate::{
    domain::{
        failure::Failure,
        inbound::{
            Call, Happening, Inbound, InboundMedia, InboundMessage, Lead, LeadField, MessageSource, NumberChange,
            Quoted, Room, Trust, Unattributed,
        },
        merge::{Fact, Observed},
        message::ForeignIds,
        status::{Origin, Status},
    },
    proto::v1::{self, stream_inbound_events_response::Frame},
};
use prost_types::{Struct, Value, value::Kind};

use super::NUMBER;

const AT: &str = "2026-11-24T12:00:00.25Z";
const OBSERVED: &str = "2026-11-24T12:00:01.000002Z";
/// The seconds of both times.
const NOON: i64 = 1_795_521_600;

pub fn inbound(name: &str, what: Happening) -> Inbound {
    let [at, observed_at] = [AT, OBSERVED].map(|time| time.parse().unwrap());
    Inbound { number: NUMBER.to_owned().try_into().unwrap(), name: name.to_owned(), at, observed_at, what }
}

fn event(name: &str) -> Option<v1::InboundEvent> {
    Some(v1::InboundEvent {
        number: NUMBER.to_owned(),
        event: name.to_owned(),
        event_time: Some(prost_types::Timestamp { seconds: NOON, nanos: 250_000_000 }),
        observe_time: Some(prost_types::Timestamp { seconds: NOON + 1, nanos: 2_000 }),
    })
}

fn ids(upstream: &str, correlation: &str, external: &str) -> ForeignIds {
    ForeignIds {
        upstream: Some(upstream.to_owned().try_into().unwrap()),
        correlation: Some(correlation.to_owned().try_into().unwrap()),
        external: Some(external.to_owned().try_into().unwrap()),
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// A struct of one number.
fn number(key: &str, number: f64) -> Option<Struct> {
    let value = Value { kind: Some(Kind::NumberValue(number)) };
    Some(Struct { fields: [(key.to_owned(), value)].into() })
}

/// A struct of one text.
fn string(key: &str, string: &str) -> Option<Struct> {
    let value = Value { kind: Some(Kind::StringValue(string.to_owned())) };
    Some(Struct { fields: [(key.to_owned(), value)].into() })
}

fn fact(status: Observed) -> Fact {
    let [at, observed_at] = [AT, OBSERVED].map(|time| time.parse().unwrap());
    Fact { status, at, observed_at, origin: Origin::Webhook, ids: ids("up-9", "c-9", "wamid.9") }
}

pub fn messages() -> Vec<(Inbound, Frame)> {
    let full = InboundMessage {
        source: MessageSource::Group,
        ids: ids("up-1", "c-1", "wamid.1"),
        from_me: true,
        kind: text("image"),
        from: text("+5511987650101"),
        to: text("+5511900000000"),
        participant: text("Rita"),
        text: text("Look"),
        media: Some(InboundMedia {
            url: text("https://cdn.example.test/1.png"),
            id: text("media-1"),
            kind: text("image/png"),
            caption: text("A cat"),
            file_name: text("cat.png"),
        }),
        quoted: Some(Quoted { ids: ids("up-0", "c-0", "wamid.0"), text: text("Any pets?"), message_id: None }),
        room: Some(Room { id: text("1203@g.us"), name: text("Pets") }),
        button: text("Yes"),
        extra: text(r#"{"forwarded":3}"#),
    };
    let shown = v1::InboundMessage {
        event: event("message.group"),
        source: v1::InboundSource::Group.into(),
        upstream_id: text("up-1"),
        external_id: text("wamid.1"),
        correlation_id: text("c-1"),
        from_me: true,
        r#type: text("image"),
        from: text("+5511987650101"),
        to: text("+5511900000000"),
        participant_name: text("Rita"),
        text: text("Look"),
        media: Some(v1::InboundMedia {
            url: text("https://cdn.example.test/1.png"),
            media_id: text("media-1"),
            r#type: text("image/png"),
            caption: text("A cat"),
            file_name: text("cat.png"),
        }),
        quoted: Some(v1::QuotedMessage {
            message_id: String::new(),
            upstream_id: text("up-0"),
            external_id: text("wamid.0"),
            text: text("Any pets?"),
        }),
        room: Some(v1::InboundRoom { id: text("1203@g.us"), name: text("Pets") }),
        button: text("Yes"),
        extra: number("forwarded", 3.0),
    };
    let sources = [
        (MessageSource::Received, v1::InboundSource::Received),
        (MessageSource::Reply, v1::InboundSource::Reply),
        (MessageSource::Newsletter, v1::InboundSource::Newsletter),
    ];
    let bare = sources.map(|(source, shown)| {
        let what = Happening::Message(Box::new(InboundMessage { source, ..Default::default() }));
        let shown = v1::InboundMessage { event: event("m"), source: shown.into(), ..Default::default() };
        (inbound("m", what), Frame::Message(shown))
    });
    let full = (inbound("message.group", Happening::Message(Box::new(full))), Frame::Message(shown));
    [full].into_iter().chain(bare).collect()
}

pub fn numbers_and_calls() -> Vec<(Inbound, Frame)> {
    let change = NumberChange {
        phone: text("+5511900000000"),
        display_name: text("Shop"),
        error: text("logged out"),
        error_code: text("401"),
        extra: text(r#"{"state":"CLOSE"}"#),
    };
    let changed = v1::NumberEvent {
        event: event("number.disconnected"),
        phone_number: text("+5511900000000"),
        display_name: text("Shop"),
        error: text("logged out"),
        error_code: text("401"),
        extra: string("state", "CLOSE"),
    };
    let call = Call {
        call_id: text("call-1"),
        external_id: text("wacid.1"),
        direction: text("INBOUND"),
        status: text("COMPLETED"),
        from: text("+5511987650101"),
        to: text("+5511900000000"),
        seconds: Some(75),
        extra: text(r#"{"reason":"hangup"}"#),
    };
    let called = v1::CallEvent {
        event: event("call.ended"),
        call_id: text("call-1"),
        external_id: text("wacid.1"),
        direction: text("INBOUND"),
        status: text("COMPLETED"),
        from: text("+5511987650101"),
        to: text("+5511900000000"),
        duration: Some(prost_types::Duration { seconds: 75, nanos: 0 }),
        extra: string("reason", "hangup"),
    };
    vec![
        (inbound("number.disconnected", Happening::Number(change)), Frame::Number(changed)),
        (
            inbound("n", Happening::Number(NumberChange::default())),
            Frame::Number(v1::NumberEvent { event: event("n"), ..Default::default() }),
        ),
        (inbound("call.ended", Happening::Call(call)), Frame::Call(called)),
        (
            inbound("c", Happening::Call(Call::default())),
            Frame::Call(v1::CallEvent { event: event("c"), ..Default::default() }),
        ),
    ]
}

pub fn leads() -> Vec<(Inbound, Frame)> {
    let lead = Lead {
        lead_id: text("lead-1"),
        leadgen_id: text("gen-1"),
        page_id: text("page-1"),
        form_id: text("form-1"),
        platform: text("fb"),
        full_name: text("Rita Souza"),
        email: text("rita@example.test"),
        phone: text("+5511987650101"),
        organic: Some(false),
        consent: Some(true),
        fields: vec![LeadField { key: text("size"), label: text("Size?"), values: vec![text("M"), text("L")] }],
        extra: text(r#"{"adId":"ad-1"}"#),
    };
    let shown = v1::LeadEvent {
        event: event("lead.received"),
        lead_id: text("lead-1"),
        leadgen_id: text("gen-1"),
        page_id: text("page-1"),
        form_id: text("form-1"),
        platform: text("fb"),
        full_name: text("Rita Souza"),
        email: text("rita@example.test"),
        phone_number: text("+5511987650101"),
        organic: Some(false),
        consent_given: Some(true),
        fields: vec![v1::LeadField { key: text("size"), label: text("Size?"), values: vec![text("M"), text("L")] }],
        extra: string("adId", "ad-1"),
    };
    vec![
        (inbound("lead.received", Happening::Lead(Box::new(lead))), Frame::Lead(shown)),
        (
            inbound("l", Happening::Lead(Box::default())),
            Frame::Lead(v1::LeadEvent { event: event("l"), ..Default::default() }),
        ),
    ]
}

pub fn unattributed() -> Vec<(Inbound, Frame)> {
    let shown = v1::UnattributedStatus {
        event: event("message.failed"),
        status: v1::MessageStatus::Failed.into(),
        raw_status: String::new(),
        failure: Some(v1::Failure {
            code: v1::FailureCode::WhatsappNotExist.into(),
            raw_code: text("WHATSAPP_NOT_EXIST"),
            message: text("not there"),
            permanent: true,
            safe_to_resend: false,
        }),
        upstream_id: text("up-9"),
        correlation_id: text("c-9"),
        external_id: text("wamid.9"),
        verified: true,
    };
    let failed = Observed::Failed(Failure::reported("WHATSAPP_NOT_EXIST", "not there"));
    let rest = v1::UnattributedStatus { failure: None, verified: false, ..shown.clone() };
    let read = v1::UnattributedStatus { status: v1::MessageStatus::Read.into(), ..rest.clone() };
    let unknown = v1::UnattributedStatus { status: 0, raw_status: text("PLAYED"), ..rest };
    [
        (failed, Trust::Proven, shown),
        (Observed::Reached(Status::Read), Trust::Claimed, read),
        (Observed::Unknown(text("PLAYED")), Trust::Claimed, unknown),
    ]
    .map(|(status, trust, shown)| {
        let what = Happening::Unattributed(Unattributed { fact: fact(status), trust });
        (inbound("message.failed", what), Frame::Unattributed(shown))
    })
    .into()
}

pub fn unrecognized() -> Vec<(Inbound, Frame)> {
    let raws = [
        (r#"{"event":"x"}"#, string("event", "x")),
        ("{}", Some(Struct::default())),
        ("7", number("value", 7.0)),
        (r#""cut short"#, string("value", r#""cut short"#)),
    ];
    raws.map(|(raw, shown)| {
        let what = Happening::Unrecognized(raw.to_owned());
        (inbound("", what), Frame::Unrecognized(v1::UnrecognizedEvent { event: event(""), raw: shown }))
    })
    .into()
}
