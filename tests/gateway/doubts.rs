//! Doubts that a webhook settles: nobody knows its id, but what it says, to whom and from where.

use std::time::Duration;

use pilotgate::{
    config::{self, settings::Span},
    proto::v1::{
        self,
        MessageStatus::{Delivered, InDoubt, Pending, Read, Sent},
    },
    sandbox::{Fault, FaultKind, On},
};

use crate::support::{
    READER, World, client, error_of, follow, from_earliest, get, next_update, next_updates, send, sends, template,
    text, trails, until,
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
