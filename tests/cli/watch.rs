//! `pilotgate watch`: what it prints, where it resumes, how it ends.

use serde_json::{Value, json};

use crate::support::{FAILS, READS, STUCK, Sandbox, keys};

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
    let mut watch = sandbox.start_client(&["watch", "--from", "earliest"]);
    assert!(watch.line().contains("PENDING"));
    watch.stop_reading();
    // The next update meets a closed pipe.
    send(&sandbox, "r-2");
    let ended = watch.end();
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));

    let mut watch = sandbox.start_client(&["watch", "--from", "earliest"]);
    assert!(watch.line().contains("PENDING"));
    watch.signal("INT");
    assert_eq!(watch.end().code, 130);
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

#[test]
fn a_watch_of_messages_ends_when_all_of_them_have_ended() {
    let sandbox = Sandbox::start(&[]);
    let send = |to: &str| {
        let sent = sandbox.run(&["send", "--number", "wn_sandbox", "--to", to, "--text", "x", "--json"]);
        let sent: Value = serde_json::from_str(&sent.stdout).unwrap();
        sent["message"]["message_id"].as_str().unwrap().to_owned()
    };
    let (read, failed) = (send(READS), send(FAILS));
    let watched = sandbox.run(&["watch", "--message", &read, "--until-final", "--json"]);
    assert_eq!((watched.code, watched.stderr.as_str()), (0, ""));
    let lines: Vec<Value> = watched.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line["update"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"]);
    for line in &lines {
        assert_eq!(keys(line), ["cursor", "update"]);
        assert_eq!(
            keys(&line["update"]).join(" "),
            "caller correction correlation_id current_status external_id fact_time failure labels message_id metadata \
             number observe_time origin raw_status recipient request_id status upstream_id"
        );
        assert_eq!(line["update"]["message_id"], json!(read));
    }
    let both = ["watch", "--message", &read, "--message", &failed, "--until-final", "--json"];
    let watched = sandbox.run(&both);
    assert_eq!((watched.code, watched.stdout.lines().count()), (3, 8), "{}", watched.stderr);

    // Nothing comes after QUEUED, so only the interrupt ends it.
    let send = ["send", "--number", "wn_sandbox", "--to", STUCK, "--text", "x", "--request-id", "r-1", "--watch"];
    let mut watch = sandbox.start_client(&send);
    assert!(watch.line().contains("PENDING"));
    assert!(watch.line().contains("QUEUED"));
    watch.signal("INT");
    let ended = watch.end();
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (130, "", ""));
}
