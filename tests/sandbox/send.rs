//! Sends: each mode, what is refused, idempotency.

use std::time::Duration;

use crate::support::*;
use pilotgate::sandbox::{Comparison, MetaGroups};
use serde_json::{Value, json};

#[tokio::test]
async fn every_mode_is_accepted() {
    let rig = rig().await;
    let modes = [
        json!({ "templateId": "onboarding-test", "destinationNumber": PHONE,
                "variables": { "name": "Ana", "order_id": "9" }, "labels": ["a"],
                "deliverUntil": "2090-01-12T15:30:00.000Z" }),
        json!({ "templateId": "tpl_2", "destinationNumber": PHONE,
                "variables": { "name": "Ana" },
                "marketingOptions": { "aiRewriteEnabled": false } }),
        json!({ "text": "Hi", "destinationNumber": PHONE, "footer": "f", "markRead": false,
                "header": { "type": "text", "content": "h" },
                "buttons": [{ "type": "reply", "label": "Ok" },
                            { "type": "url", "label": "Go", "url": "https://a.test" },
                            { "type": "call", "label": "Call", "phoneNumber": "+551133330000" }] }),
        json!({ "text": "Hi", "destinationNumber": "BR.90210044815532001177",
                "buttons": [{ "type": "copy", "label": "Copy", "copyCode": "X1" }] }),
        json!({ "text": "Pick", "destinationNumber": PHONE, "list": { "buttonText": "See",
                "sections": [{ "title": "A", "rows": [{ "title": "r", "rowId": "1" }] }] } }),
        json!({ "destinationNumber": PHONE, "carousel": { "cards": [{
                "media": { "type": "image", "url": "https://a.test/1.jpg" }, "body": "b",
                "buttons": [{ "type": "QUICK_REPLY", "text": "t", "payload": "p" }] }] } }),
        json!({ "destinationNumber": PHONE, "media": "https://a.test/1.pdf", "variables": {},
                "mediaType": "document", "caption": "c" }),
        json!({ "destinationNumber": PHONE, "media": "data:image/png;base64,AAAA",
                "mediaType": "sticker" }),
    ];
    for mode in modes {
        let answer = rig.send(mode.clone()).await;
        assert_eq!(answer.status, 202, "{mode} {}", answer.text);
        let body = answer.json();
        assert_eq!(body["status"], "QUEUED");
        assert_eq!(body["origin"], "Sandbox");
        assert_eq!(body["sourceNumber"], "5511900000000");
        assert!(body.get("flowToken").is_none());
        let path = format!("/v1/messages/{}", body["id"].as_str().unwrap());
        let details = rig.get(&path).await.json();
        assert_eq!(details["correlationId"], body["correlationId"]);
        assert_eq!(details["createdAt"], body["createdAt"]);
        assert_eq!(details["destinationNumber"], mode["destinationNumber"]);
    }
    let flow = json!({ "text": "x", "destinationNumber": PHONE, "flow": { "flowId": "1",
                       "cta": "Go", "action": "navigate", "mode": "published" } });
    let answer = rig.send(flow.clone()).await;
    assert_eq!(answer.status, 202);
    assert!(answer.json()["flowToken"].as_str().unwrap().starts_with("ft_"));
    rig.switch(json!({ "flow_window_open": false })).await;
    let answer = rig.send(flow).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "FLOW_WINDOW_CLOSED"));
    // The alias, and a group from a number that is not Meta's.
    let group = json!({ "groupId": "120363077700011122@g.us", "text": "x" });
    let answer = rig.call("POST", "/api/v1/messages/send", &rig.paired_key, Some(group.clone())).await;
    assert_eq!(answer.status, 202);
    assert_eq!(rig.send(group.clone()).await.code(), "NOT_SUPPORTED_FOR_META");
    let mut switches = rig.sandbox.control().switches();
    switches.meta_groups = MetaGroups::Eligible;
    rig.sandbox.control().set_switches(switches);
    assert_eq!(rig.send(group).await.status, 202);
    assert_eq!(rig.sandbox.control().messages().len(), 11);
    rig.sandbox.shutdown().await;
}

#[tokio::test]
async fn refusals() {
    let rig = rig().await;
    let to = |mut body: Value| {
        body["destinationNumber"] = json!(PHONE);
        body
    };
    let buttons = |n: usize| vec![json!({ "type": "reply", "label": "x" }); n];
    let row = json!({ "title": "r", "rowId": "1" });
    let list = json!({ "buttonText": "b", "sections": [{ "title": "A", "rows": vec![row; 11] }] });
    let media = "https://a.test/1";
    let table = [
        (400, "VALIDATION_ERROR", json!({ "text": "x" })),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "groupId": "1@g.us" }))),
        (400, "INVALID_DESTINATION", json!({ "text": "x", "destinationNumber": "abc" })),
        (400, "INVALID_DESTINATION", json!({ "text": "x", "groupId": "abc" })),
        (400, "NOT_SUPPORTED_FOR_META", json!({ "text": "x", "newsletterId": "1@newsletter" })),
        (400, "VALIDATION_ERROR", to(json!({}))),
        (400, "VALIDATION_ERROR", to(json!({ "text": " " }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x".repeat(4097) }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "templateId": "hello" }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "media": media, "mediaType": "image" }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "buttons": buttons(4) }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "buttons": [{ "type": "url", "label": "l" }] }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "footer": "f" }))),
        (400, "VALIDATION_ERROR", to(json!({ "list": list.clone() }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "list": list }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "list": {}, "flow": {} }))),
        (400, "VALIDATION_ERROR", to(json!({ "carousel": { "cards": [{ "body": "b" }] } }))),
        (400, "VALIDATION_ERROR", to(json!({ "flow": { "flowId": "1", "cta": "c", "action": "x" } }))),
        (400, "VALIDATION_ERROR", to(json!({ "media": media }))),
        (400, "VALIDATION_ERROR", to(json!({ "media": "ftp://x", "mediaType": "image" }))),
        (400, "VALIDATION_ERROR", to(json!({ "media": media, "mediaType": "audio", "caption": "c" }))),
        (400, "VALIDATION_ERROR", to(json!({ "media": media, "mediaType": "image", "variables": { "a": "b" } }))),
        (400, "VALIDATION_ERROR", to(json!({ "text": "x", "deliverAt": "tomorrow" }))),
        (400, "VALIDATION_ERROR", to(json!({ "templateId": "hello", "marketingOptions": {} }))),
        (404, "TEMPLATE_NOT_FOUND", to(json!({ "templateId": "nope" }))),
        (400, "MISSING_TEMPLATE_VARIABLES", to(json!({ "templateId": "otp_code", "variables": {} }))),
        (
            400,
            "INVALID_DESTINATION",
            json!({ "templateId": "otp_code", "variables": { "code": "1" },
                                             "destinationNumber": "BR.13491208655302741918" }),
        ),
    ];
    for (status, code, body) in table {
        let answer = rig.send(body.clone()).await;
        let seen = (answer.status, answer.code());
        assert_eq!(seen, (status, code.to_owned()), "{body} {}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
    let order = |v: Value| to(json!({ "templateId": "order_update", "variables": v }));
    let answer = rig.send(order(json!({ "name": "A" }))).await.json();
    assert_eq!(answer["details"], json!({ "missingKeys": ["order"] }));
    let answer = rig.send(order(json!({ "name": " ", "order": 5 }))).await.json();
    assert_eq!(answer["code"], "INVALID_TEMPLATE_VARIABLE_VALUE");
    assert_eq!(
        answer["details"]["invalidKeys"],
        json!([{ "key": "name", "reason": "blank" }, { "key": "order", "reason": "not_string" }])
    );
    let url = format!("{}/v1/messages/send", rig.sandbox.base_url());
    let broken = rig.client.post(&url).header("x-api-key", &rig.key).body("{");
    assert_eq!(broken.send().await.unwrap().status(), 400);
    let large = rig.client.post(&url).header("x-api-key", &rig.key);
    let large = large.body(vec![b' '; 33 << 20]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    assert!(large.json::<Value>().await.unwrap()["error"].is_string());

    assert_eq!(rig.send(to(json!({ "text": "x", "odd": 1 }))).await.status, 202);
    rig.switch(json!({ "refuse_unknown_fields": true, "paid_plan": false, "validation_code": null })).await;
    let answer = rig.send(to(json!({ "text": "x", "odd": 1 }))).await;
    assert_eq!((answer.status, answer.code()), (400, String::new()));
    let answer = rig.send(to(json!({ "media": media, "mediaType": "image" }))).await;
    assert_eq!((answer.status, answer.code().as_str()), (402, "SUBSCRIPTION_REQUIRED_FOR_MEDIA"));
    assert_eq!(rig.sandbox.control().messages().len(), 1);
}

#[tokio::test]
async fn idempotency_table() {
    let rig = rig().await;
    let body = text_to(PHONE);
    // New key, then the same body with its members in another order.
    let first = rig.send_as("k1", body.clone()).await;
    assert_eq!((first.status, first.header("idempotent-replayed")), (202, None));
    let url = format!("{}/v1/messages/send", rig.sandbox.base_url());
    let turned = format!("{{ \"destinationNumber\": \"{PHONE}\", \"text\": \"Hi\" }}");
    let turned = || {
        let request = rig.client.post(&url).header("x-api-key", &rig.key);
        request.header("idempotency-key", "k1").body(turned.clone()).send()
    };
    let again = turned().await.unwrap();
    assert_eq!(again.status(), 202);
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), first.text);
    // Other body.
    let other = rig.send_as("k1", text_to("+5521987659999")).await;
    assert_eq!((other.status, other.code().as_str()), (409, "IDEMPOTENCY_KEY_REUSED"));
    // The switches: status 200, comparison by bytes.
    rig.switch(json!({ "replay_status": 200 })).await;
    assert_eq!(rig.send_as("k1", body.clone()).await.status, 200);
    let mut switches = rig.sandbox.control().switches();
    switches.idempotency_compare = Comparison::Bytes;
    rig.sandbox.control().set_switches(switches);
    assert_eq!(turned().await.unwrap().status(), 409);
    assert_eq!(rig.send_as("k1", body.clone()).await.status, 200);
    rig.switch(json!({ "replay_status": 202, "idempotency_compare": "value" })).await;
    // Another number is another scope.
    let elsewhere = rig.client.post(&url).header("x-api-key", &rig.paired_key);
    let elsewhere = elsewhere.header("idempotency-key", "k1").json(&body);
    let elsewhere: Value = elsewhere.send().await.unwrap().json().await.unwrap();
    assert_ne!(elsewhere["id"], first.json()["id"]);
    // Invalid keys.
    for key in ["x".repeat(256), "a\tb".into(), String::new()] {
        let answer = rig.send_as(&key, body.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "IDEMPOTENCY_KEY_INVALID"));
    }
    assert_eq!(rig.send_as(&"x".repeat(255), body.clone()).await.status, 202);
    // Errors are not remembered.
    assert_eq!(rig.send_as("k2", json!({ "text": "x" })).await.status, 400);
    assert_eq!(rig.send_as("k2", body.clone()).await.status, 202);
    // After its time the key sends again.
    rig.switch(json!({ "idempotency_ttl_ms": 0 })).await;
    let later = rig.send_as("k1", body).await;
    assert_ne!(later.json()["id"], first.json()["id"]);
    let messages = rig.control("GET", "/messages?idempotency_key=k1", json!({})).await.json();
    let accepted: Vec<&Value> = messages.as_array().unwrap().iter().map(|m| &m["accepted"]).collect();
    assert_eq!(accepted, [2, 1, 2]);
}

#[tokio::test]
async fn a_key_is_in_use_while_its_first_call_runs() {
    let rig = rig().await;
    rig.fault(json!({ "on": "send", "kind": "delay", "ms": 1000, "times": 1 })).await;
    let (first, second) = tokio::join!(rig.send_as("k", text_to(PHONE)), async {
        while rig.sandbox.requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.send_as("k", text_to(PHONE)).await
    });
    assert_eq!(first.status, 202);
    assert_eq!((second.status, second.code().as_str()), (409, "IDEMPOTENCY_KEY_IN_USE"));
    let third = rig.send_as("k", text_to(PHONE)).await;
    assert_eq!(third.text, first.text);
    assert_eq!(rig.sandbox.control().messages().len(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_undo_a_slow_send() {
    let rig = rig().await;
    rig.switch(json!({ "slow_answer_ms": 1000 })).await;
    let url = format!("{}/v1/messages/send", rig.sandbox.base_url());
    let body = text_to("+5521987650016");
    let leaving = reqwest::Client::new().post(url).json(&body);
    let leaving = leaving.header("x-api-key", &rig.key);
    let leaving = tokio::spawn(leaving.header("idempotency-key", "slow").send());
    while rig.sandbox.control().messages().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    assert_eq!(rig.send_as("slow", body.clone()).await.code(), "IDEMPOTENCY_KEY_IN_USE");
    let mut answer = rig.send_as("slow", body.clone()).await;
    while answer.status == 409 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = rig.send_as("slow", body.clone()).await;
    }
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    let messages = rig.sandbox.control().messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(answer.json()["id"], messages[0].id);
}
