//! A key is refused because it is being changed: no answer about the message.

use std::task::Poll;

use futures_util::poll;
use pilotgate::{
    config::settings::Span,
    proto::v1::{self, MessageStatus, get_message_request::Key},
    sandbox::Answered,
};

use super::*;
use crate::support::{STUCK, client, error_of, message_until, queued, send, sends, text};

/// A call that waits before the double gets to it with a key that has died meanwhile, while the new one is about to stand; and
/// what becomes of it.
async fn key_dies_under_a_call(world: &World, front: &Front, gateway: &Gateway) {
    front.called().await;
    let name = main_number();
    let mut exclusive = std::pin::pin!(gateway.keys().exclusive(&name));
    assert!(matches!(poll!(&mut exclusive), Poll::Pending), "the call uses the key");
    let key = regenerate(world).await;
    front.let_through(1);
    let right = soon(exclusive).await;
    gateway.keys().put(with_key(gateway, &key), &right).unwrap();
    front.let_through(1000);
}

/// Settings under which a number whose key is refused is held for good.
fn unforgiving(mut settings: Settings) -> Settings {
    settings.breaker.number_first = Span(Duration::from_secs(3600));
    settings.breaker.number_longest = Span(Duration::from_secs(3600));
    settings
}

const REFUSED: Answered = Answered::Status(401);
const TAKEN: Answered = Answered::Status(202);

fn statuses(world: &World) -> Vec<Answered> {
    sends(world).iter().map(|request| request.status).collect()
}

#[tokio::test]
async fn a_direct_send_is_held_and_made_again_with_the_new_key() {
    let world = World::new().await;
    let (front, settings) = Front::before(&world).await;
    let gateway = start(unforgiving(settings)).await;
    let mut client = client(&gateway).await;
    let direct = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_message(text(STUCK, "x")).await }
    });
    key_dies_under_a_call(&world, &front, &gateway).await;
    let message = soon(direct).await.unwrap().unwrap().into_inner().message.unwrap();
    assert_eq!((message.status(), message.attempts), (MessageStatus::Queued, 2));
    assert_eq!(statuses(&world), [REFUSED, TAKEN]);
    let keys: Vec<_> = sends(&world).into_iter().map(|request| request.idempotency_key).collect();
    assert_eq!(keys, vec![crate::support::key(&message.message_id); 2]);
    // Nor is the number held.
    soon(send(&mut client, text(STUCK, "y"))).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_queued_message_is_held_and_handed_over_with_the_new_key() {
    let world = World::new().await;
    let (front, mut settings) = Front::before(&world).await;
    settings.queue.retry_first = Span(Duration::from_secs(3600));
    settings.queue.retry_longest = Span(Duration::from_secs(3600));
    let gateway = start(unforgiving(settings)).await;
    let mut client = client(&gateway).await;
    let id = send(&mut client, queued(text(STUCK, "x"))).await;
    key_dies_under_a_call(&world, &front, &gateway).await;
    let message = message_until(&mut client, &id, |message| message.status() == MessageStatus::Queued).await;
    assert_eq!(message.attempts, 2);
    assert_eq!(statuses(&world), [REFUSED, TAKEN]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_read_is_made_again_with_the_new_key() {
    let world = World::new().await;
    let (front, settings) = Front::before(&world).await;
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    front.let_through(1);
    let id = send(&mut client, text(STUCK, "x")).await;
    front.called().await;
    let read = tokio::spawn({
        let mut client = client.clone();
        let key = Some(Key::MessageId(id));
        async move { client.get_message(v1::GetMessageRequest { key, refresh: true }).await }
    });
    key_dies_under_a_call(&world, &front, &gateway).await;
    soon(read).await.unwrap().unwrap();
    let reads =
        world.double.requests().into_iter().filter(|seen| seen.method == "GET" && !seen.path.contains("history"));
    assert_eq!(reads.map(|seen| seen.status).collect::<Vec<_>>(), [REFUSED, Answered::Status(200)]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_cancellation_is_asked_for_again_with_the_new_key() {
    let world = World::new().await;
    let (front, settings) = Front::before(&world).await;
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    front.let_through(1);
    let later = v1::SendMessageRequest { deliver_at: crate::support::in_seconds(3600), ..text(STUCK, "x") };
    let id = send(&mut client, later).await;
    front.called().await;
    let cancel = tokio::spawn({
        let mut client = client.clone();
        async move { client.cancel_messages(v1::CancelMessagesRequest { message_ids: vec![id] }).await }
    });
    key_dies_under_a_call(&world, &front, &gateway).await;
    let results = soon(cancel).await.unwrap().unwrap().into_inner().results;
    assert_eq!(results[0].outcome(), v1::CancelOutcome::Canceled);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_key_that_nobody_changes_is_refused_for_good_until_another_is_set() {
    let world = World::new().await;
    let gateway = start(unforgiving(world.settings())).await;
    let mut client = client(&gateway).await;
    let key = regenerate(&world).await;
    let told = error_of(client.send_message(text(STUCK, "x")).await);
    assert_eq!(told.reason, "NUMBER_KEY_REFUSED");
    let told = error_of(client.send_message(text(STUCK, "x")).await);
    assert_eq!(told.reason, "NUMBER_HELD", "and the number is held");
    let waiting = send(&mut client, queued(text(STUCK, "x"))).await;
    let_run().await;
    put(&gateway, with_key(&gateway, &key)).await;
    message_until(&mut client, &waiting, |message| message.status() == MessageStatus::Queued).await;
    soon(send(&mut client, text(STUCK, "y"))).await;
    assert_eq!(statuses(&world), [REFUSED, TAKEN, TAKEN]);
    world.end(client, gateway).await;
}
