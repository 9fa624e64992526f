//! The command-line client against a sandbox, both as processes of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod demo;
mod inbox;
mod lost;
mod refusals;
mod scripted;
mod support;
mod watch;

use serde_json::{Value, json};

use crate::support::{FAILS, READS, STUCK, Sandbox, keys, run};

/// Of no message.
const UNKNOWN: &str = "01970000-0000-7000-8000-000000000000";
const MESSAGE_KEYS: &str = "attempts caller cancel_time correlation_id create_time delivered_time external_id \
                            failed_time failure flow_token handoff labels message_id metadata number queue_time \
                            raw_status read_time recipient request_id sent_time status upstream_id";

#[test]
fn the_sandbox_tells_where_everything_is_in_one_line() {
    let sandbox = Sandbox::start(&[]);
    assert_eq!(
        keys(&sandbox.place),
        ["control", "grpc", "http", "number", "number_key", "tenant_key", "token", "upstream"]
    );
    let (status, body) = sandbox.http("GET", &format!("{}/readyz", sandbox.at("http")), None);
    assert_eq!((status, body.as_str()), (200, "ready\n"));
    let missing = sandbox.run(&["get", UNKNOWN]);
    let told = "error: NOT_FOUND MESSAGE_NOT_FOUND: there is no such message\n";
    assert_eq!((missing.code, missing.stdout.as_str(), missing.stderr.as_str()), (1, "", told));

    let double = Sandbox::start(&["--upstream-only"]);
    assert_eq!(keys(&double.place), ["control", "number", "number_key", "tenant_key", "upstream"]);
    let send = json!({ "destinationNumber": READS, "text": "x" }).to_string();
    let (status, _) = double.http("POST", &format!("{}/v1/messages/send", double.at("upstream")), Some(&send));
    assert_eq!(status, 202);
    let (status, messages) = double.http("GET", &format!("{}/messages", double.at("control")), None);
    let messages: Value = serde_json::from_str(&messages).unwrap();
    assert_eq!((status, &messages[0]["recipient"], messages.as_array().unwrap().len()), (200, &json!(READS), 1));
}

#[test]
fn a_message_is_sent_repeated_and_looked_up() {
    let sandbox = Sandbox::start(&[]);
    let send = ["send", "--number", "wn_sandbox", "--to", READS, "--text", "hi", "--request-id", "r-1"];
    let first = sandbox.run(&[&send[..], &["--label", "red", "--meta", "order=7", "--json"]].concat());
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    let first: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!((keys(&first), &first["replayed"]), (vec!["message", "replayed"], &json!(false)));
    assert_eq!(keys(&first["message"]).join(" "), MESSAGE_KEYS);
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
    assert_eq!((keys(&found), &found["message"]["message_id"]), (vec!["message"], &json!(id)));
    assert_eq!(keys(&found["message"]).join(" "), MESSAGE_KEYS);
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
    let again = sandbox.run(&["cancel", id]);
    assert_eq!((again.code, again.stdout), (0, format!("ALREADY_CANCELED  {id}  CANCELED\n")));
    let missing = sandbox.run(&["cancel", UNKNOWN]);
    assert_eq!((missing.code, missing.stdout), (1, format!("NOT_FOUND         {UNKNOWN}\n")));

    let stuck = sandbox.run(&["send", "--number", "wn_sandbox", "--to", STUCK, "--text", "x", "--json"]);
    let stuck: Value = serde_json::from_str(&stuck.stdout).unwrap();
    let stuck = stuck["message"]["message_id"].as_str().unwrap();
    // One that cannot be canceled is enough for a failure; all are told.
    let mixed = sandbox.run(&["cancel", id, stuck, UNKNOWN, "--json"]);
    let lines: Vec<Value> = mixed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let told: Vec<_> = lines.iter().map(|line| (word(&line["message_id"]), word(&line["outcome"]))).collect();
    let expected = [(id, "ALREADY_CANCELED"), (stuck, "TOO_LATE"), (UNKNOWN, "NOT_FOUND")];
    assert_eq!((mixed.code, told), (1, expected.map(|(id, outcome)| (id.to_owned(), outcome.to_owned())).to_vec()));
    for line in &lines {
        assert_eq!(keys(line), ["detail", "message", "message_id", "outcome"]);
    }
    assert_eq!((keys(&lines[0]["message"]).join(" "), &lines[2]["message"]), (MESSAGE_KEYS.to_owned(), &Value::Null));
}

#[test]
fn every_kind_of_content_has_its_options() {
    let sandbox = Sandbox::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let invoice = directory.path().join("invoice.pdf");
    std::fs::write(&invoice, "%PDF-").unwrap();
    let invoice = format!("@{}", invoice.display());
    let commands: [&[&str]; 4] = [
        &["--template", "order_update", "--var", "name=Rita", "--var", "order=A-7731"],
        &["--text", "hi", "--button", "reply:Yes", "--button", "url:Track=https://x.example/1", "--footer", "f"],
        &["--media", "https://x.example/i.pdf", "--type", "document", "--caption", "Invoice"],
        &["--media", &invoice, "--type", "document"],
    ];
    for command in commands {
        let sent = sandbox.run(&[&["send", "--number", "wn_sandbox", "--to", READS, "--json"], command].concat());
        let answer: Value =
            serde_json::from_str(&sent.stdout).unwrap_or_else(|_| panic!("{command:?} {}", sent.stderr));
        assert_eq!((sent.code, &answer["message"]["status"]), (0, &json!("QUEUED")), "{command:?}");
        // The id that repeats it was made here, and told.
        let id = answer["message"]["request_id"].as_str().unwrap();
        assert_eq!(sent.stderr, format!("{{\"note\":\"request id {id}\"}}\n"));
    }
    let (_, seen) = sandbox.http("GET", &format!("{}/messages", sandbox.at("control")), None);
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap().as_array().unwrap().len(), commands.len());
    let group =
        ["send", "--number", "wn_sandbox", "--to", "120363077700011122@g.us", "--text", "x", "--request-id", "g"];
    let refused = sandbox.run(&group);
    let told = "error: INVALID_ARGUMENT NOT_SUPPORTED_FOR_META: pilot status refused: Not supported on Meta numbers\n";
    assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (1, "", told));
}

#[test]
fn a_wrong_command_line_is_told_and_help_has_examples() {
    let token = [("PILOTGATE_TOKEN", "pgt_StrayTokenCanary")];
    let base = ["send", "--number", "shop", "--to", READS];
    for wrong in [
        &[][..],
        &["bogus"],
        &base,
        &[&base[..], &["--text", "x", "--media", "https://x.example/1", "--type", "image"]].concat(),
        &[&base[..], &["--media", "https://x.example/1"]].concat(),
        &[&base[..], &["--text", "x", "--at", "soon"]].concat(),
        &[&base[..], &["--text", "x", "--address", "ftp://gateway"]].concat(),
        &["send", "--number", "shop", "--to", "somebody", "--text", "x"],
        &["watch", "--until-final"],
        &["watch", "--status", "seen"],
        &["get"],
        &["cancel"],
        &["serve"],
        &["sandbox", "--port", "x"],
    ] {
        let ended = run(wrong, &token);
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{wrong:?}");
        assert!(!ended.stderr.is_empty() && !ended.stderr.contains("Canary"), "{wrong:?}\n{}", ended.stderr);
    }
    for command in ["serve", "sandbox", "demo", "send", "watch", "get", "cancel", "token"] {
        let help = run(&[command, "--help"], &token);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains(&format!("EXAMPLES:\n    pilotgate {command}")), "{}", help.stdout);
        assert!(!help.stdout.contains("Canary"), "{}", help.stdout);
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
    let away = run(&["get", UNKNOWN, "--timeout", "1s"], &nobody);
    assert_eq!(away.code, 4, "{}", away.stderr);
}

#[test]
fn a_token_is_made_with_its_hash() {
    let made = run(&["token", "--json"], &[]);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("pgt_") && token.len() == 53, "{token}");
    assert_eq!(made["hash"], pilotgate::domain::secret::TokenHash::of(token).to_hex());
}
