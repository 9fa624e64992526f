//! When two deliveries are the same event.

use serde_json::{Value, json};

use super::{NOW, identity_at};

const LATER: &str = "2027-01-15T09:30:00Z";
const SOON: &str = "2027-01-14T09:59:59.999Z";

fn same(one: &Value, other: &Value) -> bool {
    // A redelivery comes whenever it wants.
    let of_one = identity_at(NOW, one);
    assert_eq!(of_one, identity_at(NOW, one));
    of_one == identity_at(LATER, other)
}

fn event(name: &str, data: &Value) -> Value {
    json!({ "event": name, "data": data })
}

#[test]
fn ids_make_an_event() {
    let message = json!({ "id": "cm_1", "messageId": "w1", "content": "a", "mediaLink": "https://x.test/?signed=1" });
    let redelivered =
        json!({ "mediaLink": "https://x.test/?signed=2", "messageId": "w1", "content": "a", "id": "cm_1" });
    assert!(same(&event("message.received", &message), &event("message.received", &redelivered)));
    assert!(!same(&event("message.received", &message), &event("message.reply", &redelivered)));
    let other = json!({ "id": "cm_1", "messageId": "w2", "content": "a" });
    assert!(!same(&event("message.received", &message), &event("message.received", &other)));

    let call = |call: &str, status: &str, at: u8| json!({ "event": "call.ended", "callId": call, "status": status, "timestamp": format!("2027-01-13T10:00:{at}.000Z") });
    assert!(same(&call("c", "COMPLETED", 10), &call("c", "COMPLETED", 10)));
    for other in [call("d", "COMPLETED", 10), call("c", "MISSED", 10), call("c", "COMPLETED", 11)] {
        assert!(!same(&call("c", "COMPLETED", 10), &other));
    }
    let native = |reason: &str, at: u8| {
        let timestamp = format!("2027-01-13T10:00:{at}.000Z");
        event("CallTerminate", &json!({ "CallID": "c", "Reason": reason, "Timestamp": timestamp, "RemoteVersion": at }))
    };
    assert!(same(&native("timeout", 10), &native("timeout", 10)));
    assert!(!same(&native("timeout", 10), &native("busy", 10)) && !same(&native("busy", 10), &native("busy", 11)));

    let lead = |id: &str, name: &str| event("lead.received", &json!({ "leadId": id, "fullName": name }));
    assert!(same(&lead("l1", "Caio"), &lead("l1", "")) && !same(&lead("l1", "Caio"), &lead("l2", "Caio")));

    let line = |id: &str, name: &str| json!({ "id": id, "event": "phone_line.renewed", "createdAt": NOW, "data": { "name": name } });
    assert!(same(&line("evt_1", "a"), &line("evt_1", "b")) && !same(&line("evt_1", "a"), &line("evt_2", "a")));

    let meta = |id: &str, text: &str| {
        let messages = json!([{ "id": id, "text": { "body": text } }]);
        json!({ "entry": [{ "changes": [{ "field": "messages", "value": { "messages": messages } }] }] })
    };
    assert!(same(&meta("w1", "a"), &meta("w1", "b")) && !same(&meta("w1", "a"), &meta("w2", "a")));
}

#[test]
fn without_ids_a_time_and_all_that_is_told_do() {
    let number = |at: &str, error: &str| event("number.disconnected", &json!({ "createdAt": at, "error": error }));
    assert!(same(&number(NOW, "closed"), &number(NOW, "closed")));
    assert!(!same(&number(NOW, "closed"), &number(SOON, "closed")));
    assert!(!same(&number(NOW, "closed"), &number(NOW, "banned")));
    let permission = |status: &str| json!({ "event": "call.permission_updated", "status": status, "timestamp": NOW });
    assert!(same(&permission("TEMPORARY"), &permission("TEMPORARY")));
    assert!(!same(&permission("TEMPORARY"), &permission("PERMANENT")));
    // An unknown event about one thing may come many times; what it says tells them apart.
    let pondered = |thought: &str| event("message.pondered", &json!({ "id": "cm_1", "thought": thought }));
    assert!(same(&pondered("a"), &pondered("a")) && !same(&pondered("a"), &pondered("b")));
    let echo = |at: &str| {
        let value = json!({ "message_echoes": [{ "timestamp": at }] });
        json!({ "entry": [{ "changes": [{ "field": "smb_message_echoes", "value": value }] }] })
    };
    assert!(same(&echo("1799762404"), &echo("1799762404")) && !same(&echo("1799762404"), &echo("1799762405")));
}

#[test]
fn without_either_it_is_news_again_after_the_hour() {
    let degraded = event("number.health_degraded", &json!({ "numberId": "wn_88aa", "score": 1 }));
    assert_eq!(identity_at(NOW, &degraded), identity_at(SOON, &degraded));
    assert_ne!(identity_at(NOW, &degraded), identity_at("2027-01-14T10:00:00Z", &degraded));
    // The id is the number's, as everywhere in Pilot Status's answers.
    let closed = event("number.health", &json!({ "id": "wn_88aa", "state": "CLOSE" }));
    assert_eq!(identity_at(NOW, &closed), identity_at(SOON, &closed));
    assert!(!same(&closed, &closed), "the same news of a number a day later is news");
    let worse = event("number.health_degraded", &json!({ "numberId": "wn_88aa", "score": 2 }));
    assert_ne!(identity_at(NOW, &degraded), identity_at(NOW, &worse));
    assert!(!same(&json!({}), &json!({})) && !same(&json!("odd"), &json!("odd")));
}
