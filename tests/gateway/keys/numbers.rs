//! Numbers that come, go and are disabled while the gateway runs.

use pilotgate::{
    config::settings::{PaceSettings, Span},
    proto::v1::{self, MessageStatus},
};
use tonic::Code;

use super::*;
use crate::support::{
    READER, SECOND_PATH_TOKEN, STUCK, client, error_of, get, message_until, queued, second_number, send, sends, text,
    two_numbers, until,
};

const SECOND: &str = "wn_second";

fn second(phone: &str, body: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { number: SECOND.to_owned(), ..text(phone, body) }
}

/// The second number, as the configuration would declare it.
fn to_add(world: &World, mut settings: Settings) -> Number {
    settings.numbers.push(second_number(world));
    config::check_in_memory(settings).unwrap().numbers.pop().unwrap()
}

/// Settings under which everything is read back soon and webhooks are registered.
fn busy(world: &World) -> Settings {
    let mut settings = world.settings();
    let soon = Span(Duration::from_millis(40));
    let reconcile = &mut settings.reconcile;
    (reconcile.first, reconcile.read_first, reconcile.longest) = (soon, soon, soon);
    settings.webhooks.public_url = "https://hooks.example.com/".to_owned();
    settings
}

#[tokio::test]
async fn a_number_that_is_added_does_all_that_others_do() {
    let world = World::with(two_numbers()).await;
    let gateway = start(busy(&world)).await;
    let mut client = client(&gateway).await;
    assert_eq!(error_of(client.send_message(second(READER, "x")).await).reason, "NUMBER_NOT_GRANTED");
    let number = to_add(&world, busy(&world));
    put(&gateway, number).await;

    // It sends, and what no webhook tells is read back.
    let direct = soon(send(&mut client, second(READER, "direct"))).await;
    let waiting = soon(send(&mut client, queued(second(READER, "queued")))).await;
    for id in [&direct, &waiting] {
        message_until(&mut client, id, |message| message.status() == MessageStatus::Read).await;
    }
    // Its webhook is registered.
    until(|| gateway.registration().state().get(&named(SECOND)).is_some_and(|state| state.id.is_some())).await;
    // It takes webhooks.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let hook = format!("http://{}/webhooks/{SECOND_PATH_TOKEN}", gateway.http());
    let taken = http.post(&hook).body("{}").send().await.unwrap();
    assert!(taken.status().is_success(), "{taken:?}");

    // Gone again, nothing of it goes on; what is known stays known.
    let stuck = soon(send(&mut client, second(STUCK, "never delivered"))).await;
    gateway.keys().remove(&gateway.keys().exclusive(&named(SECOND)).await);
    until(|| !gateway.registration().state().contains_key(&named(SECOND))).await;
    assert_eq!(http.post(&hook).body("{}").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(error_of(client.send_message(second(READER, "x")).await).reason, "NUMBER_NOT_GRANTED");
    assert_eq!(get(&mut client, &stuck).await.status(), MessageStatus::Queued);
    let key = world.double.account().numbers[1].key.clone();
    let by_second = || world.double.requests().iter().filter(|seen| seen.key_last4.as_deref() == last4(&key)).count();
    let (before, reads) = (by_second(), gateway.reconciled().polls);
    // The other number goes on, and is read back more than once meanwhile.
    soon(send(&mut client, text(STUCK, "x"))).await;
    until(|| gateway.reconciled().polls >= reads + 3).await;
    assert_eq!(by_second(), before);

    // What waits for a number waits until it comes back.
    put(&gateway, to_add(&world, busy(&world))).await;
    let id = soon(send(&mut client, queued(second(STUCK, "again")))).await;
    message_until(&mut client, &id, |message| message.status() == MessageStatus::Queued).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_is_queued_for_a_number_that_has_gone_waits_and_expires() {
    let world = World::with(two_numbers()).await;
    let gateway = start(world.settings()).await;
    let mut client = client(&gateway).await;
    let number = to_add(&world, world.settings());
    put(&gateway, Number { rotation: rotating(&gateway).rotation, ..number.clone() }).await;
    let waits = send(&mut client, queued(second(STUCK, "waits"))).await;
    let soon_over = v1::SendMessageRequest { deliver_until: crate::support::in_seconds(2), ..second(STUCK, "expires") };
    let expires = send(&mut client, queued(soon_over)).await;
    gateway.keys().remove(&gateway.keys().exclusive(&named(SECOND)).await);
    let failed = message_until(&mut client, &expires, |message| message.status() == MessageStatus::Failed).await;
    assert_eq!((failed.attempts, failed.failure.unwrap().raw_code), (0, "QUEUE_EXPIRED".to_owned()));
    assert_eq!(get(&mut client, &waits).await.status(), MessageStatus::Pending);
    put(&gateway, number).await;
    message_until(&mut client, &waits, |message| message.status() == MessageStatus::Queued).await;
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_disabled_number_sends_nothing_and_takes_what_comes_in() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let before = v1::SendMessageRequest { request_id: "before".to_owned(), ..text(READER, "before") };
    let sent = send(&mut client, before.clone()).await;
    put(&gateway, rotating(&gateway)).await;
    let waits = send(&mut client, queued(text(STUCK, "waits"))).await;
    put(&gateway, changed(&gateway, |number| (number.rotation, number.disabled) = (None, true))).await;

    for request in [text(STUCK, "x"), queued(text(STUCK, "x"))] {
        let told = error_of(client.send_message(request).await);
        assert_eq!((told.code, &*told.reason), (Code::FailedPrecondition, "NUMBER_DISABLED"));
    }
    assert_eq!(send(&mut client, before).await, sent, "what was sent is answered for");
    message_until(&mut client, &sent, |message| message.status() == MessageStatus::Read).await;
    assert_eq!(get(&mut client, &waits).await.status(), MessageStatus::Pending);
    assert_eq!(sends(&world).len(), 1);

    put(&gateway, changed(&gateway, |number| number.disabled = false)).await;
    message_until(&mut client, &waits, |message| message.status() == MessageStatus::Queued).await;
    soon(send(&mut client, text(STUCK, "x"))).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_pace_that_is_changed_holds_at_once() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.numbers[0].pace = PaceSettings { per_second: Some(0.01), ..PaceSettings::default() };
    let gateway = start(settings).await;
    let mut client = client(&gateway).await;
    send(&mut client, text(STUCK, "the first of a hundred seconds")).await;
    let waits = send(&mut client, queued(text(STUCK, "waits"))).await;
    let direct = tokio::spawn({
        let mut client = client.clone();
        let request = tonic::Request::new(text(STUCK, "waits as well"));
        async move {
            let mut request = request;
            request.set_timeout(Duration::from_secs(1000));
            client.send_message(request).await
        }
    });
    let_run().await;
    assert!(!direct.is_finished());
    put(&gateway, changed(&gateway, |number| number.pacing.per_second = None)).await;
    soon(direct).await.unwrap().unwrap();
    message_until(&mut client, &waits, |message| message.status() == MessageStatus::Queued).await;
    world.end(client, gateway).await;
}
