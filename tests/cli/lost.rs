//! `pilotgate watch` through lost connections: where it resumes, and that nothing is missed or printed twice.

use std::{fs, time::Duration};

use pilotgate::proto::v1::{
    Drain, Gap, GapReason, Heartbeat, MessageStatus, Position, StreamStatusUpdatesResponse,
    stream_status_updates_request::Start, stream_status_updates_response::Frame,
};
use tonic::{Code, Status};

use crate::scripted::{MESSAGE, Script, Scripted, frame, line, message, refusal, update};

type Answer = Result<StreamStatusUpdatesResponse, Status>;

fn alive(cursor: &str) -> Answer {
    frame(cursor, Frame::Heartbeat(Heartbeat::default()))
}

fn drain(cursor: &str) -> Answer {
    frame(cursor, Frame::Drain(Drain { reconnect_after: Some(prost_types::Duration::default()) }))
}

fn away() -> Answer {
    Err(refusal(Code::Unavailable, "DRAINING", "shutting down", Some(Duration::ZERO)))
}

fn starts(gateway: &Scripted) -> Vec<Option<Start>> {
    gateway.script().streamed.iter().map(|request| request.start.clone()).collect()
}

fn behind(cursor: &str) -> Option<Start> {
    Some(Start::Cursor(cursor.to_owned()))
}

#[test]
fn a_watch_goes_on_behind_the_last_frame_and_prints_nothing_twice() {
    use MessageStatus::{Delivered, Pending, Queued, Read, Sent};
    let gateway = Scripted::start(Script {
        streams: [
            vec![alive("c0"), update("c1", Pending), update("c2", Queued), away()],
            // A gateway that tells the last update once more is heard, and not believed.
            vec![alive("c2"), update("c2", Queued), update("c3", Sent), drain("c3"), update("c4", Delivered)],
            // A sign of life moves the place too.
            vec![update("c4", Delivered), alive("c9"), away()],
            vec![update("c10", Read)],
        ]
        .into(),
        ..Script::default()
    });
    let watched = gateway.run(&["watch", "--from", "latest", "--count", "5"]);
    let lines = ["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"].map(line).concat();
    assert_eq!((watched.code, watched.stdout), (0, lines));
    assert_eq!(
        watched.stderr,
        "UNAVAILABLE DRAINING: shutting down; reconnecting in 0.010 s\n\
         the gateway moves the connection; reconnecting in 0.010 s\n\
         UNAVAILABLE DRAINING: shutting down; reconnecting in 0.010 s\n"
    );
    let latest = Some(Start::Position(Position::Latest.into()));
    assert_eq!(starts(&gateway), [latest, behind("c2"), behind("c3"), behind("c9")]);
}

#[test]
fn without_reconnecting_a_loss_is_an_end() {
    let gateway = Scripted::start(Script {
        streams: [vec![alive("c0"), drain("c0")], vec![alive("c0"), away()]].into(),
        ..Script::default()
    });
    let drained = gateway.run(&["watch", "--no-reconnect"]);
    let told = "error: UNAVAILABLE STREAM_ENDED: the gateway moves the connection\n";
    assert_eq!((drained.code, drained.stderr.as_str()), (4, told));
    let lost = gateway.run(&["watch", "--no-reconnect"]);
    assert_eq!((lost.code, lost.stderr.as_str()), (4, "error: UNAVAILABLE DRAINING: shutting down\n"));
}

#[test]
fn a_refusal_that_time_does_not_mend_is_an_end() {
    let replaced = refusal(Code::Aborted, "SUBSCRIPTION_REPLACED", "a newer stream took over", None);
    let gateway = Scripted::start(Script { streams: [vec![alive("c0"), Err(replaced)]].into(), ..Script::default() });
    let watched = gateway.run(&["watch", "--subscription", "billing"]);
    let told = "error: ABORTED SUBSCRIPTION_REPLACED: a newer stream took over\n";
    assert_eq!((watched.code, watched.stderr.as_str()), (1, told));
    assert_eq!(starts(&gateway), [None]);
}

#[test]
fn the_cursor_file_holds_the_last_place_and_wins_over_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.cursor");
    let gateway = Scripted::start(Script {
        streams: [
            vec![update("c1", MessageStatus::Queued), update("c2", MessageStatus::Sent)],
            vec![update("c3", MessageStatus::Read)],
        ]
        .into(),
        ..Script::default()
    });
    let watch = ["watch", "--from", "earliest", "--cursor-file", file.to_str().unwrap(), "--count"];
    assert_eq!(gateway.run(&[&watch[..], &["2"]].concat()).code, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "c2\n");
    assert_eq!(gateway.run(&[&watch[..], &["1"]].concat()).code, 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "c3\n");
    assert_eq!(starts(&gateway), [Some(Start::Position(Position::Earliest.into())), behind("c2")]);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, ["shop.cursor"]);
}

#[test]
fn a_subscription_is_told_what_was_printed() {
    let gateway = Scripted::start(Script {
        streams: [vec![update("c1", MessageStatus::Queued), update("c2", MessageStatus::Sent)]].into(),
        ..Script::default()
    });
    let watched = gateway.run(&["watch", "--subscription", "billing", "--count", "2"]);
    assert_eq!(watched.code, 0, "{}", watched.stderr);
    let script = gateway.script();
    let last = script.committed.last().unwrap();
    assert_eq!((last.subscription.as_str(), last.cursor.as_str()), ("billing", "c2"));
}

#[test]
fn missing_updates_are_told_apart_from_updates() {
    let gap = || Gap { from: String::new(), to: "c5".to_owned(), reason: GapReason::Retention.into() };
    let frames = || vec![frame("c5", Frame::Gap(gap())), update("c6", MessageStatus::Read)];
    let gateway = Scripted::start(Script { streams: [frames(), frames()].into(), ..Script::default() });
    let people = gateway.run(&["watch", "--from", "earliest", "--count", "1"]);
    assert_eq!(people.stdout, line("READ"));
    assert_eq!(people.stderr, "gap: updates between the start and c5 can no longer be had (RETENTION)\n");
    let programs = gateway.run(&["watch", "--from", "earliest", "--count", "1", "--json"]);
    let first = r#"{"cursor":"c5","gap":{"from":"","to":"c5","reason":"RETENTION"}}"#;
    assert_eq!(programs.stdout.lines().next(), Some(first));
    assert_eq!(programs.stdout.lines().count(), 2);
}

#[test]
fn an_end_that_was_not_seen_is_looked_up() {
    // All of it lies before the start, so the stream ends without a word.
    let ended = |status| {
        let gateway = Scripted::start(Script {
            streams: [vec![alive("c7")]].into(),
            message: Some(message(status)),
            ..Script::default()
        });
        gateway.run(&["watch", "--message", MESSAGE, "--until-final", "--from", "latest"]).code
    };
    assert_eq!(ended(MessageStatus::Failed), 3);
    assert_eq!(ended(MessageStatus::Read), 0);
}
