//! Streams: where they start, what they carry, for whom.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pilotgate::{
    config::{
        self,
        settings::{GrantSettings, Settings},
    },
    domain::principal::Permission,
    proto::v1::{
        self, IdleReason,
        MessageStatus::{Pending, Queued, Read, Sent},
        StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        stream_status_updates_request::Start,
        stream_status_updates_response::Frame,
    },
};
use tonic::Code;

use crate::support::{
    self, AUDITOR_TOKEN, OTHER_TOKEN, READER, STUCK, World, client, client_as, error_of, follow, from_cursor,
    from_earliest, next_frame, next_update, next_updates, second_number, send, started, text, trails, two_numbers,
};

fn filtered(filter: StatusFilter) -> StreamRequest {
    StreamRequest { filter: Some(filter), ..from_earliest() }
}

fn every(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

#[tokio::test]
async fn every_cursor_resumes_with_exactly_the_rest() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    for _ in 0..6 {
        send(&mut client, text(READER, "x")).await;
    }
    let mut frames = follow(&mut client, from_earliest()).await;
    let (_, start) = started(&mut frames).await;
    let mut history = Vec::new();
    let mut cursors = vec![start];
    for _ in 0..30 {
        let (update, cursor) = next_update(&mut frames).await;
        history.push(update);
        cursors.push(cursor);
    }
    for (seen, cursor) in cursors.iter().enumerate() {
        let mut resumed = follow(&mut client, from_cursor(cursor)).await;
        let (heartbeat, again) = started(&mut resumed).await;
        let rest = &history[seen..];
        assert_eq!((heartbeat.backlog, &again), (i64::try_from(rest.len()).unwrap(), cursor), "after {seen}");
        assert_eq!(next_updates(&mut resumed, rest.len()).await, rest, "after {seen}");
    }
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_stream_starts_at_an_end_or_at_a_time() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut all = follow(&mut client, from_earliest()).await;
    let mut history = Vec::new();
    for _ in 0..3 {
        send(&mut client, text(STUCK, "old")).await;
        history.extend(next_updates(&mut all, 2).await);
    }
    let positions = [v1::Position::Unspecified, v1::Position::Latest].map(|at| Some(Start::Position(at.into())));
    let mut latest = Vec::new();
    for start in positions.into_iter().chain([None]) {
        let mut frames = follow(&mut client, StreamRequest { start, ..Default::default() }).await;
        assert_eq!(
            started(&mut frames).await.0,
            v1::Heartbeat { head_lag: every(0, 0), backlog: 0, idle_reason: 1, unacknowledged: 0 }
        );
        latest.push(frames);
    }
    let new = send(&mut client, text(STUCK, "new")).await;
    history.extend(next_updates(&mut all, 2).await);
    for frames in &mut latest {
        let updates = next_updates(frames, 2).await;
        assert_eq!((&updates[0].message_id, &updates[..]), (&new, &history[6..]));
    }

    let times: Vec<_> = history.iter().map(|update| update.observe_time.unwrap()).collect();
    let after = |time: &prost_types::Timestamp, nanos| prost_types::Timestamp { nanos: time.nanos + nanos, ..*time };
    let cases = [
        (prost_types::Timestamp { seconds: 0, nanos: 0 }, 0),
        (times[0], 0),
        (times[2], 2),
        (after(&times[2], 1_000), 3),
        (times[5], 5),
        (prost_types::Timestamp { seconds: times[5].seconds + 3600, nanos: 0 }, 8),
    ];
    for (time, seen) in cases {
        let request = StreamRequest { start: Some(Start::StartTime(time)), ..Default::default() };
        let mut frames = follow(&mut client, request).await;
        assert_eq!(usize::try_from(started(&mut frames).await.0.backlog).unwrap(), 8 - seen, "{time:?}");
        assert_eq!(next_updates(&mut frames, 8 - seen).await, history[seen..], "{time:?}");
    }
    world.end((all, latest, client), gateway).await;
}

#[tokio::test]
async fn heartbeats_come_as_asked_and_move_the_cursor_past_what_does_not_match() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    for (seconds, nanos) in [(1, 0), (300, 0)] {
        let request = StreamRequest { heartbeat_interval: every(seconds, nanos), ..Default::default() };
        started(&mut follow(&mut client, request).await).await;
    }
    for (seconds, nanos) in [(0, 0), (0, 999_999_999), (300, 1), (-1, 0), (i64::MAX, 0), (1, -1)] {
        let request = StreamRequest { heartbeat_interval: every(seconds, nanos), ..Default::default() };
        let told = error_of(client.stream_status_updates(request).await);
        let fields: Vec<_> = told.violations.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
        assert_eq!(fields, ["heartbeat_interval"], "{seconds} s {nanos} ns");
    }

    let none = StatusFilter { labels: vec!["green".to_owned()], ..Default::default() };
    let request = StreamRequest { heartbeat_interval: every(1, 0), ..filtered(none) };
    let mut frames = follow(&mut client, request.clone()).await;
    let (_, mut cursor) = started(&mut frames).await;
    for _ in 0..2 {
        send(&mut client, text(STUCK, "x")).await;
        let asked = Instant::now();
        let (frame, moved) = next_frame(&mut frames).await;
        let caught_up = v1::Heartbeat {
            head_lag: every(0, 0),
            backlog: 0,
            idle_reason: IdleReason::CaughtUp.into(),
            unacknowledged: 0,
        };
        assert_eq!(frame, Frame::Heartbeat(caught_up));
        // The clock of the interval began a little before this one.
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_ne!(moved, std::mem::replace(&mut cursor, moved.clone()));
    }
    let asked = Instant::now();
    let (_, same) = next_frame(&mut frames).await;
    assert!((500..5_000).contains(&asked.elapsed().as_millis()), "{:?}", asked.elapsed());
    assert_eq!(same, cursor);
    let resumed = StreamRequest { start: Some(Start::Cursor(cursor)), ..request };
    assert_eq!(started(&mut follow(&mut client, resumed).await).await.0.backlog, 0);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn filters_choose_each_alone_and_together() {
    let world = World::with(two_numbers()).await;
    let mut settings = world.settings();
    settings.numbers.push(second_number(&world));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let label = |label: &str| v1::SendMessageRequest { labels: vec![label.to_owned()], ..text(READER, "x") };
    let red = send(&mut client, label("red")).await;
    let blue = send(&mut client, label("blue")).await;
    let other = send(&mut client, v1::SendMessageRequest { number: "wn_second".to_owned(), ..label("red") }).await;
    let mut all = follow(&mut client, from_earliest()).await;
    let history = next_updates(&mut all, 12).await;

    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let any = StatusFilter::default;
    let red_and_green = words(&["red", "green"]);
    type Choice<'a> = Box<dyn Fn(&v1::StatusUpdate) -> bool + 'a>;
    let first: fn(&v1::StatusUpdate) -> bool = |update| update.number == "wn_sandbox";
    let cases: [(StatusFilter, Choice<'_>); 12] = [
        (any(), Box::new(|_| true)),
        (StatusFilter { numbers: words(&["wn_sandbox"]), ..any() }, Box::new(first)),
        (StatusFilter { numbers: words(&["wn_upstream_id"]), ..any() }, Box::new(first)),
        (StatusFilter { numbers: words(&["+5511900000000"]), ..any() }, Box::new(first)),
        (StatusFilter { numbers: words(&["wn_second"]), ..any() }, Box::new(|update| !first(update))),
        (StatusFilter { numbers: words(&["+5511900000001", "wn_sandbox"]), ..any() }, Box::new(|_| true)),
        (StatusFilter { message_ids: vec![blue.clone()], ..any() }, Box::new(|update| update.message_id == blue)),
        (
            StatusFilter { message_ids: vec![other.clone(), red.clone()], ..any() },
            Box::new(|update| update.message_id != blue),
        ),
        (
            StatusFilter { statuses: vec![Sent.into(), Pending.into()], ..any() },
            Box::new(|update| [Sent, Pending].contains(&update.status())),
        ),
        (
            StatusFilter { labels: red_and_green.clone(), ..any() },
            Box::new(|update| [&red, &other].contains(&&update.message_id)),
        ),
        (
            StatusFilter {
                numbers: words(&["wn_sandbox"]),
                message_ids: vec![red.clone(), blue.clone(), other.clone()],
                statuses: vec![Read.into(), Queued.into()],
                labels: red_and_green.clone(),
            },
            Box::new(|update| update.message_id == red && [Queued, Read].contains(&update.status())),
        ),
        (StatusFilter { numbers: words(&["wn_second"]), message_ids: vec![red.clone()], ..any() }, Box::new(|_| false)),
    ];
    let followed = cases.map(async |(filter, chosen)| {
        let expected: Vec<_> = history.iter().filter(|update| chosen(update)).cloned().collect();
        let request = StreamRequest { heartbeat_interval: every(1, 0), ..filtered(filter.clone()) };
        let mut frames = follow(&mut client.clone(), request).await;
        started(&mut frames).await;
        assert_eq!(next_updates(&mut frames, expected.len()).await, expected, "{filter:?}");
        // All of the log has been looked at, and nothing else passed.
        let (rest, _) = next_frame(&mut frames).await;
        let Frame::Heartbeat(rest) = rest else { panic!("{filter:?} let pass {rest:?}") };
        assert_eq!(rest.backlog, 0);
    });
    join_all(followed).await;
    world.end((all, client), gateway).await;
}

#[tokio::test]
async fn a_cursor_cannot_lie() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client(&gateway).await;
    send(&mut orders, text(STUCK, "x")).await;
    let statuses = |statuses: &[v1::MessageStatus]| StatusFilter {
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        ..Default::default()
    };
    let mut frames = follow(&mut orders, from_earliest()).await;
    let (_, cursor) = next_update(&mut frames).await;
    let mut narrow = follow(&mut orders, filtered(statuses(&[Pending, Read]))).await;
    let (_, narrow_cursor) = next_update(&mut narrow).await;
    // The order in which a filter is written makes no difference.
    let same = StreamRequest { filter: Some(statuses(&[Read, Pending])), ..from_cursor(&narrow_cursor) };
    assert_eq!(started(&mut follow(&mut orders, same).await).await.0.backlog, 1);

    let refused = |result, cause: &str| {
        let told = error_of::<tonic::Response<support::Frames>>(result);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "CURSOR_INVALID"), "{cause}");
        assert_eq!(told.metadata, support::metadata([("cause", cause)]));
    };
    for at in 0..cursor.len() {
        let mut tampered = cursor.clone().into_bytes();
        tampered[at] = if tampered[at] == b'Q' { b'g' } else { b'Q' };
        let tampered = String::from_utf8(tampered).unwrap();
        refused(orders.stream_status_updates(from_cursor(&tampered)).await, "not_ours");
    }
    for text in ["", "x", &cursor[1..], &cursor[..cursor.len() - 1], &format!("{cursor}A"), &"A".repeat(100_000)] {
        refused(orders.stream_status_updates(from_cursor(text)).await, "not_ours");
    }
    let narrower = StreamRequest { filter: Some(statuses(&[Read])), ..from_cursor(&cursor) };
    refused(orders.stream_status_updates(narrower).await, "other_filter");
    refused(orders.stream_status_updates(from_cursor(&narrow_cursor)).await, "other_filter");
    for token in [OTHER_TOKEN, AUDITOR_TOKEN] {
        let mut other = client_as(&gateway, Some(token)).await;
        refused(other.stream_status_updates(from_cursor(&cursor)).await, "other_filter");
    }
    // Another gateway signs with a key of its own.
    let elsewhere = World::new().await;
    let other_gateway = elsewhere.gateway().await;
    let mut other_client = client(&other_gateway).await;
    refused(other_client.stream_status_updates(from_cursor(&cursor)).await, "not_ours");
    elsewhere.end(other_client, other_gateway).await;
    world.end((frames, narrow, orders), gateway).await;
}

#[tokio::test]
async fn a_cursor_from_beyond_a_restored_backup_is_refused() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut before = client(&gateway).await;
    send(&mut before, text(STUCK, "kept")).await;
    drop(before);
    gateway.shutdown().await;
    let database = world.settings().store.directory.join("pilotgate.db");
    let backup = std::fs::read(&database).unwrap();

    let gateway = world.gateway().await;
    let mut client = support::client(&gateway).await;
    send(&mut client, text(STUCK, "lost with the disk")).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let mut cursors = Vec::new();
    for _ in 0..4 {
        cursors.push(next_update(&mut frames).await.1);
    }
    drop((frames, client));
    gateway.shutdown().await;

    std::fs::remove_file(database.with_extension("db-wal")).ok();
    std::fs::write(&database, backup).unwrap();
    let gateway = world.gateway().await;
    let mut after = support::client(&gateway).await;
    for cursor in &cursors[2..] {
        let told = error_of(after.stream_status_updates(from_cursor(cursor)).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
        assert_eq!(told.metadata, support::metadata([("cause", "other_log")]));
    }
    assert_eq!(started(&mut follow(&mut after, from_cursor(&cursors[1])).await).await.0.backlog, 0);
    world.end(after, gateway).await;
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
        heartbeat_interval: every(0, 5),
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
    world.end(client, gateway).await;
}

#[tokio::test]
async fn everyone_sees_what_is_theirs() {
    let world = World::with(two_numbers()).await;
    let mut settings: Settings = world.settings();
    settings.numbers.push(second_number(&world));
    let on = |number: &str, permission| GrantSettings {
        number: number.to_owned(),
        permissions: vec![permission],
        ..Default::default()
    };
    let mut narrow = settings.callers[2].clone();
    narrow.name = "narrow".to_owned();
    narrow.token_hashes = vec![pilotgate::domain::secret::TokenHash::of("pgt_narrow-token-for-tests").to_hex()];
    narrow.grants = vec![on("wn_second", Permission::Observe), on("wn_sandbox", Permission::Send)];
    settings.callers.push(narrow);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut orders = client(&gateway).await;
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let mut auditor = client_as(&gateway, Some(AUDITOR_TOKEN)).await;
    let mut narrow = client_as(&gateway, Some("pgt_narrow-token-for-tests")).await;
    let on_second = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(STUCK, "x") };
    let ours = send(&mut orders, text(STUCK, "x")).await;
    let theirs = send(&mut billing, text(STUCK, "x")).await;
    let second = send(&mut billing, on_second).await;
    // It may send, but what it sent there it may not see.
    let unseen = send(&mut narrow, text(STUCK, "x")).await;
    let everything = [&ours, &theirs, &second, &unseen];
    let sights = [
        (&mut auditor, &everything[..]),
        (&mut orders, &[&ours]),
        (&mut billing, &[&theirs, &second]),
        (&mut narrow, &[&second]),
    ];
    let followed = sights.map(async |(client, own)| {
        let request = StreamRequest { heartbeat_interval: every(1, 0), ..from_earliest() };
        let mut frames = follow(client, request).await;
        let trails = trails(&mut frames, 2 * own.len()).await;
        let expected: Vec<_> = own.iter().map(|id| ((*id).clone(), vec![Pending, Queued])).collect();
        assert_eq!(trails.into_iter().collect::<Vec<_>>(), expected);
        assert!(matches!(next_frame(&mut frames).await.0, Frame::Heartbeat(v1::Heartbeat { backlog: 0, .. })));
    });
    join_all(followed).await;
    // A number without anything to see on it and one that does not exist are refused alike.
    let by_number = |number: &str| filtered(StatusFilter { numbers: vec![number.to_owned()], ..Default::default() });
    let hidden = error_of(narrow.stream_status_updates(by_number("wn_sandbox")).await);
    assert_eq!((hidden.code, hidden.reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    assert_eq!(error_of(narrow.stream_status_updates(by_number("wn_nowhere")).await), hidden);
    world.end((orders, billing, auditor, narrow), gateway).await;
}
