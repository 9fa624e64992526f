//! Statuses by webhook: what comes early, late, twice, in the wrong order or from somebody else.

use pilotgate::{
    config,
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, Pending, Queued, Read, Sent},
    },
    server::Gateway,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    Client, PATH_TOKEN, READER, World, client, from_earliest, get, next_update, signature, text, trails,
};

async fn send(client: &mut Client, phone: &str) -> v1::Message {
    client.send_message(text(phone, "x")).await.unwrap().into_inner().message.unwrap()
}

/// Posts a webhook body as anybody could.
async fn post(
    gateway: &Gateway,
    path: &str,
    signature: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> (StatusCode, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.post(format!("http://{}{path}", gateway.http())).body(body);
    if let Some(signature) = signature {
        request = request.header("x-pilot-status-signature", signature);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

fn door() -> String {
    format!("/webhooks/{PATH_TOKEN}")
}

#[tokio::test]
async fn a_webhook_that_outruns_the_answer_finds_its_message() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = send(&mut client, "+5511987650009").await.message_id;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let trails = trails(&mut frames, 5).await;
    assert_eq!(trails[&id], [Pending, Queued, Sent, Delivered, Read]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_failure_says_what_is_known_of_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = send(&mut client, "+5511987650001").await.message_id;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    next_update(&mut frames).await;
    next_update(&mut frames).await;
    let (update, _) = next_update(&mut frames).await;
    let failure = v1::Failure {
        code: v1::FailureCode::WhatsappNotExist.into(),
        raw_code: "WHATSAPP_NOT_EXIST".to_owned(),
        message: "The recipient is not on WhatsApp".to_owned(),
        permanent: true,
        safe_to_resend: false,
    };
    assert_eq!((update.status(), update.failure.as_ref()), (Failed, Some(&failure)));
    assert_eq!(get(&mut client, &id).await.failure, Some(failure));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_delivery_after_a_failure_is_a_correction() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = send(&mut client, "+5511987650005").await.message_id;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let (update, _) = next_update(&mut frames).await;
        seen.push((update.status(), update.current_status(), update.correction));
    }
    let expected = [
        (Pending, Pending, false),
        (Queued, Queued, false),
        (Sent, Sent, false),
        (Failed, Failed, false),
        (Delivered, Delivered, true),
        (Read, Read, false),
    ];
    assert_eq!(seen, expected);
    let message = get(&mut client, &id).await;
    assert_eq!((message.status(), message.failure), (Read, None));
    assert!(message.failed_time.is_some());
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn doubled_events_are_told_once_and_late_ones_change_nothing_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let doubled = send(&mut client, "+5511987650020").await.message_id;
    let reversed = send(&mut client, "+5511987650021").await.message_id;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let (mut twice, mut backwards) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let (update, _) = next_update(&mut frames).await;
        let trail = if update.message_id == doubled { &mut twice } else { &mut backwards };
        trail.push((update.status(), update.current_status()));
    }
    assert_eq!(twice, [Pending, Queued, Sent, Delivered, Read].map(|status| (status, status)));
    let expected = [(Pending, Pending), (Queued, Queued), (Read, Read), (Delivered, Read), (Sent, Read)];
    assert_eq!(backwards, expected);
    assert_eq!(get(&mut client, &reversed).await.status(), Read);
    // Nothing more came of the doubles: the next entry is that of the next message.
    let next = send(&mut client, "+5511987650006").await.message_id;
    assert_eq!(next_update(&mut frames).await.0.message_id, next);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn the_older_schema_is_understood() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let older = json!({ "event_schema": "v1" });
    world.double.control().patch_switches(older.as_object().unwrap()).unwrap();
    let ids = [send(&mut client, READER).await.message_id, send(&mut client, "+5511987650002").await.message_id];
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let trails = trails(&mut frames, 8).await;
    assert_eq!(trails[&ids[0]], [Pending, Queued, Sent, Delivered, Read]);
    assert_eq!(trails[&ids[1]], [Pending, Queued, Failed]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn only_signed_webhooks_at_the_right_path_are_taken() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let stuck = send(&mut client, "+5511987650006").await;
    let body = json!({
        "event": "message.delivered",
        "data": { "numberId": "wn_sandbox", "id": stuck.upstream_id, "messageId": "wamid.1", "createdAt": "2027-01-12T14:00:02.500Z" },
    })
    .to_string();
    let right = signature(&world.double.account().webhook_secret, &body);
    let wrong = signature("another secret", &body);
    let refused = [
        post(&gateway, &door(), None, body.clone()).await,
        post(&gateway, &door(), Some(&wrong), body.clone()).await,
        post(&gateway, &door(), Some("not hexadecimal"), body.clone()).await,
        post(&gateway, &door(), Some(&right), body.replace("delivered", "read")).await,
    ];
    for (status, _) in refused {
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let unknown = [
        post(&gateway, "/webhooks/0123456789abcdef0123456789abcdee", Some(&right), body.clone()).await,
        post(&gateway, "/webhooks/x", None, "garbage").await,
    ];
    assert_eq!(unknown, [(StatusCode::NOT_FOUND, json!({ "status": "unknown path" })), unknown[0].clone()]);
    assert_eq!(get(&mut client, &stuck.message_id).await.status(), Queued);

    let prefixed = format!("sha256={}", right.to_uppercase());
    assert_eq!(
        post(&gateway, &door(), Some(&prefixed), body.clone()).await,
        (StatusCode::OK, json!({ "status": "recorded" }))
    );
    let message = get(&mut client, &stuck.message_id).await;
    assert_eq!((message.status(), message.external_id.as_str()), (Delivered, "wamid.1"));
    assert_eq!(post(&gateway, &door(), Some(&right), body).await.0, StatusCode::OK);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_tells_nothing_about_a_message_is_acknowledged_and_what_cannot_be_read_is_not() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.http.max_body_bytes = 1000;
    settings.numbers[0].webhook_secrets.clear();
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let acknowledged = [
        json!({ "event": "number.health_degraded", "data": { "numberId": "wn_sandbox" } }),
        json!({ "event": "message.sent", "data": { "numberId": "wn_sandbox" } }),
        json!({ "event": "message.sent", "data": "odd" }),
        json!({ "object": "whatsapp_business_account", "entry": [] }),
        json!([1, 2, 3]),
        Value::Null,
    ];
    for body in acknowledged {
        let answer = post(&gateway, &door(), None, body.to_string()).await;
        assert_eq!(answer, (StatusCode::OK, json!({ "status": "ignored" })), "{body}");
    }
    let not_json = post(&gateway, &door(), None, "not json").await;
    assert_eq!(not_json, (StatusCode::BAD_REQUEST, json!({ "status": "not json" })));
    assert_eq!(post(&gateway, &door(), None, vec![b' '; 1001]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let got = http.get(format!("http://{}{}", gateway.http(), door())).send().await.unwrap();
    assert_eq!(got.status(), StatusCode::METHOD_NOT_ALLOWED);
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = http.get(format!("http://{}{path}", gateway.http())).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    world.end((), gateway).await;
}

#[tokio::test]
async fn odd_ids_and_times_do_no_harm() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.numbers[0].webhook_secrets.clear();
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let stuck = send(&mut client, "+5511987650006").await;
    // An id that cannot be one does not hide the older field, and a number stands for its text.
    let body = json!({ "event": "message.sent", "data": {
        "id": "x".repeat(600), "internalMessageId": stuck.upstream_id, "messageId": 42,
        "createdAt": "-005000-01-01T00:00:00Z", "errorCode": "E",
    } });
    assert_eq!(
        post(&gateway, &door(), None, body.to_string()).await,
        (StatusCode::OK, json!({ "status": "recorded" }))
    );
    let message = get(&mut client, &stuck.message_id).await;
    assert_eq!((message.status(), message.external_id.as_str()), (Sent, "42"));
    assert!(message.sent_time.unwrap().seconds > 1_700_000_000, "{:?}", message.sent_time);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    use tokio::io::AsyncReadExt;
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut idle = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    // Closing the gateway does not wait for those who never ask for anything.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), gateway.shutdown()).await;
    assert!(ended.is_ok(), "held up by an idle connection");
    // Closed, or reset if it was still waiting to be accepted.
    assert!(matches!(idle.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    world.double.shutdown().await;
}
