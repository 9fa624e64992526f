//! Doubts that a webhook settles: nobody knows its id, but what it says, to whom and from where.

use std::time::Duration;

use pilotgate::{
    config::{self, settings::Span},
    proto::v1::{
        self,
        MessageStatus::{Delivered, InDoubt, Pending, Read, Sent},
    },
    sandbox::{self, Fault, FaultKind, On},
};

use crate::support::{
    Client, READER, World, client, error_of, follow, from_earliest, get, next_update, next_updates, send, sends,
    template, text, trails, until,
};

fn lose_answers(world: &World, times: u64) {
    let lost = Fault { times: Some(times), ..Fault::new(On::Send, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
}

#[tokio::test]
async fn a_webhook_that_tells_the_same_settles_a_doubt() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    lose_answers(&world, 1);
    let request = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "Your order is on its way") };
    let told = error_of(client.send_message(request.clone()).await);
    assert_eq!(told.reason, "SEND_IN_DOUBT");
    let id = told.metadata["message_id"].clone();
    assert_eq!(trails(&mut frames, 5).await[&id], [Pending, InDoubt, Sent, Delivered, Read]);
    let settled = get(&mut client, &id).await;
    assert_eq!((settled.status(), settled.upstream_id), (Read, world.double.control().messages()[0].id.clone()));
    // The repeated call is answered from what is known, and nothing is sent.
    let again = client.send_message(request).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().status()), (true, Read));
    assert_eq!(sends(&world).len(), 1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_webhook_that_was_there_before_the_doubt_settles_it_too() {
    let world = World::new().await;
    let slow = serde_json::json!({ "slow_answer_ms": 60_000 });
    world.double.control().patch_switches(slow.as_object().unwrap()).unwrap();
    let mut settings = world.settings();
    settings.upstream.timeout = Span(Duration::from_millis(700));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let accepted_and_then_silent = "+5511987650016";
    let sent = client.send_message(text(accepted_and_then_silent, "x")).await.unwrap().into_inner().message.unwrap();
    assert_eq!(sent.status(), Read, "everything was told by webhook while the answer was waited for");
    assert_eq!(trails(&mut frames, 5).await[&sent.message_id], [Pending, InDoubt, Sent, Delivered, Read]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn what_may_be_about_two_messages_settles_neither() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    lose_answers(&world, 2);
    // The webhooks come when both are in doubt.
    let later = serde_json::json!({ "sent_after_ms": 700 });
    world.double.control().patch_switches(later.as_object().unwrap()).unwrap();
    for _ in 0..2 {
        assert_eq!(error_of(client.send_message(text(READER, "the same")).await).reason, "SEND_IN_DOUBT");
    }
    let doubtful = next_updates(&mut frames, 4).await;
    until(|| world.double.control().stats().webhooks_delivered == 6).await;
    let marker = send(&mut client, text(READER, "another")).await;
    assert_eq!(next_update(&mut frames).await.0.message_id, marker, "nothing was told of the two");
    for update in doubtful {
        assert_eq!(get(&mut client, &update.message_id).await.status(), InDoubt);
    }
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn another_text_recipient_or_kind_settles_nothing() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    lose_answers(&world, 1);
    let id = error_of(client.send_message(template(READER)).await).metadata["message_id"].clone();
    until(|| world.double.control().stats().webhooks_delivered == 3).await;
    // Somebody else's messages to the same and to another recipient, past the gateway.
    for (to, content) in [(READER, "sent past the gateway"), ("+5511987650199", "x")] {
        let event = serde_json::json!({ "event": "message.sent", "data": {
            "id": format!("past-{to}"), "to": to, "content": content, "createdAt": "2030-01-01T00:00:00.000Z",
        }});
        world.double.control().emit(event.to_string(), None).unwrap();
    }
    until(|| world.double.control().stats().webhooks_delivered == 5).await;
    let marker = send(&mut client, text(READER, "another")).await;
    next_updates(&mut frames, 2).await;
    assert_eq!(next_update(&mut frames).await.0.message_id, marker);
    assert_eq!(get(&mut client, &id).await.status(), InDoubt);
    world.end((frames, client), gateway).await;
}

/// The message after it was read back.
async fn refreshed(client: &mut Client, id: &str) -> v1::Message {
    let key = Some(v1::get_message_request::Key::MessageId(id.to_owned()));
    let request = v1::GetMessageRequest { key, refresh: true };
    client.get_message(request).await.unwrap().into_inner().message.unwrap()
}

#[tokio::test]
async fn without_any_webhook_the_history_settles_a_doubt() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mute = Fault { times: Some(1000), ..Fault::new(On::Webhook, FaultKind::WebhookDrop) };
    world.double.control().add_fault(mute).unwrap();
    // One with the same text whose answer came, one with another text, and the one in doubt.
    let known = send(&mut client, text(READER, "the same")).await;
    send(&mut client, text(READER, "another")).await;
    lose_answers(&world, 1);
    let told = error_of(client.send_message(text(READER, "the same")).await);
    let id = told.metadata["message_id"].clone();
    let all_read = || world.double.control().messages().iter().all(|seen| seen.status == sandbox::Status::Read);
    until(all_read).await;
    assert_eq!(get(&mut client, &id).await.status(), InDoubt);
    let found = refreshed(&mut client, &id).await;
    assert_eq!((found.status(), found.upstream_id), (Read, world.double.control().messages()[2].id.clone()));
    assert_ne!(get(&mut client, &known).await.upstream_id, get(&mut client, &id).await.upstream_id);
    assert_eq!(sends(&world).len(), 3);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_history_that_tells_two_or_none_settles_nothing() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mute = Fault { times: Some(1000), ..Fault::new(On::Webhook, FaultKind::WebhookDrop) };
    world.double.control().add_fault(mute).unwrap();
    lose_answers(&world, 2);
    let mut ids = Vec::new();
    for _ in 0..2 {
        let told = error_of(client.send_message(text(READER, "the same")).await);
        ids.push(told.metadata["message_id"].clone());
    }
    let reset = Fault { times: Some(1), ..Fault::new(On::Send, FaultKind::Reset) };
    world.double.control().add_fault(reset).unwrap();
    ids.push(error_of(client.send_message(text(READER, "never arrived")).await).metadata["message_id"].clone());
    until(|| world.double.control().messages().iter().all(|seen| seen.status == sandbox::Status::Read)).await;
    for id in ids {
        assert_eq!(refreshed(&mut client, &id).await.status(), InDoubt);
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_reading_that_is_not_known_to_be_from_after_the_message_settles_nothing() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mute = Fault { times: Some(1000), ..Fault::new(On::Webhook, FaultKind::WebhookDrop) };
    world.double.control().add_fault(mute).unwrap();
    // One of its own for each, since a message is read once in two seconds.
    let mut sender = client.clone();
    let mut doubtful = async |body: &str| {
        lose_answers(&world, 1);
        let told = error_of(sender.send_message(text(READER, body)).await);
        until(|| world.double.control().messages().iter().all(|seen| seen.status == sandbox::Status::Read)).await;
        told.metadata["message_id"].clone()
    };
    // A failure is read without its time.
    for created in [Some("2026-01-01T00:00:00.000Z"), None] {
        let id = doubtful(created.unwrap_or("at no time")).await;
        let body = serde_json::json!({
            "id": "past", "externalMessageId": "wamid.past", "status": "FAILED", "createdAt": created,
            "errorCode": "WHATSAPP_NOT_EXIST",
        });
        let past =
            Fault { times: Some(1), status: Some(200), body: Some(body), ..Fault::new(On::Status, FaultKind::Http) };
        world.double.control().add_fault(past).unwrap();
        assert_eq!(refreshed(&mut client, &id).await.status(), InDoubt, "{created:?}");
    }
    let id = doubtful("found").await;
    let found = refreshed(&mut client, &id).await;
    assert_eq!((found.status(), found.upstream_id), (Read, world.double.control().messages()[2].id.clone()));
    world.end(client, gateway).await;
}
