//! Streams: where they start, what they carry, how they end.

use std::time::Duration;

use pilotgate::{
    config,
    proto::v1::{
        self, IdleReason,
        MessageStatus::{self, Pending, Queued, Read, Sent},
        StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        stream_status_updates_request::Start,
        stream_status_updates_response::Frame,
    },
};
use tonic::Code;

use crate::support::{
    AUDITOR_TOKEN, Client, Frames, OTHER_TOKEN, READER, World, client, client_as, error_of, from_cursor, from_earliest,
    get, next_update, text, trails,
};

const STUCK: &str = "+5511987650006";

async fn send(client: &mut Client, request: v1::SendMessageRequest) -> String {
    client.send_message(request).await.unwrap().into_inner().message.unwrap().message_id
}

async fn open(client: &mut Client, request: StreamRequest) -> Frames {
    client.stream_status_updates(request).await.unwrap().into_inner()
}

fn filtered(filter: StatusFilter) -> StreamRequest {
    StreamRequest { filter: Some(filter), ..from_earliest() }
}

/// The next frame of any kind, with its cursor.
async fn next_frame(frames: &mut Frames) -> (Frame, String) {
    let next = tokio::time::timeout(Duration::from_secs(20), frames.message()).await.expect("no frame for 20 s");
    let response = next.unwrap().expect("the stream ended");
    (response.frame.unwrap(), response.cursor)
}

/// Every update up to the end of a stream that ends by itself.
async fn to_the_end(frames: &mut Frames) -> Vec<(String, MessageStatus)> {
    let mut updates = Vec::new();
    let all = async {
        while let Some(response) = frames.message().await.unwrap() {
            if let Some(Frame::Update(update)) = response.frame {
                updates.push((update.message_id.clone(), update.status()));
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("no end within 20 s");
    updates
}

#[tokio::test]
async fn every_cursor_resumes_with_exactly_the_rest() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    for _ in 0..6 {
        send(&mut client, text(READER, "x")).await;
    }
    let mut frames = open(&mut client, from_earliest()).await;
    let (first, start) = next_frame(&mut frames).await;
    let Frame::Heartbeat(first) = first else { panic!("{first:?}") };
    assert_eq!(first.idle_reason(), IdleReason::Started);
    let mut history = Vec::new();
    let mut cursors = vec![start];
    for _ in 0..30 {
        let (update, cursor) = next_update(&mut frames).await;
        history.push((update.message_id.clone(), update.status()));
        cursors.push(cursor);
    }
    for (seen, cursor) in cursors.iter().enumerate() {
        let mut resumed = open(&mut client, from_cursor(cursor)).await;
        for expected in &history[seen..] {
            let (update, _) = next_update(&mut resumed).await;
            assert_eq!((&update.message_id, update.status()), (&expected.0, expected.1), "after {seen}");
        }
    }
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_stream_starts_at_the_end_or_at_a_time() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut all = open(&mut client, from_earliest()).await;
    let mut times = Vec::new();
    for _ in 0..3 {
        send(&mut client, text(STUCK, "old")).await;
        for _ in 0..2 {
            times.push(next_update(&mut all).await.0.observe_time.unwrap());
        }
    }
    let mut latest = open(&mut client, StreamRequest::default()).await;
    next_frame(&mut latest).await;
    let new = send(&mut client, text(STUCK, "new")).await;
    assert_eq!(next_update(&mut latest).await.0.message_id, new);

    let at = |time| StreamRequest { start: Some(Start::StartTime(time)), ..Default::default() };
    let after = |time: &prost_types::Timestamp, nanos| prost_types::Timestamp { nanos: time.nanos + nanos, ..*time };
    let cases = [
        (prost_types::Timestamp { seconds: 0, nanos: 0 }, 8),
        (times[2], 6),
        (after(&times[2], 1_000), 5),
        (times[5], 3),
        (prost_types::Timestamp { seconds: times[5].seconds + 3600, nanos: 0 }, 0),
    ];
    for (time, count) in cases {
        let mut frames = open(&mut client, at(time)).await;
        let (Frame::Heartbeat(started), _) = next_frame(&mut frames).await else { panic!("no heartbeat first") };
        assert_eq!(started.backlog, count, "{time:?}");
    }
    world.end((all, latest, client), gateway).await;
}

#[tokio::test]
async fn filters_combine() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let label = |label: &str| v1::SendMessageRequest { labels: vec![label.to_owned()], ..text(READER, "x") };
    let red = send(&mut client, label("red")).await;
    let blue = send(&mut client, label("blue")).await;
    let mut all = open(&mut client, from_earliest()).await;
    trails(&mut all, 10).await;

    for number in ["wn_sandbox", "wn_upstream_id", "+5511900000000"] {
        let mut frames =
            open(&mut client, filtered(StatusFilter { numbers: vec![number.to_owned()], ..Default::default() })).await;
        assert_eq!(trails(&mut frames, 10).await.len(), 2);
    }
    let by_id = StatusFilter { message_ids: vec![red.clone()], ..Default::default() };
    let by_label = StatusFilter { labels: vec!["red".to_owned(), "green".to_owned()], ..Default::default() };
    for filter in [by_id, by_label.clone()] {
        let mut frames = open(&mut client, filtered(filter)).await;
        let trails = trails(&mut frames, 5).await;
        assert_eq!(trails.keys().collect::<Vec<_>>(), [&red]);
    }
    let both = StatusFilter { statuses: vec![Sent.into(), Read.into()], ..by_label };
    let mut frames = open(&mut client, filtered(both)).await;
    assert_eq!(trails(&mut frames, 2).await[&red], [Sent, Read]);

    // What does not match moves the cursor all the same.
    let none = StatusFilter { labels: vec!["green".to_owned()], ..Default::default() };
    let interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = StreamRequest { heartbeat_interval: interval, ..filtered(none) };
    let mut frames = open(&mut client, request.clone()).await;
    next_frame(&mut frames).await;
    let (Frame::Heartbeat(heartbeat), cursor) = next_frame(&mut frames).await else { panic!("an update passed") };
    assert_eq!((heartbeat.idle_reason(), heartbeat.backlog), (IdleReason::CaughtUp, 0));
    let resumed = StreamRequest { start: Some(Start::Cursor(cursor)), ..request };
    let mut frames = open(&mut client, resumed).await;
    let (Frame::Heartbeat(started), _) = next_frame(&mut frames).await else { panic!("no heartbeat first") };
    assert_eq!(started.backlog, 0);
    let _ = blue;
    world.end((all, frames, client), gateway).await;
}

#[tokio::test]
async fn a_cursor_cannot_lie() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    send(&mut client, text(STUCK, "x")).await;
    let mut frames = open(&mut client, from_earliest()).await;
    let (_, cursor) = next_update(&mut frames).await;

    let mut tampered = cursor.clone().into_bytes();
    tampered[20] = if tampered[20] == b'A' { b'B' } else { b'A' };
    let elsewhere = World::new().await;
    let other_gateway = elsewhere.gateway().await;
    let mut other_client = crate::support::client(&other_gateway).await;
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let narrower = StreamRequest {
        filter: Some(StatusFilter { statuses: vec![Read.into()], ..Default::default() }),
        ..from_cursor(&cursor)
    };
    let refused = [
        (error_of(client.stream_status_updates(from_cursor("")).await), "not_ours"),
        (
            error_of(client.stream_status_updates(from_cursor(std::str::from_utf8(&tampered).unwrap())).await),
            "not_ours",
        ),
        (error_of(client.stream_status_updates(narrower).await), "other_filter"),
        (error_of(billing.stream_status_updates(from_cursor(&cursor)).await), "other_filter"),
        // Another gateway signs with a key of its own.
        (error_of(other_client.stream_status_updates(from_cursor(&cursor)).await), "not_ours"),
    ];
    for (told, cause) in refused {
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
        assert_eq!(told.metadata["cause"], cause);
    }
    elsewhere.end(other_client, other_gateway).await;
    world.end((frames, client, billing), gateway).await;
}

#[tokio::test]
async fn a_stream_until_final_ends_when_its_messages_have() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let read = send(&mut client, text(READER, "x")).await;
    let failed = send(&mut client, text("+5511987650001", "x")).await;
    let filter = StatusFilter { message_ids: vec![read.clone(), failed.clone()], ..Default::default() };
    let request = StreamRequest { until_final: true, ..filtered(filter) };
    let mut live = open(&mut client, request.clone()).await;
    let updates = to_the_end(&mut live).await;
    assert_eq!(updates.len(), 8);
    // Again, now that both were final before: the same history, then the end.
    let mut after = open(&mut client, request.clone()).await;
    assert_eq!(to_the_end(&mut after).await, updates);
    let from_now = StreamRequest { start: None, ..request.clone() };
    assert_eq!(to_the_end(&mut open(&mut client, from_now).await).await, []);

    let unknown = StatusFilter {
        message_ids: vec![read, "01970000-0000-7000-8000-000000000000".to_owned()],
        ..Default::default()
    };
    let told = error_of(client.stream_status_updates(StreamRequest { filter: Some(unknown), ..request }).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::NotFound, "MESSAGE_NOT_FOUND"));
    world.end((live, after, client), gateway).await;
}

#[tokio::test]
async fn a_stream_request_is_checked_whole() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let request = StreamRequest {
        filter: Some(StatusFilter { message_ids: vec!["x".to_owned()], statuses: vec![0, 99], ..Default::default() }),
        start: Some(Start::Position(9)),
        on_expired: 9,
        heartbeat_interval: Some(prost_types::Duration { seconds: 0, nanos: 5 }),
        until_final: true,
        ..Default::default()
    };
    let told = error_of(client.stream_status_updates(request).await);
    let fields: Vec<_> = told.violations.iter().map(|(field, _)| field.as_str()).collect();
    let expected = [
        "filter.message_ids[0]",
        "filter.statuses[0]",
        "filter.statuses[1]",
        "on_expired",
        "heartbeat_interval",
        "until_final",
        "position",
    ];
    assert_eq!(fields, expected);
    let named = StreamRequest { subscription: "billing".to_owned(), ..Default::default() };
    assert_eq!(error_of(client.stream_status_updates(named).await).reason, "NOT_IMPLEMENTED");
    world.end(client, gateway).await;
}

#[tokio::test]
async fn everyone_sees_what_is_theirs() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let mut auditor = client_as(&gateway, Some(AUDITOR_TOKEN)).await;
    let ours = send(&mut orders, text(STUCK, "x")).await;
    let theirs = send(&mut billing, text(STUCK, "x")).await;
    let mut frames = open(&mut auditor, from_earliest()).await;
    assert_eq!(trails(&mut frames, 4).await.len(), 2);
    for (client, own) in [(&mut orders, &ours), (&mut billing, &theirs)] {
        let mut frames = open(client, from_earliest()).await;
        let trails = trails(&mut frames, 2).await;
        assert_eq!(trails.into_iter().collect::<Vec<_>>(), [(own.clone(), vec![Pending, Queued])]);
    }
    world.end((frames, orders, billing, auditor), gateway).await;
}

#[tokio::test]
async fn a_drained_stream_goes_on_after_the_restart_where_it_was() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut before = client(&gateway).await;
    let first = send(&mut before, text(STUCK, "before")).await;
    let mut frames = open(&mut before, from_earliest()).await;
    trails(&mut frames, 2).await;
    let ending = tokio::spawn(gateway.shutdown());
    let (drain, cursor) = next_frame(&mut frames).await;
    let Frame::Drain(drain) = drain else { panic!("{drain:?}") };
    assert!(drain.reconnect_after.unwrap().seconds <= 5);
    let ended = error_of(frames.message().await);
    assert_eq!((ended.code, ended.reason.as_str()), (Code::Unavailable, "DRAINING"));
    drop((frames, before));
    ending.await.unwrap();

    let gateway = world.gateway().await;
    let mut after = client(&gateway).await;
    let second = send(&mut after, text(STUCK, "after")).await;
    let mut frames = open(&mut after, from_cursor(&cursor)).await;
    for status in [Pending, Queued] {
        let (update, _) = next_update(&mut frames).await;
        assert_eq!((&update.message_id, update.status()), (&second, status));
    }
    assert_eq!(get(&mut after, &first).await.status(), Queued);
    world.end((frames, after), gateway).await;
}

#[tokio::test]
async fn there_are_no_more_streams_than_allowed() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.max = 2;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let first = open(&mut client, from_earliest()).await;
    let second = open(&mut client, from_earliest()).await;
    let told = error_of(client.stream_status_updates(from_earliest()).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    drop(first);
    let freed = async { while client.stream_status_updates(from_earliest()).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("a closed stream makes room");
    world.end((second, client), gateway).await;
}
