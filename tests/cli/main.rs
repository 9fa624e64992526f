//! The command-line client against a sandbox, both as processes of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod lost;
mod refusals;
mod scripted;
mod support;
mod watch;

use serde_json::{Value, json};

use crate::support::{FAILS, READS, Sandbox, run};

#[test]
fn the_sandbox_tells_where_everything_is_in_one_line() {
    let sandbox = Sandbox::start(&[]);
    let keys: Vec<&str> = sandbox.place.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["control", "grpc", "http", "number", "number_key", "tenant_key", "token", "upstream"]);
    let (status, body) = sandbox.http("GET", &format!("{}/readyz", sandbox.at("http")), None);
    assert_eq!((status, body.as_str()), (200, "ready\n"));

    let double = Sandbox::start(&["--upstream-only"]);
    let keys: Vec<&str> = double.place.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["control", "number", "number_key", "tenant_key", "upstream"]);
    let send = json!({ "destinationNumber": READS, "text": "x" }).to_string();
    let (status, _) = double.http("POST", &format!("{}/v1/messages/send", double.at("upstream")), Some(&send));
    assert_eq!(status, 202);
}

#[test]
fn a_message_is_sent_repeated_and_looked_up() {
    let sandbox = Sandbox::start(&[]);
    let send = ["send", "--number", "wn_sandbox", "--to", READS, "--text", "hi", "--request-id", "r-1"];
    let first = sandbox.run(&[&send[..], &["--label", "red", "--meta", "order=7", "--json"]].concat());
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(first["replayed"], false);
    let message = &first["message"];
    assert_eq!(message["status"], "QUEUED");
    assert_eq!(message["recipient"], json!({ "phone_number": READS }));
    assert_eq!((&message["labels"], &message["metadata"]), (&json!(["red"]), &json!({ "order": "7" })));

    let again = sandbox.run(&[&send[..], &["--label", "red", "--meta", "order=7"]].concat());
    assert_eq!(again.code, 0);
    assert!(again.stdout.ends_with("replayed, nothing was sent\n"), "{}", again.stdout);
    let other = sandbox.run(&send);
    assert_eq!((other.code, other.stdout.as_str()), (1, ""));
    assert!(other.stderr.starts_with("error: ALREADY_EXISTS REQUEST_ID_REUSED: "), "{}", other.stderr);

    let id = message["message_id"].as_str().unwrap();
    let found = sandbox.run(&["get", id, "--refresh", "--json"]);
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(found["message"]["message_id"], id);
    let upstream_id = message["upstream_id"].as_str().unwrap();
    let found = sandbox.run(&["get", "--number", "wn_sandbox", "--upstream-id", upstream_id]);
    assert!(found.stdout.contains(id) && found.stdout.contains("r-1"), "{}", found.stdout);
}

#[test]
fn scheduled_messages_are_canceled_and_what_cannot_be_is_told() {
    let sandbox = Sandbox::start(&[]);
    let later = sandbox.run(&["send", "--number", "wn_sandbox", "--to", READS, "--text", "x", "--at", "+1h", "--json"]);
    let later: Value = serde_json::from_str(&later.stdout).unwrap();
    let id = later["message"]["message_id"].as_str().unwrap();
    let canceled = sandbox.run(&["cancel", id]);
    assert_eq!((canceled.code, canceled.stdout), (0, format!("CANCELED          {id}  CANCELED\n")));
    let unknown = "01970000-0000-7000-8000-000000000000";
    let missing = sandbox.run(&["cancel", unknown]);
    assert_eq!((missing.code, missing.stdout), (1, format!("NOT_FOUND         {unknown}\n")));
}

#[test]
fn every_kind_of_content_has_its_options() {
    let sandbox = Sandbox::start(&[]);
    let commands: [&[&str]; 4] = [
        &["--template", "order_update", "--var", "name=Rita", "--var", "order=A-7731"],
        &["--text", "hi", "--button", "reply:Yes", "--button", "url:Track=https://x.example/1", "--footer", "f"],
        &["--media", "https://x.example/i.pdf", "--type", "document", "--caption", "Invoice"],
        &["--text", "to a group"],
    ];
    for command in commands {
        let to = if command[1] == "to a group" { "120363077700011122@g.us" } else { READS };
        let sent = sandbox.run(&[&["send", "--number", "wn_sandbox", "--to", to], command].concat());
        let eligible =
            sent.code == 0 || sent.stderr.contains("NOT_SUPPORTED_FOR_META") || sent.stderr.contains("META_GROUPS");
        assert!(eligible, "{command:?}\n{}", sent.stderr);
        if to == READS {
            assert_eq!(sent.code, 0, "{command:?}\n{}", sent.stderr);
        }
    }
}

#[test]
fn exit_codes_tell_what_happened() {
    let sandbox = Sandbox::start(&[]);
    let failed = sandbox.run(&["send", "--number", "wn_sandbox", "--to", FAILS, "--text", "x", "--watch"]);
    assert_eq!(failed.code, 3, "{}", failed.stderr);
    let last = failed.stdout.lines().last().unwrap();
    assert!(
        last.contains("FAILED") && last.ends_with("WHATSAPP_NOT_EXIST: The recipient is not on WhatsApp"),
        "{last}"
    );

    let invalid =
        sandbox.run(&["send", "--number", "wn_sandbox", "--to", READS, "--text", "x", "--at", "2020-01-01T00:00:00Z"]);
    assert_eq!(invalid.code, 1);
    assert!(invalid.stderr.contains("\n  deliver_at: must lie in the future\n"), "{}", invalid.stderr);
    assert_eq!(sandbox.run(&["send", "--number", "wn_sandbox"]).code, 2);

    let stranger =
        run(&["watch", "--json"], &[("PILOTGATE_ADDRESS", sandbox.at("grpc")), ("PILOTGATE_TOKEN", "pgt_guessed")]);
    assert_eq!(stranger.code, 1);
    let told: Value = serde_json::from_str(&stranger.stderr).unwrap();
    assert_eq!(
        (&told["error"]["code"], &told["error"]["reason"]),
        (&json!("UNAUTHENTICATED"), &json!("CREDENTIAL_INVALID"))
    );
    assert!(!stranger.stderr.contains("pgt_guessed"));

    let nobody = [("PILOTGATE_ADDRESS", "http://127.0.0.1:1"), ("PILOTGATE_TOKEN", "pgt_x")];
    let away = run(&["get", "01970000-0000-7000-8000-000000000000", "--timeout", "1s"], &nobody);
    assert_eq!(away.code, 4, "{}", away.stderr);
}

#[test]
fn a_token_is_made_with_its_hash() {
    let made = run(&["token", "--json"], &[]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("pgt_") && token.len() == 47, "{token}");
    assert_eq!(made["hash"], pilotgate::domain::secret::TokenHash::of(token).to_hex());
}
