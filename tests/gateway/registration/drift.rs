//! Webhooks that somebody else changed while the gateway runs.

use pilotgate::{
    sandbox::{ChangeAnswer, Fault, FaultKind, On},
    tracking::registration::OnDrift,
};

use super::*;
use crate::registration::refusals::Logs;

/// Everything that somebody else can do to a webhook, with what the gateway calls it.
fn changes() -> [(Drift, Option<Value>); 6] {
    let more = [&EVENTS[..], &["*"]].concat();
    [
        (Drift::Paused, Some(json!({ "active": false }))),
        (Drift::Events, Some(json!({ "events": ["message.sent"] }))),
        (Drift::Events, Some(json!({ "events": [] }))),
        (Drift::Events, Some(json!({ "events": more }))),
        (Drift::Address, Some(json!({ "url": "https://elsewhere.example.com/hook" }))),
        (Drift::Deleted, None),
    ]
}

async fn apply(registry: &Registry, id: &str, change: Option<&Value>) {
    match change {
        Some(body) => registry.change(id, body.clone()).await,
        None => registry.delete(id).await,
    }
}

#[tokio::test]
async fn what_was_changed_is_repaired_at_the_next_look() {
    for answer in [ChangeAnswer::Whole, ChangeAnswer::Subset] {
        let world = World::new().await;
        let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
        control.set_switches(sandbox::Switches { webhook_update_answer: answer, ..control.switches() });
        let registry = Registry::of(&world);
        let gateway = start(settings(&world)).await;
        until(|| state(&gateway).checked_at.is_some()).await;
        for (index, (drift, change)) in changes().into_iter().enumerate() {
            let (id, before) = (state(&gateway).id.unwrap(), managing(&control, &key).len());
            apply(&registry, &id, change.as_ref()).await;
            until(|| state(&gateway).writes == index as u64 + 2).await;
            looks(&world, 3).await;
            let now = state(&gateway).id.unwrap();
            assert_eq!(registry.all().await, [right(&now)], "{drift:?}");
            assert_eq!(now == id, change.is_some(), "{drift:?}");
            assert_eq!((state(&gateway).drift, state(&gateway).error), (vec![], None));
            // One write was enough, and what may have been missed was looked for.
            let seen = managing(&control, &key).split_off(before);
            let log = format!("/v1/webhooks/{now}/logs?limit=50");
            assert_eq!(seen.iter().filter(|request| request.method != "GET").count(), 1, "{seen:?}");
            assert!(seen.iter().any(|request| request.path == log), "{seen:?}");
        }
        gateway.shutdown().await;
        world.double.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_changed_is_only_told_if_that_is_wished() {
    let logs = Logs::default();
    let _guard = logs.follow();
    for (drift, change) in changes() {
        let world = World::new().await;
        let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
        let registry = Registry::of(&world);
        let mut settings = settings(&world);
        settings.webhooks.on_drift = OnDrift::Report;
        let gateway = start(settings).await;
        looks(&world, 2).await;
        let id = state(&gateway).id.unwrap();
        logs.take();
        apply(&registry, &id, change.as_ref()).await;
        let changed = registry.all().await;
        until(|| state(&gateway).drift == [drift]).await;
        looks(&world, 3).await;
        assert_eq!(registry.all().await, changed, "{drift:?}");
        assert_eq!(count(&control, &key, "POST") + count(&control, &key, "PATCH"), 1, "{drift:?}");
        assert_eq!((state(&gateway).error, state(&gateway).writes), (None, 1), "{drift:?}");
        let told = logs.take();
        assert_eq!(told.matches("the webhook is not as it should be").count(), 1, "{told}");
        assert!(told.contains(&format!("[{drift:?}]")), "{told}");
        if change.is_some() {
            // Whoever changed it makes it right, and what was missed is looked for.
            let before = managing(&control, &key).len();
            registry.change(&id, json!({ "active": true, "events": EVENTS, "url": REGISTERED_URL })).await;
            until(|| state(&gateway).drift.is_empty()).await;
            looks(&world, 2).await;
            let seen = managing(&control, &key).split_off(before);
            assert!(seen.iter().any(|request| request.path.ends_with("/logs?limit=50")), "{seen:?}");
        }
        gateway.shutdown().await;
        world.double.shutdown().await;
    }
}

#[tokio::test]
async fn a_list_that_leaves_it_out_makes_no_second_webhook() {
    let world = World::new().await;
    let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
    let gateway = start(settings(&world)).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let empty =
        Fault { status: Some(200), body: Some(json!([])), times: Some(1), ..Fault::new(On::Any, FaultKind::Http) };
    control.add_fault(empty).unwrap();
    until(|| control.faults().is_empty()).await;
    looks(&world, 3).await;
    let id = state(&gateway).id.unwrap();
    assert_eq!(Registry::of(&world).all().await, [right(&id)]);
    assert_eq!((count(&control, &key, "POST"), count(&control, &key, "PATCH")), (1, 0));
    assert_eq!((state(&gateway).drift, state(&gateway).error), (vec![], None));
    gateway.shutdown().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn events_that_pilot_status_does_not_offer_are_no_drift() {
    let world = World::new().await;
    let (control, key) = (world.double.control(), world.double.account().numbers[0].key.clone());
    let dropped = vec!["call.ringing".to_owned(), "flow.response_received".to_owned()];
    // What became of a change has to be read, for its answer does not tell.
    control.set_switches(sandbox::Switches {
        webhook_events_dropped: dropped,
        webhook_update_answer: ChangeAnswer::Subset,
        ..control.switches()
    });
    let gateway = start(settings(&world)).await;
    looks(&world, 4).await;
    assert_eq!((state(&gateway).drift, state(&gateway).writes), (vec![], 1));
    let id = state(&gateway).id.unwrap();
    gateway.shutdown().await;
    assert_eq!((count(&control, &key, "POST"), count(&control, &key, "PATCH")), (1, 0));
    // The next process cannot know that nobody edited the list: it asks once.
    let gateway = start(settings(&world)).await;
    looks(&world, 4).await;
    assert_eq!((state(&gateway).drift, state(&gateway).id), (vec![], Some(id)));
    assert_eq!((count(&control, &key, "POST"), count(&control, &key, "PATCH")), (1, 1));
    gateway.shutdown().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_answered_otherwise_than_written_is_told() {
    let world = World::new().await;
    let control = world.double.control();
    let elsewhere = json!({
        "id": "hook-1", "name": "pilotgate wn_sandbox", "url": "https://elsewhere.example.com/hook", "active": true,
        "events": EVENTS,
    });
    // An empty list, and then the answer to the write. Each call counts for both.
    for (status, body, calls) in [(200, json!([]), 1), (201, elsewhere, 2)] {
        let times = Some(calls);
        let answer = Fault { status: Some(status), body: Some(body), times, ..Fault::new(On::Any, FaultKind::Http) };
        control.add_fault(answer).unwrap();
    }
    let mut settings = settings(&world);
    settings.webhooks.check_interval = Span(Duration::from_secs(3600));
    let gateway = start(settings).await;
    until(|| state(&gateway).writes == 1 && state(&gateway).drift == [Drift::Address]).await;
    gateway.shutdown().await;
    world.double.shutdown().await;
}
