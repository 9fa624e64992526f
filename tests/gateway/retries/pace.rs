//! The pace of a number, and how much is in progress.

use std::time::Duration;

use futures_util::future::join_all;
use pilotgate::{
    config::settings::PaceSettings,
    proto::v1,
    sandbox::{Fault, FaultKind, On},
};
use tonic::{Code, Request};

use super::{add, attempts, checked, http, ms};
use crate::support::{STUCK, World, client, error_of, in_time, log_length, send, sends, sent_after, text, until};

/// Sends so many at once and tells when the double saw each.
async fn paced(world: &World, pace: PaceSettings, count: usize) -> Vec<i64> {
    let mut settings = attempts(world, 1);
    settings.numbers[0].pace = pace;
    let gateway = world.gateway_with(checked(settings)).await;
    let client = client(&gateway).await;
    let began = jiff::Timestamp::now();
    let calls = (0..count).map(|_| {
        let mut client = client.clone();
        async move { send(&mut client, text(STUCK, "x")).await }
    });
    join_all(calls).await;
    drop(client);
    gateway.shutdown().await;
    sent_after(world, began)
}

#[tokio::test]
async fn sends_wait_for_their_turn() {
    let world = World::new().await;
    let pace = PaceSettings { per_second: Some(5.0), burst: Some(2), ..PaceSettings::default() };
    let seen = paced(&world, pace, 5).await;
    assert!(in_time(&seen, &[0, 0, 200, 400, 600]), "{seen:?}");
    assert!(seen[4] < 2_000, "{seen:?}");
    world.double.shutdown().await;
}

#[tokio::test]
async fn sends_keep_their_distance() {
    let world = World::new().await;
    let seen = paced(&world, PaceSettings { min_gap: Some(ms(200)), ..PaceSettings::default() }, 4).await;
    assert!(in_time(&seen, &[0, 200, 400, 600]), "{seen:?}");
    world.double.shutdown().await;
}

#[tokio::test]
async fn whoever_cannot_wait_is_told_when_to_come_back() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.numbers[0].pace = PaceSettings { per_second: Some(0.1), ..PaceSettings::default() };
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    let request = |id: &str| v1::SendMessageRequest { request_id: id.to_owned(), ..text(STUCK, id) };
    let first = send(&mut client, request("r-1")).await;
    let logged = log_length(&mut client).await;
    for _ in 0..3 {
        let mut bounded = Request::new(request("r-2"));
        bounded.set_timeout(Duration::from_secs(2));
        let status = client.send_message(bounded).await.unwrap_err();
        use tonic_types::StatusExt;
        let quota = status.get_details_quota_failure().unwrap().violations.remove(0);
        assert_eq!((quota.subject.as_str(), quota.description.as_str()), ("number", "the number's pace"));
        let told = error_of::<()>(Err(status));
        assert_eq!((told.code, told.reason.as_str()), (Code::ResourceExhausted, "PACE_EXCEEDED"));
        let wait = told.retry_after.unwrap();
        assert!(wait > Duration::from_secs(5) && wait <= Duration::from_secs(10), "{wait:?}");
    }
    assert_eq!((sends(&world).len(), log_length(&mut client).await), (1, logged), "nothing was stored");
    // What needs no turn needs no patience.
    let mut bounded = Request::new(request("r-1"));
    bounded.set_timeout(Duration::from_secs(2));
    let again = client.send_message(bounded).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().message_id), (true, first));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_429_lowers_the_pace() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.numbers[0].pace = PaceSettings { per_second: Some(10.0), burst: Some(10), ..PaceSettings::default() };
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    add(&world, Some(1), http(429));
    assert_eq!(error_of(client.send_message(text(STUCK, "x")).await).reason, "UPSTREAM_RATE_LIMITED");
    let began = jiff::Timestamp::now();
    for _ in 0..4 {
        send(&mut client, text(STUCK, "x")).await;
    }
    let seen = sent_after(&world, began).split_off(1);
    // Growing back a little meanwhile.
    assert!(in_time(&seen, &[0, 130, 260, 390]), "{seen:?}");
    world.end(client, gateway).await;
}

#[tokio::test]
async fn there_are_no_more_sends_in_progress_than_allowed() {
    let world = World::new().await;
    let mut settings = attempts(&world, 1);
    settings.messaging.max_in_progress = 1;
    let gateway = world.gateway_with(checked(settings)).await;
    let mut client = client(&gateway).await;
    add(&world, Some(1), Fault { ms: Some(600), ..Fault::new(On::Send, FaultKind::Delay) });
    let first = tokio::spawn({
        let mut client = client.clone();
        async move { send(&mut client, text(STUCK, "first")).await }
    });
    until(|| sends(&world).len() == 1).await;
    let told = error_of(client.send_message(text(STUCK, "second")).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
    first.await.unwrap();
    send(&mut client, text(STUCK, "third")).await;
    assert_eq!((sends(&world).len(), log_length(&mut client).await), (2, 4));
    world.end(client, gateway).await;
}

#[tokio::test]
async fn nobody_is_silenced_for_years_by_a_slip_in_a_hint() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(attempts(&world, 3))).await;
    let mut client = client(&gateway).await;
    for seconds in [86_400_000, u64::MAX] {
        add(&world, Some(1), Fault { retry_after_seconds: Some(seconds), ..http(429) });
        let told = error_of(client.send_message(text(STUCK, "x")).await);
        assert_eq!(
            (told.reason.as_str(), told.retry_after),
            ("UPSTREAM_RATE_LIMITED", Some(Duration::from_secs(3600)))
        );
        send(&mut client, text(STUCK, "y")).await;
    }
    world.end(client, gateway).await;
}
