//! A key changes, and those who send notice nothing but time.

use std::collections::BTreeSet;

use pilotgate::{
    config::settings::Span,
    proto::v1::{self, MessageStatus},
    sandbox::Answered,
};
use tonic::{Code, Request};

use super::*;
use crate::support::{STUCK, client, error_of, message_until, queued, send, sends, text};

const SENDERS: usize = 64;
const EACH: usize = 5;
const QUEUED: usize = 100;
const CHANGES: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_changes_under_load_loses_no_send_and_fails_none() {
    let world = World::new().await;
    let gateway = start(world.settings()).await;
    let client = client(&gateway).await;
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let mut client = client.clone();
        senders.spawn(async move {
            let mut ids = Vec::new();
            for n in 0..EACH {
                let request = v1::SendMessageRequest { request_id: format!("{sender}-{n}"), ..text(STUCK, "x") };
                ids.push(client.send_message(request).await.map(|sent| sent.into_inner().message.unwrap()));
            }
            ids
        });
    }
    let mut waiting = Vec::new();
    for _ in 0..QUEUED {
        waiting.push(send(&mut client.clone(), queued(text(STUCK, "x"))).await);
    }
    for _ in 0..CHANGES {
        let right = gateway.keys().exclusive(&main_number()).await;
        gateway.keys().put(with_key(&gateway, &regenerate(&world).await), &right).unwrap();
    }
    let mut ids: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(sent) = soon(senders.join_next()).await {
        for message in sent.unwrap() {
            let message = message.expect("a send failed");
            assert_eq!((message.status(), message.attempts), (MessageStatus::Queued, 1));
            ids.insert(message.message_id);
        }
    }
    for id in &waiting {
        let message = message_until(&mut client.clone(), id, |message| message.status() == MessageStatus::Queued).await;
        assert_eq!(message.attempts, 1);
    }
    let seen = sends(&world);
    assert_eq!(
        seen.iter().filter(|request| request.status != Answered::Status(202)).count(),
        0,
        "none with an old key"
    );
    let keys: BTreeSet<_> = seen.iter().map(|request| request.idempotency_key.clone()).collect();
    assert_eq!(keys, ids.iter().map(|id| crate::support::key(id)).collect());
    assert_eq!((seen.len(), ids.len()), (SENDERS * EACH + QUEUED, SENDERS * EACH + QUEUED));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn nothing_is_sent_as_long_as_nobody_knows_which_key_is_the_one() {
    let world = World::new().await;
    let gateway = start(world.settings()).await;
    let mut client = client(&gateway).await;
    put(&gateway, rotating(&gateway)).await;
    let direct = tokio::spawn({
        let mut client = client.clone();
        async move { send(&mut client, text(STUCK, "direct")).await }
    });
    let waiting = send(&mut client, queued(text(STUCK, "queued"))).await;
    let mut request = Request::new(text(STUCK, "impatient"));
    request.set_timeout(Duration::from_millis(300));
    let told = client.send_message(request).await.unwrap_err();
    // Whether the client's own clock or the gateway's answer is first.
    assert!(matches!(told.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled), "{told:?}");
    assert!(!direct.is_finished());
    assert_eq!(sends(&world).len(), 0);

    put(&gateway, with_key(&gateway, &regenerate(&world).await)).await;
    let direct = soon(direct).await.unwrap();
    for id in [direct, waiting] {
        let message = message_until(&mut client, &id, |message| message.status() == MessageStatus::Queued).await;
        assert_eq!(message.attempts, 1);
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_change_that_takes_too_long_is_told() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.timeout = Span(Duration::from_millis(200));
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    let changing = gateway.keys().exclusive(&main_number()).await;
    let told = error_of(client.send_message(text(STUCK, "x")).await);
    assert_eq!((told.code, &*told.reason, &*told.metadata["cause"]), (Code::Unavailable, "NUMBER_HELD", "key change"));
    assert!(told.retry_after.is_some());
    drop(changing);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_number_that_waits_for_its_key_keeps_no_place_from_another() {
    let world = World::with(crate::support::two_numbers()).await;
    let mut settings = world.settings();
    settings.upstream.max_in_flight = 1;
    settings.queue.in_flight = 1;
    settings.numbers.push(crate::support::second_number(&world));
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    let changing = gateway.keys().exclusive(&main_number()).await;
    let held = send(&mut client, queued(text(STUCK, "held"))).await;
    let direct = tokio::spawn({
        let mut client = client.clone();
        async move { send(&mut client, text(STUCK, "held as well")).await }
    });
    let second = |body: &str| v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(STUCK, body) };
    for n in 0..5 {
        soon(send(&mut client, second(&format!("direct {n}")))).await;
        let id = send(&mut client, queued(second(&format!("queued {n}")))).await;
        message_until(&mut client, &id, |message| message.status() == MessageStatus::Queued).await;
    }
    assert!(!direct.is_finished());
    drop(changing);
    soon(direct).await.unwrap();
    message_until(&mut client, &held, |message| message.status() == MessageStatus::Queued).await;
    world.end(client, gateway).await;
}
