//! What is refused, how, and that it is counted.

use pilotgate::tracking::Verdicts;
use reqwest::StatusCode;
use serde_json::json;

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
