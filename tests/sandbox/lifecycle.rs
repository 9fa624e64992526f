//! What becomes of a message: reads, endings, scheduling, cancel, history.

use std::time::Duration;

use crate::support::*;
use pilotgate::sandbox::{NumberChange, NumberState, Status};
use serde_json::{Value, json};

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_message_is_found_by_three_ids() {
    let rig = rig().await;
    let sent = rig.send(text_to(PHONE)).await;
    let details = rig.until(&id(&sent), "READ").await;
    for name in ["id", "correlationId", "externalMessageId"] {
        let path = format!("/v1/messages/{}", details[name].as_str().unwrap());
        assert_eq!(rig.get(&path).await.json(), details);
    }
    assert!(details["sentAt"].is_string() && details["readAt"].is_string());
    assert_eq!(details["errorCode"], Value::Null);
    assert!(details.get("template").is_none());
    let unknown = rig.get("/v1/messages/nope").await;
    assert_eq!((unknown.status, unknown.code()), (404, String::new()));
    let foreign = format!("/v1/messages/{}", id(&sent));
    assert_eq!(rig.call("GET", &foreign, &rig.paired_key, None).await.status, 404);
}

#[tokio::test]
async fn endings_by_recipient() {
    let rig = rig().await;
    let table = [
        ("0001", "FAILED", Some("WHATSAPP_NOT_EXIST")),
        ("0002", "FAILED", Some("META_OUTSIDE_24H_WINDOW")),
        ("0003", "FAILED", Some("DELIVERY_TIMEOUT")),
        ("0004", "FAILED", Some("DELIVERED_NOT_CONFIRMED")),
        ("0007", "SENT", None),
        ("0008", "DELIVERED", None),
    ];
    for (ending, status, code) in table {
        let sent = rig.send(text_to(&format!("+552198765{ending}"))).await;
        let details = rig.until(&id(&sent), status).await;
        assert_eq!(details["errorCode"], json!(code));
        assert_eq!(details["errorMessage"].is_string(), code.is_some());
    }
    // A failure that a later report contradicts.
    let sent = rig.send(text_to("+5521987650005")).await;
    rig.until(&id(&sent), "FAILED").await;
    let details = rig.until(&id(&sent), "READ").await;
    assert_eq!(details["errorCode"], Value::Null);
    // Stuck until deliverUntil; one stays SENT until then.
    for (ending, code) in [("0006", "EXPIRED_AFTER_ATTEMPTS"), ("0007", "DELIVERED_NOT_CONFIRMED")] {
        let until = jiff::Timestamp::now() + Duration::from_millis(150);
        let mut body = text_to(&format!("+552198765{ending}"));
        body["deliverUntil"] = json!(until.to_string());
        let sent = rig.send(body).await;
        let details = rig.until(&id(&sent), "FAILED").await;
        assert_eq!(details["errorCode"], code);
    }
    // A test's own script wins.
    rig.switch(json!({ "timelines": { "50001": {
        "steps": [{ "status": "SENT", "after_ms": 0 },
                  { "status": "FAILED", "after_ms": 0, "error_code": "META_RATE_LIMITED" }] } } }))
        .await;
    let sent = rig.send(text_to("+5521987650001")).await;
    let details = rig.until(&id(&sent), "FAILED").await;
    assert_eq!(details["errorCode"], "META_RATE_LIMITED");
    assert!(details["sentAt"].is_string());
}

#[tokio::test]
async fn scheduling_and_cancel() {
    let rig = rig().await;
    let schedule = |at: jiff::Timestamp| {
        let mut body = text_to(PHONE);
        body["deliverAt"] = json!(at.to_string());
        rig.send(body)
    };
    let soon_at = jiff::Timestamp::now() + Duration::from_millis(200);
    let far_at = soon_at + Duration::from_secs(3600);
    let soon = id(&schedule(soon_at).await);
    let far = id(&schedule(far_at).await);
    let far_too = id(&schedule(far_at).await);
    let gone = id(&rig.send(text_to(PHONE)).await);
    rig.until(&gone, "READ").await;
    let path = "/v1/messages/cancel";
    let cancel = |ids: Value| rig.call("DELETE", path, &rig.key, Some(json!({ "messageIds": ids })));
    let answer = cancel(json!([far, gone, "nope"])).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({ "cancelled": [far], "failed": [
            { "id": gone, "reason": "already sent" }, { "id": "nope", "reason": "not found" }] })
        )
    );
    let details = rig.until(&far, "CANCELED").await;
    assert_eq!(details["errorCode"], Value::Null);
    // Not scheduled: refused even while it waits.
    let stuck = id(&rig.send(text_to("+5521987650006")).await);
    let answer = cancel(json!([stuck])).await.json();
    let failed = json!([{ "id": stuck, "reason": "not scheduled" }]);
    assert_eq!(answer, json!({ "cancelled": [], "failed": failed }));
    rig.switch(json!({ "cancel_shape": "counts" })).await;
    let answer = cancel(json!([far_too, far])).await.json();
    assert_eq!(answer, json!({ "cancelled": 1, "notFound": 1 }));
    for bad in [json!([]), json!(vec!["x"; 101]), json!("x"), json!([1])] {
        assert_eq!(cancel(bad).await.status, 400);
    }
    let tenant = rig.call("DELETE", path, &rig.tenant_key, Some(json!({ "messageIds": ["x"] })));
    assert_eq!(tenant.await.code(), "TENANT_SCOPE_NOT_ALLOWED");
    assert_eq!(rig.call("POST", path, &rig.key, None).await.status, 405);
    let details = rig.until(&soon, "READ").await;
    let sent_at: jiff::Timestamp = details["sentAt"].as_str().unwrap().parse().unwrap();
    assert!(sent_at >= soon_at, "{sent_at} is before {soon_at}");
}

#[tokio::test]
async fn a_disconnected_number_keeps_its_messages() {
    let rig = rig().await;
    let control = rig.sandbox.control();
    let set = |state| NumberChange { state: Some(state), ..NumberChange::default() };
    control.change_number(META, &set(NumberState::Close)).unwrap();
    let waiting = id(&rig.send(text_to(PHONE)).await);
    let elsewhere = rig.call("POST", "/v1/messages/send", &rig.paired_key, Some(text_to(PHONE)));
    let elsewhere = id(&elsewhere.await);
    while control.messages().iter().any(|m| m.id == elsewhere && m.status != Status::Read) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(rig.until(&waiting, "QUEUED").await["sentAt"], Value::Null);
    assert_eq!(rig.get("/v1/groups").await.code(), "WHATSAPP_INSTANCE_NOT_CONNECTED");
    control.change_number(META, &set(NumberState::Open)).unwrap();
    rig.until(&waiting, "READ").await;
}

#[tokio::test]
async fn history_and_lists() {
    let rig = rig().await;
    for _ in 0..3 {
        rig.send(text_to(PHONE)).await;
    }
    let inbound = json!({ "event": "message.received", "data": { "numberId": META, "id": "cm_1",
        "messageId": "w1", "type": "text", "fromMe": false, "from": PHONE, "to": "+5511900000000",
        "createdAt": "2027-01-12T14:05:00.000Z", "content": "Oi" } });
    assert_eq!(rig.control("POST", "/events", inbound).await.json(), json!({ "webhooks": 0 }));
    let history = rig.get("/v1/messages/history?pageSize=2&page=2").await.json();
    assert_eq!(history["messages"].as_array().unwrap().len(), 2);
    assert_eq!((&history["total"], &history["totalPages"]), (&json!(4), &json!(2)));
    let list = rig.get("/v1/messages").await.json();
    assert_eq!(list["total"], 3);
    let conversations = rig.get("/v1/conversations").await.json();
    assert_eq!(conversations["total"], 1);
    assert_eq!(conversations["conversations"][0]["unreadCount"], 1);
    assert_eq!(rig.get("/v1/messages/unread").await.json()["total"], 1);
    assert_eq!(rig.post("/v1/messages/typing", text_to(PHONE)).await.status, 200);
    assert_eq!(rig.get("/v1/messages/unread").await.json()["total"], 0);
    let bad = rig.get("/v1/messages/history?startDate=2027-01-02T00:00:00Z&endDate=2027-01-01T00:00:00Z");
    assert_eq!(bad.await.code(), "INVALID_DATE_RANGE");
    assert_eq!(rig.get("/v1/messages/group").await.code(), "NOT_SUPPORTED_FOR_META");
    let tenant = rig.call("GET", "/v1/messages/history", &rig.tenant_key, None).await;
    assert_eq!((tenant.status, tenant.code().as_str()), (403, "TENANT_SCOPE_NOT_ALLOWED"));
    let dashboard = rig.get("/v1/analytics/dashboard?tz=UTC").await.json();
    assert_eq!(dashboard["dailyMessages"][0]["count"], 3);
}
