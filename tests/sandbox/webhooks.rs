//! Webhooks: registry, signed delivery, order, retries, generations.

use crate::support::*;
use serde_json::{Value, json};

const MESSAGE_EVENTS: [&str; 3] = ["message.sent", "message.delivered", "message.read"];

#[tokio::test]
async fn events_come_signed_and_in_order() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    rig.subscribe(&receiver, &["*"]).await;
    let sent = rig.send(text_to("5521987651234")).await.json();
    for event in MESSAGE_EVENTS {
        let delivery = receiver.next().await;
        let body = delivery.json();
        assert_eq!(body["event"], event);
        let data = &body["data"];
        assert_eq!((&data["id"], &data["correlationId"]), (&sent["id"], &sent["correlationId"]));
        assert_eq!((&data["numberId"], &data["to"]), (&json!(META), &json!("+5521987651234")));
        assert_eq!((&data["from"], &data["fromMe"]), (&json!("+5511900000000"), &json!(true)));
        assert_eq!((&data["type"], &data["content"]), (&json!("text"), &json!("Hi")));
        let details = rig.get(&format!("/v1/messages/{}", sent["id"].as_str().unwrap())).await;
        assert_eq!(data["messageId"], details.json()["externalMessageId"]);
        assert!(delivery.is_signed());
    }
    rig.send(text_to("+5521987650002")).await;
    let data = receiver.next().await.json()["data"].clone();
    assert_eq!((&data["messageId"], &data["errorCode"]), (&Value::Null, &json!("META_OUTSIDE_24H_WINDOW")));
    assert_eq!(data["error"], "Conversation window closed");
    rig.sandbox.shutdown().await;
}

#[tokio::test]
async fn many_messages_keep_their_own_order() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    rig.subscribe(&receiver, &MESSAGE_EVENTS).await;
    rig.switch(json!({ "sent_after_ms": 0, "delivered_after_ms": 0, "read_after": 0 })).await;
    for _ in 0..50 {
        rig.send(text_to(PHONE)).await;
    }
    let mut seen = std::collections::HashMap::<String, Vec<String>>::new();
    for _ in 0..150 {
        let body = receiver.next().await.json();
        let id = body["data"]["id"].as_str().unwrap().to_owned();
        seen.entry(id).or_default().push(body["event"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 50);
    assert!(seen.values().all(|events| *events == MESSAGE_EVENTS), "{seen:?}");
}

#[tokio::test]
async fn an_event_waits_for_the_answer_to_the_one_before() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    rig.subscribe(&receiver, &MESSAGE_EVENTS).await;
    let held = receiver.hold().await;
    let id = rig.send(text_to(PHONE)).await.json()["id"].clone();
    assert_eq!(receiver.next().await.event(), "message.sent");
    rig.until(id.as_str().unwrap(), "READ").await;
    // Another message is not held up by this one.
    rig.send(text_to(PHONE)).await;
    let other = receiver.next().await.json();
    assert_ne!(other["data"]["id"], id);
    assert_eq!(other["event"], "message.sent");
    assert_eq!(receiver.waiting(), 0);
    drop(held);
    let mut rest = receiver.events(4).await;
    rest.sort();
    let twice = ["delivered", "delivered", "read", "read"];
    assert_eq!(rest, twice.map(|e| format!("message.{e}")));
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_with_the_same_bytes() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    let hook = rig.subscribe(&receiver, &["message.sent"]).await;
    receiver.answer(&[500, 503]);
    rig.send(text_to(PHONE)).await;
    let first = receiver.next().await;
    for _ in 0..2 {
        let again = receiver.next().await;
        assert_eq!(again.body, first.body);
        assert_eq!(again.signature(), first.signature());
    }
    let path = format!("/v1/webhooks/{hook}/logs?limit=10&event=message.sent");
    let mut logs = rig.get(&path).await.json();
    while logs.as_array().unwrap().len() < 3 {
        logs = rig.get(&path).await.json();
    }
    let codes: Vec<&Value> = logs.as_array().unwrap().iter().map(|l| &l["statusCode"]).collect();
    assert_eq!(codes, [200, 503, 500]);
    assert_eq!((&logs[0]["status"], &logs[2]["status"]), (&json!("SUCCESS"), &json!("FAILED")));
    assert_eq!(logs[0]["payload"], first.json());
    let shown = rig.get(&format!("/v1/webhooks/{hook}")).await.json();
    assert!(shown["lastTriggered"].is_string());
    // Given up after the last attempt, and switched off if so wished.
    rig.switch(json!({ "webhook_attempts": 2, "webhook_auto_disable_after": 1 })).await;
    receiver.answer(&[500, 500, 500]);
    rig.send(text_to(PHONE)).await;
    receiver.events(2).await;
    while rig.get(&format!("/v1/webhooks/{hook}")).await.json()["active"] == true {
        tokio::task::yield_now().await;
    }
    let stats = rig.sandbox.control().stats();
    assert_eq!((stats.webhooks_delivered, stats.webhooks_failed, stats.webhooks_given_up), (1, 4, 1));
    assert_eq!(receiver.waiting(), 0);
}

#[tokio::test]
async fn only_what_is_subscribed_is_delivered() {
    let rig = rig().await;
    let (mut some, none) = (Receiver::open().await, Receiver::open().await);
    let hook = rig.subscribe(&some, &["message.read", "no.such"]).await;
    rig.subscribe(&none, &[]).await;
    let shown = rig.get(&format!("/v1/webhooks/{hook}")).await.json();
    assert_eq!(shown["events"], json!(["message.read"]));
    assert!(shown.get("secret").is_none());
    let id = rig.send(text_to(PHONE)).await.json()["id"].clone();
    assert_eq!(some.next().await.json()["data"]["id"], id);
    let path = format!("/v1/webhooks/{hook}");
    let patch = Some(json!({ "active": false, "events": ["*"] }));
    let paused = rig.call("PATCH", &path, &rig.key, patch).await.json();
    assert_eq!((&paused["active"], &paused["events"]), (&json!(false), &json!(["*"])));
    let id = rig.send(text_to(PHONE)).await.json()["id"].clone();
    rig.until(id.as_str().unwrap(), "READ").await;
    assert_eq!((some.waiting(), none.waiting()), (0, 0));
    assert_eq!(rig.sandbox.control().deliveries_waiting(), 0);
    assert_eq!(rig.call("DELETE", &path, &rig.key, None).await.status, 200);
    assert_eq!(rig.get(&path).await.code(), "WEBHOOK_NOT_FOUND");
    assert_eq!(rig.get("/v1/webhooks").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn registry_scopes() {
    let rig = rig().await;
    let hook =
        |number: Value| json!({ "url": "http://127.0.0.1:1/", "name": "n", "events": [], "whatsappNumberId": number });
    let as_tenant = |body| rig.call("POST", "/v1/webhooks", &rig.tenant_key, Some(body));
    assert_eq!(as_tenant(hook(Value::Null)).await.code(), "NUMBER_REQUIRED");
    assert_eq!(as_tenant(hook(json!("wn_x"))).await.code(), "NUMBER_NOT_FOUND");
    let made = as_tenant(hook(json!(PAIRED))).await;
    assert_eq!((made.status, &made.json()["whatsappNumberIds"]), (201, &json!([PAIRED])));
    assert_eq!(rig.post("/v1/webhooks", hook(json!(PAIRED))).await.code(), "NUMBER_MISMATCH");
    let path = format!("/v1/webhooks/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(rig.get(&path).await.code(), "WEBHOOK_NOT_FOUND");
    assert_eq!(rig.call("GET", &path, &rig.paired_key, None).await.status, 200);
    let bad = json!({ "url": "file:///x", "name": "n", "events": [] });
    assert_eq!(rig.post("/v1/webhooks", bad).await.status, 400);
}

#[tokio::test]
async fn the_old_generation_and_signature_styles() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    rig.subscribe(&receiver, &["*"]).await;
    rig.switch(json!({ "event_schema": "v1", "read_after": "never" })).await;
    let sent = rig.send(text_to(PHONE)).await.json();
    let body = receiver.next().await.json();
    let data = &body["data"];
    assert_eq!(data["internalMessageId"], sent["id"]);
    assert_eq!((&data["status"], &data["destinationNumber"]), (&json!("SENT"), &json!(PHONE)));
    assert!(data["sentAt"].is_string() && data.get("id").is_none() && data.get("to").is_none());
    assert_eq!(receiver.next().await.event(), "message.delivered");
    // The vector: a body delivered byte for byte, signed with the secret.
    let expected = "9766366dbfd3f8e9a2f959f89c17e92e744d81b4e17687571a9fa373f097e1f8";
    let emit = || async {
        let body = br#"{"event":"message.sent","data":{"id":"m1"}}"#;
        rig.sandbox.control().emit(&body[..], None).unwrap()
    };
    assert_eq!(emit().await, 1);
    assert_eq!(receiver.next().await.signature(), Some(expected));
    rig.switch(json!({ "signature": "prefixed" })).await;
    emit().await;
    let prefixed = format!("sha256={expected}");
    assert_eq!(receiver.next().await.signature(), Some(prefixed.as_str()));
    rig.switch(json!({ "signature": "absent" })).await;
    emit().await;
    assert_eq!(receiver.next().await.signature(), None);
    // Unknown events reach only those who take all; a body without a name, everybody.
    let unknown = json!({ "event": "number.health_degraded", "data": { "numberId": META } });
    assert_eq!(rig.control("POST", "/events", unknown).await.json()["webhooks"], 1);
    assert_eq!(receiver.next().await.event(), "number.health_degraded");
    let raw = json!({ "object": "whatsapp_business_account", "entry": [] });
    assert_eq!(rig.control("POST", "/events", raw.clone()).await.status, 202);
    assert_eq!(receiver.next().await.json(), raw);
}

#[tokio::test]
async fn guesses_about_the_registry_are_switches() {
    let rig = rig().await;
    rig.switch(json!({ "webhook_update_answer": "subset", "webhook_events_dropped": ["message.read"] })).await;
    let body = json!({ "url": "http://127.0.0.1:1/", "name": "n", "events": ["message.sent", "message.read"] });
    let made = rig.post("/v1/webhooks", body).await.json();
    assert_eq!(made["events"], json!(["message.sent"]));
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let changed = rig.call("PATCH", &path, &rig.key, Some(json!({ "active": false }))).await.json();
    let fields: Vec<&String> = changed.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["id", "updatedAt"]);
    assert_eq!(rig.get(&path).await.json()["active"], false);
    rig.sandbox.shutdown().await;
}
