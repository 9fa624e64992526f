//! Several events in one body, and bodies that are none.

use serde_json::{Value, json};

use super::{KEY, NOW, as_it_came, at, events, items, read_at};
use crate::{
    domain::inbound::{Happening, NumberChange},
    upstream::webhook::Item,
};

#[test]
fn a_batch_is_read_one_by_one() {
    let sent = json!({ "event": "message.sent", "data": { "id": "u1" } });
    let batch = json!([sent, { "event": "message.read", "data": [] }, null, [sent], { "event": "number.created" }]);
    let read = items(&batch);
    assert!(matches!(read[0], Item::Status(_)));
    let expected = [
        as_it_came("message.read", NOW, &json!({ "event": "message.read", "data": [] })),
        as_it_came("", NOW, &Value::Null),
        as_it_came("", NOW, &json!([sent])),
        at("number.created", NOW, Happening::Number(NumberChange::default())),
    ];
    assert_eq!((events(&batch), read.len()), (expected.to_vec(), 5));
}

#[test]
fn whatever_is_json_is_kept_as_it_came() {
    for text in ["[]", "null", "7", "\"odd\"", "{}", r#"{"b": 1.50, "a": 36893488147419103232}"#, r#"{"event": 7}"#] {
        let read = read_at(NOW, format!("\n {text} ")).unwrap();
        let [Item::Event(inbound, _)] = &read.items[..] else { panic!("{read:?}") };
        assert_eq!(**inbound, at("", NOW, Happening::Unrecognized(text.to_owned())), "to the byte");
    }
    for text in ["", "not json", "{", "[1] 2", "\u{feff}{}"] {
        assert_eq!(read_at(NOW, text), None, "{text}");
    }
    assert_eq!(read_at(NOW, b"\"\xff\""), None);
}

#[test]
fn what_cannot_be_represented_is_kept_as_a_text() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let long = json!({ "event": "x.y", "data": "z".repeat(300_000) }).to_string();
    for text in [deep.as_str(), r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#, long.as_str()] {
        let read = read_at(NOW, text).unwrap();
        let [Item::Event(inbound, _)] = &read.items[..] else { panic!("{read:?}") };
        let Happening::Unrecognized(kept) = &inbound.what else { panic!("{inbound:?}") };
        let kept: String = serde_json::from_str(kept).unwrap();
        assert!(kept == text[..text.len().min(256 * 1024)], "{} bytes of {}", kept.len(), text.len());
    }
}

#[test]
fn a_body_of_too_many_events_is_one() {
    let of = |count: usize| json!(vec![json!({ "event": "message.sent", "data": { "id": "u1" } }); count]);
    let of_meta = |count: usize| {
        let statuses: Vec<_> = (0..count).map(|n| json!({ "id": format!("w{n}"), "status": "sent" })).collect();
        json!({ "entry": [{ "changes": [{ "field": "messages", "value": { "statuses": statuses } }] }] })
    };
    assert_eq!((items(&of(5_000)).len(), items(&of(5_001)).len()), (5_000, 1));
    assert_eq!((items(&of_meta(5_000)).len(), items(&of_meta(5_001)).len()), (5_000, 1));
}

#[test]
fn no_key_comes_out() {
    let escaped = KEY.replacen('p', "\\u0070", 1);
    for text in [
        format!(r#"{{"event":"x.{KEY}","data":["{KEY}"]}}"#),
        format!(r#"{{"a":"{escaped}"}}"#),
        format!(r#"{{"a":"{escaped}","a":1}}"#),
        format!(r#"{{"a":"{KEY}","a":1}}"#),
        format!(r#"{{"a":1e999,"b":"{KEY}"}}"#),
    ] {
        let read = read_at(NOW, &text).unwrap();
        let [Item::Event(inbound, _)] = &read.items[..] else { panic!("{read:?}") };
        let stored = serde_json::to_string(inbound).unwrap();
        assert!(!stored.contains("7f3aEXAMPLE"), "{stored}");
    }
}

#[test]
fn a_body_that_names_another_number_is_told_apart() {
    let other = |body: Value| read_at(NOW, body.to_string()).unwrap().other_number;
    assert_eq!(other(json!({ "event": "number.created", "data": { "numberId": "wn_88aa" } })), None);
    assert_eq!(other(json!({ "event": "number.created", "data": { "numberId": "wn_2" } })), Some("wn_2".to_owned()));
    assert_eq!(other(json!([{ "data": {} }, { "event": "call.ended", "numberId": 5 }])), Some("5".to_owned()));
    let lead = json!({ "event": "lead.received", "data": { "whatsappNumberId": "wn_3" } });
    assert_eq!(other(lead), Some("wn_3".to_owned()));
}
