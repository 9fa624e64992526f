//! What a sender can make the gateway spend with one body of the default longest size.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{NOW, events, items, read_at};
use crate::{domain::inbound::Happening, upstream::webhook::Item};

const LONGEST: usize = 1 << 20;

fn body(contacts: &Value, messages: &[Value]) -> Value {
    let value = json!({ "messages": messages, "contacts": contacts });
    let body = json!({ "entry": [{ "changes": [{ "field": "messages", "value": value }] }] });
    let length = body.to_string().len();
    assert!(length <= LONGEST, "{length}");
    body
}

/// A contact of which as much is told as is told with a message.
fn contact() -> Value {
    json!({ "wa_id": "1", "profile": { "name": "Rita" }, "x": "y".repeat(4_000) })
}

/// What is kept of a body, in bytes for each of its own.
fn times_its_length(body: &Value) -> usize {
    items(body).iter().map(|item| format!("{item:?}").len()).sum::<usize>() / body.to_string().len()
}

/// The shortest of a few, so that what else the machine does is left out.
fn shortest(mut what: impl FnMut()) -> Duration {
    let took = (0..3).map(|_| {
        let began = Instant::now();
        what();
        began.elapsed()
    });
    took.min().unwrap()
}

#[test]
fn many_contacts_take_no_longer_than_anything_else() {
    let messages = vec![json!({ "from": "2", "text": { "body": "z".repeat(100) } }); 300];
    let body = body(&json!(vec![json!({ "wa_id": "1" }); 40_000]), &messages).to_string();
    assert_eq!(read_at(NOW, &body).unwrap().items.len(), 301);
    let nobody = body.replace("contacts", "contact_s");
    let [took, plain] = [body, nobody].map(|body| shortest(|| drop(read_at(NOW, &body))));
    assert!(took < 5 * plain, "{took:?} rather than {plain:?}");
}

#[test]
fn what_else_is_told_of_a_contact_is_told_once() {
    let messages = vec![json!({ "from": "1", "text": { "body": "z".repeat(100) } }); 1_000];
    let body = body(&json!([contact()]), &messages);
    let told = events(&body);
    let mut with_contact = 0;
    for event in &told {
        let Happening::Message(message) = &event.what else { panic!("{event:?}") };
        assert_eq!(message.participant, "Rita");
        with_contact += usize::from(message.extra.contains("yyyy"));
    }
    assert_eq!((told.len(), with_contact), (1_000, 1));
}

#[test]
fn a_body_makes_a_few_times_its_length_at_most() {
    let long = "z".repeat(1_000);
    let metadata = json!({ "display_phone_number": long, "phone_number_id": long });
    let value = json!({ "metadata": metadata, "messages": vec![json!({ "from": "1" }); 4_900] });
    let changes: Vec<_> = (0..4_900).collect();
    let long = json!({ "object": long, "entry": [{ "id": long, "time": long, "changes": changes }] });
    let number = json!({ "entry": [{ "changes": [{ "field": "messages", "value": value }] }] });
    for body in [body(&json!([contact()]), &vec![json!({ "from": "1" }); 4_900]), long, number, json!(vec![1; 4_900])] {
        let times = times_its_length(&body);
        assert!(times < 10, "{times} times of {:.100}", body.to_string());
        assert_eq!(items(&body).len(), 1);
    }
}

#[test]
fn a_body_of_brief_messages_is_read() {
    let brief = |n: usize| {
        json!({ "from": "5521987650001", "id": format!("wamid.{n:052}"), "timestamp": "1799762404", "type": "text",
            "text": { "body": "." } })
    };
    let messages: Vec<_> = (0..5_000).map(brief).collect();
    let metadata = json!({ "display_phone_number": "552133334444", "phone_number_id": "334455" });
    let contacts = json!([{ "wa_id": "5521987650001", "profile": { "name": "Rita" } }]);
    let value = json!({ "metadata": metadata, "messages": messages, "contacts": contacts });
    let body = json!({ "entry": [{ "changes": [{ "field": "messages", "value": value }] }] });
    assert_eq!(events(&body).len(), 5_000);
}

#[test]
fn nothing_is_made_of_a_body_of_too_many_items() {
    let mut too_many = body(&json!([]), &vec![json!({ "from": "1" }); 5_001]);
    let mut many = body(&json!([]), &vec![json!({ "from": "1" }); 5_000]);
    for body in [&mut many, &mut too_many] {
        body["numberId"] = json!("wn_2");
    }
    let read = |body: &Value| read_at(NOW, body.to_string()).unwrap();
    assert_eq!(read(&many).other_number, Some("wn_2".to_owned()));
    let unread = read(&too_many);
    assert_eq!((unread.items.len(), unread.other_number), (1, None));
    let [Item::Event(unread, _)] = &unread.items[..] else { panic!("{:?}", unread.items) };
    let Happening::Unrecognized(kept) = &unread.what else { panic!("{unread:?}") };
    assert_eq!(serde_json::from_str::<String>(kept).unwrap(), too_many.to_string());
    // As many in several events of one body, and in changes that hold one each.
    let half = body(&json!([]), &vec![json!({ "from": "1" }); 2_501]);
    let other = json!({ "event": "number.created", "data": { "numberId": "wn_2" } });
    assert_eq!(read(&json!([half, half, other])).other_number, None);
    let changes = json!({ "entry": [{ "changes": vec![json!({ "field": "calls" }); 5_001] }], "numberId": "wn_2" });
    assert_eq!(read(&changes).other_number, None);
}
