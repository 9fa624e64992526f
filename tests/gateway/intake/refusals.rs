//! What is refused, how, and that it is counted.

use std::time::Duration;

use pilotgate::tracking::Verdicts;
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Open, inbound, received, recorded};
use crate::support::{PATH_TOKEN, World, signature};

#[tokio::test]
async fn each_refusal_has_a_code_and_a_count() {
    let world = World::new().await;
    let open = Open::with(&world, |settings| settings.http.max_body_bytes = 1000).await;
    let body = received("cm_1", "Oi").to_string();
    let secret = world.double.account().webhook_secret;
    let [right, wrong] = [&secret[..], "another secret"].map(|secret| signature(secret, &body));

    let unknown = open.post_to("0123456789abcdef0123456789abcdee", Some(&right), body.as_bytes()).await;
    assert_eq!(unknown, (StatusCode::NOT_FOUND, json!({ "status": "unknown path" })));
    let unsigned = (StatusCode::UNAUTHORIZED, json!({ "status": "signature missing or wrong" }));
    assert_eq!(open.post_to(PATH_TOKEN, None, body.as_bytes()).await, unsigned);
    assert_eq!(open.post_to(PATH_TOKEN, Some(&wrong), body.as_bytes()).await, unsigned);
    // Nothing is read of what is not signed.
    assert_eq!(open.post_to(PATH_TOKEN, Some(&right), b"not json").await, unsigned);
    assert_eq!(open.post("not json").await, (StatusCode::BAD_REQUEST, json!({ "status": "not json" })));
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, json!({ "status": "too large" }));
    assert_eq!(open.post(&" ".repeat(1001)).await, too_large);
    assert_eq!(inbound(&*open.store).await, []);

    let database = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(full).unwrap();
    let not_recorded = (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not recorded, try again" }));
    assert_eq!(open.post(&body).await, not_recorded);
    database.execute_batch("DROP TRIGGER full").unwrap();
    drop(database);

    let prefixed = format!("sha256={}", right.to_uppercase());
    assert_eq!(open.post_to(PATH_TOKEN, Some(&prefixed), body.as_bytes()).await, recorded());
    assert_eq!(open.post(&body).await, recorded());
    let early = json!({ "event": "message.sent", "data": { "id": "up-1" } });
    assert_eq!(open.post(&json!([early, received("cm_2", "Oi")]).to_string()).await, recorded());
    let expected = Verdicts {
        recorded: 2,
        known: 1,
        early: 1,
        claimed: 0,
        unknown_path: 1,
        bad_signature: 3,
        malformed: 1,
        too_large: 1,
        store_failure: 1,
    };
    assert_eq!(open.gateway.verdicts(), expected);
    world.end(open.store, open.gateway).await;
}

#[tokio::test]
async fn nothing_is_read_of_a_body_that_is_for_nobody() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let mut caller = TcpStream::connect(open.gateway.http()).await.unwrap();
    // A body that never comes.
    let head = "POST /webhooks/0123456789abcdef0123456789abcdee HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    let answered = tokio::time::timeout(Duration::from_secs(20), caller.read_exact(&mut status)).await;
    answered.expect("it waits for the body").unwrap();
    assert_eq!(&status, b"HTTP/1.1 404");
    assert_eq!(open.gateway.verdicts(), Verdicts { unknown_path: 1, ..Verdicts::default() });
    world.end(open.store, open.gateway).await;
}
