//! Statuses by webhook: what comes early, late, twice, in the wrong order or from somebody else.

use std::net::SocketAddr;

use axum::{Router, routing};
use pilotgate::{
    config,
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, Pending, Queued, Read, Sent},
        Origin,
    },
    server::Gateway,
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{
    Client, PATH_TOKEN, READER, SECOND_PATH_TOKEN, STUCK, World, client, error_of, follow, from_earliest, get,
    log_length, next_update, next_updates, second_number, sends, signature, text, trails, two_numbers, until,
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
    post_to(gateway.http(), path, signature, body).await
}

async fn post_to(
    door: SocketAddr,
    path: &str,
    signature: Option<&str>,
    body: impl Into<reqwest::Body>,
) -> (StatusCode, Value) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http.post(format!("http://{door}{path}")).body(body);
    if let Some(signature) = signature {
        request = request.header("x-pilot-status-signature", signature);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap_or_default())
}

/// What Pilot Status tells of the message that it knows by this id.
fn event(name: &str, upstream_id: &str) -> String {
    let data = json!({ "id": upstream_id, "messageId": "wamid.1", "createdAt": "2027-01-12T14:00:02.500Z" });
    json!({ "event": name, "data": data }).to_string()
}

fn recorded() -> (StatusCode, Value) {
    (StatusCode::OK, json!({ "status": "recorded" }))
}

fn door() -> String {
    format!("/webhooks/{PATH_TOKEN}")
}

#[tokio::test]
async fn a_webhook_that_outruns_the_answer_finds_its_message() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let early = send(&mut client, "+5511987650009").await;
    // It had joined its message before the send was answered.
    assert_eq!((early.status(), early.external_id.is_empty(), early.sent_time.is_some()), (Sent, false, true));
    let mut frames = follow(&mut client, from_earliest()).await;
    let trail: Vec<_> = next_updates(&mut frames, 5).await.iter().map(|u| (u.status(), u.origin())).collect();
    let expected = [
        (Pending, Origin::Gateway),
        (Queued, Origin::SendReply),
        (Sent, Origin::Webhook),
        (Delivered, Origin::Webhook),
        (Read, Origin::Webhook),
    ];
    assert_eq!(trail, expected);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_webhook_without_a_message_waits_for_it_through_a_restart() {
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let accept = || async { (axum::http::StatusCode::ACCEPTED, r#"{"id":"up-1","status":"QUEUED"}"#) };
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.base_url = format!("http://{}", upstream.local_addr().unwrap());
    settings.numbers[0].webhook_secrets.clear();
    tokio::spawn(async move {
        axum::serve(upstream, Router::new().route("/v1/messages/send", routing::post(accept))).await.unwrap();
    });
    let config = config::check_in_memory(settings).unwrap();
    let gateway = world.gateway_with(config.clone()).await;
    for body in [event("message.read", "up-1"), event("message.read", "up-1"), event("message.sent", "up-2")] {
        assert_eq!(post(&gateway, &door(), None, body).await, recorded());
    }
    assert_eq!(log_length(&mut client(&gateway).await).await, 0);
    gateway.shutdown().await;

    let gateway = world.gateway_with(config).await;
    let mut client = client(&gateway).await;
    let sent = send(&mut client, READER).await;
    assert_eq!((sent.upstream_id.as_str(), sent.status(), sent.external_id.as_str()), ("up-1", Read, "wamid.1"));
    let mut frames = follow(&mut client, from_earliest()).await;
    let trail: Vec<_> = next_updates(&mut frames, 3).await.iter().map(v1::StatusUpdate::status).collect();
    assert_eq!((trail, log_length(&mut client).await), (vec![Pending, Queued, Read], 3));
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
        let failure = (update.status() == Failed).then(|| v1::Failure {
            code: v1::FailureCode::DeliveredNotConfirmed.into(),
            raw_code: "DELIVERED_NOT_CONFIRMED".to_owned(),
            message: "Sent, but delivery was not confirmed".to_owned(),
            permanent: false,
            safe_to_resend: false,
        });
        assert_eq!(update.failure, failure);
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
    let read = get(&mut client, &ids[0]).await;
    assert!(read.sent_time.is_some() && read.delivered_time.is_some() && read.read_time.is_some());
    assert!(read.external_id.starts_with("wamid."), "{}", read.external_id);
    // That schema has no codes.
    let failure = v1::Failure { message: "Conversation window closed".to_owned(), ..Default::default() };
    assert_eq!(get(&mut client, &ids[1]).await.failure, Some(failure));
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
    assert_eq!((get(&mut client, &stuck.message_id).await.status(), log_length(&mut client).await), (Queued, 2));

    let prefixed = format!("sha256={}", right.to_uppercase());
    assert_eq!(post(&gateway, &door(), Some(&prefixed), body.clone()).await, recorded());
    let message = get(&mut client, &stuck.message_id).await;
    assert_eq!((message.status(), message.external_id.as_str()), (Delivered, "wamid.1"));
    assert_eq!(post(&gateway, &door(), Some(&right), body).await, recorded());
    assert_eq!(log_length(&mut client).await, 3);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_number_has_as_many_secrets_as_it_needs_and_a_door_of_its_own() {
    let world = World::with(two_numbers()).await;
    let mut settings = world.settings();
    settings.numbers.push(second_number(&world));
    settings.numbers[0].webhook_secrets.push(config::SecretRef::Inline("the-next-secret".into()));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let first = send(&mut client, STUCK).await;
    let on_second = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(STUCK, "x") };
    let second = client.send_message(on_second).await.unwrap().into_inner().message.unwrap();

    let next = signature("the-next-secret", &event("message.sent", &first.upstream_id));
    assert_eq!(
        post(&gateway, &door(), Some(&next), event("message.sent", &first.upstream_id)).await,
        recorded(),
        "while a secret is replaced, both are good"
    );
    // The second number has no secret: its path is the proof, and proves nothing about the first number.
    let second_door = format!("/webhooks/{SECOND_PATH_TOKEN}");
    for id in [&second.upstream_id, &first.upstream_id] {
        assert_eq!(post(&gateway, &second_door, None, event("message.read", id)).await, recorded());
    }
    assert_eq!(get(&mut client, &second.message_id).await.status(), Read);
    assert_eq!(get(&mut client, &first.message_id).await.status(), Sent);
    assert_eq!(log_length(&mut client).await, 6);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_cannot_be_written_is_not_acknowledged() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let stuck = send(&mut client, STUCK).await;
    let body = event("message.delivered", &stuck.upstream_id);
    let signed = signature(&world.double.account().webhook_secret, &body);
    let database = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(full).unwrap();
    let refused = (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not recorded, try again" }));
    assert_eq!(post(&gateway, &door(), Some(&signed), body.clone()).await, refused);
    // A send that cannot be written down first does not leave, and what the store said is not for callers.
    let told = error_of(client.send_message(text(READER, "x")).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert_eq!((told.message.as_str(), sends(&world).len()), ("the gateway's store failed", 1));
    assert_eq!((get(&mut client, &stuck.message_id).await.status(), log_length(&mut client).await), (Queued, 2));

    database.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(post(&gateway, &door(), Some(&signed), body).await, recorded());
    assert_eq!((get(&mut client, &stuck.message_id).await.status(), log_length(&mut client).await), (Delivered, 3));
    drop(database);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn the_door_stays_open_while_sends_end() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let slow = json!({ "slow_answer_ms": 3000 });
    world.double.control().patch_switches(slow.as_object().unwrap()).unwrap();
    let stuck = send(&mut client, STUCK).await;
    let mut sender = client.clone();
    let sent = tokio::spawn(async move { send(&mut sender, "+5511987650016").await });
    until(|| sends(&world).len() == 2).await;
    let address = gateway.http();
    let ending = tokio::spawn(gateway.shutdown());
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |path: &str| {
        let answer = http.get(format!("http://{address}{path}")).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let flipped = async { while ask("/readyz").await.0 == StatusCode::OK {} };
    tokio::time::timeout(std::time::Duration::from_secs(2), flipped).await.expect("ready all the same");
    let draining = (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    assert_eq!([ask("/readyz").await, ask("/healthz").await], [draining.clone(), draining]);
    assert_eq!(ask("/livez").await, (StatusCode::OK, "live\n".to_owned()));
    let body = event("message.delivered", &stuck.upstream_id);
    let signed = signature(&world.double.account().webhook_secret, &body);
    assert_eq!(post_to(address, &door(), Some(&signed), body).await, recorded());
    // The call in flight ends as if nothing were.
    assert_eq!(sent.await.unwrap().attempts, 1);
    drop(client);
    ending.await.unwrap();

    let gateway = world.gateway().await;
    let mut client = crate::support::client(&gateway).await;
    assert_eq!(get(&mut client, &stuck.message_id).await.status(), Delivered);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn whatever_is_json_is_recorded_and_nothing_else_is() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.http.max_body_bytes = 1000;
    settings.numbers[0].webhook_secrets.clear();
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let bodies = [
        json!({ "event": "number.health_degraded", "data": { "numberId": "wn_sandbox" } }),
        json!({ "event": "message.pondered", "data": { "numberId": "wn_sandbox", "id": "up-1" } }),
        json!({ "event": "message.sent", "data": { "numberId": "wn_sandbox" } }),
        json!({ "event": "message.sent", "data": "odd" }),
        json!({ "object": "whatsapp_business_account", "entry": [] }),
        json!([1, 2, 3]),
        Value::Null,
    ];
    for body in bodies {
        assert_eq!(post(&gateway, &door(), None, body.to_string()).await, recorded(), "{body}");
    }
    // Each is an entry of its own, and the array three.
    assert_eq!(log_length(&mut client(&gateway).await).await, 9);
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
async fn an_idle_connection_does_not_hold_up_the_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let world = World::new().await;
    let gateway = world.gateway().await;
    let silent = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    let mut idle = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let length = idle.read(&mut answer).await.unwrap();
    assert!(answer[..length].ends_with(b"live\n"));
    // Closing the gateway does not wait for those who ask for nothing more, or never did.
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), gateway.shutdown()).await;
    assert!(ended.is_ok(), "held up by an idle connection");
    assert_eq!(idle.read(&mut answer).await.unwrap(), 0);
    drop(silent);
    world.double.shutdown().await;
}
