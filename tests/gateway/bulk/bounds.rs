//! How much a stream has in flight, and that it waits where a call of its own would be refused.

use std::time::Duration;

use pilotgate::{
    config::{
        self, Settings,
        settings::{PaceSettings, Span},
    },
    proto::v1::{self, MessageStatus::Queued, messaging_service_client::MessagingServiceClient},
    sandbox::{Answered, Fault, FaultKind, On, Unanswered},
};
use tokio::sync::mpsc;
use tonic::{Request, transport::Channel};

use super::{Bulk, accepted, all, item, next, open, phone};
use crate::support::{READER, TOKEN, World, client, in_time, queued, send, sends, sent_after, text, to_phone, until};

async fn most_at_once(settings: Settings, world: &World, count: usize) -> usize {
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault { ms: Some(60), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let items = (0..count).map(|n| item(&format!("{n}"), text(&phone(n), "x"))).collect();
    let results = tokio::spawn(async move { all(&mut client, items).await });
    let mut most = 0;
    while !results.is_finished() {
        let running = sends(world).iter().filter(|seen| seen.status == Answered::Not(Unanswered::Pending)).count();
        most = most.max(running);
        tokio::task::yield_now().await;
    }
    for result in results.await.unwrap().values() {
        assert_eq!(accepted(result).0.status(), Queued);
    }
    assert_eq!(world.double.control().messages().len(), count);
    gateway.shutdown().await;
    most
}

#[tokio::test]
async fn no_more_items_are_in_flight_than_allowed() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.grpc.bulk_items = 3;
    assert_eq!(most_at_once(settings, &world, 12).await, 3);
    world.double.shutdown().await;
}

#[tokio::test]
async fn no_more_bytes_are_in_flight_than_allowed() {
    let world = World::new().await;
    let mut settings = world.settings();
    // Smaller than any item, so that each goes alone.
    settings.grpc.bulk_bytes = 1;
    assert_eq!(most_at_once(settings, &world, 5).await, 1);
    world.double.shutdown().await;
}

#[tokio::test]
async fn items_wait_for_places_instead_of_being_refused() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.max_in_flight = 4;
    settings.messaging.slot_wait = Span(Duration::ZERO);
    settings.messaging.max_in_progress = 6;
    assert_eq!(most_at_once(settings, &world, 40).await, 4);
    world.double.shutdown().await;
}

#[tokio::test]
async fn items_wait_for_their_numbers_turn() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.messaging.pace_wait = Span(Duration::ZERO);
    settings.numbers[0].pace.per_second = Some(20.0);
    let began = jiff::Timestamp::now();
    most_at_once(settings, &world, 10).await;
    let (seen, turns): (_, Vec<_>) = (sent_after(&world, began), (0..10).map(|turn| turn * 50).collect());
    assert!(in_time(&seen, &turns), "{seen:?}");
    world.double.shutdown().await;
}

#[tokio::test]
async fn a_caller_that_takes_no_results_loses_nothing_and_holds_nobody_up() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.upstream.max_in_flight = 4;
    settings.grpc.bulk_items = 300;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let endpoint = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap();
    // Room for a few results.
    let channel = endpoint.initial_stream_window_size(1024).connect().await.unwrap();
    let (items, mut taken) = mpsc::channel(16);
    let mut request = Request::new(futures_util::stream::poll_fn(move |cx| taken.poll_recv(cx)));
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut results = MessagingServiceClient::new(channel).send_messages(request).await.unwrap().into_inner();
    // Long ones, so that few results fill all that lies between them and their taker.
    let notes = (0..16).map(|n| (n.to_string(), "x".repeat(256))).collect();
    let long = v1::SendMessageRequest { metadata: notes, ..text(READER, "x") };
    let sending = tokio::spawn(async move {
        for n in 0..600 {
            let request = v1::SendMessageRequest { recipient: to_phone(&phone(n)), ..long.clone() };
            items.send(item(&format!("{n}"), request)).await.unwrap();
        }
    });
    // Everything that is in flight goes, although nobody asks what became of it.
    until(|| world.double.control().messages().len() >= 300).await;
    assert!(!sending.is_finished(), "further items are not read");
    let mut others = client(&gateway).await;
    others.send_message(text(READER, "others go on")).await.unwrap();

    let mut keys = std::collections::BTreeSet::new();
    while let Some(result) = next(&mut results).await {
        assert_eq!(accepted(&result).0.status(), Queued);
        assert!(keys.insert(result.correlation_key));
    }
    sending.await.unwrap();
    assert_eq!(keys.len(), 600);
    assert_eq!(world.double.control().messages().len(), 601);
    world.end((results, others), gateway).await;
}

#[tokio::test]
async fn a_stream_that_is_wanted_no_more_takes_nothing_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = crate::support::follow(&mut client, crate::support::from_earliest()).await;
    world.double.control().add_fault(Fault { ms: Some(300), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let bulk = super::open(&mut client).await;
    for n in 0..3 {
        bulk.items.send(item(&format!("{n}"), text(&phone(n), "x"))).await.unwrap();
    }
    until(|| sends(&world).len() == 3).await;
    drop(bulk);
    let trails = crate::support::trails(&mut frames, 6).await;
    assert!(trails.len() == 3 && trails.values().all(|trail| *trail == [v1::MessageStatus::Pending, Queued]));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn items_that_wait_take_no_place_from_single_sends() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.messaging.max_in_progress = 2;
    settings.numbers[0].pace = PaceSettings { per_second: Some(0.01), ..PaceSettings::default() };
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    send(&mut client, text(&phone(0), "takes the only turn for a while")).await;
    let Bulk { items, results } = open(&mut client).await;
    // Three want a turn that is far away, two of them with a place. What is queued needs no turn, and gets its place last.
    for n in 1..=3 {
        items.send(item(&format!("{n}"), text(&phone(n), "x"))).await.unwrap();
    }
    for n in 0..3 {
        send(&mut client, queued(text(&phone(n), "alone"))).await;
    }
    drop((client, items, results));
    gateway.shutdown().await;
    assert_eq!(sends(&world).len(), 1);
    world.double.shutdown().await;
}
