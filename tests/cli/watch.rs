//! `pilotgate watch`: what it prints, where it resumes, how it ends.

use std::{
    io::{BufRead, BufReader},
    process::Command,
};

use serde_json::Value;

use crate::support::{READS, Sandbox};

fn send(sandbox: &Sandbox, request_id: &str) {
    let send = ["send", "--number", "wn_sandbox", "--to", READS, "--text", "x", "--request-id", request_id];
    assert_eq!(sandbox.run(&[&send[..], &["--watch"]].concat()).code, 0);
}

/// Request id and status of each line.
fn updates(stdout: &str) -> Vec<(String, String)> {
    let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|line| (word(&line["update"]["request_id"]), word(&line["update"]["status"]))).collect()
}

#[test]
fn a_cursor_file_resumes_with_exactly_the_rest() {
    let sandbox = Sandbox::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("cursor");
    let file = file.to_str().unwrap();
    send(&sandbox, "r-1");
    send(&sandbox, "r-2");
    let mut seen = Vec::new();
    for count in ["3", "4", "3"] {
        let watch = ["watch", "--from", "earliest", "--cursor-file", file, "--json", "--count", count];
        let watched = sandbox.run(&watch);
        assert_eq!(watched.code, 0, "{}", watched.stderr);
        seen.extend(updates(&watched.stdout));
    }
    let whole = ["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"];
    let expected: Vec<_> =
        ["r-1", "r-2"].iter().flat_map(|id| whole.map(|status| ((*id).to_owned(), status.to_owned()))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_reader_that_goes_away_and_an_interrupt_end_quietly() {
    let sandbox = Sandbox::start(&[]);
    send(&sandbox, "r-1");
    let mut watch = sandbox.spawn(&["watch", "--from", "earliest"]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    assert!(line.contains("PENDING"), "{line}");
    drop(lines);
    // The next update meets a closed pipe.
    send(&sandbox, "r-2");
    let ended = watch.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8(ended.stderr).unwrap()), (Some(0), String::new()));

    let mut watch = sandbox.spawn(&["watch", "--from", "earliest"]);
    BufReader::new(watch.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(Command::new("kill").arg("-INT").arg(watch.id().to_string()).status().unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

#[test]
fn filters_and_places_are_passed_on() {
    let sandbox = Sandbox::start(&[]);
    send(&sandbox, "r-1");
    send(&sandbox, "r-2");
    let read = sandbox.run(&["watch", "--from", "earliest", "--status", "read", "--count", "2", "--json"]);
    let expected = [("r-1", "READ"), ("r-2", "READ")].map(|(id, status)| (id.to_owned(), status.to_owned()));
    assert_eq!(updates(&read.stdout), expected);
    let first: Value = serde_json::from_str(read.stdout.lines().next().unwrap()).unwrap();
    let cursor = first["cursor"].as_str().unwrap();
    let rest = sandbox.run(&["watch", "--from", cursor, "--status", "read", "--count", "1", "--json"]);
    assert_eq!(updates(&rest.stdout), expected[1..]);
    let other = sandbox.run(&["watch", "--from", cursor, "--json"]);
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("CURSOR_INVALID"), "{}", other.stderr);
}
