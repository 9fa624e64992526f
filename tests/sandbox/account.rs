//! Keys, scopes, numbers, templates, small lists, unknown paths, bounds.

use crate::support::*;
use pilotgate::sandbox::{Options, open};
use serde_json::{Value, json};

#[tokio::test]
async fn regeneration_kills_the_old_key() {
    let rig = rig().await;
    let made = rig.post("/v1/api-keys/regenerate", Value::Null).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let key = made["key"].as_str().unwrap();
    assert_eq!((&made["scope"], &made["whatsappNumberId"]), (&json!("number"), &json!(META)));
    assert_eq!(made["keyLast4"], key[key.len() - 4..]);
    let old = rig.send(text_to(PHONE)).await;
    assert_eq!((old.status, old.json()), (401, json!({ "error": "Unauthorized" })));
    let new = rig.call("POST", "/v1/messages/send", key, Some(text_to(PHONE))).await;
    assert_eq!(new.status, 202);
    // By the account-wide key, which can then also read it.
    let body = Some(json!({ "whatsappNumberId": META }));
    let again = rig.call("POST", "/v1/api-keys", &rig.tenant_key, body).await;
    assert_eq!(again.status, 201);
    let newest = again.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(rig.call("GET", "/v1/numbers", key, None).await.status, 401);
    assert_eq!(rig.call("GET", "/v1/numbers", &newest, None).await.status, 200);
    let rows = rig.call("GET", "/v1/api-keys", &rig.tenant_key, None).await.json();
    assert_eq!((&rows[0]["key"], &rows[0]["revealable"]), (&json!(newest), &json!(true)));
    assert_eq!(rig.sandbox.account().numbers[0].key, newest);
    // A key's id alone authenticates.
    let url = format!("{}/v1/messages/send", rig.sandbox.base_url());
    let by_id = rig.client.post(url).header("x-api-key-id", rows[0]["keyId"].as_str().unwrap());
    assert_eq!(by_id.json(&text_to(PHONE)).send().await.unwrap().status(), 202);
    let body = Some(json!({ "whatsappNumberId": "wn_x" }));
    let unknown = rig.call("POST", "/v1/api-keys", &rig.tenant_key, body).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "NUMBER_NOT_FOUND"));
}

#[tokio::test]
async fn keys_may_be_hidden_and_their_change_may_go_unanswered() {
    let rig = rig().await;
    rig.switch(json!({ "reveal_keys": false })).await;
    rig.fault(json!({ "on": "keys", "kind": "drop_reply", "times": 1 })).await;
    let body = Some(json!({ "whatsappNumberId": META }));
    let url = format!("{}/v1/api-keys", rig.sandbox.base_url());
    let unanswered = rig.client.post(url).header("x-api-key", &rig.tenant_key).json(&body).send().await;
    assert!(unanswered.is_err(), "{unanswered:?}");
    assert_eq!(rig.send(text_to(PHONE)).await.status, 401, "it was carried out");
    let rows = rig.call("GET", "/v1/api-keys", &rig.tenant_key, None).await.json();
    let row = &rows[0];
    assert_eq!((&row["key"], &row["revealable"]), (&Value::Null, &json!(false)));
    let now = rig.sandbox.account().numbers[0].key.clone();
    assert_eq!(row["keyLast4"], now[now.len() - 4..]);
    assert_eq!(rig.call("POST", "/v1/api-keys", &rig.tenant_key, body).await.status, 201);
}

#[tokio::test]
async fn scopes_and_unknown_paths() {
    let rig = rig().await;
    let tenant = |method, path: &'static str| rig.call(method, path, &rig.tenant_key, Some(text_to(PHONE)));
    for (method, path) in
        [("POST", "/v1/messages/send"), ("GET", "/v1/messages/x"), ("GET", "/v1/templates"), ("GET", "/v1/groups")]
    {
        let answer = tenant(method, path).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "TENANT_SCOPE_NOT_ALLOWED"), "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/api-keys"),
        ("POST", "/v1/api-keys"),
        ("POST", "/v1/numbers/wn_sandbox/pay"),
        ("DELETE", "/v1/numbers/wn_sandbox/purge"),
    ] {
        let answer = rig.call(method, path, &rig.key, Some(json!({}))).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "NUMBER_SCOPE_NOT_ALLOWED"), "{path}");
    }
    for key in ["", "ps_wrong"] {
        assert_eq!(rig.call("GET", "/v1/numbers", key, None).await.status, 401);
    }
    let url = format!("{}/v1/numbers", rig.sandbox.base_url());
    let bearer = rig.client.get(url).bearer_auth(&rig.key).send().await.unwrap();
    assert_eq!(bearer.status(), 401);
    rig.switch(json!({ "unauthorized_code": "UNAUTHORIZED", "tenant_key_may_send": true })).await;
    assert_eq!(rig.call("GET", "/v1/numbers", "x", None).await.code(), "UNAUTHORIZED");
    let url = format!("{}/v1/messages/send", rig.sandbox.base_url());
    let named = rig.client.post(url).header("x-api-key", &rig.tenant_key);
    let named = named.header("x-whatsapp-number-id", PAIRED).json(&text_to(PHONE));
    assert_eq!(named.send().await.unwrap().status(), 202);
    for path in ["/v1/nope", "/nope", "/api/v1/nope"] {
        let answer = rig.get(path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({ "error": "Not found" })));
    }
    let wrong = rig.call("PUT", "/v1/messages/send", &rig.key, None).await;
    assert_eq!((wrong.status, wrong.json()["error"].is_string()), (405, true));
}

#[tokio::test]
async fn numbers_live_and_die() {
    let rig = rig().await;
    let call = |method: &'static str, path: String, body: Value| {
        let rig = &rig;
        async move { rig.call(method, &path, &rig.tenant_key, Some(body)).await }
    };
    let body = json!({ "name": "Loja", "number": "+552133334444" });
    let made = call("POST", "/v1/numbers".into(), body.clone()).await;
    assert_eq!(made.status, 201);
    let id = made.json()["instance"]["id"].as_str().unwrap().to_owned();
    let at = |rest: &str| format!("/v1/numbers/{id}{rest}");
    let list = call("GET", "/v1/numbers".into(), Value::Null).await.json();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert_eq!(call("GET", at("/status"), Value::Null).await.json()["state"], "OPEN");
    let patch = json!({ "settings": { "markReadOnSend": false } });
    let patched = call("PATCH", at(""), patch).await.json();
    assert_eq!(patched["settings"]["markReadOnSend"], false);
    assert_eq!(patched["settingsSync"]["applied"], 1);
    assert_eq!(call("PATCH", at(""), json!({})).await.code(), "EMPTY_PATCH");
    assert_eq!(call("GET", at(""), Value::Null).await.json()["extraChargeUnpaidSince"], Value::Null);
    // Unpaid: sends are refused until paid.
    let key = rig.sandbox.account().numbers[2].key.clone();
    let send = || rig.call("POST", "/v1/messages/send", &key, Some(text_to(PHONE)));
    let path = format!("/numbers/{id}");
    let unpaid = rig.control("POST", &path, json!({ "extra_charge_unpaid": true }));
    assert_eq!(unpaid.await.json()["extra_charge_unpaid"], true);
    let refused = send().await;
    assert_eq!(
        (refused.status, refused.json()),
        (
            409,
            json!({ "error": "Sending is blocked for this number", "code": "NUMBER_BLOCKED",
                      "reason": "extra_charge_unpaid" })
        )
    );
    assert_eq!(call("POST", at("/pay"), Value::Null).await.json(), json!({ "ok": true, "status": "paid" }));
    assert_eq!(call("POST", at("/pay"), Value::Null).await.json()["status"], "not_required");
    assert_eq!(send().await.status, 202);
    // Deleted: its key is dead, its phone taken; restored: alive; purged: gone.
    let deleted = call("DELETE", at(""), Value::Null).await.json();
    assert!(deleted["ok"] == true && deleted["restorableUntil"].is_string());
    assert_eq!(send().await.status, 401);
    assert_eq!(call("POST", "/v1/numbers".into(), body.clone()).await.code(), "NUMBER_SOFT_DELETED");
    assert_eq!(call("GET", at("/status"), Value::Null).await.status, 404);
    let restored = call("POST", at("/restore"), Value::Null).await.json();
    assert_eq!(restored, json!({ "ok": true, "requiresReconnect": true }));
    assert_eq!(call("DELETE", at("/purge"), Value::Null).await.json(), json!({ "ok": true }));
    assert_eq!(send().await.status, 401);
    assert_eq!(call("POST", "/v1/numbers".into(), body).await.status, 201);
    let foreign = rig.get("/v1/numbers/wn_paired/status").await;
    assert_eq!((foreign.status, foreign.code()), (404, String::new()));
}

#[tokio::test]
async fn templates_and_shapes() {
    let rig = rig().await;
    let body = json!({ "name": "saiu", "category": "UTILITY", "language": "pt_BR",
        "body": { "body": { "text": "Oi {{cliente}}, {{pedido}} saiu." } }, "examples": { "cliente": "R" } });
    let answer = rig.post("/v1/templates", body.clone()).await;
    assert_eq!(answer.json()["details"], json!({ "missing": ["pedido"] }));
    let mut whole = body;
    whole["examples"]["pedido"] = json!("1");
    assert_eq!(rig.post("/v1/templates", whole.clone()).await.status, 201);
    assert_eq!(rig.post("/v1/templates", whole).await.status, 409);
    let shown = rig.get("/v1/templates/saiu").await.json();
    assert_eq!(shown["variables"], json!(["cliente", "pedido"]));
    let send = json!({ "templateId": "saiu", "destinationNumber": PHONE,
                       "variables": { "cliente": "Rita", "pedido": "7" } });
    let id = rig.send(send).await.json()["id"].as_str().unwrap().to_owned();
    let details = rig.get(&format!("/v1/messages/{id}")).await.json();
    assert_eq!(details["template"], "saiu");
    let put = json!({ "body": "Novo", "examples": {} });
    assert_eq!(rig.call("PUT", "/v1/templates/saiu", &rig.key, Some(put)).await.json()["variables"], json!([]));
    assert_eq!(rig.call("DELETE", "/v1/templates/saiu", &rig.key, None).await.status, 200);
    assert_eq!(rig.get("/v1/templates/saiu").await.code(), "TEMPLATE_NOT_FOUND");
    assert!(rig.get("/v1/groups").await.json()["groups"].is_array());
    assert!(rig.get("/v1/newsletters").await.json()["newsletters"].is_array());
    rig.switch(json!({ "groups_shape": "bare", "newsletters_shape": "bare" })).await;
    assert!(rig.get("/v1/groups").await.json()[0]["subject"].is_string());
    assert!(rig.get("/v1/newsletters").await.json()[0]["name"].is_string());
}

#[tokio::test]
async fn memory_is_bounded_and_a_seed_repeats() {
    let options =
        || Options { seed: Some(1), keep_messages: 3, keep_requests: 2, switches: fast(), ..Options::default() };
    let (one, two) = (open(options()).await.unwrap(), open(options()).await.unwrap());
    assert_eq!(one.account().tenant_key, two.account().tenant_key);
    assert_ne!(one.base_url(), two.base_url());
    let client = reqwest::Client::new();
    let key = one.account().numbers[0].key.clone();
    let mut ids = Vec::new();
    for i in 0..5 {
        let request = client.post(format!("{}/v1/messages/send", one.base_url()));
        let request = request.header("x-api-key", &key).header("idempotency-key", i.to_string());
        let answer: Value = request.json(&text_to(PHONE)).send().await.unwrap().json().await.unwrap();
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    let kept: Vec<String> = one.control().messages().into_iter().map(|m| m.id).collect();
    assert_eq!(kept, ids[2..]);
    assert_eq!(one.requests().len(), 2);
    assert_eq!(one.requests()[1].seq, 5);
    let address = one.base_url().trim_start_matches("http://").to_owned();
    one.shutdown().await;
    two.shutdown().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
