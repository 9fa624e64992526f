//! Reading back what no webhook tells.

mod claims;
mod pauses;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use pilotgate::{
    config::{self, Settings, settings::Span},
    domain::sources::Sources,
    proto::v1::{
        self,
        MessageStatus::{self, Canceled, Delivered, Failed, InDoubt, Pending, Queued, Read},
        Origin,
    },
    sandbox::{self, Fault, FaultKind, On},
    server::{self, Gateway},
    store,
};

use crate::support::{
    Client, Frames, NUMBER, READER, STUCK, World, client, error_of, follow, from_earliest, next_update, send, template,
    text, trails, until,
};

fn millis(millis: u64) -> Span {
    Span(Duration::from_millis(millis))
}

/// Settings under which everything is read back soon.
fn soon(world: &World) -> Settings {
    let mut settings = world.settings();
    let reconcile = &mut settings.reconcile;
    reconcile.per_second = 200.0;
    (reconcile.first, reconcile.read_first, reconcile.doubt_first) = (millis(40), millis(40), millis(40));
    (reconcile.silence, reconcile.longest, reconcile.claim_retry) = (millis(30_000), millis(100), millis(20));
    settings
}

/// A gateway that nobody sends webhooks to.
async fn unheard(mut settings: Settings) -> Gateway {
    for number in &mut settings.numbers {
        (number.webhook_token, number.webhook_secrets) = (None, Vec::new());
    }
    server::start(config::check_in_memory(settings).unwrap(), Sources::system()).await.unwrap()
}

/// The reads that the double saw.
fn reads(world: &World) -> Vec<sandbox::SeenRequest> {
    let mut requests = world.double.requests();
    requests.retain(|request| request.method == "GET" && request.path.starts_with("/v1/messages/"));
    requests
}

/// A recipient of this ending, by number.
fn recipient(n: usize, ending: &str) -> String {
    format!("+55119{n:04}{ending}")
}

/// Sends so many messages to recipients of each ending and waits until they stand where they shall, with the code of their
/// failure.
async fn all_stand(client: &mut Client, count: usize, expected: &[(&str, MessageStatus, &str)]) {
    let mut frames = follow(client, from_earliest()).await;
    let mut open = BTreeMap::new();
    for n in 0..count {
        for (ending, status, code) in expected {
            let request = text(&recipient(n, ending), "x");
            open.insert(send(client, request).await, (*status, (*code).to_owned()));
        }
    }
    while !open.is_empty() {
        let (update, _) = next_update(&mut frames).await;
        let code = update.failure.as_ref().map_or("", |failure| &failure.raw_code);
        let stands = (update.current_status(), code.to_owned());
        if open.get(&update.message_id) == Some(&stands) {
            open.remove(&update.message_id);
        }
    }
}

#[tokio::test]
async fn without_webhooks_two_hundred_messages_come_to_stand_where_they_do_with_them() {
    let expected = [
        ("0001", Failed, "WHATSAPP_NOT_EXIST"),
        ("0004", Failed, "DELIVERED_NOT_CONFIRMED"),
        ("0005", Read, ""),
        ("0008", Delivered, ""),
        ("0101", Read, ""),
    ];
    let world = World::new().await;
    let mut settings = world.settings();
    settings.reconcile.first = millis(60_000);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut told = client(&gateway).await;
    all_stand(&mut told, 4, &expected).await;
    assert_eq!(reads(&world).len(), 0, "webhooks alone");
    world.end(told, gateway).await;

    let world = World::new().await;
    let mut settings = soon(&world);
    settings.reconcile.per_second = 50.0;
    let began = Instant::now();
    let gateway = unheard(settings).await;
    let mut polled = client(&gateway).await;
    all_stand(&mut polled, 40, &expected).await;
    let calls = reads(&world).len() as f64;
    let most = began.elapsed().as_secs_f64() * 50.0 + 50.0;
    let counts = gateway.reconciled();
    assert!(calls <= most, "{calls} calls where {most} are allowed: {counts:?}");
    assert!(counts.pages > 0 && counts.polls > 0 && counts.news >= 200 && counts.refused + counts.unanswered == 0);
    assert!(world.double.requests().len() < 10_000, "all of them were counted");
    world.end(polled, gateway).await;
}

#[tokio::test]
async fn a_cancellation_at_pilot_status_itself_shows() {
    let world = World::new().await;
    let gateway = unheard(soon(&world)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let deliver_at = std::time::SystemTime::now() + Duration::from_millis(1_000);
    let scheduled = v1::SendMessageRequest { deliver_at: Some(deliver_at.into()), ..text(READER, "x") };
    let id = send(&mut client, scheduled).await;
    let body = serde_json::json!({ "messageIds": [world.double.control().messages()[0].id] });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let cancel = http.delete(format!("{}/v1/messages/cancel", world.double.base_url())).json(&body);
    let key = &world.double.account().numbers[0].key;
    cancel.header("x-api-key", key).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(trails(&mut frames, 2).await[&id], [Pending, Queued]);
    let (update, _) = next_update(&mut frames).await;
    assert_eq!((update.status(), update.origin()), (Canceled, Origin::Poll));
    assert!(std::time::SystemTime::now() > deliver_at, "not read before it was to leave");
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn where_webhooks_flow_messages_are_left_to_them() {
    let world = World::new().await;
    let mut settings = soon(&world);
    settings.reconcile.first = millis(300);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    all_stand(&mut client, 5, &[("0101", Read, "")]).await;
    let before = gateway.reconciled();
    let only_sent = "+5511987650007";
    send(&mut client, text(only_sent, "x")).await;
    until(|| gateway.reconciled().deferred > before.deferred).await;
    assert_eq!(gateway.reconciled().polls, before.polls, "a message without news for a while is not polled");
    world.end(client, gateway).await;
}

#[tokio::test]
async fn where_webhooks_are_lost_messages_are_read_back() {
    let world = World::new().await;
    let gateway = world.gateway_with(config::check_in_memory(soon(&world)).unwrap()).await;
    world.double.control().add_fault(Fault::new(On::Webhook, FaultKind::WebhookDrop)).unwrap();
    let mut client = client(&gateway).await;
    all_stand(&mut client, 3, &[("0101", Read, ""), ("0001", Failed, "WHATSAPP_NOT_EXIST")]).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_doubt_is_settled_by_polling_alone() {
    let world = World::new().await;
    let gateway = unheard(soon(&world)).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let lost = Fault { times: Some(2), ..Fault::new(On::Send, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
    // What a template says is made upstream, so that nothing can be looked for.
    let lasting = error_of(client.send_message(template("+5511987650102")).await).metadata["message_id"].clone();
    let id = error_of(client.send_message(text(READER, "a doubtful text")).await).metadata["message_id"].clone();
    let mut told = Vec::new();
    while told.last() != Some(&(Read, Origin::Poll)) {
        let (update, _) = next_update(&mut frames).await;
        if update.message_id == id {
            told.push((update.status(), update.origin()));
        } else {
            assert!([Pending, InDoubt].contains(&update.status()), "of the template nothing was found: {update:?}");
        }
    }
    assert_eq!(told[..2], [(Pending, Origin::Gateway), (InDoubt, Origin::Gateway)]);
    assert!(told[2..].iter().all(|(_, origin)| *origin == Origin::Poll), "{told:?}");
    assert_eq!(told.last().map(|told| told.0), Some(Read));
    assert_eq!(crate::support::get(&mut client, &lasting).await.status(), InDoubt);
    assert_eq!(crate::support::sends(&world).len(), 2);
    drop((frames, client));
    gateway.shutdown().await;
    let store = store::open(store::Options::at(world.settings().store.directory)).await.unwrap();
    let checks = store.checks(&NUMBER.to_owned().try_into().unwrap(), jiff::Timestamp::MAX, 10).await;
    assert_eq!(checks, Ok(store::DueChecks::default()), "the one is read, and the other will not be looked for");
    store.close().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn where_the_history_does_not_help_messages_are_read_one_by_one() {
    let relayed =
        serde_json::json!({ "messages": [], "total": 0, "page": 1, "totalPages": 0, "notice": "PII_RELAY_ONLY" });
    for (status, body) in [(200, Some(relayed)), (403, None), (500, None)] {
        let world = World::new().await;
        // Many are due at any time, for they become due faster than they may be read.
        let mut settings = soon(&world);
        (settings.reconcile.per_second, settings.reconcile.longest) = (40.0, millis(50));
        let gateway = unheard(settings).await;
        let useless = Fault { status: Some(status), body, ..Fault::new(On::History, FaultKind::Http) };
        world.double.control().add_fault(useless).unwrap();
        let mut client = client(&gateway).await;
        let delivered = [("0008", Delivered, ""), ("0018", Delivered, ""), ("0028", Delivered, "")];
        let timelines = serde_json::json!({ "timelines": { "8": { "steps": [{ "status": "SENT" },
            { "status": "DELIVERED", "after_ms": 600 }] } } });
        world.double.control().patch_switches(timelines.as_object().unwrap()).unwrap();
        all_stand(&mut client, 8, &delivered).await;
        assert_eq!((gateway.reconciled().pages, gateway.reconciled().refused), (1, 0), "{status}");
        world.end(client, gateway).await;
    }
}

#[tokio::test]
async fn a_restart_keeps_what_is_due() {
    let world = World::new().await;
    let mut settings = soon(&world);
    settings.reconcile.first = millis(900);
    let gateway = unheard(settings.clone()).await;
    let mut first = client(&gateway).await;
    send(&mut first, text(STUCK, "x")).await;
    drop(first);
    gateway.shutdown().await;
    assert_eq!(reads(&world).len(), 0);
    // By its own settings this one would not read for an hour.
    settings.reconcile.first = millis(3_600_000);
    settings.reconcile.silence = millis(3_600_000);
    let gateway = unheard(settings).await;
    until(|| !reads(&world).is_empty()).await;
    let at = |seen: &sandbox::SeenRequest| seen.at.parse::<jiff::Timestamp>().unwrap();
    let (sent, read) = (at(&crate::support::sends(&world)[0]), at(&reads(&world)[0]));
    assert!(read.duration_since(sent).as_millis() >= 890, "{sent} {read}");
    world.end((), gateway).await;
}

/// What is told next of a message, with where it came from.
async fn told(frames: &mut Frames, id: &str, count: usize) -> Vec<(MessageStatus, Origin)> {
    let mut told = Vec::new();
    while told.len() < count {
        let (update, _) = next_update(frames).await;
        if update.message_id == id {
            told.push((update.status(), update.origin()));
        }
    }
    told
}
