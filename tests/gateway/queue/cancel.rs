//! Canceling queued messages: exact as long as they are here.

use pilotgate::{
    proto::v1::{
        self, CancelOutcome,
        MessageStatus::{Canceled, InDoubt, Pending, Queued},
    },
    sandbox::{Fault, FaultKind, On},
};

use super::{ALL, checked, fail, lazy};
use crate::support::{
    Client, READER, STUCK, World, client, follow, from_earliest, in_seconds, key, message_until, next_updates, queued,
    send, sends, text, trails, until,
};

async fn cancel(client: &mut Client, ids: &[&String]) -> Vec<v1::CancelResult> {
    let request = v1::CancelMessagesRequest { message_ids: ids.iter().map(|id| (*id).clone()).collect() };
    client.cancel_messages(request).await.unwrap().into_inner().results
}

fn told(results: &[v1::CancelResult]) -> Vec<(CancelOutcome, v1::MessageStatus)> {
    results.iter().map(|result| (result.outcome(), result.message.as_ref().unwrap().status())).collect()
}

#[tokio::test]
async fn what_is_still_here_is_canceled_and_makes_way() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(lazy(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::Unauthorized, 1);
    let first = send(&mut client, queued(text(READER, "first"))).await;
    message_until(&mut client, &first, |message| message.attempts == 1).await;
    let second = send(&mut client, queued(text(READER, "second"))).await;
    let third = send(&mut client, queued(text(READER, "third"))).await;
    let canceled = (CancelOutcome::Canceled, Canceled);
    assert_eq!(told(&cancel(&mut client, &[&second]).await), [canceled]);
    assert_eq!(
        told(&cancel(&mut client, &[&first, &second]).await),
        [canceled, (CancelOutcome::AlreadyCanceled, Canceled)]
    );
    let trails = trails(&mut frames, 9).await;
    assert_eq!(trails[&first], [Pending, Canceled]);
    assert_eq!(trails[&second], [Pending, Canceled]);
    assert_eq!(trails[&third], ALL);
    let tried: Vec<_> = sends(&world).into_iter().map(|seen| seen.idempotency_key).collect();
    assert_eq!(tried, [key(&first), key(&third)]);
    assert!(world.double.requests().iter().all(|seen| seen.path != "/v1/messages/cancel"));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn one_that_is_being_handed_over_is_waited_for() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(lazy(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let slow = Fault { ms: Some(400), times: Some(2), ..Fault::new(On::Send, FaultKind::Delay) };
    world.double.control().add_fault(slow).unwrap();
    let later = v1::SendMessageRequest { deliver_at: in_seconds(3600), ..queued(text(READER, "later")) };
    let later = send(&mut client, later).await;
    let now = send(&mut client, queued(text(STUCK, "now"))).await;
    until(|| sends(&world).len() == 2).await;
    let results = cancel(&mut client, &[&later, &now]).await;
    assert_eq!(told(&results), [(CancelOutcome::Canceled, Canceled), (CancelOutcome::TooLate, Queued)]);
    let trails = trails(&mut frames, 5).await;
    assert_eq!(trails[&later], [Pending, Queued, Canceled]);
    assert_eq!(trails[&now], [Pending, Queued]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_doubt_is_not_canceled() {
    let world = World::unhurried().await;
    let gateway = world.gateway_with(checked(lazy(&world))).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    fail(&world, FaultKind::DropReply, 1);
    let id = send(&mut client, queued(text(READER, "x"))).await;
    assert_eq!(next_updates(&mut frames, 2).await[1].status(), InDoubt);
    assert_eq!(told(&cancel(&mut client, &[&id]).await), [(CancelOutcome::Unspecified, InDoubt)]);
    assert_eq!(world.double.control().messages().len(), 1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn any_number_is_canceled_in_one_call() {
    let world = World::new().await;
    let gateway = world.gateway_with(checked(lazy(&world))).await;
    let mut client = client(&gateway).await;
    let lost = Fault { recipient: Some(STUCK.to_owned()), ..Fault::new(On::Send, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
    let first = send(&mut client, queued(text(STUCK, "first"))).await;
    message_until(&mut client, &first, |message| message.attempts == 1).await;
    // Behind the first one they wait; the scheduled ones wait at Pilot Status.
    let calls = (0..2500).map(|n| {
        let mut client = client.clone();
        let request = match n % 10 {
            0 => v1::SendMessageRequest { deliver_at: in_seconds(3600), ..text(READER, "later") },
            _ => queued(text(STUCK, "x")),
        };
        async move { send(&mut client, request).await }
    });
    let mut ids: Vec<_> = futures_util::StreamExt::collect::<Vec<_>>(futures_util::StreamExt::buffered(
        futures_util::stream::iter(calls),
        64,
    ))
    .await;
    ids.push("01970000-0000-7000-8000-000000000000".to_owned());
    let request = v1::CancelMessagesRequest { message_ids: ids.clone() };
    let results = client.cancel_messages(request).await.unwrap().into_inner().results;
    let expected = |(n, id): (usize, &String)| v1::CancelResult {
        message_id: id.clone(),
        outcome: if n == 2500 { CancelOutcome::NotFound } else { CancelOutcome::Canceled }.into(),
        ..Default::default()
    };
    assert_eq!(results, ids.iter().enumerate().map(expected).collect::<Vec<_>>());
    let calls = world.double.requests().iter().filter(|seen| seen.path == "/v1/messages/cancel").count();
    // At most 100 each, and each group of 1,000 that is looked at together asks for its own.
    assert!((3..=5).contains(&calls), "{calls}");
    let told = cancel(&mut client, &ids[..1000].iter().collect::<Vec<_>>()).await;
    assert!(told.iter().all(|result| result.message.as_ref().unwrap().status() == Canceled));
    world.end(client, gateway).await;
}
