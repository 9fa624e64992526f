//! Misfortune: every fault kind, the endings that refuse or cut, the control API.

use std::time::{Duration, Instant};

use crate::support::*;
use pilotgate::sandbox::{Answered, Unanswered};
use serde_json::{Value, json};

const DROPPED: Answered = Answered::Not(Unanswered::Dropped);

#[tokio::test]
async fn dropped_replies() {
    let rig = rig().await;
    // Carried out, not answered; the replay tells.
    rig.fault(json!({ "on": "send", "kind": "drop_reply", "times": 1, "recipient": "5521987651234" })).await;
    assert_eq!(rig.send(text_to("+5521987651235")).await.status, 202);
    assert!(rig.try_send_as("d1", text_to(PHONE)).await.is_err());
    let seen = rig.sandbox.requests();
    assert_eq!(seen.last().unwrap().status, DROPPED);
    let replay = rig.send_as("d1", text_to(PHONE)).await;
    assert_eq!((replay.status, replay.header("idempotent-replayed")), (202, Some("true")));
    // Not carried out.
    rig.fault(json!({ "on": "send", "kind": "reset", "times": 1 })).await;
    assert!(rig.try_send_as("d2", text_to(PHONE)).await.is_err());
    let after = rig.send_as("d2", text_to(PHONE)).await;
    assert_eq!((after.status, after.header("idempotent-replayed")), (202, None));
    // The ending: always cut the first time, told on the second.
    let cut = text_to("+5521987650012");
    assert!(rig.try_send_as("d3", cut.clone()).await.is_err());
    let replay = rig.send_as("d3", cut).await;
    assert_eq!(replay.header("idempotent-replayed"), Some("true"));
    let messages = rig.sandbox.control().messages();
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[3].id, replay.json()["id"]);
    assert!(messages.iter().all(|m| m.accepted == 1));
    assert_eq!(rig.sandbox.control().stats().replies_dropped, 3);
}

#[tokio::test]
async fn answers_made_up() {
    let rig = rig().await;
    rig.fault(json!({ "on": "send", "kind": "http", "status": 503, "code": "X", "times": 1,
                      "retry_after_seconds": 7, "hint": "header" }))
        .await;
    let answer = rig.send_as("a", text_to(PHONE)).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "X"));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert!(answer.json().get("retryAfterSeconds").is_none());
    rig.fault(json!({ "on": "any", "kind": "http", "status": 502, "body": "<h1>no</h1>", "times": 1 })).await;
    let answer = rig.get("/v1/numbers").await;
    assert_eq!((answer.status, answer.text.as_str()), (502, "<h1>no</h1>"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    rig.fault(json!({ "on": "any", "kind": "unauthorized", "times": 1 })).await;
    let answer = rig.get("/v1/numbers").await;
    assert_eq!((answer.status, answer.json()), (401, json!({ "error": "Unauthorized" })));
    // A status read of one recipient only, and only now and then.
    let id = rig.send(text_to(PHONE)).await.json()["id"].clone();
    let other = rig.send(text_to("+5521987654321")).await.json()["id"].clone();
    rig.fault(json!({ "on": "status", "kind": "http", "status": 500, "recipient": PHONE })).await;
    let read = |id: Value| {
        let path = format!("/v1/messages/{}", id.as_str().unwrap());
        let rig = &rig;
        async move { rig.get(&path).await.status }
    };
    assert_eq!((read(id.clone()).await, read(other).await), (500, 200));
    rig.control("DELETE", "/faults", Value::Null).await;
    rig.fault(json!({ "on": "status", "kind": "http", "status": 500, "probability": 0.5 })).await;
    let mut counts = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..60 {
        *counts.entry(read(id.clone()).await).or_default() += 1;
    }
    assert!(counts[&500] > 10 && counts[&200] > 10, "{counts:?}");
    rig.control("DELETE", "/faults", Value::Null).await;
    let cancel = json!({ "on": "cancel", "kind": "delay", "ms": 60, "times": 1 });
    rig.fault(cancel).await;
    let begun = Instant::now();
    let body = Some(json!({ "messageIds": [id] }));
    assert_eq!(rig.call("DELETE", "/v1/messages/cancel", &rig.key, body).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn endings_that_refuse() {
    let rig = rig().await;
    let table = [
        ("0011", 500, ""),
        ("0014", 429, "RATE_LIMITED"),
        ("0015", 429, "RATE_LIMITED"),
        ("0017", 400, "INVALID_DESTINATION"),
        ("0018", 402, "SUBSCRIPTION_REQUIRED_FOR_MEDIA"),
        ("0019", 409, "NUMBER_BLOCKED"),
    ];
    for (ending, status, code) in table {
        let answer = rig.send_as(ending, text_to(&format!("+552198765{ending}"))).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        let hint = (ending == "0014").then_some("1");
        assert_eq!(answer.header("retry-after"), hint);
        assert_eq!(answer.json()["retryAfterSeconds"].is_u64(), hint.is_some());
        if ending == "0019" {
            assert_eq!(answer.json()["reason"], "extra_charge_unpaid");
        }
    }
    assert_eq!(rig.sandbox.control().messages(), []);
    let answer = rig.send_as("k", text_to("+5521987650013")).await;
    assert_eq!((answer.status, answer.header("content-type")), (502, Some("text/html")));
    let replay = rig.send_as("k", text_to("+5521987650013")).await;
    assert_eq!(replay.status, 202);
    assert_eq!(rig.sandbox.control().messages().len(), 1);
    rig.switch(json!({ "recipient_endings": false })).await;
    assert_eq!(rig.send(text_to("+5521987650011")).await.status, 202);
}

#[tokio::test]
async fn webhook_misfortune() {
    let rig = rig().await;
    let mut receiver = Receiver::open().await;
    rig.subscribe(&receiver, &["*"]).await;
    let cases = [
        ("webhook_drop", 1, vec!["delivered", "read"]),
        ("webhook_duplicate", 1, vec!["sent", "sent", "delivered", "read"]),
        ("webhook_reorder", 1, vec!["delivered", "sent", "read"]),
        ("webhook_wrong_signature", 1, vec!["sent", "delivered", "read"]),
    ];
    for (kind, times, expected) in cases {
        rig.fault(json!({ "on": "webhook", "kind": kind, "times": times })).await;
        rig.send(text_to(PHONE)).await;
        let mut signed = Vec::new();
        for event in expected {
            let delivery = receiver.next().await;
            assert_eq!(delivery.event(), format!("message.{event}"), "{kind}");
            signed.push(delivery.is_signed());
        }
        let wrong = kind == "webhook_wrong_signature";
        assert_eq!(signed.iter().filter(|s| !**s).count(), usize::from(wrong));
    }
    rig.send(text_to("+5521987650020")).await;
    let events = receiver.events(6).await;
    let doubled = ["sent", "sent", "delivered", "delivered", "read", "read"];
    assert_eq!(events, doubled.map(|e| format!("message.{e}")));
    rig.send(text_to("+5521987650021")).await;
    let events = receiver.events(3).await;
    assert_eq!(events, ["read", "delivered", "sent"].map(|e| format!("message.{e}")));
    // The event is there before the answer, by ending and by rule.
    for (to, rule) in [("+5521987650009", false), (PHONE, true)] {
        if rule {
            rig.fault(json!({ "on": "send", "kind": "webhook_before_reply", "times": 1 })).await;
        }
        rig.switch(json!({ "delivered_after_ms": 60_000 })).await;
        let sent = rig.send(text_to(to)).await.json();
        assert_eq!(receiver.waiting(), 1);
        let event = receiver.next().await.json();
        assert_eq!((&event["event"], &event["data"]["id"]), (&json!("message.sent"), &sent["id"]));
    }
    rig.fault(json!({ "on": "webhook", "kind": "delay", "ms": 80, "times": 1 })).await;
    let begun = Instant::now();
    rig.send(text_to(PHONE)).await;
    receiver.next().await;
    assert!(begun.elapsed() >= Duration::from_millis(80));
    assert_eq!(rig.sandbox.control().faults(), []);
}

#[tokio::test]
async fn control_api() {
    let rig = rig().await;
    let overview = rig.control("GET", "", Value::Null).await.json();
    assert_eq!(overview["account"]["numbers"][0]["key"], rig.key);
    assert_eq!(overview["switches"]["sent_after_ms"], 5);
    assert_eq!(overview["timelines"]["0001"]["steps"][0]["error_code"], "WHATSAPP_NOT_EXIST");
    for (patch, named) in [
        (json!({ "sent_after_ms": 9, "nope": 1 }), "nope"),
        (json!({ "time_scale": "fast" }), "time_scale"),
        (json!({ "replay_status": 500 }), "replay_status"),
        (json!({ "timelines": { "x": {} } }), "timelines"),
        (json!({ "timelines": { "1": { "steps": [{ "status": "QUEUED" }] } } }), "timelines"),
    ] {
        let answer = rig.control("PATCH", "/switches", patch).await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["error"].as_str().unwrap().contains(named));
    }
    assert_eq!(rig.sandbox.control().switches(), fast());
    for rule in [
        json!({ "on": "send", "kind": "webhook_drop" }),
        json!({ "on": "send", "kind": "http" }),
        json!({ "on": "send", "kind": "delay" }),
        json!({ "on": "send", "kind": "reset", "probability": 2 }),
        json!({ "on": "send", "kind": "reset", "odd": 2 }),
    ] {
        assert_eq!(rig.control("POST", "/faults", rule).await.status, 400);
    }
    rig.send_as("key-1", text_to(PHONE)).await;
    rig.get("/v1/nothing").await;
    let requests = rig.control("GET", "/requests?idempotency_key=key-1", Value::Null).await;
    let requests = requests.json();
    assert_eq!(requests.as_array().unwrap().len(), 1);
    let seen = &requests[0];
    assert_eq!((&seen["path"], &seen["status"]), (&json!("/v1/messages/send"), &json!(202)));
    assert_eq!((&seen["recipient"], &seen["key_last4"]), (&json!(PHONE), &json!(&rig.key[rig.key.len() - 4..])));
    assert_eq!(seen["body_sha256"].as_str().unwrap().len(), 64);
    assert!(!requests.to_string().contains(&rig.key));
    let stats = rig.control("GET", "/stats", Value::Null).await.json();
    assert_eq!((&stats["sends_accepted"], &stats["requests"]), (&json!(1), &json!(2)));
    rig.switch(json!({ "sent_after_ms": 9 })).await;
    rig.fault(json!({ "on": "any", "kind": "reset" })).await;
    assert_eq!(rig.control("POST", "/reset", Value::Null).await.status, 200);
    assert_eq!(rig.sandbox.control().switches(), fast());
    assert_eq!(rig.sandbox.control().messages(), []);
    assert_eq!(rig.send_as("key-1", text_to(PHONE)).await.header("idempotent-replayed"), None);
    assert_eq!(rig.control("GET", "/nope", Value::Null).await.status, 404);
}
