//! Events that could not be delivered come in from the delivery log.

use pilotgate::{
    proto::v1::{MessageStatus::Queued, Origin},
    sandbox::{ListShape, NumberChange, NumberState},
};

use super::*;
use crate::registration::refusals::Logs;
use crate::support::{follow, from_earliest, get, next_update, started};

const HOUR: Duration = Duration::from_secs(3600);

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
        assert_eq!(state(&gateway).taken, 3);
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
    until(|| state(&gateway).checked_at.is_some()).await;
    looks(&world, 3).await;
    assert_eq!(state(&gateway).taken, 60, "each once");
    for id in &ids {
        let message = message_until(&mut client, id, |message| message.read_time.is_some()).await;
        assert!(message.sent_time.is_some() && message.delivered_time.is_some(), "{message:?}");
    }
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
    settings.webhooks.on_drift = pilotgate::tracking::registration::OnDrift::Report;
    let gateway = start(settings).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    let (registry, id) = (Registry::of(&world), state(&gateway).id.unwrap());
    registry.change(&id, json!({ "url": format!("http://{}/webhooks/unknown", gateway.http()) })).await;
    let mut client = client(&gateway).await;
    let message = send(&mut client, text(READER, "x")).await;
    until(|| control.stats().webhooks_given_up == 3).await;
    message_until(&mut client, &message, |message| message.read_time.is_some()).await;
    world.end(client, gateway).await;
}

/// Passes everything on to the double, but for logs of one event, which are refused.
async fn without_logs_by_event(world: &World) -> String {
    let (base, http) = (world.double.base_url().to_owned(), reqwest::Client::builder().no_proxy().build().unwrap());
    let pass = move |request: axum::extract::Request| {
        let (base, http) = (base.clone(), http.clone());
        async move {
            let (parts, body) = request.into_parts();
            let path = parts.uri.path_and_query().unwrap().as_str();
            if path.contains("event=") {
                return (axum::http::StatusCode::BAD_REQUEST, "{\"error\":\"unknown parameter\"}".to_owned());
            }
            let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
            let mut headers = parts.headers;
            headers.remove("host");
            let sent = http.request(parts.method, format!("{base}{path}")).headers(headers).body(body).send();
            let answer = sent.await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(pass)).await });
    format!("http://{address}")
}

#[tokio::test]
async fn what_the_log_of_all_events_tells_is_taken_even_if_those_of_single_events_cannot_be_read() {
    let world = World::new().await;
    let logs = Logs::default();
    let _guard = logs.follow();
    let mut settings = reachable(&world);
    missed(&world, settings.clone(), 20).await;
    settings.upstream.base_url = without_logs_by_event(&world).await;
    let gateway = start(settings).await;
    until(|| state(&gateway).checked_at.is_some()).await;
    looks(&world, 3).await;
    assert_eq!((state(&gateway).taken, state(&gateway).error), (50, None));
    gateway.shutdown().await;
    assert_eq!(logs.take().matches("the log could not be read by event").count(), 1);
    world.double.shutdown().await;
}

/// An event of the double that is told once only, and somebody's message.
fn received(world: &World) {
    let event = json!({ "event": "message.received", "data": {
        "id": "cm_1", "messageId": "wamid.1", "from": "+5521987650001", "content": "please call back",
        "createdAt": "2027-01-14T09:00:00.000Z",
    }});
    let control = world.double.control();
    control.set_switches(sandbox::Switches { webhook_attempts: 1, ..control.switches() });
    control.emit(event.to_string(), None).unwrap();
}

#[tokio::test]
async fn what_was_not_delivered_while_only_the_way_in_was_closed_is_taken_from_the_log() {
    let world = World::new().await;
    let control = world.double.control();
    let mut settings = settings(&world);
    // A proxy that is down.
    settings.webhooks.public_url = format!("http://{}", free_port());
    let gateway = start(settings).await;
    looks(&world, 2).await;
    received(&world);
    until(|| control.stats().webhooks_given_up == 1).await;
    until(|| state(&gateway).taken == 1).await;
    looks(&world, 3).await;
    assert_eq!(state(&gateway).taken, 1, "once");
    gateway.shutdown().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn what_happened_before_what_is_remembered_is_not_taken_anew() {
    let world = World::new().await;
    let (control, clock) = (world.double.control(), crate::retention::Clock::default());
    let mut settings = settings(&world);
    settings.webhooks.public_url = format!("http://{}", free_port());
    (settings.retention.events, settings.retention.early) = (Span(HOUR), Span(2 * HOUR));
    settings.retention.interval = Span(Duration::from_millis(5));
    let start = || async { server::start(config::check_in_memory(settings.clone()).unwrap(), clock.sources()).await };
    let gateway = start().await.unwrap();
    looks(&world, 2).await;
    received(&world);
    until(|| control.stats().webhooks_given_up == 1).await;
    until(|| state(&gateway).taken == 1).await;
    gateway.shutdown().await;
    // Its entry is trimmed, and Pilot Status still tells of it.
    clock.forward(61);
    let gateway = start().await.unwrap();
    until(|| state(&gateway).checked_at.is_some()).await;
    looks(&world, 3).await;
    assert_eq!(state(&gateway).taken, 0);
    gateway.shutdown().await;
    world.double.shutdown().await;
}
