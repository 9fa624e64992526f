//! Looking a message up.

use pilotgate::{
    proto::v1::{
        self, GetMessageRequest,
        MessageStatus::{Queued, Read},
        Origin, UpstreamKey,
        get_message_request::Key,
    },
    sandbox::{Fault, FaultKind, On},
};
use tonic::Code;

use crate::support::{
    NUMBER, READER, STUCK, World, client, client_as, error_of, from_earliest, get, next_update, send, text, trails,
    until,
};

fn by_upstream(number: &str, id: &str) -> GetMessageRequest {
    let key = UpstreamKey { number: number.to_owned(), upstream_id: id.to_owned() };
    GetMessageRequest { key: Some(Key::Upstream(key)), ..Default::default() }
}

#[tokio::test]
async fn a_message_is_found_by_every_id_and_every_name_of_its_number() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = client.send_message(text(READER, "x")).await.unwrap().into_inner().message.unwrap().message_id;
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    trails(&mut frames, 5).await;
    let message = get(&mut client, &id).await;
    assert_eq!(message.status(), Read);
    let times = [message.create_time, message.queue_time, message.sent_time, message.delivered_time, message.read_time];
    let times: Vec<_> = times.into_iter().map(|time| time.map(|time| (time.seconds, time.nanos)).unwrap()).collect();
    assert!(times[1..].is_sorted(), "{times:?}");
    for number in [NUMBER, "wn_upstream_id", "+5511900000000"] {
        for id in [&message.upstream_id, &message.correlation_id, &message.external_id] {
            let found = client.get_message(by_upstream(number, id)).await.unwrap().into_inner().message.unwrap();
            assert_eq!(found, message);
        }
    }
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_refresh_reads_what_no_webhook_told() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault::new(On::Webhook, FaultKind::WebhookDrop)).unwrap();
    let id = client.send_message(text(READER, "x")).await.unwrap().into_inner().message.unwrap().message_id;
    until(|| world.double.control().messages()[0].status == pilotgate::sandbox::Status::Read).await;
    let request = GetMessageRequest { key: Some(Key::MessageId(id)), refresh: true };
    let message = client.get_message(request).await.unwrap().into_inner().message.unwrap();
    assert_eq!(message.status(), Read);
    assert!(message.sent_time.is_some() && message.delivered_time.is_some() && !message.external_id.is_empty());
    let mut frames = client.stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut origins = Vec::new();
    for _ in 0..5 {
        origins.push(next_update(&mut frames).await.0.origin());
    }
    assert_eq!(origins, [Origin::Gateway, Origin::SendReply, Origin::Poll, Origin::Poll, Origin::Poll]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn who_asks_for_a_refresh_over_and_over_is_answered_from_the_store() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut ids = Vec::new();
    for n in 0..2 {
        ids.push(send(&mut client, text(STUCK, &format!("{n}"))).await);
    }
    for id in ids.iter().cycle().take(40) {
        let request = GetMessageRequest { key: Some(Key::MessageId(id.clone())), refresh: true };
        let message = client.get_message(request).await.unwrap().into_inner().message.unwrap();
        assert_eq!(message.status(), Queued);
    }
    let reads = world.double.requests().iter().filter(|seen| seen.path.starts_with("/v1/messages/c")).count();
    // Once each, and once more each if all that took longer than a message may not be asked for again.
    assert!((2..40).contains(&reads), "{reads}");
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_may_not_be_seen_is_not_there() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    let message = orders.send_message(text(READER, "x")).await.unwrap().into_inner().message.unwrap();
    let mut billing = client_as(&gateway, Some(crate::support::OTHER_TOKEN)).await;
    let key = Key::MessageId(message.message_id.clone());
    let hidden = error_of(billing.get_message(GetMessageRequest { key: Some(key), ..Default::default() }).await);
    let key = Key::MessageId("01970000-0000-7000-8000-000000000000".to_owned());
    let absent = error_of(billing.get_message(GetMessageRequest { key: Some(key), ..Default::default() }).await);
    assert_eq!(hidden, absent);
    assert_eq!((hidden.code, hidden.reason.as_str()), (Code::NotFound, "MESSAGE_NOT_FOUND"));
    let hidden = error_of(billing.get_message(by_upstream(NUMBER, &message.upstream_id)).await);
    assert_eq!(hidden.reason, "MESSAGE_NOT_FOUND");
    let ungranted = error_of(billing.get_message(by_upstream("no-such-number", "x")).await);
    assert_eq!((ungranted.code, ungranted.reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));

    let mut auditor = client_as(&gateway, Some(crate::support::AUDITOR_TOKEN)).await;
    assert_eq!(get(&mut auditor, &message.message_id).await.upstream_id, message.upstream_id);
    let told = error_of(orders.get_message(v1::GetMessageRequest::default()).await);
    assert_eq!(told.violations, [("key".to_owned(), "is required".to_owned())]);
    world.end((orders, billing, auditor), gateway).await;
}
