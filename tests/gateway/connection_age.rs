//! Connections that have reached their age: what comes next goes over another one, and what is in flight finishes.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pilotgate::{
    config::{self, settings::Span},
    proto::v1::{self, StreamStatusUpdatesRequest as StreamRequest, stream_status_updates_response::Frame},
    sandbox::{self, Switches},
    server::Gateway,
};
use tonic::Code;

use crate::support::{
    Frames, STUCK, World, client, error_of, follow, from_cursor, next_update, next_updates, send, started, text,
};

/// Accepted, answered after a while.
const SLOW: &str = "+5511987650016";

async fn aging(world: &World, age: u64, grace: u64) -> Gateway {
    let mut settings = world.settings();
    settings.grpc.max_connection_age = Span(Duration::from_millis(age));
    settings.grpc.max_connection_age_grace = Span(Duration::from_millis(grace));
    world.gateway_with(config::check_in_memory(settings).unwrap()).await
}

/// Reads up to the farewell; the cursor to resume behind. Updates are a failure.
async fn drained(frames: &mut Frames) -> String {
    let drained = async {
        loop {
            let response = frames.message().await.unwrap().unwrap();
            match response.frame.unwrap() {
                Frame::Heartbeat(_) => {}
                Frame::Drain(drain) => {
                    assert_eq!(drain.reconnect_after, Some(prost_types::Duration::default()));
                    let told = error_of(frames.message().await);
                    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "DRAINING"));
                    return response.cursor;
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), drained).await.expect("it stays on an old connection")
}

#[tokio::test]
async fn streams_leave_one_by_one_and_resume_over_another_connection() {
    let world = World::new().await;
    let gateway = aging(&world, 2500, 2500).await;
    let mut client = client(&gateway).await;
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut frames = follow(&mut client, StreamRequest::default()).await;
        started(&mut frames).await;
        streams.push(frames);
    }
    let left = streams.into_iter().map(async |mut frames: Frames| {
        let cursor = drained(&mut frames).await;
        (began.elapsed(), cursor)
    });
    let mut left = join_all(left).await;
    left.sort();
    assert!(left[0].0 >= Duration::from_millis(2200), "{left:?}");
    assert!(left[19].0 - left[0].0 >= Duration::from_millis(200), "all at once: {left:?}");
    // The same client without doing anything. Over the old connection it would be sent away again at once.
    let mut resumed = follow(&mut client, from_cursor(&left[19].1)).await;
    started(&mut resumed).await;
    let id = send(&mut client, text(STUCK, "after")).await;
    for update in next_updates(&mut resumed, 2).await {
        assert_eq!(update.message_id, id);
    }
    world.end((resumed, client), gateway).await;
}

#[tokio::test]
async fn a_call_in_flight_outlasts_its_connections_age() {
    let switches = Switches { slow_answer_ms: 5000, ..Default::default() };
    let world = World::with(sandbox::Options { switches, ..Default::default() }).await;
    let gateway = aging(&world, 2000, 1000).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, StreamRequest::default()).await;
    started(&mut frames).await;
    let began = Instant::now();
    let mut sender = client.clone();
    let sending = tokio::spawn(async move { sender.send_message(text(SLOW, "x")).await });
    let (pending, _) = next_update(&mut frames).await;
    drained(&mut frames).await;
    assert!(!sending.is_finished(), "the age is over before the answer");
    let sent = sending.await.unwrap().unwrap().into_inner().message.unwrap();
    assert_eq!(sent.message_id, pending.message_id);
    assert!(began.elapsed() >= Duration::from_secs(5), "age and grace are over by now");
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_bulk_stream_of_an_old_connection_is_answered_and_ends() {
    let world = World::new().await;
    let gateway = aging(&world, 1500, 500).await;
    let mut client = client(&gateway).await;
    let (items, queue) = tokio::sync::mpsc::channel(4);
    let item = v1::SendMessagesRequest { correlation_key: "a".to_owned(), message: Some(text(STUCK, "x")) };
    items.send(item).await.unwrap();
    let queue = futures_util::stream::unfold(queue, async |mut queue| Some((queue.recv().await?, queue)));
    let mut results = client.send_messages(queue).await.unwrap().into_inner();
    assert_eq!(results.message().await.unwrap().unwrap().correlation_key, "a");
    // The caller goes on, and would for ever.
    let last = tokio::time::timeout(Duration::from_secs(20), results.message()).await.expect("it ends");
    assert_eq!(error_of(last).reason, "DRAINING");
    drop(items);
    world.end(client, gateway).await;
}
