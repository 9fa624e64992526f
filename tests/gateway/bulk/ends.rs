//! How a stream ends: by the caller's half-close, or by the gateway's end.

use std::time::{Duration, Instant};

use pilotgate::{
    config,
    proto::v1::MessageStatus::Queued,
    sandbox::{Fault, FaultKind, On},
};
use tonic::Code;

use super::{Bulk, accepted, item, next, open, phone, refused};
use crate::support::{World, client, error_of, log_length, queued, send, sends, text, until};

#[tokio::test]
async fn after_the_half_close_everything_is_still_answered() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault { ms: Some(300), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let Bulk { items, mut results } = open(&mut client).await;
    for n in 0..50 {
        items.send(item(&format!("{n}"), text(&phone(n), "x"))).await.unwrap();
    }
    drop(items);
    assert_eq!(world.double.control().messages().len(), 0, "nothing has been answered so far");
    for _ in 0..50 {
        assert_eq!(accepted(&next(&mut results).await.unwrap()).0.status(), Queued);
    }
    assert_eq!(next(&mut results).await, None);
    world.end((results, client), gateway).await;
}

#[tokio::test]
async fn when_the_gateway_ends_what_is_in_flight_is_answered_and_nothing_else_sent() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.grpc.bulk_items = 4;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault { ms: Some(500), ..Fault::new(On::Send, FaultKind::Delay) }).unwrap();
    let Bulk { items, mut results } = open(&mut client).await;
    for n in 0..12 {
        items.send(item(&format!("{n}"), text(&phone(n), "x"))).await.unwrap();
    }
    until(|| sends(&world).len() == 4).await;
    let ending = tokio::spawn(gateway.shutdown());
    let mut answered = Vec::new();
    for _ in 0..4 {
        let result = next(&mut results).await.unwrap();
        assert_eq!(accepted(&result).0.status(), Queued);
        answered.push(result.correlation_key);
    }
    answered.sort();
    assert_eq!(answered, ["0", "1", "2", "3"]);
    let told = error_of(results.message().await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "DRAINING"));
    assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
    drop((results, items, client));
    ending.await.unwrap();
    assert_eq!(sends(&world).len(), 4);

    let gateway = world.gateway().await;
    let mut client = crate::support::client(&gateway).await;
    assert_eq!(log_length(&mut client).await, 8);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn items_that_wait_for_their_turn_do_not_hold_up_the_end() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.numbers[0].pace.min_gap = Some(config::settings::Span(Duration::from_secs(60)));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    send(&mut client, text(&phone(0), "first")).await;
    let Bulk { items, mut results } = open(&mut client).await;
    for n in 1..=5 {
        items.send(item(&format!("{n}"), text(&phone(n), "x"))).await.unwrap();
    }
    // This one needs no turn. Once it is answered the others have been read.
    items.send(item("queued", queued(text(&phone(0), "x")))).await.unwrap();
    assert_eq!(next(&mut results).await.unwrap().correlation_key, "queued");
    let alone = tokio::spawn({
        let mut client = client.clone();
        let mut request = tonic::Request::new(text(&phone(0), "alone"));
        request.set_timeout(Duration::from_secs(600));
        async move { client.send_message(request).await }
    });
    tokio::task::yield_now().await;
    let began = Instant::now();
    let ending = tokio::spawn(gateway.shutdown());
    for _ in 0..5 {
        let told = refused(next(&mut results).await.unwrap());
        assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "DRAINING"));
        assert_eq!(told.message, "the gateway is shutting down; this call sent nothing");
    }
    assert_eq!(error_of(results.message().await).reason, "DRAINING");
    drop((results, items));
    // Either it was on its way already, or the connection took no further call.
    let alone = alone.await.unwrap().unwrap_err();
    assert!(matches!(alone.code(), Code::Unavailable | Code::Cancelled | Code::Unknown), "{alone:?}");
    drop(client);
    ending.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(sends(&world).len(), 1);
    world.double.shutdown().await;
}
