//! How streams end: by themselves, at a shutdown, or because what they want is gone.

use std::time::{Duration, Instant};

use pilotgate::{
    config,
    proto::v1::{
        self,
        MessageStatus::{Canceled, Delivered, Failed, Pending, Queued, Read, Sent},
        StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        messaging_service_client::MessagingServiceClient,
        stream_status_updates_response::Frame,
    },
    server::Gateway,
};
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{
    self, Frames, OTHER_TOKEN, READER, STUCK, TOKEN, World, client, client_as, error_of, follow, from_cursor,
    from_earliest, in_seconds, log_length, next_frame, next_update, next_updates, send, started, text, trails,
};

const FAILING: &str = "+5511987650001";
/// Delivered and never read.
const UNREAD: &str = "+5511987650008";

fn until_final(ids: &[&String]) -> StreamRequest {
    let message_ids = ids.iter().map(|id| (*id).clone()).collect();
    let heartbeat_interval = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let filter = Some(StatusFilter { message_ids, ..Default::default() });
    StreamRequest { filter, until_final: true, heartbeat_interval, ..from_earliest() }
}

/// Every update up to the end of a stream that ends by itself with OK.
async fn to_the_end(frames: &mut Frames) -> Vec<v1::StatusUpdate> {
    let mut updates = Vec::new();
    let all = async {
        while let Some(response) = frames.message().await.unwrap() {
            if let Some(Frame::Update(update)) = response.frame {
                updates.push(update);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("no end within 20 s");
    updates
}

/// A stream on a connection of its own, with room for a few frames that were not read yet.
pub async fn narrow(gateway: &Gateway, request: StreamRequest) -> Frames {
    let endpoint = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap();
    let channel = endpoint.initial_stream_window_size(1024).connect().await.unwrap();
    let mut request = Request::new(request);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    MessagingServiceClient::new(channel).stream_status_updates(request).await.unwrap().into_inner()
}

fn statuses(updates: &[v1::StatusUpdate]) -> Vec<v1::MessageStatus> {
    updates.iter().map(v1::StatusUpdate::status).collect()
}

#[tokio::test]
async fn a_stream_until_final_ends_when_its_messages_have() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.page = 3;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let read = send(&mut client, text(READER, "x")).await;
    let failed = send(&mut client, text(FAILING, "x")).await;
    let later = v1::SendMessageRequest { deliver_at: in_seconds(3600), ..text(READER, "x") };
    let canceled = send(&mut client, later).await;
    let all = until_final(&[&read, &failed, &canceled]);
    let mut live = follow(&mut client, all.clone()).await;
    let mut updates = next_updates(&mut live, 10).await;
    // Two are final. The third is not, and the stream lives on.
    assert!(matches!(next_frame(&mut live).await.0, Frame::Heartbeat(_)));
    client.cancel_messages(v1::CancelMessagesRequest { message_ids: vec![canceled.clone()] }).await.unwrap();
    updates.extend(to_the_end(&mut live).await);
    let trail = |id: &String| {
        let own: Vec<_> = updates.iter().filter(|update| update.message_id == *id).cloned().collect();
        statuses(&own)
    };
    assert_eq!(trail(&read), [Pending, Queued, Sent, Delivered, Read]);
    assert_eq!(trail(&failed), [Pending, Queued, Failed]);
    assert_eq!(trail(&canceled), [Pending, Queued, Canceled]);

    // Again, now that all were final before: the same history, then the end.
    assert_eq!(to_the_end(&mut follow(&mut client, all.clone()).await).await, updates);
    let from_now = StreamRequest { start: None, ..all.clone() };
    assert_eq!(to_the_end(&mut follow(&mut client, from_now).await).await, []);
    // What the filter leaves out counts all the same.
    let filter = StatusFilter { statuses: vec![Canceled.into()], ..all.filter.clone().unwrap() };
    let narrow = StreamRequest { filter: Some(filter), ..all };
    assert_eq!(to_the_end(&mut follow(&mut client, narrow).await).await, updates[10..]);
    for id in [&read, &failed, &canceled] {
        let ended = to_the_end(&mut follow(&mut client, until_final(&[id])).await).await;
        assert_eq!(statuses(&ended), trail(id));
    }
    world.end((live, client), gateway).await;
}

#[tokio::test]
async fn a_stream_until_final_waits_for_more_than_delivery() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let delivered = send(&mut client, text(UNREAD, "x")).await;
    let mut frames = follow(&mut client, until_final(&[&delivered])).await;
    assert_eq!(statuses(&next_updates(&mut frames, 4).await), [Pending, Queued, Sent, Delivered]);
    assert!(matches!(next_frame(&mut frames).await.0, Frame::Heartbeat(_)));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_stream_until_final_names_messages_that_the_caller_sees() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let own = send(&mut orders, text(STUCK, "x")).await;
    let theirs = send(&mut billing, text(STUCK, "x")).await;
    let unknown = "01970000-0000-7000-8000-000000000000".to_owned();
    let absent = error_of(orders.stream_status_updates(until_final(&[&own, &unknown])).await);
    assert_eq!((absent.code, absent.reason.as_str()), (Code::NotFound, "MESSAGE_NOT_FOUND"));
    assert_eq!(error_of(orders.stream_status_updates(until_final(&[&own, &theirs])).await), absent);
    let nothing = error_of(orders.stream_status_updates(until_final(&[])).await);
    let needs = ("until_final".to_owned(), "needs filter.message_ids".to_owned());
    assert_eq!((nothing.reason.as_str(), nothing.violations), ("INVALID_REQUEST", vec![needs]));
    world.end((orders, billing), gateway).await;
}

#[tokio::test]
async fn drained_streams_go_on_after_the_restart_without_gap_or_repeat() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.page = 4;
    let config = config::check_in_memory(settings).unwrap();
    let gateway = world.gateway_with(config.clone()).await;
    let mut before = client(&gateway).await;
    // 4 KiB each, so that the whole history does not fit into what is on its way to one subscriber.
    let metadata = (0..16).map(|index| (format!("key-{index}"), "v".repeat(256))).collect();
    let heavy = v1::SendMessageRequest { metadata, ..text(READER, "before") };
    for _ in 0..6 {
        send(&mut before, heavy.clone()).await;
    }
    let mut all = follow(&mut before, from_earliest()).await;
    let mut history = next_updates(&mut all, 30).await;
    let reads = StatusFilter { statuses: vec![Read.into()], ..Default::default() };
    let nothing = StatusFilter { labels: vec!["green".to_owned()], ..Default::default() };
    let requests = [
        from_earliest(),
        StreamRequest::default(),
        StreamRequest { filter: Some(reads), ..from_earliest() },
        StreamRequest { filter: Some(nothing), ..from_earliest() },
    ];
    // The first has room for a few frames, so that it is in the middle when the end comes. The others share a connection.
    let mut streams = vec![narrow(&gateway, requests[0].clone()).await];
    for request in &requests[1..] {
        streams.push(follow(&mut before, request.clone()).await);
    }
    for frames in &mut streams {
        started(frames).await;
    }
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    let service = HealthCheckRequest { service: "pilotgate.v1.MessagingService".to_owned() };
    let mut health = HealthClient::new(channel).watch(service).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let ending = tokio::spawn(gateway.shutdown());
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let mut left = Vec::new();
    for mut frames in streams {
        let mut seen = Vec::new();
        let (drain, cursor) = loop {
            match next_frame(&mut frames).await {
                (Frame::Update(update), _) => seen.push(update),
                (Frame::Drain(drain), cursor) => break (drain, cursor),
                (other, _) => panic!("unexpected {other:?}"),
            }
        };
        let wait = Duration::try_from(drain.reconnect_after.unwrap()).unwrap();
        assert!(wait <= Duration::from_secs(5), "{wait:?}");
        let ended = error_of(frames.message().await);
        assert_eq!((ended.code, ended.reason.as_str()), (Code::Unavailable, "DRAINING"));
        left.push((seen, cursor));
    }
    assert!((1..30).contains(&left[0].0.len()), "it ended in the middle, after {}", left[0].0.len());
    drop((all, before, health));
    ending.await.unwrap();

    let gateway = world.gateway_with(config).await;
    let mut after = client(&gateway).await;
    send(&mut after, text(READER, "after")).await;
    let mut all = follow(&mut after, from_earliest()).await;
    next_updates(&mut all, 30).await;
    history.extend(next_updates(&mut all, 5).await);
    let expected = [
        history.clone(),
        history[30..].to_vec(),
        history.iter().filter(|update| update.status() == Read).cloned().collect(),
        Vec::new(),
    ];
    for ((request, (mut seen, cursor)), expected) in requests.into_iter().zip(left).zip(expected) {
        let resumed = StreamRequest { start: from_cursor(&cursor).start, ..request };
        let mut frames = follow(&mut after, resumed).await;
        started(&mut frames).await;
        let rest = expected.len() - seen.len();
        seen.extend(next_updates(&mut frames, rest).await);
        assert_eq!(seen, expected);
    }
    world.end((all, after), gateway).await;
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_does_not_hold_up_the_end() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut before = client(&gateway).await;
    for _ in 0..20 {
        send(&mut before, text(READER, "x")).await;
    }
    let mut all = follow(&mut before, from_earliest()).await;
    let history = next_updates(&mut all, 100).await;
    let mut stuck = narrow(&gateway, from_earliest()).await;
    let (first, cursor) = next_update(&mut stuck).await;
    assert_eq!(first, history[0]);
    drop((all, before));
    let asked = Instant::now();
    tokio::time::timeout(Duration::from_secs(15), gateway.shutdown()).await.expect("held up");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());

    // The directory is free although that connection was never closed by its owner, and nothing is lost.
    let gateway = world.gateway().await;
    let mut after = client(&gateway).await;
    let mut frames = follow(&mut after, from_cursor(&cursor)).await;
    assert_eq!(next_updates(&mut frames, 99).await, history[1..]);
    world.end((stuck, frames, after), gateway).await;
}

#[tokio::test]
async fn there_are_no_more_streams_than_allowed() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.max = 2;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    // What is refused takes no place.
    for _ in 0..3 {
        assert_eq!(error_of(client.stream_status_updates(from_cursor("x")).await).reason, "CURSOR_INVALID");
    }
    let first = follow(&mut client, from_earliest()).await;
    let second = follow(&mut client, from_earliest()).await;
    let told = error_of(client.stream_status_updates(from_earliest()).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(told.retry_after, Some(Duration::from_secs(1)));
    drop(first);
    let freed = async { while client.stream_status_updates(from_earliest()).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("a closed stream makes room");
    world.end((second, client), gateway).await;
}

#[tokio::test]
async fn a_start_that_was_trimmed_is_told_and_never_jumped_over() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut before = client(&gateway).await;
    for _ in 0..3 {
        send(&mut before, text(STUCK, "x")).await;
    }
    let mut frames = follow(&mut before, from_earliest()).await;
    let (mut history, mut cursors) = (Vec::new(), vec![started(&mut frames).await.1]);
    for _ in 0..6 {
        let (update, cursor) = next_update(&mut frames).await;
        history.push(update);
        cursors.push(cursor);
    }
    drop((frames, before));
    gateway.shutdown().await;
    let database = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    database.execute_batch("DELETE FROM events WHERE position <= 4; UPDATE log SET trimmed = 4").unwrap();
    drop(database);

    let gateway = world.gateway().await;
    let mut client = support::client(&gateway).await;
    assert_eq!(log_length(&mut client).await, 2);
    let mut earliest = follow(&mut client, from_earliest()).await;
    assert_eq!(next_updates(&mut earliest, 2).await, history[4..]);
    for cursor in &cursors[..4] {
        let told = error_of(client.stream_status_updates(from_cursor(cursor)).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
        assert_eq!(told.metadata["oldest_cursor"], cursors[4]);
        let oldest: jiff::Timestamp = told.metadata["oldest_time"].parse().unwrap();
        let expected = history[4].observe_time.unwrap();
        assert_eq!((oldest.as_second(), oldest.subsec_nanosecond()), (expected.seconds, expected.nanos));

        let on_expired = v1::OnExpired::Earliest.into();
        let mut frames = follow(&mut client, StreamRequest { on_expired, ..from_cursor(cursor) }).await;
        started(&mut frames).await;
        let (gap, at) = next_frame(&mut frames).await;
        let from = if cursor == &cursors[0] { String::new() } else { cursor.clone() };
        let reason = v1::GapReason::Retention.into();
        assert_eq!(gap, Frame::Gap(v1::Gap { from, to: cursors[4].clone(), reason }));
        assert_eq!(at, cursors[4]);
        assert_eq!(next_updates(&mut frames, 2).await, history[4..]);
    }
    let mut kept = follow(&mut client, from_cursor(&cursors[4])).await;
    assert_eq!(trails(&mut kept, 2).await[&history[4].message_id], [Pending, Queued]);
    world.end((earliest, kept, client), gateway).await;
}
