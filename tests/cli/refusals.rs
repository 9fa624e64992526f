//! What is tried again and under which request id, and how a refusal is told.

use std::time::Duration;

use pilotgate::proto::v1::{MessageStatus, SendMessageResponse};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    scripted::{self, Script, Scripted, refusal},
    support::READS,
};

const SEND: [&str; 7] = ["send", "--number", "shop", "--to", READS, "--text", "hi"];

fn refused(status: Status) -> Scripted {
    Scripted::start(Script { sends: [Err(status)].into(), ..Script::default() })
}

#[test]
fn an_open_outcome_is_settled_under_the_same_request_id() {
    let soon = Some(Duration::from_millis(1));
    let accepted = SendMessageResponse { message: Some(scripted::message(MessageStatus::Queued)), replayed: false };
    let gateway = Scripted::start(Script {
        sends: [
            Err(refusal(Code::Unavailable, "OVERLOADED", "too much at once", soon)),
            Err(refusal(Code::Unknown, "SEND_IN_DOUBT", "no answer from upstream", soon)),
            Err(refusal(Code::Aborted, "REQUEST_IN_PROGRESS", "still running", soon)),
            Ok(accepted),
        ]
        .into(),
        ..Script::default()
    });
    let sent = gateway.run(&SEND);

    let asked = std::mem::take(&mut gateway.script().sent);
    let id = asked[0].request_id.clone();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
    assert_eq!(asked, vec![asked[0].clone(); 4]);
    assert_eq!(
        sent.stderr,
        format!(
            "request id {id}\n\
             UNAVAILABLE OVERLOADED: too much at once; trying again in 0.010 s\n\
             UNKNOWN SEND_IN_DOUBT: no answer from upstream; trying again in 0.010 s\n\
             ABORTED REQUEST_IN_PROGRESS: still running; trying again in 0.010 s\n"
        )
    );
    assert_eq!((sent.code, sent.stdout), (0, scripted::line("QUEUED")));
}

#[test]
fn a_pause_that_does_not_fit_ends_the_attempts() {
    let gateway =
        refused(refusal(Code::Unknown, "SEND_IN_DOUBT", "no answer from upstream", Some(Duration::from_secs(60))));
    let sent = gateway.run(&[&SEND[..], &["--request-id", "r-1", "--timeout", "5s"]].concat());
    assert_eq!(
        (sent.code, sent.stdout.as_str(), sent.stderr.as_str()),
        (
            4,
            "",
            "error: UNKNOWN SEND_IN_DOUBT: no answer from upstream\n  \
             may be tried again in 1 min 00 s\n  \
             safe to repeat with --request-id r-1\n"
        )
    );
}

#[test]
fn no_answer_leaves_the_outcome_open() {
    let gateway = Scripted::start(Script::default());
    let sent = gateway.run(&[&SEND[..], &["--request-id", "r-1", "--timeout", "200ms"]].concat());
    assert_eq!(
        (sent.code, sent.stderr.as_str()),
        (
            4,
            "error: DEADLINE_EXCEEDED NO_ANSWER: no answer within 0.200 s; it is not known whether the message was \
             sent\n  safe to repeat with --request-id r-1\n"
        )
    );
    let got = gateway.run(&["get", scripted::MESSAGE, "--timeout", "200ms"]);
    assert_eq!((got.code, got.stderr.as_str()), (4, "error: DEADLINE_EXCEEDED NO_ANSWER: no answer in time\n"));
}

#[test]
fn every_violation_has_its_line() {
    let status = || {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_REQUEST", "pilotgate", [("fields".to_owned(), "2".to_owned())]);
        details.add_bad_request_violation("text.body", "must not be empty");
        details.add_bad_request_violation("labels[1]", "is longer than 64 characters");
        Status::with_error_details(Code::InvalidArgument, "2 fields are not as they must be", details)
    };
    let told = refused(status()).run(&[&SEND[..], &["--request-id", "r-1"]].concat());
    assert_eq!(
        (told.code, told.stdout.as_str(), told.stderr.as_str()),
        (
            1,
            "",
            "error: INVALID_ARGUMENT INVALID_REQUEST: 2 fields are not as they must be\n  \
             text.body: must not be empty\n  \
             labels[1]: is longer than 64 characters\n"
        )
    );
    let told = refused(status()).run(&[&SEND[..], &["--request-id", "r-1", "--json"]].concat());
    assert_eq!(
        serde_json::from_str::<Value>(&told.stderr).unwrap(),
        json!({ "error": {
            "code": "INVALID_ARGUMENT",
            "reason": "INVALID_REQUEST",
            "message": "2 fields are not as they must be",
            "metadata": { "fields": "2", "request_id": "r-1" },
            "violations": [
                { "field": "text.body", "description": "must not be empty" },
                { "field": "labels[1]", "description": "is longer than 64 characters" },
            ],
            "retry_after_ms": null,
        }})
    );
}

#[test]
fn a_rate_limit_is_told_and_not_waited_out() {
    let pause = Some(Duration::from_millis(2500));
    let gateway = refused(refusal(Code::ResourceExhausted, "PACE_EXCEEDED", "too fast", pause));
    let told = gateway.run(&[&SEND[..], &["--request-id", "r-1", "--json"]].concat());
    assert_eq!(told.code, 1);
    assert_eq!(gateway.script().sent.len(), 1);
    let told: Value = serde_json::from_str(&told.stderr).unwrap();
    assert_eq!(told["error"]["retry_after_ms"], 2500);
}
