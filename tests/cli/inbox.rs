//! `pilotgate inbox`: what it asks for, what it prints, where it resumes.

use std::{fs, time::Duration};

use pilotgate::proto::v1::{
    CallEvent, Drain, Failure, FailureCode, Gap, GapReason, Heartbeat, InboundEvent, InboundFilter, InboundKind,
    InboundMedia, InboundMessage, InboundRoom, InboundSource, LeadEvent, LeadField, MessageStatus, NumberEvent,
    OnExpired, Position, QuotedMessage, StreamInboundEventsRequest, StreamInboundEventsResponse, UnattributedStatus,
    UnrecognizedEvent, stream_inbound_events_request::Start, stream_inbound_events_response::Frame,
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::{Code, Status};

use crate::{
    scripted::{MESSAGE, NOON, Script, Scripted, noon, refusal},
    support::{READS, Sandbox, run},
};

type Answer = Result<StreamInboundEventsResponse, Status>;

fn frame(cursor: &str, frame: Frame) -> Answer {
    Ok(StreamInboundEventsResponse { cursor: cursor.to_owned(), frame: Some(frame) })
}

fn alive(cursor: &str) -> Answer {
    frame(cursor, Frame::Heartbeat(Heartbeat::default()))
}

fn event(name: &str) -> Option<InboundEvent> {
    Some(InboundEvent {
        number: "shop".to_owned(),
        event: name.to_owned(),
        event_time: Some(noon()),
        observe_time: Some(noon()),
    })
}

fn says(text: &str) -> Frame {
    Frame::Message(InboundMessage {
        event: event("message.received"),
        source: InboundSource::Received.into(),
        from: READS.to_owned(),
        r#type: "text".to_owned(),
        text: text.to_owned(),
        ..Default::default()
    })
}

fn line(text: &str) -> String {
    format!("{NOON}  MESSAGE       shop  {READS}  {text}\n")
}

fn inbox(streams: impl IntoIterator<Item = Vec<Answer>>) -> Scripted {
    Scripted::start(Script { inboxes: streams.into_iter().collect(), ..Script::default() })
}

#[test]
fn what_is_asked_for_is_passed_on() {
    let gateway = inbox([vec![frame("c1", says("hello"))], vec![frame("c1", says("hello"))]]);
    let asked = ["inbox", "--number", "shop", "--kind", "message", "--kind", "LEAD", "--from", "earliest"];
    let rest = ["--heartbeat", "20s", "--count", "1"];
    let told = gateway.run(&[&asked[..], &rest].concat());
    assert_eq!((told.code, told.stdout, told.stderr.as_str()), (0, line("hello"), ""));
    let subscribed = gateway.run(&["inbox", "--subscription", "desk", "--count", "1"]);
    assert_eq!(subscribed.code, 0, "{}", subscribed.stderr);
    let span = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let expected = StreamInboundEventsRequest {
        filter: Some(InboundFilter {
            numbers: vec!["shop".to_owned()],
            kinds: vec![InboundKind::Message.into(), InboundKind::Lead.into()],
        }),
        start: Some(Start::Position(Position::Earliest.into())),
        subscription: String::new(),
        on_expired: OnExpired::Fail.into(),
        heartbeat_interval: span(20),
    };
    let by_name = StreamInboundEventsRequest {
        filter: Some(InboundFilter::default()),
        start: None,
        subscription: "desk".to_owned(),
        heartbeat_interval: span(15),
        ..expected.clone()
    };
    let script = gateway.script();
    assert_eq!(script.inboxed, [expected, by_name]);
    // The place is told to the service that remembers places of both kinds of streams.
    let committed: Vec<_> = script.committed.iter().map(|it| (it.subscription.as_str(), it.cursor.as_str())).collect();
    assert_eq!(committed, [("desk", "c1")]);
}

#[test]
fn a_lost_stream_goes_on_behind_the_last_event() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("inbox.cursor");
    let away = || Err(refusal(Code::Unavailable, "DRAINING", "shutting down", Some(Duration::ZERO)));
    let drain = Frame::Drain(Drain { reconnect_after: Some(prost_types::Duration::default()) });
    let gap = Frame::Gap(Gap { from: "c4".to_owned(), to: "c6".to_owned(), reason: GapReason::Retention.into() });
    let gateway = inbox([
        vec![alive("c0"), frame("c1", says("a")), away()],
        vec![alive("c1"), frame("c1", says("a")), frame("c2", says("b")), frame("c2", drain)],
        vec![alive("c4"), frame("c6", gap), frame("c7", says("c"))],
    ]);
    let told = gateway.run(&["inbox", "--cursor-file", file.to_str().unwrap(), "--count", "3"]);
    assert_eq!((told.code, told.stdout), (0, ["a", "b", "c"].map(line).concat()));
    assert_eq!(
        told.stderr,
        "UNAVAILABLE DRAINING: shutting down; reconnecting in 0.010 s\n\
         the gateway moves the connection; reconnecting in 0.010 s\n\
         gap: events between c4 and c6 can no longer be had (RETENTION)\n"
    );
    let starts: Vec<_> = gateway.script().inboxed.iter().map(|request| request.start.clone()).collect();
    let behind = |cursor: &str| Some(Start::Cursor(cursor.to_owned()));
    assert_eq!(starts, [None, behind("c1"), behind("c2")]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "c7\n");
}

/// One event of every kind.
fn all() -> Vec<Answer> {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let number = |number: f64| Value { kind: Some(Kind::NumberValue(number)) };
    let list =
        Value { kind: Some(Kind::ListValue(ListValue { values: vec![number(1.0), number(1.5), Value::default()] })) };
    let truth = Value { kind: Some(Kind::BoolValue(true)) };
    let object =
        Struct { fields: [("b".to_owned(), truth), ("l".to_owned(), list), ("t".to_owned(), text("x"))].into() };
    let message = InboundMessage {
        event: event("message.group"),
        source: InboundSource::Group.into(),
        from: READS.to_owned(),
        participant_name: "Rita\u{1b}[2J".to_owned(),
        r#type: "image".to_owned(),
        text: "two\nlines".to_owned(),
        media: Some(InboundMedia {
            url: "https://cdn.example.test/1.png".to_owned(),
            caption: "A cat".to_owned(),
            ..Default::default()
        }),
        quoted: Some(QuotedMessage { message_id: MESSAGE.to_owned(), ..Default::default() }),
        room: Some(InboundRoom { id: "1203@g.us".to_owned(), name: "Pets".to_owned() }),
        button: "Yes".to_owned(),
        extra: Some(object.clone()),
        ..Default::default()
    };
    let changed = NumberEvent {
        event: event("number.disconnected"),
        phone_number: "+5511900000000".to_owned(),
        error: "logged out".to_owned(),
        error_code: "401".to_owned(),
        ..Default::default()
    };
    let call = CallEvent {
        event: event("call.ended"),
        direction: "INBOUND".to_owned(),
        status: "COMPLETED".to_owned(),
        from: READS.to_owned(),
        duration: Some(prost_types::Duration { seconds: 75, nanos: 0 }),
        ..Default::default()
    };
    let lead = LeadEvent {
        event: event("lead.received"),
        full_name: "Rita".to_owned(),
        email: "rita@example.test".to_owned(),
        organic: Some(false),
        fields: vec![LeadField {
            key: "size".to_owned(),
            label: "Size?".to_owned(),
            values: vec!["M".to_owned(), "L".to_owned()],
        }],
        ..Default::default()
    };
    let failed = UnattributedStatus {
        event: event("message.failed"),
        status: MessageStatus::Failed.into(),
        failure: Some(Failure {
            code: FailureCode::WhatsappNotExist.into(),
            raw_code: "WHATSAPP_NOT_EXIST".to_owned(),
            message: "not there".to_owned(),
            permanent: true,
            safe_to_resend: false,
        }),
        upstream_id: "up-9".to_owned(),
        ..Default::default()
    };
    let odd = UnrecognizedEvent { event: event("odd"), raw: Some(object) };
    let events = [
        Frame::Message(message),
        Frame::Number(changed),
        Frame::Call(call),
        Frame::Lead(lead),
        Frame::Unattributed(failed),
        Frame::Unrecognized(odd),
    ];
    (1..).zip(events).map(|(at, event)| frame(&format!("c{at}"), event)).collect()
}

#[test]
fn every_kind_of_event_is_a_line_for_people() {
    let told = inbox([all()]).run(&["inbox", "--count", "6"]);
    let lines = [
        format!(
            "MESSAGE       shop  {READS} (Rita\\u{{1b}}[2J)  in Pets  [image]  two\\nlines  button Yes  A cat  \
             https://cdn.example.test/1.png  answers {MESSAGE}"
        ),
        "NUMBER        shop  number.disconnected  +5511900000000  401: logged out".to_owned(),
        format!("CALL          shop  call.ended  INBOUND  from {READS}  COMPLETED  1 min 15 s"),
        "LEAD          shop  Rita  rita@example.test  size=M, L".to_owned(),
        "UNATTRIBUTED  shop  FAILED  up-9  WHATSAPP_NOT_EXIST: not there  not verified".to_owned(),
        r#"UNRECOGNIZED  shop  odd  {"b":true,"l":[1,1.5,null],"t":"x"}"#.to_owned(),
    ];
    let expected: String = lines.iter().map(|line| format!("{NOON}  {line}\n")).collect();
    assert_eq!((told.code, told.stdout, told.stderr.as_str()), (0, expected, ""));
}

#[test]
fn every_kind_of_event_is_an_object_for_programs() {
    let told = inbox([all()]).run(&["inbox", "--count", "6", "--json"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""));
    let event =
        |name: &str| format!(r#"{{"number":"shop","event":"{name}","event_time":"{NOON}","observe_time":"{NOON}"}}"#);
    let [group, number, call, lead, failed, odd] =
        ["message.group", "number.disconnected", "call.ended", "lead.received", "message.failed", "odd"].map(event);
    let object = r#"{"b":true,"l":[1,1.5,null],"t":"x"}"#;
    let lines = [
        format!(
            r#"{{"cursor":"c1","message":{{"event":{group},"source":"GROUP","upstream_id":"","external_id":"","correlation_id":"","from_me":false,"type":"image","from":"{READS}","to":"","participant_name":"Rita\u001b[2J","text":"two\nlines","media":{{"url":"https://cdn.example.test/1.png","media_id":"","type":"","caption":"A cat","file_name":""}},"quoted":{{"message_id":"{MESSAGE}","upstream_id":"","external_id":"","text":""}},"room":{{"id":"1203@g.us","name":"Pets"}},"button":"Yes","extra":{object}}}}}"#
        ),
        format!(
            r#"{{"cursor":"c2","number":{{"event":{number},"phone_number":"+5511900000000","display_name":"","error":"logged out","error_code":"401","extra":null}}}}"#
        ),
        format!(
            r#"{{"cursor":"c3","call":{{"event":{call},"call_id":"","external_id":"","direction":"INBOUND","status":"COMPLETED","from":"{READS}","to":"","duration":"75s","extra":null}}}}"#
        ),
        format!(
            r#"{{"cursor":"c4","lead":{{"event":{lead},"lead_id":"","leadgen_id":"","page_id":"","form_id":"","platform":"","full_name":"Rita","email":"rita@example.test","phone_number":"","organic":false,"consent_given":null,"fields":[{{"key":"size","label":"Size?","values":["M","L"]}}],"extra":null}}}}"#
        ),
        format!(
            r#"{{"cursor":"c5","unattributed":{{"event":{failed},"status":"FAILED","raw_status":"","failure":{{"code":"WHATSAPP_NOT_EXIST","raw_code":"WHATSAPP_NOT_EXIST","message":"not there","permanent":true,"safe_to_resend":false}},"upstream_id":"up-9","correlation_id":"","external_id":"","verified":false}}}}"#
        ),
        format!(r#"{{"cursor":"c6","unrecognized":{{"event":{odd},"raw":{object}}}}}"#),
    ];
    assert_eq!(told.stdout.lines().collect::<Vec<_>>(), lines);
}

#[test]
fn refusals_end_it() {
    let unknown = run(&["inbox", "--kind", "mail"], &[]);
    assert_eq!(unknown.code, 2);
    let words = "expected one of message, number, call, lead, unattributed, unrecognized";
    assert!(unknown.stderr.contains(words), "{}", unknown.stderr);
    let sandbox = Sandbox::start(&[]);
    let refused = sandbox.run(&["inbox", "--number", "wn_nowhere"]);
    let told = "error: PERMISSION_DENIED NUMBER_NOT_GRANTED: the caller has no such right on this number";
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.starts_with(told), "{}", refused.stderr);
    // The sandbox's own caller may read that of its number, so that only the place is wrong.
    let misplaced = sandbox.run(&["inbox", "--number", "wn_sandbox", "--from", "x"]);
    assert_eq!(misplaced.code, 1);
    assert!(misplaced.stderr.contains("CURSOR_INVALID"), "{}", misplaced.stderr);
}
