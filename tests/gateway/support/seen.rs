//! What the double has seen, and waiting for what nothing announces.

use std::time::Duration;

use pilotgate::{proto::v1, sandbox};

use super::{Client, World, get};

/// The idempotency key under which the double knows our message.
pub fn key(id: &str) -> Option<String> {
    Some(format!("pilotgate-{id}"))
}

/// The sends that the double saw, oldest first.
pub fn sends(world: &World) -> Vec<sandbox::SeenRequest> {
    let mut requests = world.double.requests();
    requests.retain(|request| request.path == "/v1/messages/send");
    requests
}

/// Milliseconds from `began` to each send that the double saw. Whatever is in the way can only make them more.
pub fn sent_after(world: &World, began: jiff::Timestamp) -> Vec<i64> {
    let at = |seen: &sandbox::SeenRequest| seen.at.parse::<jiff::Timestamp>().unwrap();
    sends(world).iter().map(|seen| at(seen).as_millisecond() - began.as_millisecond()).collect()
}

/// Whether each of these times came, and none too early.
pub fn in_time(seen: &[i64], expected: &[i64]) -> bool {
    seen.len() == expected.len() && seen.iter().zip(expected).all(|(seen, expected)| seen >= expected)
}

/// Waits for a state of a message that nothing announces; fails rather than wait for ever.
pub async fn message_until(client: &mut Client, id: &str, condition: impl Fn(&v1::Message) -> bool) -> v1::Message {
    let reached = async {
        loop {
            let message = get(client, id).await;
            if condition(&message) {
                return message;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("not reached within 20 s")
}

/// Waits for a state of the double that nothing announces; fails rather than wait for ever.
pub async fn until(condition: impl Fn() -> bool) {
    let reached = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("not reached within 20 s");
}
