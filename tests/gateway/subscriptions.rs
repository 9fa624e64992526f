//! Named subscriptions: a durable place in the log, acknowledged cumulatively, carried by one stream at a time.

use std::time::Duration;

use futures_util::future::join_all;
use pilotgate::{
    config,
    proto::v1::{
        self, MessageStatus, StatusFilter, StreamStatusUpdatesRequest as StreamRequest,
        stream_status_updates_request::Start, stream_status_updates_response::Frame,
    },
    server::Gateway,
};
use tonic::{Code, Status};

use crate::support::{
    Client, Frames, OTHER_TOKEN, STUCK, Told, World, client, client_as, error_of, follow, from_cursor, from_earliest,
    next_frame, next_update, next_updates, send, started, text,
};

fn named(name: &str) -> StreamRequest {
    StreamRequest { subscription: name.to_owned(), ..Default::default() }
}

fn from_the_start(name: &str) -> StreamRequest {
    StreamRequest { subscription: name.to_owned(), ..from_earliest() }
}

async fn try_commit(client: &mut Client, name: &str, cursor: &str) -> Result<v1::CommitCursorResponse, Status> {
    let request = v1::CommitCursorRequest { subscription: name.to_owned(), cursor: cursor.to_owned() };
    client.commit_cursor(request).await.map(tonic::Response::into_inner)
}

async fn commit(client: &mut Client, name: &str, cursor: &str) -> v1::CommitCursorResponse {
    try_commit(client, name, cursor).await.unwrap()
}

/// The error that a stream ends with, past what still came.
async fn end_of(mut frames: Frames) -> Told {
    let end = async {
        loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended with OK"),
                Err(status) => return error_of::<()>(Err(status)),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), end).await.expect("no end within 20 s")
}

/// A message that stays QUEUED: two updates.
async fn sent(client: &mut Client, body: &str) -> String {
    send(client, text(STUCK, body)).await
}

async fn restarted(world: &World, gateway: Gateway) -> (Gateway, Client) {
    gateway.shutdown().await;
    let gateway = world.gateway().await;
    let client = client(&gateway).await;
    (gateway, client)
}

#[tokio::test]
async fn a_subscription_resumes_behind_what_was_acknowledged_also_after_a_restart() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    sent(&mut client, "before it was made").await;
    let mut frames = follow(&mut client, named("billing")).await;
    assert_eq!(started(&mut frames).await.0.backlog, 0, "a new one begins with what comes next");
    let mut ids = Vec::new();
    for body in ["a", "b", "c"] {
        ids.push(sent(&mut client, body).await);
    }
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(next_update(&mut frames).await);
    }
    let acknowledged = commit(&mut client, "billing", &seen[2].1).await;
    assert_eq!(acknowledged, v1::CommitCursorResponse { cursor: seen[2].1.clone(), backlog: 3 });
    drop((frames, client));

    let (gateway, mut client) = restarted(&world, gateway).await;
    let mut frames = follow(&mut client, named("billing")).await;
    let (heartbeat, cursor) = started(&mut frames).await;
    assert_eq!((heartbeat.backlog, heartbeat.unacknowledged, &cursor), (3, 0, &seen[2].1));
    let rest: Vec<_> = seen[3..].iter().map(|(update, _)| update.clone()).collect();
    assert_eq!(next_updates(&mut frames, 3).await, rest, "what was not acknowledged comes again");
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_subscription_that_never_acknowledged_resumes_where_it_began() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    started(&mut follow(&mut client, named("s")).await).await;
    let id = sent(&mut client, "while nobody reads").await;
    drop(client);
    let (gateway, mut client) = restarted(&world, gateway).await;
    let mut frames = follow(&mut client, named("s")).await;
    let told: Vec<_> = next_updates(&mut frames, 2).await.into_iter().map(|update| update.message_id).collect();
    assert_eq!(told, [id.clone(), id]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn acknowledging_never_goes_back_whoever_comes_last() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_the_start("s")).await;
    started(&mut frames).await;
    for _ in 0..16 {
        sent(&mut client, "x").await;
    }
    let mut cursors = Vec::new();
    for _ in 0..32 {
        cursors.push(next_update(&mut frames).await.1);
    }
    let commits = cursors.iter().rev().map(|cursor| {
        let mut client = client.clone();
        async move { commit(&mut client, "s", cursor).await }
    });
    let answers = join_all(commits).await;
    let place = |cursor: &String| cursors.iter().position(|known| known == cursor).unwrap();
    for (cursor, answer) in cursors.iter().rev().zip(&answers) {
        assert!(place(&answer.cursor) >= place(cursor), "acknowledged less than was asked for");
    }
    assert_eq!(commit(&mut client, "s", &cursors[0]).await.cursor, cursors[31]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_newer_stream_takes_over_and_the_older_one_gives_nothing_more() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut older = follow(&mut client, named("s")).await;
    started(&mut older).await;
    for round in 0..50 {
        let mut newer = follow(&mut client, named("s")).await;
        started(&mut newer).await;
        let id = sent(&mut client, "x").await;
        for _ in 0..2 {
            let (update, cursor) = next_update(&mut newer).await;
            assert_eq!(update.message_id, id, "round {round}");
            commit(&mut client, "s", &cursor).await;
        }
        // It began before the message came, so that it would have been given it.
        let end = older.message().await.unwrap_err();
        let told = error_of::<()>(Err(end));
        assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, "SUBSCRIPTION_TAKEN_OVER"));
        older = newer;
    }
    // Other names, and the same name of another caller, are other subscriptions.
    let mut other = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let mut theirs = follow(&mut other, named("s")).await;
    started(&mut theirs).await;
    let mut second = follow(&mut client, named("t")).await;
    started(&mut second).await;
    let id = sent(&mut client, "y").await;
    assert_eq!(next_update(&mut older).await.0.message_id, id);
    world.end((older, theirs, second, client, other), gateway).await;
}

#[tokio::test]
async fn a_stream_that_reads_old_updates_is_taken_over_as_well() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.page = 4;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    for _ in 0..40 {
        sent(&mut client, "x").await;
    }
    // It has room for a few frames and reads none of them.
    let older = crate::stream_ends::narrow(&gateway, from_the_start("s")).await;
    let mut newer = follow(&mut client, named("s")).await;
    started(&mut newer).await;
    assert_eq!(end_of(older).await.reason, "SUBSCRIPTION_TAKEN_OVER");
    assert_eq!(next_updates(&mut newer, 80).await.len(), 80);
    world.end((newer, client), gateway).await;
}

#[tokio::test]
async fn a_subscription_belongs_to_one_filter_until_a_start_gives_it_another() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = sent(&mut client, "x").await;
    let mut frames = follow(&mut client, from_the_start("s")).await;
    started(&mut frames).await;
    let (_, cursor) = next_update(&mut frames).await;
    drop(frames);
    let queued = || StatusFilter { statuses: vec![MessageStatus::Queued.into()], ..Default::default() };
    let narrowed = StreamRequest { filter: Some(queued()), ..named("s") };
    let told = error_of(client.stream_status_updates(narrowed.clone()).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "SUBSCRIPTION_FILTER_CHANGED"));
    // Nothing was changed by that.
    assert_eq!(commit(&mut client, "s", &cursor).await.backlog, 1);

    let again = StreamRequest { start: from_earliest().start, ..narrowed.clone() };
    let mut frames = follow(&mut client, again).await;
    started(&mut frames).await;
    let (update, narrow_cursor) = next_update(&mut frames).await;
    assert_eq!((&update.message_id, update.status()), (&id, MessageStatus::Queued));
    let told = error_of(try_commit(&mut client, "s", &cursor).await);
    assert_eq!((told.reason.as_str(), told.metadata["cause"].as_str()), ("CURSOR_INVALID", "other_filter"));
    assert_eq!(commit(&mut client, "s", &narrow_cursor).await.backlog, 0);
    drop(frames);
    assert_eq!(started(&mut follow(&mut client, narrowed).await).await.1, narrow_cursor);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_start_begins_there_and_leaves_what_was_acknowledged() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_the_start("s")).await;
    started(&mut frames).await;
    sent(&mut client, "x").await;
    let first = next_update(&mut frames).await;
    let last = next_update(&mut frames).await;
    commit(&mut client, "s", &last.1).await;
    for start in [from_earliest(), from_cursor(&first.1)] {
        let mut frames = follow(&mut client, StreamRequest { subscription: "s".to_owned(), ..start.clone() }).await;
        started(&mut frames).await;
        let expected = if matches!(start.start, Some(Start::Cursor(_))) { &last } else { &first };
        assert_eq!(next_update(&mut frames).await, *expected);
    }
    assert_eq!(started(&mut follow(&mut client, named("s")).await).await.1, last.1);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn heartbeats_tell_how_much_is_not_acknowledged() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let soon = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let mut frames = follow(&mut client, StreamRequest { heartbeat_interval: soon, ..named("s") }).await;
    started(&mut frames).await;
    sent(&mut client, "x").await;
    let (_, first) = next_update(&mut frames).await;
    next_update(&mut frames).await;
    let mut heartbeat = async || match next_frame(&mut frames).await.0 {
        Frame::Heartbeat(heartbeat) => (heartbeat.backlog, heartbeat.unacknowledged),
        other => panic!("{other:?}"),
    };
    assert_eq!(heartbeat().await, (0, 2));
    commit(&mut client, "s", &first).await;
    assert_eq!(heartbeat().await, (0, 1));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn what_cannot_be_acknowledged_or_opened_is_refused() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.streams.max_subscriptions = 2;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    sent(&mut client, "x").await;
    let mut frames = follow(&mut client, from_the_start("s")).await;
    started(&mut frames).await;
    let (_, cursor) = next_update(&mut frames).await;
    let mut other = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let mut theirs = follow(&mut other, from_the_start("mine")).await;
    let (_, their_cursor) = started(&mut theirs).await;

    let commits: [(&str, &str, Code, &str); 7] = [
        ("unknown", &cursor, Code::NotFound, "SUBSCRIPTION_NOT_FOUND"),
        ("mine", &their_cursor, Code::NotFound, "SUBSCRIPTION_NOT_FOUND"),
        ("s", &their_cursor, Code::InvalidArgument, "CURSOR_INVALID"),
        ("s", "made-up", Code::InvalidArgument, "CURSOR_INVALID"),
        ("s", "", Code::InvalidArgument, "INVALID_REQUEST"),
        ("", &cursor, Code::InvalidArgument, "INVALID_REQUEST"),
        ("Not A Name", &cursor, Code::InvalidArgument, "INVALID_REQUEST"),
    ];
    for (name, cursor, code, reason) in commits {
        let told = error_of(try_commit(&mut client, name, cursor).await);
        assert_eq!((told.code, told.reason.as_str()), (code, reason), "{name:?} {cursor:?}");
    }
    let wrong = error_of(client.stream_status_updates(named("Not A Name")).await);
    assert_eq!((wrong.reason.as_str(), wrong.violations[0].0.as_str()), ("INVALID_REQUEST", "subscription"));
    started(&mut follow(&mut client, named("second")).await).await;
    let full = error_of(client.stream_status_updates(named("third")).await);
    assert_eq!((full.code, full.reason.as_str()), (Code::ResourceExhausted, "SUBSCRIPTIONS_EXCEEDED"));
    started(&mut follow(&mut client, named("second")).await).await;
    world.end((frames, theirs, client, other), gateway).await;
}
