//! Direct sends that are attempted more than once within one call.

mod breaker;
mod pace;

use std::time::{Duration, Instant};

use pilotgate::{
    config::{self, Config, Settings, settings::Span},
    domain::sources::Sources,
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
    },
    sandbox::{Answered, Fault, FaultKind, On, Unanswered},
    server,
};
use tonic::{Code, Request};

use crate::support::{
    READER, STUCK, World, client, error_of, follow, from_earliest, get, key, message_until, next_update, sends, text,
    trails,
};

fn ms(milliseconds: u64) -> Span {
    Span(Duration::from_millis(milliseconds))
}

fn checked(settings: Settings) -> Config {
    config::check_in_memory(settings).unwrap()
}

/// Settings with so many attempts for one call, that follow each other soon. No breaker is in the way.
fn attempts(world: &World, attempts: u32) -> Settings {
    let mut settings = world.settings();
    settings.messaging.attempts = attempts;
    settings.messaging.retry_first = ms(20);
    settings.messaging.retry_longest = ms(60);
    settings.breaker.host_failures = 1000;
    settings
}

fn http(status: u16) -> Fault {
    Fault { status: Some(status), ..Fault::new(On::Send, FaultKind::Http) }
}

fn add(world: &World, times: Option<u64>, fault: Fault) {
    world.double.control().add_fault(Fault { times, ..fault }).unwrap();
}

fn statuses(world: &World) -> Vec<Answered> {
    sends(world).iter().map(|seen| seen.status).collect()
}

#[tokio::test]
async fn a_lost_answer_is_settled_within_the_call() {
    let world = World::unhurried().await;
    let gateway = world.gateway_with(checked(attempts(&world, 2))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    add(&world, Some(1), Fault::new(On::Send, FaultKind::DropReply));
    let answer = client.send_message(text(READER, "x")).await.unwrap().into_inner();
    let message = answer.message.unwrap();
    assert_eq!((answer.replayed, message.status(), message.attempts), (false, Queued, 2));
    let trail = &trails(&mut frames, 6).await[&message.message_id];
    assert_eq!(*trail, [Pending, InDoubt, Queued, Sent, Delivered, Read]);
    let [seen] = world.double.control().messages().try_into().unwrap();
    assert_eq!((seen.id, seen.accepted), (message.upstream_id, 1));
    let [first, second] = sends(&world).try_into().unwrap();
    assert_eq!((first.status, second.status), (Answered::Not(Unanswered::Dropped), Answered::Status(202)));
    assert_eq!((first.body_sha256, first.idempotency_key), (second.body_sha256, second.idempotency_key.clone()));
    assert_eq!((second.idempotency_key, second.replayed), (key(&message.message_id), true));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn answers_that_are_none_are_followed_by_one() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(attempts(&world, 3))).await;
    let mut client = client(&gateway).await;
    add(&world, Some(2), http(503));
    let message = client.send_message(text(STUCK, "x")).await.unwrap().into_inner().message.unwrap();
    assert_eq!((message.status(), message.attempts), (Queued, 3));
    assert_eq!(statuses(&world), [503, 503, 202].map(Answered::Status));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_send_waits_for_pilot_status_to_come_up() {
    let world = World::new().await;
    let settings = attempts(&world, 100);
    let down = world.down().await;
    let gateway = server::start(checked(settings), Sources::system()).await.unwrap();
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let sending = tokio::spawn({
        let mut client = client.clone();
        async move { client.send_message(text(STUCK, "x")).await.unwrap().into_inner().message.unwrap() }
    });
    let id = next_update(&mut frames).await.0.message_id;
    let tried = message_until(&mut client, &id, |message| message.attempts >= 2).await;
    assert_eq!(tried.status(), Pending, "nothing has arrived");
    let world = down.up().await;
    let message = sending.await.unwrap();
    assert_eq!((&message.message_id, message.status()), (&id, Queued));
    assert_eq!(next_update(&mut frames).await.0.status(), Queued);
    assert_eq!(statuses(&world), [Answered::Status(202)]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn there_are_no_more_attempts_than_allowed() {
    let world = World::new().await;
    let settings = attempts(&world, 3);
    let gateway = world.gateway_with(checked(settings.clone())).await;
    let mut before = client(&gateway).await;
    add(&world, None, Fault::new(On::Send, FaultKind::Reset));
    let doubt = error_of(before.send_message(text(STUCK, "x")).await);
    assert_eq!((doubt.code, doubt.reason.as_str(), doubt.retry_after), (Code::Unknown, "SEND_IN_DOUBT", None));
    let message = get(&mut before, &doubt.metadata["message_id"]).await;
    assert_eq!((message.status(), message.attempts), (InDoubt, 3));
    assert_eq!(statuses(&world), [Answered::Not(Unanswered::Dropped); 3]);
    // A repeated call has as many of its own.
    world.double.control().clear_faults();
    add(&world, None, http(500));
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(STUCK, "y") };
    for made in [3, 6] {
        let doubt = error_of(before.send_message(request.clone()).await);
        assert_eq!(doubt.retry_after, Some(Duration::from_secs(1)));
        assert_eq!(get(&mut before, &doubt.metadata["message_id"]).await.attempts, made);
    }
    assert_eq!(sends(&world).len(), 9);
    drop(before);
    gateway.shutdown().await;

    let _down = world.down().await;
    let gateway = server::start(checked(settings), Sources::system()).await.unwrap();
    let mut client = client(&gateway).await;
    let told = error_of(client.send_message(text(STUCK, "z")).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"));
    let message = get(&mut client, &told.metadata["message_id"]).await;
    assert_eq!((message.status(), message.attempts), (Failed, 3));
    assert_eq!(message.failure.unwrap().code(), v1::FailureCode::NotSent);
    drop(client);
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_refusal_is_not_tried_again() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(attempts(&world, 3))).await;
    let mut client = client(&gateway).await;
    for (suffix, reason) in [("0017", "INVALID_DESTINATION"), ("0018", "SUBSCRIPTION_REQUIRED_FOR_MEDIA")] {
        let told = error_of(client.send_message(text(&format!("+551198765{suffix}"), "x")).await);
        assert_eq!((told.reason.as_str(), told.retry_after), (reason, None));
        assert_eq!(get(&mut client, &told.metadata["message_id"]).await.attempts, 1);
    }
    assert_eq!(sends(&world).len(), 2);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_429_is_heeded_if_there_is_time_for_it() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(attempts(&world, 3))).await;
    let mut client = client(&gateway).await;
    add(&world, Some(1), Fault { retry_after_seconds: Some(1), ..http(429) });
    let began = Instant::now();
    let message = client.send_message(text(STUCK, "x")).await.unwrap().into_inner().message.unwrap();
    assert_eq!((message.status(), message.attempts), (Queued, 2));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    // Not before the caller's time is over.
    add(&world, None, Fault { retry_after_seconds: Some(30), ..http(429) });
    let mut request = Request::new(text(STUCK, "y"));
    request.set_timeout(Duration::from_secs(20));
    let told = error_of(client.send_message(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED"));
    assert_eq!(told.retry_after, Some(Duration::from_secs(30)));
    let message = get(&mut client, &told.metadata["message_id"]).await;
    assert_eq!((message.status(), message.attempts), (Failed, 1));
    assert_eq!(statuses(&world), [429, 202, 429].map(Answered::Status));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn the_callers_deadline_bounds_the_attempts() {
    let world = World::new().await;
    let mut settings = attempts(&world, 100);
    settings.messaging.retry_first = ms(400);
    settings.messaging.retry_longest = ms(60_000);
    // What is drawn from 0 to 1 takes four bytes; it is 1 here, so that no wait is cut.
    let sources = Sources::new(jiff::Timestamp::now, |bytes| match bytes.len() {
        4 => bytes.fill(u8::MAX),
        _ => getrandom::fill(bytes).unwrap(),
    });
    let gateway = server::start(checked(settings), sources).await.unwrap();
    let mut client = client(&gateway).await;
    add(&world, None, http(503));
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(STUCK, "x") };
    let mut bounded = Request::new(request.clone());
    bounded.set_timeout(Duration::from_millis(2_500));
    // At 0, 400 and 1,200 ms. The next one would come at 2,800, so the answer is given at once.
    let began = Instant::now();
    let doubt = error_of(client.send_message(bounded).await);
    let took = began.elapsed();
    assert_eq!((doubt.code, doubt.reason.as_str()), (Code::Unknown, "SEND_IN_DOUBT"));
    assert_eq!((&*doubt.metadata["upstream_status"], doubt.retry_after), ("503", Some(Duration::from_secs(1))));
    assert!((Duration::from_millis(1_200)..Duration::from_millis(2_500)).contains(&took), "{took:?}");
    assert_eq!(sends(&world).len(), 3);
    assert_eq!(get(&mut client, &doubt.metadata["message_id"]).await.attempts, 3);
    world.double.control().clear_faults();
    let settled = client.send_message(request).await.unwrap().into_inner().message.unwrap();
    assert_eq!((&settled.message_id, settled.status()), (&doubt.metadata["message_id"], Queued));
    assert_eq!(sends(&world).len(), 4);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn attempts_do_not_hold_up_the_gateways_end() {
    let world = World::new().await;
    let mut settings = attempts(&world, 100);
    settings.messaging.retry_first = ms(60_000);
    settings.messaging.retry_longest = ms(60_000);
    settings.messaging.patience = ms(600_000);
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    add(&world, None, http(503));
    let sending = tokio::spawn({
        let mut client = client.clone();
        async move { error_of(client.send_message(text(STUCK, "x")).await) }
    });
    assert_eq!(trails(&mut frames, 2).await.into_values().collect::<Vec<_>>(), [[Pending, InDoubt]]);
    let began = Instant::now();
    let ending = tokio::spawn(gateway.shutdown());
    assert_eq!(sending.await.unwrap().reason, "SEND_IN_DOUBT");
    drop((frames, client));
    ending.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    world.double.shutdown().await;
}
