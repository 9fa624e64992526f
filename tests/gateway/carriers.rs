//! Which stream carries a subscription, and for how long the subscription is kept.

use std::time::Duration;

use pilotgate::{
    config::settings::Span,
    proto::v1::{
        self, StatusFilter, StreamStatusUpdatesRequest as StreamRequest, stream_status_updates_response::Frame,
    },
};
use tonic::Code;

use crate::{
    retention::{Clock, gateway, short, until_log_has},
    support::{
        Client, Frames, STUCK, World, client, error_of, follow, from_cursor, next_frame, next_update, next_updates,
        send, started, text, until,
    },
};

fn named(name: &str) -> StreamRequest {
    StreamRequest { subscription: name.to_owned(), ..Default::default() }
}

/// The same for a message that does not exist.
fn of_unknown(name: &str) -> StreamRequest {
    let message_ids = vec!["01970000-0000-7000-8000-000000000000".to_owned()];
    StreamRequest { filter: Some(StatusFilter { message_ids, ..Default::default() }), ..named(name) }
}

async fn refused(client: &mut Client, request: StreamRequest) -> (Code, String) {
    let told = error_of(client.stream_status_updates(request).await);
    (told.code, told.reason)
}

async fn commit(client: &mut Client, name: &str, cursor: &str) -> v1::CommitCursorResponse {
    let request = v1::CommitCursorRequest { subscription: name.to_owned(), cursor: cursor.to_owned() };
    client.commit_cursor(request).await.unwrap().into_inner()
}

/// Whether the stream still gives what comes.
async fn lives(client: &mut Client, frames: &mut Frames) {
    let id = send(client, text(STUCK, "x")).await;
    assert_eq!(next_updates(frames, 2).await[1].message_id, id);
}

#[tokio::test]
async fn a_newcomer_that_is_refused_takes_nothing_over() {
    let (world, clock) = (World::new().await, Clock::default());
    let gateway = gateway(&world, short(&world), &clock).await;
    let mut client = client(&gateway).await;
    let mut waiting = follow(&mut client, of_unknown("by_id")).await;
    started(&mut waiting).await;
    let mut carried = follow(&mut client, named("s")).await;
    started(&mut carried).await;
    lives(&mut client, &mut carried).await;

    assert_eq!(refused(&mut client, of_unknown("s")).await.1, "SUBSCRIPTION_FILTER_CHANGED");
    let bad_start = StreamRequest { start: from_cursor("x").start, ..named("s") };
    assert_eq!(refused(&mut client, bad_start).await.1, "CURSOR_INVALID");
    let until_final = StreamRequest { until_final: true, ..of_unknown("by_id") };
    assert_eq!(refused(&mut client, until_final).await, (Code::NotFound, "MESSAGE_NOT_FOUND".to_owned()));
    // What it never acknowledged is trimmed, so that nobody can resume there.
    clock.forward(120);
    until_log_has(&client, 0).await;
    assert_eq!(refused(&mut client, named("s")).await, (Code::OutOfRange, "CURSOR_EXPIRED".to_owned()));
    lives(&mut client, &mut carried).await;
    // The other one has not ended either: it is taken over only now.
    let latest = v1::stream_status_updates_request::Start::Position(v1::Position::Latest.into());
    let again = StreamRequest { start: Some(latest), ..of_unknown("by_id") };
    let mut newer = follow(&mut client, again).await;
    started(&mut newer).await;
    let ended = async {
        loop {
            match waiting.message().await {
                Ok(Some(frame)) => assert!(matches!(frame.frame, Some(Frame::Heartbeat(_)))),
                ended => return error_of(ended).reason,
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("no end within 20 s");
    assert_eq!(ended, "SUBSCRIPTION_TAKEN_OVER");
    world.end((carried, newer, waiting, client), gateway).await;
}

#[tokio::test]
async fn what_was_trimmed_behind_the_acknowledged_place_is_told() {
    let (world, clock) = (World::new().await, Clock::default());
    let gateway = gateway(&world, short(&world), &clock).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, named("s")).await;
    started(&mut frames).await;
    send(&mut client, text(STUCK, "x")).await;
    let (_, first) = next_update(&mut frames).await;
    let (_, second) = next_update(&mut frames).await;
    commit(&mut client, "s", &first).await;
    drop(frames);
    clock.forward(120);
    until_log_has(&client, 0).await;
    let last = send(&mut client, text(STUCK, "x")).await;
    assert_eq!(refused(&mut client, named("s")).await, (Code::OutOfRange, "CURSOR_EXPIRED".to_owned()));
    let or_earliest = StreamRequest { on_expired: v1::OnExpired::Earliest.into(), ..named("s") };
    let mut frames = follow(&mut client, or_earliest).await;
    started(&mut frames).await;
    let (Frame::Gap(gap), _) = next_frame(&mut frames).await else { panic!("no gap") };
    assert_eq!((gap.from, gap.to), (first, second));
    assert_eq!(next_updates(&mut frames, 2).await[1].message_id, last);
    world.end((frames, client), gateway).await;
}

/// The names in the store. Asking for one by a call would be use.
fn kept(world: &World) -> String {
    let database = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    let sql = "SELECT coalesce(group_concat(name), '') FROM (SELECT name FROM subscriptions ORDER BY name)";
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn an_unused_subscription_goes_and_one_that_is_carried_stays() {
    let (world, clock) = (World::new().await, Clock::default());
    let mut settings = short(&world);
    settings.retention.subscriptions = Span(Duration::from_secs(48 * 3600));
    let gateway = gateway(&world, settings, &clock).await;
    let mut client = client(&gateway).await;
    let mut carried = follow(&mut client, named("carried")).await;
    let (_, cursor) = started(&mut carried).await;
    for name in ["unused", "committed"] {
        started(&mut follow(&mut client, named(name)).await).await;
    }
    // Its stream has ended, but it is acknowledged now and then.
    for _ in 0..2 {
        clock.forward(36 * 60);
        commit(&mut client, "committed", &cursor).await;
    }
    until(|| kept(&world) == "carried,committed").await;
    clock.forward(365 * 24 * 60);
    until(|| kept(&world) == "carried").await;
    commit(&mut client, "carried", &cursor).await;
    drop(carried);
    clock.forward(49 * 60);
    until(|| kept(&world).is_empty()).await;
    world.end(client, gateway).await;
}
