//! Whatever comes, nothing panics and nothing is lost.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use super::{NOW, read_at};
use crate::upstream::webhook::Item;

/// Names that lead into the shapes.
const NAMES: [&str; 64] = [
    "event",
    "data",
    "id",
    "messageId",
    "internalMessageId",
    "numberId",
    "type",
    "fromMe",
    "createdAt",
    "from",
    "to",
    "content",
    "contentReplied",
    "replyContent",
    "quotedMessageId",
    "messageRepliedId",
    "correlationId",
    "mediaLink",
    "mediaId",
    "mediaType",
    "mediaCaption",
    "mediaFilename",
    "participantName",
    "groupId",
    "groupName",
    "newsletterId",
    "receivedAt",
    "destinationNumber",
    "environment",
    "buttonId",
    "phone",
    "displayName",
    "error",
    "errorCode",
    "callId",
    "externalCallId",
    "status",
    "timestamp",
    "duration",
    "leadId",
    "fields",
    "key",
    "label",
    "values",
    "fullName",
    "email",
    "isOrganic",
    "consentGiven",
    "CallID",
    "Reason",
    "Timestamp",
    "object",
    "entry",
    "changes",
    "field",
    "value",
    "statuses",
    "messages",
    "contacts",
    "profile",
    "name",
    "wa_id",
    "metadata",
    "display_phone_number",
];

const EVENTS: [&str; 12] = [
    "message.received",
    "message.reply",
    "message.group",
    "message.newsletter",
    "number.connected",
    "number.health_degraded",
    "lead.received",
    "call.ended",
    "CallOffer",
    "messages.upsert",
    "message.sent",
    "calls",
];

/// Texts by number, so that each is found again; and whatever else stands in JSON.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => any::<u32>().prop_map(|n| json!(format!("text {n} é"))),
        1 => any::<i64>().prop_map(|n| json!(n)),
        1 => any::<bool>().prop_map(|flag| json!(flag)),
        1 => Just(Value::Null),
        1 => Just(json!("")),
        1 => Just(json!("2027-01-12T14:00:02.500Z")),
        1 => any::<f64>().prop_map(|n| json!(n)),
    ]
}

fn anything() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(6, 48, 6, |inner| {
        let name = prop_oneof![4 => prop::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => "[a-z]{1,3}"];
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::Array),
            3 => vec((name, inner), 0..8).prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// A body of one of the shapes, with anything in it.
fn shaped() -> impl Strategy<Value = Value> {
    let enveloped = (prop::sample::select(&EVENTS[..]), anything(), anything()).prop_map(|(event, mut body, data)| {
        if let Some(body) = body.as_object_mut() {
            body.insert("event".to_owned(), json!(event));
            body.entry("data").or_insert(data);
        }
        body
    });
    let parts = || prop_oneof![2 => vec(anything(), 0..3).prop_map(Value::Array), 1 => anything()];
    let of_meta = (parts(), parts(), parts(), anything()).prop_map(|(statuses, messages, contacts, mut value)| {
        if let Some(value) = value.as_object_mut() {
            for (name, part) in [("statuses", statuses), ("messages", messages), ("contacts", contacts)] {
                value.insert(name.to_owned(), part);
            }
        }
        json!({ "object": "o", "entry": [{ "id": "e", "changes": [{ "field": "messages", "value": value }] }] })
    });
    let one = prop_oneof![2 => anything(), 3 => enveloped, 2 => of_meta];
    prop_oneof![4 => one.clone(), 1 => vec(one, 0..4).prop_map(Value::Array)]
}

/// Every text that stands as a value.
fn texts(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost(body in shaped()) {
        let items = read_at(NOW, body.to_string()).unwrap().items;
        prop_assert!(!items.is_empty());
        // Of a status only the status is kept.
        if items.iter().all(|item| matches!(item, Item::Event(..))) {
            let kept: String = items.iter().map(|item| match item {
                Item::Event(inbound, _) => serde_json::to_string(&inbound.what).unwrap() + &inbound.name,
                Item::Status(_) => String::new(),
            }).collect();
            let mut expected = Vec::new();
            texts(&body, &mut expected);
            for text in expected.iter().filter(|text| text.starts_with("text ")) {
                prop_assert!(kept.contains(text.as_str()), "{text} is lost of {body}: {kept}");
            }
        }
    }

    #[test]
    fn bytes_are_json_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        let is_json = serde_json::from_slice::<Value>(&bytes).is_ok();
        let read = read_at(NOW, bytes);
        prop_assert!(read.is_some() || !is_json);
        prop_assert!(read.is_none_or(|delivery| !delivery.items.is_empty()));
    }
}
