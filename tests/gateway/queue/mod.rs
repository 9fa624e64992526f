//! Queued messages: answered once they are on disk, and handed over for as long as it takes.

mod bounds;
mod cancel;
mod order;
mod outcomes;
mod restart;
mod times;

use std::time::Duration;

use pilotgate::{
    config::{self, Config, Settings, settings::Span},
    domain::sources::Sources,
    proto::v1::{
        self,
        MessageStatus::{Delivered, Failed, Pending, Queued, Read, Sent},
    },
    sandbox::{Fault, FaultKind, On},
    server::{self, Gateway},
};
use tonic::Code;

use crate::support::{
    READER, World, client, error_of, follow, from_earliest, key, log_length, message_until, metadata, next_updates,
    queued, send, sends, text, to_phone, trails,
};

const ALL: [v1::MessageStatus; 5] = [Pending, Queued, Sent, Delivered, Read];

/// Milliseconds.
pub const fn ms(milliseconds: u64) -> Span {
    Span(Duration::from_millis(milliseconds))
}

/// Settings whose queue tries again soon, whatever was in the way.
fn eager(world: &World) -> Settings {
    let mut settings = world.settings();
    settings.queue.retry_first = ms(10);
    settings.queue.retry_longest = ms(50);
    settings.breaker.host_first = ms(10);
    settings.breaker.host_longest = ms(50);
    settings.breaker.number_longest = ms(50);
    settings
}

/// Settings whose queue tries again only when something but time makes it.
fn lazy(world: &World) -> Settings {
    let mut settings = eager(world);
    settings.queue.retry_first = Span(Duration::from_secs(3600));
    settings.queue.retry_longest = Span(Duration::from_secs(3600));
    settings
}

fn checked(settings: Settings) -> Config {
    config::check_in_memory(settings).unwrap()
}

/// A gateway without a double.
async fn alone(settings: Settings) -> Gateway {
    server::start(checked(settings), Sources::system()).await.unwrap()
}

/// The answer to the next sends, so many times.
fn fail(world: &World, kind: FaultKind, times: u64) {
    world.double.control().add_fault(Fault { times: Some(times), ..Fault::new(On::Send, kind) }).unwrap();
}

#[tokio::test]
async fn a_queued_message_waits_until_pilot_status_is_back() {
    let world = World::new().await;
    let settings = eager(&world);
    let down = world.down().await;
    let gateway = alone(settings).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let request = v1::SendMessageRequest {
        labels: vec!["greeting".to_owned()],
        metadata: metadata([("order", "A-7731")]),
        request_id: "order-A-7731".to_owned(),
        ..queued(text(READER, "hello"))
    };
    let answer = client.send_message(request).await.unwrap().into_inner();
    let message = answer.message.unwrap();
    assert!(!answer.replayed);
    assert_eq!(
        message,
        v1::Message {
            message_id: message.message_id.clone(),
            number: "wn_sandbox".to_owned(),
            caller: "orders".to_owned(),
            recipient: to_phone(READER),
            status: Pending.into(),
            request_id: "order-A-7731".to_owned(),
            handoff: v1::Handoff::Queued.into(),
            labels: vec!["greeting".to_owned()],
            metadata: metadata([("order", "A-7731")]),
            create_time: message.create_time,
            ..Default::default()
        }
    );
    // That nothing was reached is no outcome.
    let tried = message_until(&mut client, &message.message_id, |message| message.attempts >= 3).await;
    assert_eq!(tried, v1::Message { attempts: tried.attempts, ..message.clone() });

    let world = down.up().await;
    world.register(&gateway).await;
    let updates = next_updates(&mut frames, 5).await;
    assert_eq!(updates.iter().map(v1::StatusUpdate::status).collect::<Vec<_>>(), ALL);
    assert!(updates.iter().all(|update| update.metadata == message.metadata));
    assert_eq!(updates[1].origin(), v1::Origin::SendReply);
    let [seen] = world.double.control().messages().try_into().unwrap();
    assert_eq!((seen.idempotency_key, seen.accepted), (key(&message.message_id), 1));
    assert_eq!(updates[1].upstream_id, seen.id);
    assert_eq!(sends(&world).len(), 1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_repeated_request_id_is_answered_with_the_message_as_it_stands() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let request =
        |id: &str, phone: &str| v1::SendMessageRequest { request_id: id.to_owned(), ..queued(text(phone, "once")) };
    // 0017: refused.
    let sent = send(&mut client, request("r-1", READER)).await;
    let refused = send(&mut client, request("r-2", "+5511987650017")).await;
    let trails = trails(&mut frames, 7).await;
    assert_eq!(trails[&sent], ALL);
    assert_eq!(trails[&refused], [Pending, Failed]);
    for (again, id, status) in
        [(request("r-1", READER), &sent, Read), (request("r-2", "+5511987650017"), &refused, Failed)]
    {
        let answer = client.send_message(again).await.unwrap().into_inner();
        let message = answer.message.unwrap();
        assert_eq!((answer.replayed, &message.message_id, message.status()), (true, id, status));
    }
    // Another text, and the other hand-off, are other requests.
    for other in [
        v1::SendMessageRequest { content: text(READER, "twice").content, ..request("r-1", READER) },
        v1::SendMessageRequest { handoff: v1::Handoff::Direct.into(), ..request("r-1", READER) },
    ] {
        let told = error_of(client.send_message(other).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
        assert_eq!(told.metadata["message_id"], sent);
    }
    let direct = v1::SendMessageRequest { handoff: v1::Handoff::Direct.into(), ..request("r-3", READER) };
    send(&mut client, direct).await;
    assert_eq!(error_of(client.send_message(request("r-3", READER)).await).reason, "REQUEST_ID_REUSED");
    assert_eq!(sends(&world).len(), 3);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_for_a_direct_send() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(eager(&world))).await;
    let mut client = client(&gateway).await;
    let unknown = v1::SendMessageRequest { number: "wn_other".to_owned(), ..text(READER, "x") };
    let overdue = v1::SendMessageRequest {
        deliver_at: crate::support::in_seconds(-10),
        request_id: "r-1".to_owned(),
        ..text(READER, "x")
    };
    for (request, reason) in
        [(unknown, "NUMBER_NOT_GRANTED"), (text("5511", ""), "INVALID_REQUEST"), (overdue, "INVALID_REQUEST")]
    {
        let direct = error_of(client.send_message(request.clone()).await);
        assert_eq!(direct.reason, reason);
        assert_eq!(error_of(client.send_message(queued(request)).await), direct);
    }
    assert_eq!(log_length(&mut client).await, 0);
    world.end(client, gateway).await;
}
