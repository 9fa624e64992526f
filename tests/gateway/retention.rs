//! Retention: what goes when, and what callers and subscribers are told of it.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, routing::post};
use jiff::{SignedDuration, Timestamp};
use pilotgate::{
    config::{
        self,
        settings::{Settings, Span},
    },
    domain::sources::Sources,
    proto::v1::{
        self,
        MessageStatus::{InDoubt, Pending, Queued},
        StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        stream_status_updates_response::Frame,
    },
    server::{self, Gateway},
};
use tokio::sync::Notify;
use tonic::Code;

use crate::{
    stream_ends::narrow,
    support::{
        Client, Frames, NUMBER, READER, STUCK, World, client, error_of, follow, from_cursor, from_earliest, get,
        log_length, metadata, next_frame, next_update, next_updates, send, sends, started, template, text,
    },
};

/// The double accepts and closes the connection without an answer.
const DOUBTED: &str = "+5511987650012";

/// The machine's clock, put forward at will.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn sources(&self) -> Sources {
        let ahead = Arc::clone(&self.0);
        let clock = move || Timestamp::now() + SignedDuration::from_mins(ahead.load(Ordering::SeqCst));
        Sources::new(clock, |bytes| getrandom::fill(bytes).unwrap())
    }

    pub fn forward(&self, minutes: i64) {
        self.0.fetch_add(minutes, Ordering::SeqCst);
    }
}

/// Entries go after an hour, ended messages after two, open ones after ten; looked for all the time.
pub fn short(world: &World) -> Settings {
    let mut settings = world.settings();
    let hours = |hours: u64| Span(Duration::from_secs(hours * 3600));
    settings.messaging.replay_window = hours(1);
    settings.retention.events = hours(1);
    settings.retention.messages = hours(2);
    settings.retention.open = hours(10);
    settings.retention.early = hours(1);
    settings.retention.interval = Span(Duration::from_millis(5));
    settings
}

pub async fn gateway(world: &World, settings: Settings, clock: &Clock) -> Gateway {
    let gateway = server::start(config::check_in_memory(settings).unwrap(), clock.sources()).await.unwrap();
    world.register(&gateway).await;
    gateway
}

/// Asks until it is so; fails rather than wait for ever.
pub async fn until<F: Future<Output = bool>>(mut reached: impl FnMut() -> F) {
    let asking = async { while !reached().await {} };
    tokio::time::timeout(Duration::from_secs(20), asking).await.expect("not so within 20 s");
}

pub async fn until_log_has(client: &Client, entries: i64) {
    until(async || log_length(&mut client.clone()).await == entries).await;
}

fn by_id(id: &str) -> v1::GetMessageRequest {
    v1::GetMessageRequest { key: Some(v1::get_message_request::Key::MessageId(id.to_owned())), ..Default::default() }
}

pub async fn is_gone(client: &Client, id: &str) -> bool {
    match client.clone().get_message(by_id(id)).await {
        Ok(_) => false,
        failed => {
            let told = error_of(failed);
            assert_eq!((told.code, told.reason.as_str()), (Code::NotFound, "MESSAGE_NOT_FOUND"));
            true
        }
    }
}

pub fn requested(phone: &str, request_id: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest { request_id: request_id.to_owned(), ..text(phone, "x") }
}

fn or_earliest(request: StreamRequest) -> StreamRequest {
    StreamRequest { on_expired: v1::OnExpired::Earliest.into(), ..request }
}

fn gap(from: &str, to: &str) -> Frame {
    Frame::Gap(v1::Gap { from: from.to_owned(), to: to.to_owned(), reason: v1::GapReason::Retention.into() })
}

/// The history from its beginning: the cursor before it, then each update with the cursor behind it.
async fn history(client: &mut Client, updates: usize) -> (Vec<v1::StatusUpdate>, Vec<String>) {
    let mut frames = follow(client, from_earliest()).await;
    let (mut history, mut cursors) = (Vec::new(), vec![started(&mut frames).await.1]);
    for _ in 0..updates {
        let (update, cursor) = next_update(&mut frames).await;
        history.push(update);
        cursors.push(cursor);
    }
    (history, cursors)
}

#[tokio::test]
async fn a_cursor_behind_the_trimmed_part_is_told_where_to_go_on() {
    let (world, clock) = (World::new().await, Clock::default());
    let gateway = gateway(&world, short(&world), &clock).await;
    let mut client = client(&gateway).await;
    for _ in 0..3 {
        send(&mut client, text(STUCK, "old")).await;
    }
    let (old, cursors) = history(&mut client, 6).await;
    clock.forward(50);
    send(&mut client, text(STUCK, "young")).await;
    clock.forward(30);
    until_log_has(&client, 2).await;
    let mut earliest = follow(&mut client, from_earliest()).await;
    let young = next_updates(&mut earliest, 2).await;
    for cursor in &cursors[..6] {
        let told = error_of(client.stream_status_updates(from_cursor(cursor)).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
        let oldest: Timestamp = told.metadata["oldest_time"].parse().unwrap();
        let expected = young[0].observe_time.unwrap();
        assert_eq!((oldest.as_second(), oldest.subsec_nanosecond()), (expected.seconds, expected.nanos));
        assert_eq!(told.metadata["oldest_cursor"], cursors[6]);
        let mut resumed = follow(&mut client, from_cursor(&told.metadata["oldest_cursor"])).await;
        assert_eq!(next_updates(&mut resumed, 2).await, young);

        let mut frames = follow(&mut client, or_earliest(from_cursor(cursor))).await;
        started(&mut frames).await;
        let from = if cursor == &cursors[0] { "" } else { cursor };
        assert_eq!(next_frame(&mut frames).await, (gap(from, &cursors[6]), cursors[6].clone()));
        assert_eq!(next_updates(&mut frames, 2).await, young);
    }
    let from = |time| StreamRequest {
        start: Some(v1::stream_status_updates_request::Start::StartTime(time)),
        ..Default::default()
    };
    let last_gone = old[5].observe_time.unwrap();
    let told = error_of(client.stream_status_updates(from(last_gone)).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    let mut frames = follow(&mut client, or_earliest(from(last_gone))).await;
    started(&mut frames).await;
    assert_eq!(next_frame(&mut frames).await.0, gap("", &cursors[6]));
    // Nothing was logged between the last that is gone and the first that is kept, so that nothing is missed from there.
    let quiet = prost_types::Timestamp { seconds: last_gone.seconds + 60, ..last_gone };
    assert_eq!(next_updates(&mut follow(&mut client, from(quiet)).await, 2).await, young);
    world.end((earliest, frames, client), gateway).await;
}

#[tokio::test]
async fn a_log_that_was_trimmed_to_its_end_goes_on_there_also_after_a_restart() {
    let (world, clock) = (World::new().await, Clock::default());
    let first = gateway(&world, short(&world), &clock).await;
    let mut before = client(&first).await;
    send(&mut before, text(STUCK, "old")).await;
    let (_, cursors) = history(&mut before, 2).await;
    clock.forward(90);
    until_log_has(&before, 0).await;
    drop(before);
    first.shutdown().await;

    let gateway = gateway(&world, short(&world), &clock).await;
    let mut client = client(&gateway).await;
    let told = error_of(client.stream_status_updates(from_cursor(&cursors[1])).await);
    assert_eq!(told.metadata, metadata([("oldest_cursor", &cursors[2])]));
    let mut behind = follow(&mut client, or_earliest(from_cursor(&cursors[1]))).await;
    started(&mut behind).await;
    assert_eq!(next_frame(&mut behind).await.0, gap(&cursors[1], &cursors[2]));
    let mut resumed = follow(&mut client, from_cursor(&cursors[2])).await;
    let id = send(&mut client, text(STUCK, "new")).await;
    for frames in [&mut behind, &mut resumed] {
        let updates = next_updates(frames, 2).await;
        assert_eq!((updates[0].message_id.as_str(), updates[0].status(), updates[1].status()), (&*id, Pending, Queued));
    }
    world.end((behind, resumed, client), gateway).await;
}

/// Two streams on narrow connections that stand in the middle of a history when all of it is trimmed: one that fails, one
/// that goes on; with the history.
async fn overtaken(world: &World, gateway: &Gateway, clock: &Clock) -> (Client, [Frames; 2], Vec<v1::StatusUpdate>) {
    let mut client = client(gateway).await;
    // 4 KiB each, so that the whole history does not fit into what is on its way to one subscriber.
    let metadata = (0..16).map(|index| (format!("key-{index}"), "v".repeat(256))).collect();
    let heavy = v1::SendMessageRequest { metadata, ..text(READER, "old") };
    for _ in 0..8 {
        send(&mut client, heavy.clone()).await;
    }
    let mut streams = [narrow(gateway, from_earliest()).await, narrow(gateway, or_earliest(from_earliest())).await];
    for frames in &mut streams {
        started(frames).await;
    }
    let (history, _) = history(&mut client, 40).await;
    clock.forward(90);
    until_log_has(&client, 0).await;
    assert_eq!(sends(world).len(), 8);
    (client, streams, history)
}

#[tokio::test]
async fn a_live_stream_that_is_overtaken_is_told() {
    let (world, clock) = (World::new().await, Clock::default());
    let mut settings = short(&world);
    settings.streams.page = 2;
    let gateway = gateway(&world, settings, &clock).await;
    let (mut client, [mut failing, mut going_on], history) = overtaken(&world, &gateway, &clock).await;

    let mut seen = Vec::new();
    let told = loop {
        match tokio::time::timeout(Duration::from_secs(20), failing.message()).await.expect("no end within 20 s") {
            Ok(Some(response)) => {
                if let Some(Frame::Update(update)) = response.frame {
                    seen.push(update);
                }
            }
            ended => break error_of(ended),
        }
    };
    assert!((1..40).contains(&seen.len()), "overtaken in the middle, after {}", seen.len());
    assert_eq!(seen, history[..seen.len()]);
    assert_eq!((told.code, told.reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    let mut resumed = follow(&mut client, from_cursor(&told.metadata["oldest_cursor"])).await;

    let (mut seen, mut last) = (Vec::new(), String::new());
    let jumped = loop {
        match next_frame(&mut going_on).await {
            (Frame::Update(update), cursor) => {
                seen.push(update);
                last = cursor;
            }
            (Frame::Heartbeat(_), _) => {}
            other => break other,
        }
    };
    assert_eq!(seen, history[..seen.len()]);
    let end = &told.metadata["oldest_cursor"];
    assert_eq!(jumped, (gap(&last, end), end.clone()));
    send(&mut client, text(STUCK, "new")).await;
    let new = next_updates(&mut resumed, 2).await;
    assert_eq!(next_updates(&mut going_on, 2).await, new);
    world.end((client, failing, going_on, resumed), gateway).await;
}

#[tokio::test]
async fn a_stream_until_final_ends_although_the_end_of_its_message_was_trimmed() {
    let (world, clock) = (World::new().await, Clock::default());
    let mut settings = short(&world);
    settings.streams.page = 2;
    let gateway = gateway(&world, settings, &clock).await;
    let mut client = client(&gateway).await;
    let metadata = (0..16).map(|index| (format!("key-{index}"), "v".repeat(256))).collect();
    let heavy = v1::SendMessageRequest { metadata, ..text(READER, "x") };
    let later = v1::SendMessageRequest { deliver_at: crate::support::in_seconds(3600), ..text(STUCK, "x") };
    let open = send(&mut client, later).await;
    // Filled with more than is on its way to a subscriber before the message ends.
    let mut message_ids = vec![open.clone()];
    for _ in 0..8 {
        message_ids.push(send(&mut client, heavy.clone()).await);
    }
    let filter = Some(StatusFilter { message_ids, ..Default::default() });
    let request = or_earliest(StreamRequest { filter, until_final: true, ..from_earliest() });
    let mut frames = narrow(&gateway, request).await;
    started(&mut frames).await;
    let _ = history(&mut client, 42).await;
    client.cancel_messages(v1::CancelMessagesRequest { message_ids: vec![open] }).await.unwrap();
    clock.forward(90);
    until_log_has(&client, 0).await;
    let mut gaps = 0;
    let to_the_end = async {
        while let Some(response) = frames.message().await.unwrap() {
            gaps += usize::from(matches!(response.frame, Some(Frame::Gap(_))));
        }
    };
    tokio::time::timeout(Duration::from_secs(20), to_the_end).await.expect("no end within 20 s");
    assert_eq!(gaps, 1);
    world.end((client, frames), gateway).await;
}

#[tokio::test]
async fn ended_messages_go_first_then_open_ones_and_pending_ones_never() {
    let (world, clock) = (World::new().await, Clock::default());
    let gateway = gateway(&world, short(&world), &clock).await;
    let mut client = client(&gateway).await;
    let read = send(&mut client, requested(READER, "read")).await;
    let stuck = send(&mut client, requested(STUCK, "stuck")).await;
    let doubted = error_of(
        client.send_message(v1::SendMessageRequest { request_id: "doubted".to_owned(), ..template(DOUBTED) }).await,
    )
    .metadata["message_id"]
        .clone();
    until(async || get(&mut client.clone(), &read).await.status() == v1::MessageStatus::Read).await;
    let upstream_id = get(&mut client, &read).await.upstream_id;

    clock.forward(130);
    until(async || is_gone(&client, &read).await).await;
    assert_eq!(get(&mut client, &stuck).await.status(), Queued);
    assert_eq!(get(&mut client, &doubted).await.status(), InDoubt);
    let by_upstream_id = v1::GetMessageRequest {
        key: Some(v1::get_message_request::Key::Upstream(v1::UpstreamKey { number: NUMBER.to_owned(), upstream_id })),
        ..Default::default()
    };
    assert_eq!(error_of(client.get_message(by_upstream_id).await).reason, "MESSAGE_NOT_FOUND");
    // A request_id is recognised for as long as its message is kept, and free afterwards, for another message too.
    let again = client.send_message(requested(STUCK, "stuck")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().message_id), (true, stuck.clone()));
    assert_eq!(sends(&world).len(), 3);
    let anew = client.send_message(requested(STUCK, "read")).await.unwrap().into_inner();
    assert!(!anew.replayed && anew.message.unwrap().message_id != read);
    assert_eq!(sends(&world).len(), 4);

    clock.forward(480);
    until(async || is_gone(&client, &stuck).await && is_gone(&client, &doubted).await).await;
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_send_that_is_under_way_is_never_trimmed() {
    let (world, clock) = (World::new().await, Clock::default());
    // Answers as often as it is told to.
    let answer = Arc::new(Notify::new());
    let held = Arc::clone(&answer);
    let accept = async move || {
        held.notified().await;
        (StatusCode::ACCEPTED, r#"{"id":"msg_1","correlationId":"c_1","status":"QUEUED"}"#)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = short(&world);
    settings.upstream.base_url = format!("http://{}", listener.local_addr().unwrap());
    let upstream = tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/v1/messages/send", post(accept))).await.unwrap();
    });
    let gateway = gateway(&world, settings, &clock).await;
    let mut client = client(&gateway).await;
    answer.notify_one();
    let beside = send(&mut client, text(STUCK, "beside it")).await;
    let mut latest = follow(&mut client, StreamRequest::default()).await;
    started(&mut latest).await;
    let mut sender = client.clone();
    let sending = tokio::spawn(async move { sender.send_message(text(READER, "slow")).await });
    let (update, _) = next_update(&mut latest).await;
    clock.forward(2 * 365 * 24 * 60);
    until(async || is_gone(&client, &beside).await).await;
    assert_eq!(get(&mut client, &update.message_id).await.status(), Pending);
    answer.notify_one();
    let sent = sending.await.unwrap().unwrap().into_inner().message.unwrap();
    assert_eq!((&sent.message_id, sent.status(), &*sent.upstream_id), (&update.message_id, Queued, "msg_1"));
    upstream.abort();
    world.end((client, latest), gateway).await;
}
