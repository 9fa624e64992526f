//! Events that could not be delivered come in from the delivery log.

use pilotgate::{
    proto::v1::{MessageStatus::Queued, Origin},
    sandbox::{ListShape, NumberChange, NumberState},
};

use super::*;
use crate::support::{follow, from_earliest, get, next_update, started};

/// Sends so many messages whose every status the double cannot deliver, since the gateway is gone by then.
async fn missed(world: &World, settings: Settings, messages: usize) -> Vec<String> {
    let control = world.double.control();
    control.set_switches(sandbox::Switches { webhook_attempts: 1, ..control.switches() });
    let change = |state| NumberChange { state: Some(state), ..Default::default() };
    control.change_number(UPSTREAM_ID, &change(NumberState::Connecting)).unwrap();
    let gateway = start(settings).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let mut client = client(&gateway).await;
    let mut ids = Vec::new();
    for index in 0..messages {
        ids.push(send(&mut client, text(READER, &format!("message {index}"))).await);
    }
    assert_eq!(get(&mut client, &ids[0]).await.status(), Queued);
    drop(client);
    gateway.shutdown().await;
    control.change_number(UPSTREAM_ID, &change(NumberState::Open)).unwrap();
    until(|| control.stats().webhooks_given_up == 3 * messages as u64).await;
    ids
}

#[tokio::test]
async fn statuses_missed_while_the_gateway_was_away_are_taken_from_the_log() {
    for shape in [ListShape::Bare, ListShape::Wrapped] {
        let world = World::new().await;
        let control = world.double.control();
        control.set_switches(sandbox::Switches { webhook_logs_shape: shape, ..control.switches() });
        let settings = reachable(&world);
        let ids = missed(&world, settings.clone(), 1).await;
        let gateway = start(settings).await;
        let mut client = client(&gateway).await;
        let message = message_until(&mut client, &ids[0], |message| message.read_time.is_some()).await;
        assert!(message.sent_time.is_some() && message.delivered_time.is_some(), "{message:?}");
        assert!(!message.external_id.is_empty());
        until(|| state(&gateway).taken == 3).await;
        // Each as genuine as if it had been delivered, and once, however often the log is read.
        let mut frames = follow(&mut client, from_earliest()).await;
        assert_eq!(started(&mut frames).await.0.backlog, 5);
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(next_update(&mut frames).await.0);
        }
        let origins: Vec<Origin> = told.iter().map(pilotgate::proto::v1::StatusUpdate::origin).collect();
        assert_eq!(origins[2..], [Origin::Webhook; 3]);
        looks(&world, 3).await;
        let log = format!("/v1/webhooks/{}/logs?limit=50", state(&gateway).id.unwrap());
        let reads = control.requests().iter().filter(|request| request.path == log).count();
        assert_eq!((reads, state(&gateway).taken), (2, 3), "once in each process");
        world.end((client, frames), gateway).await;
    }
}

#[tokio::test]
async fn more_than_the_log_shows_at_once_is_asked_for_by_event() {
    let world = World::new().await;
    let settings = reachable(&world);
    let ids = missed(&world, settings.clone(), 20).await;
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    for id in &ids {
        let message = message_until(&mut client, id, |message| message.read_time.is_some()).await;
        assert!(message.sent_time.is_some() && message.delivered_time.is_some(), "{message:?}");
    }
    // Fifty rows of all events, and twenty of each.
    until(|| state(&gateway).taken == 50 + 60).await;
    let log = format!("/v1/webhooks/{}/logs?limit=50&event=", state(&gateway).id.unwrap());
    let requests = world.double.control().requests();
    let asked: Vec<&str> = requests.iter().filter_map(|request| request.path.strip_prefix(&*log)).collect();
    assert_eq!(asked, EVENTS);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn statuses_missed_while_the_webhook_was_misled_are_taken_from_the_log() {
    let world = World::new().await;
    let control = world.double.control();
    control.set_switches(sandbox::Switches { webhook_attempts: 1, ..control.switches() });
    let mut settings = reachable(&world);
    // Long enough that nothing is repaired before the test says so.
    settings.webhooks.on_drift = pilotgate::tracking::registration::OnDrift::Report;
    let gateway = start(settings.clone()).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let (registry, id) = (Registry::of(&world), state(&gateway).id.unwrap());
    registry.change(&id, json!({ "url": format!("http://{}/webhooks/unknown", gateway.http()) })).await;
    let mut client = client(&gateway).await;
    let message = send(&mut client, text(READER, "x")).await;
    until(|| control.stats().webhooks_given_up == 3).await;
    assert_eq!(get(&mut client, &message).await.status(), Queued);
    let url = format!("{}/webhooks/{PATH_TOKEN}", settings.webhooks.public_url);
    registry.change(&id, json!({ "url": url })).await;
    message_until(&mut client, &message, |message| message.read_time.is_some()).await;
    world.end(client, gateway).await;
}
