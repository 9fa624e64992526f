//! Canceling, and each one's fate.

use std::collections::BTreeMap;

use pilotgate::{
    proto::v1::{
        self, CancelOutcome,
        MessageStatus::{Canceled, Pending, Queued},
    },
    sandbox::{Fault, FaultKind, On},
};

use crate::support::{Client, READER, World, client, client_as, error_of, from_earliest, get, next_update, text};

async fn schedule(client: &mut Client, seconds: i64) -> String {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let deliver_at = prost_types::Timestamp { seconds: i64::try_from(now).unwrap() + seconds, nanos: 0 };
    let request = v1::SendMessageRequest { deliver_at: Some(deliver_at), ..text(READER, "later") };
    client.send_message(request).await.unwrap().into_inner().message.unwrap().message_id
}

async fn cancel(client: &mut Client, ids: &[String]) -> Vec<v1::CancelResult> {
    let request = v1::CancelMessagesRequest { message_ids: ids.to_vec() };
    client.cancel_messages(request).await.unwrap().into_inner().results
}

fn outcomes(results: &[v1::CancelResult]) -> Vec<CancelOutcome> {
    results.iter().map(v1::CancelResult::outcome).collect()
}

#[tokio::test]
async fn each_message_has_its_own_fate_in_the_order_asked() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let later = schedule(&mut client, 3600).await;
    let read = client.send_message(text(READER, "now")).await.unwrap().into_inner().message.unwrap().message_id;
    let mut trail: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for _ in 0..7 {
        let (update, _) = next_update(&mut frames).await;
        trail.entry(update.message_id.clone()).or_default().push(update.status());
    }
    let unknown = "01970000-0000-7000-8000-000000000000".to_owned();
    let results = cancel(&mut client, &[unknown.clone(), later.clone(), read.clone(), later.clone()]).await;
    assert_eq!(
        outcomes(&results),
        [CancelOutcome::NotFound, CancelOutcome::Canceled, CancelOutcome::TooLate, CancelOutcome::Canceled]
    );
    assert_eq!(
        results[0],
        v1::CancelResult { message_id: unknown, outcome: CancelOutcome::NotFound.into(), ..Default::default() }
    );
    assert_eq!(results[1].message.as_ref().unwrap().status(), Canceled);
    let (update, _) = next_update(&mut frames).await;
    assert_eq!((update.message_id.as_str(), update.status()), (later.as_str(), Canceled));
    assert_eq!(trail[&later], [Pending, Queued]);

    assert_eq!(outcomes(&cancel(&mut client, &[later]).await), [CancelOutcome::AlreadyCanceled]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn an_answer_of_counts_is_settled_by_reading_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let counts = serde_json::json!({ "cancel_shape": "counts" });
    world.double.control().patch_switches(counts.as_object().unwrap()).unwrap();
    let later = schedule(&mut client, 3600).await;
    // 0006 stays QUEUED and was never scheduled, so it cannot be canceled.
    let stuck =
        client.send_message(text("+5511987650006", "x")).await.unwrap().into_inner().message.unwrap().message_id;
    let results = cancel(&mut client, &[later, stuck]).await;
    assert_eq!(outcomes(&results), [CancelOutcome::Canceled, CancelOutcome::TooLate]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn no_answer_is_no_verdict() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let later = schedule(&mut client, 3600).await;
    let lost = Fault { times: Some(1), ..Fault::new(On::Cancel, FaultKind::Reset) };
    world.double.control().add_fault(lost).unwrap();
    let results = cancel(&mut client, std::slice::from_ref(&later)).await;
    assert_eq!(outcomes(&results), [CancelOutcome::Unspecified]);
    assert!(results[0].detail.contains("no usable answer"), "{}", results[0].detail);
    // Carried out, but the answer was lost: reading back tells.
    let lost = Fault { times: Some(1), ..Fault::new(On::Cancel, FaultKind::DropReply) };
    world.double.control().add_fault(lost).unwrap();
    assert_eq!(outcomes(&cancel(&mut client, &[later]).await), [CancelOutcome::Canceled]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_answer_with_it() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let later = schedule(&mut client, 3600).await;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    world.double.control().add_fault(Fault { ms: Some(500), ..Fault::new(On::Cancel, FaultKind::Delay) }).unwrap();
    let mut request = tonic::Request::new(v1::CancelMessagesRequest { message_ids: vec![later] });
    request.set_timeout(std::time::Duration::from_millis(100));
    client.cancel_messages(request).await.unwrap_err();
    let mut trail = Vec::new();
    for _ in 0..3 {
        trail.push(next_update(&mut frames).await.0.status());
    }
    assert_eq!(trail, [Pending, Queued, Canceled]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn more_than_a_hundred_go_in_several_calls() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut ids = Vec::new();
    for _ in 0..101 {
        ids.push(schedule(&mut client, 3600).await);
    }
    let results = cancel(&mut client, &ids).await;
    assert_eq!(outcomes(&results), [CancelOutcome::Canceled; 101]);
    let calls = world.double.requests().iter().filter(|seen| seen.path == "/v1/messages/cancel").count();
    assert_eq!(calls, 2);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn very_many_are_told_without_their_messages_and_asked_for_once() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut ids = Vec::new();
    for _ in 0..30 {
        ids.push(schedule(&mut client, 3600).await);
    }
    let unknown = "01a20d74-aa8c-787a-af7a-27f11ca6bd20".to_owned();
    let asked: Vec<_> = std::iter::repeat_n(&ids, 50).flatten().cloned().chain([unknown.clone()]).collect();
    let mut results = cancel(&mut client, &asked).await;
    assert_eq!(results.iter().map(|result| &result.message_id).collect::<Vec<_>>(), asked.iter().collect::<Vec<_>>());
    assert!(results.iter().all(|result| result.message.is_none()));
    let last = results.pop().unwrap();
    assert_eq!((last.message_id.clone(), last.outcome()), (unknown, CancelOutcome::NotFound));
    assert_eq!(outcomes(&results), [CancelOutcome::Canceled; 1500]);
    let calls = world.double.requests().iter().filter(|seen| seen.path == "/v1/messages/cancel").count();
    assert_eq!(calls, 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn only_the_callers_own_messages_are_canceled() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    let later = schedule(&mut orders, 3600).await;
    // Billing may not cancel at all, and the message is not its own either.
    let mut billing = client_as(&gateway, Some(crate::support::OTHER_TOKEN)).await;
    let results = cancel(&mut billing, std::slice::from_ref(&later)).await;
    assert_eq!(outcomes(&results), [CancelOutcome::NotFound]);
    assert_eq!(get(&mut orders, &later).await.status(), Queued);
    let told = error_of(orders.cancel_messages(v1::CancelMessagesRequest::default()).await);
    assert_eq!(told.violations, [("message_ids".to_owned(), "must have 1 to 100000 entries".to_owned())]);
    world.end((orders, billing), gateway).await;
}
