//! Limits on what may be sent: exact, whoever sends and whatever is restarted meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use pilotgate::{domain::quota::Quota, proto::v1, server};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::Clock;
use crate::support::{
    Client, OTHER_TOKEN, READER, STUCK, TOKEN, World, client_as, error_of, metadata, queued, send, sends, text, until,
};

const NOON: &str = "2026-11-24T12:00:30Z";

const fn daily(most: u64) -> Quota {
    Quota { per_minute: None, per_day: Some(most) }
}

const fn by_minute(most: u64) -> Quota {
    Quota { per_minute: Some(most), per_day: None }
}

async fn listed(client: &mut Client) -> Vec<v1::Message> {
    let request = v1::ListMessagesRequest { page_size: 1000, ..Default::default() };
    client.list_messages(request).await.unwrap().into_inner().messages
}

/// Sends over a connection of its own, one after the other; half of them to the queue. Tells how many were accepted.
async fn pressing(mut client: Client, count: usize) -> usize {
    let mut accepted = 0;
    for n in 0..count {
        let request = text(STUCK, "x");
        let request = if n % 2 == 0 { request } else { queued(request) };
        match client.send_message(request).await {
            Ok(_) => accepted += 1,
            Err(refused) => assert_eq!(error_of::<()>(Err(refused)).reason, "QUOTA_EXCEEDED"),
        }
    }
    accepted
}

#[tokio::test]
async fn limits_are_exact_under_64_connections_and_a_restart() {
    let world = World::new().await;
    let clock = Clock::at(NOON);
    let start = async || {
        let mut config = world.config();
        config.numbers[0].quota = daily(90);
        config.callers[0].quota = Quota { per_minute: Some(61), per_day: Some(60) };
        config.callers[1].quota = daily(200);
        server::start(config, clock.sources()).await.unwrap()
    };
    let mut accepted = [0, 0];
    for round in 0..2 {
        let gateway = start().await;
        let tokens = [TOKEN, OTHER_TOKEN].into_iter().cycle();
        // In the first round no limit is reached: 64 of 90, and 32 of 60.
        let count = if round == 0 { 1 } else { 2 };
        let clients = join_all(tokens.take(64).map(|token| client_as(&gateway, Some(token)))).await;
        let sent = join_all(clients.into_iter().map(|client| pressing(client, count))).await;
        for (n, count) in sent.into_iter().enumerate() {
            accepted[n % 2] += count;
        }
        if round == 0 {
            assert_eq!(accepted, [32, 32]);
        }
        gateway.shutdown().await;
    }
    // The number's limit is the one that is used up; what the two share it out to is chance.
    assert_eq!(accepted[0] + accepted[1], 90, "{accepted:?}");
    assert!(accepted[0] <= 60);
    let gateway = start().await;
    for (token, accepted) in [TOKEN, OTHER_TOKEN].into_iter().zip(accepted) {
        let left = listed(&mut client_as(&gateway, Some(token)).await).await.len();
        assert_eq!(left, accepted, "a refused one left a message");
    }
    // Now the caller's own limit: the next day begins, and with it a new window of each.
    clock.put_forward(12 * 3600);
    let clients = join_all([TOKEN; 64].map(|token| client_as(&gateway, Some(token)))).await;
    let sent: usize = join_all(clients.into_iter().map(|client| pressing(client, 2))).await.into_iter().sum();
    assert_eq!(sent, 60);
    until(|| sends(&world).len() == 150).await;
    world.end((), gateway).await;
}

#[tokio::test]
async fn a_refusal_tells_the_limit_and_when_it_begins_anew() {
    let world = World::new().await;
    let clock = Clock::at(NOON);
    let mut config = world.config();
    config.callers[0].quota = by_minute(2);
    config.numbers[0].quota = by_minute(3);
    let gateway = server::start(config, clock.sources()).await.unwrap();
    let mut orders = client_as(&gateway, Some(TOKEN)).await;
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let known = v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(READER, "x") };
    let known_queued = queued(v1::SendMessageRequest { request_id: "r-2".to_owned(), ..text(READER, "x") });
    let first = send(&mut orders, known.clone()).await;
    let second = send(&mut orders, known_queued.clone()).await;
    let refused = |status: Result<_, Status>, subject: &str, most: &str| {
        let details = status.as_ref().unwrap_err().get_error_details();
        let quota: Vec<_> = details.quota_failure().unwrap().violations.iter().map(|one| one.subject.clone()).collect();
        let told = error_of::<tonic::Response<v1::SendMessageResponse>>(status);
        let expected = metadata([
            ("subject", subject),
            ("limit", most),
            ("window", "minute"),
            ("reset_time", "2026-11-24T12:01:00Z"),
        ]);
        assert_eq!(
            (told.code, told.reason.as_str(), told.metadata),
            (Code::ResourceExhausted, "QUOTA_EXCEEDED", expected)
        );
        assert_eq!((quota, told.retry_after), (vec![subject.to_owned()], Some(Duration::from_secs(30))));
    };
    refused(orders.send_message(text(READER, "x")).await, "caller:orders", "2");
    refused(orders.send_message(queued(text(READER, "x"))).await, "caller:orders", "2");
    // What was accepted before is neither refused nor counted again.
    for (request, id) in [(known, first), (known_queued, second)] {
        let again = orders.send_message(request).await.unwrap().into_inner();
        assert_eq!((again.replayed, again.message.unwrap().message_id), (true, id));
    }
    send(&mut billing, text(READER, "x")).await;
    refused(billing.send_message(text(READER, "x")).await, "number:wn_sandbox", "3");
    // A refused request id stands for nothing, and is accepted once the window is over.
    let later = v1::SendMessageRequest { request_id: "r-3".to_owned(), ..text(READER, "x") };
    refused(orders.send_message(later.clone()).await, "caller:orders", "2");
    assert_eq!((listed(&mut orders).await.len(), listed(&mut billing).await.len()), (2, 1));
    clock.put_forward(29);
    assert_eq!(error_of(orders.send_message(later.clone()).await).retry_after, Some(Duration::from_secs(1)));
    clock.put_forward(1);
    assert!(!orders.send_message(later).await.unwrap().into_inner().replayed);
    send(&mut orders, text(READER, "x")).await;
    assert_eq!(error_of(orders.send_message(text(READER, "x")).await).retry_after, Some(Duration::from_secs(60)));
    until(|| sends(&world).len() == 5).await;
    world.end((orders, billing), gateway).await;
}

#[tokio::test]
async fn items_of_a_stream_count_one_by_one() {
    let world = World::new().await;
    let mut config = world.config();
    config.callers[0].quota = daily(7);
    let gateway = server::start(config, Clock::at(NOON).sources()).await.unwrap();
    let mut orders = client_as(&gateway, Some(TOKEN)).await;
    let items = (0..30).map(|n| {
        let request = text(STUCK, "x");
        let message = Some(if n % 2 == 0 { request } else { queued(request) });
        v1::SendMessagesRequest { correlation_key: format!("k-{n}"), message }
    });
    let items = futures_util::stream::iter(items.collect::<Vec<_>>());
    let mut results = orders.send_messages(items).await.unwrap().into_inner();
    let (mut accepted, mut refused) = (0, 0);
    while let Some(result) = results.message().await.unwrap() {
        match result.result.unwrap() {
            v1::send_messages_response::Result::Accepted(_) => accepted += 1,
            v1::send_messages_response::Result::Refused(status) => {
                assert_eq!(Code::from(status.code), Code::ResourceExhausted);
                refused += 1;
            }
        }
    }
    assert_eq!((accepted, refused), (7, 23));
    assert_eq!(listed(&mut orders).await.len(), 7);
    until(|| sends(&world).len() == 7).await;
    world.end((orders, results), gateway).await;
}
