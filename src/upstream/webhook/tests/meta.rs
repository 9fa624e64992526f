//! Bodies of Meta.

use serde_json::{Value, json};

use super::{NOW, at, event, events, ids, items, time};
use crate::{
    domain::{
        failure::Failure,
        inbound::{Happening, Inbound, InboundMedia, InboundMessage, MessageSource, Quoted, Room},
        merge::{Fact, Observed},
        status::{Origin, Status},
    },
    upstream::webhook::{Item, Told},
};

fn body(field: &str, value: &Value) -> Value {
    let changes = json!([{ "field": field, "value": value }]);
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "901", "changes": changes }] })
}

/// A value of the field `messages`, with these beside what is in every one.
fn value(more: Value) -> Value {
    let metadata = json!({ "display_phone_number": "552133334444", "phone_number_id": "334455" });
    let mut value = json!({ "messaging_product": "whatsapp", "metadata": metadata });
    value.as_object_mut().unwrap().append(&mut more.as_object().unwrap().clone());
    value
}

fn status(status: Observed, happened: &str, id: &str) -> Item {
    let (at, observed_at, origin) = (time(happened), time(NOW), Origin::Webhook);
    Item::Status(Told { fact: Fact { status, at, observed_at, origin, ids: ids("-", "-", id) }, said: None })
}

fn message(happened: &str, message: InboundMessage) -> Inbound {
    let to = "552133334444".to_owned();
    let extra = if message.extra.is_empty() { r#"{"phone_number_id":"334455"}"#.to_owned() } else { message.extra };
    at("messages", happened, Happening::Message(Box::new(InboundMessage { to, extra, ..message })))
}

/// The one message of a body.
fn one(more: Value) -> Inbound {
    event(&body("messages", &value(json!({ "messages": [more] }))))
}

#[test]
fn statuses() {
    let statuses = json!([
        { "id": "w1", "status": "delivered", "timestamp": "1799762404", "recipient_id": "5521987650001" },
        { "id": "w2", "status": "read", "timestamp": 1_799_762_405 },
        { "id": "w3", "status": "sent", "conversation": { "id": "c" } },
        { "id": "w4", "status": "failed", "timestamp": "1799762406", "errors": [
            { "code": 131_047, "title": "Re-engagement message", "error_data": { "details": "more than\n24 hours" } },
            { "code": 1 },
        ] },
        { "id": "w5", "status": "failed", "timestamp": "1799762406", "errors": "odd" },
        { "id": "w6", "status": "played", "timestamp": "1799762406" },
    ]);
    // Whose contacts these are is what the statuses tell anyway.
    let contacts = json!([{ "wa_id": "5521987650001", "profile": { "name": "Rita" } }]);
    let read = items(&body("messages", &value(json!({ "statuses": statuses, "contacts": contacts }))));
    let code = Failure::reported("131047", "Re-engagement message: more than 24 hours");
    assert_eq!(
        read,
        [
            status(Observed::Reached(Status::Delivered), "2027-01-12T14:00:04Z", "w1"),
            status(Observed::Reached(Status::Read), "2027-01-12T14:00:05Z", "w2"),
            status(Observed::Reached(Status::Sent), NOW, "w3"),
            status(Observed::Failed(code), "2027-01-12T14:00:06Z", "w4"),
            status(Observed::Failed(Failure::reported("", "")), "2027-01-12T14:00:06Z", "w5"),
            status(Observed::Unknown("played".to_owned()), "2027-01-12T14:00:06Z", "w6"),
        ]
    );
}

#[test]
fn a_text_and_who_wrote_it() {
    let value = value(json!({
        "contacts": [{ "wa_id": "5521987650001", "profile": { "name": "Rita" }, "user_id": "BR.9" }],
        "messages": [{
            "from": "5521987650001", "id": "wIN", "timestamp": "1799762404", "type": "text", "text": { "body": "Oi\n!" },
            "context": { "from": "552133334444", "id": "wOUT" },
        }],
    }));
    let extra = json!({
        "contact": { "user_id": "BR.9" }, "context": { "from": "552133334444" }, "phone_number_id": "334455",
    });
    let expected = InboundMessage {
        source: MessageSource::Reply,
        ids: ids("-", "-", "wIN"),
        kind: "text".to_owned(),
        from: "5521987650001".to_owned(),
        participant: "Rita".to_owned(),
        text: "Oi\n!".to_owned(),
        quoted: Some(Quoted { ids: ids("-", "-", "wOUT"), ..Quoted::default() }),
        extra: extra.to_string(),
        ..InboundMessage::default()
    };
    assert_eq!(event(&body("messages", &value)), message("2027-01-12T14:00:04Z", expected));
}

#[test]
fn what_was_pressed_and_how_it_was_taken() {
    let pressed = |kind: &str, text: &str, button: &str| {
        let (kind, text, button) = (kind.to_owned(), text.to_owned(), button.to_owned());
        message(NOW, InboundMessage { ids: ids("-", "-", "w"), kind, text, button, ..InboundMessage::default() })
    };
    let button = json!({ "id": "w", "type": "button", "button": { "payload": "yes-1", "text": "Sim" } });
    assert_eq!(one(button), pressed("button", "Sim", "yes-1"));
    for kind in ["button_reply", "list_reply"] {
        let interactive = json!({ "type": kind, kind: { "id": "yes-2", "title": "Sim" } });
        let chosen = json!({ "id": "w", "type": "interactive", "interactive": interactive });
        assert_eq!(one(chosen), pressed("interactive", "Sim", "yes-2"), "{kind}");
    }
    let flow = json!({ "type": "nfm_reply", "nfm_reply": { "name": "flow", "body": "Sent", "response_json": "{}" } });
    let mut expected = pressed("interactive", "Sent", "");
    let Happening::Message(of_flow) = &mut expected.what else { unreachable!() };
    let nfm_reply = json!({ "name": "flow", "response_json": "{}" });
    let extra = json!({ "interactive": { "nfm_reply": nfm_reply }, "phone_number_id": "334455" });
    of_flow.extra = extra.to_string();
    assert_eq!(one(json!({ "id": "w", "type": "interactive", "interactive": flow })), expected);

    let reaction = json!({ "id": "w", "type": "reaction", "reaction": { "message_id": "wOUT", "emoji": "👍" } });
    let mut expected = pressed("reaction", "👍", "");
    let Happening::Message(of_reaction) = &mut expected.what else { unreachable!() };
    of_reaction.quoted = Some(Quoted { ids: ids("-", "-", "wOUT"), ..Quoted::default() });
    assert_eq!(one(reaction), expected);
}

#[test]
fn what_is_attached() {
    for kind in ["image", "video", "audio", "voice", "document", "sticker"] {
        let media = json!({ "id": "m1", "mime_type": "x/y", "sha256": "s", "caption": "Veja", "filename": "f.pdf" });
        let attached = json!({ "id": "w", "from": "55", "type": kind, kind: media, "group_id": "1203@g.us" });
        let expected = InboundMessage {
            source: MessageSource::Group,
            ids: ids("-", "-", "w"),
            kind: kind.to_owned(),
            from: "55".to_owned(),
            text: "Veja".to_owned(),
            media: Some(InboundMedia {
                id: "m1".to_owned(),
                kind: "x/y".to_owned(),
                caption: "Veja".to_owned(),
                file_name: "f.pdf".to_owned(),
                url: String::new(),
            }),
            room: Some(Room { id: "1203@g.us".to_owned(), name: String::new() }),
            extra: json!({ kind: { "sha256": "s" }, "phone_number_id": "334455" }).to_string(),
            ..InboundMessage::default()
        };
        assert_eq!(one(attached), message(NOW, expected), "{kind}");
    }
    let place = json!({ "id": "w", "type": "location", "location": { "latitude": -22.9, "name": "Loja" } });
    let extra = json!({ "location": { "latitude": -22.9, "name": "Loja" }, "phone_number_id": "334455" }).to_string();
    let expected =
        InboundMessage { ids: ids("-", "-", "w"), kind: "location".to_owned(), extra, ..InboundMessage::default() };
    assert_eq!(one(place), message(NOW, expected));
}

#[test]
fn other_fields_are_kept_each_in_a_body_of_its_own() {
    let history = json!({ "history": [{ "threads": [] }] });
    let echoes = json!({ "message_echoes": [{ "id": "w", "timestamp": "1799762404" }] });
    let both = json!({ "object": "whatsapp_business_account", "entry": [
        { "id": "901", "time": 1_799_762_404, "changes": [
            { "field": "history", "value": history }, { "field": "smb_message_echoes", "value": echoes },
        ] },
        { "id": "902", "changes": [{ "field": "calls", "value": { "calls": [] } }, { "field": "messages", "value": {} }] },
    ] });
    let kept = |name: &str, id: &str, time: Option<i64>, change: Value| {
        let mut entry = json!({ "id": id, "changes": [change] });
        if let Some(time) = time {
            entry["time"] = json!(time);
        }
        let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
        at(name, NOW, Happening::Unrecognized(body.to_string()))
    };
    let expected = [
        kept("history", "901", Some(1_799_762_404), json!({ "field": "history", "value": history })),
        kept(
            "smb_message_echoes",
            "901",
            Some(1_799_762_404),
            json!({ "field": "smb_message_echoes", "value": echoes }),
        ),
        kept("calls", "902", None, json!({ "field": "calls", "value": { "calls": [] } })),
        kept("messages", "902", None, json!({ "field": "messages", "value": {} })),
    ];
    assert_eq!(events(&both), expected);
}

#[test]
fn a_bad_part_takes_nothing_with_it() {
    let mixed = value(json!({
        "statuses": [{ "id": "w1", "status": "sent" }, { "id": "w2" }, null, { "status": "read" }],
        "messages": [{ "type": "text" }, { "id": "wIN" }, "odd"],
        "errors": [{ "code": 1 }],
    }));
    let body = json!({ "object": "o", "entry": [
        7, { "id": "900" }, { "id": "901", "changes": [{ "field": "messages", "value": mixed }, "odd"], "more": 1 },
    ] });
    let read = items(&body);
    assert_eq!(read[2], status(Observed::Reached(Status::Sent), NOW, "w1"));
    let kept = |name: &str, entry: Value| {
        at(name, NOW, Happening::Unrecognized(json!({ "object": "o", "entry": [entry] }).to_string()))
    };
    let left = json!({
        "statuses": [{ "id": "w2" }, null, { "status": "read" }], "messages": [{ "type": "text" }, "odd"],
        "errors": [{ "code": 1 }],
    });
    let expected = [
        kept("", json!(7)),
        kept("", json!({ "id": "900" })),
        message(NOW, InboundMessage { ids: ids("-", "-", "wIN"), ..InboundMessage::default() }),
        kept("messages", json!({ "id": "901", "changes": [{ "field": "messages", "value": left }] })),
        kept("", json!({ "id": "901", "changes": ["odd"] })),
        kept("", json!({ "id": "901", "more": 1 })),
    ];
    assert_eq!((events(&body), read.len()), (expected.to_vec(), 7));
}
