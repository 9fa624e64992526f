//! `pilotgate audit`, as a process of its own: what it shows and exports, and that an export edited by hand is found out.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use pilotgate::server::Gateway;
use serde_json::{Value, json};

use super::{KEEPER, REVIEWER, audit_client, config, whole};
use crate::support::{READER, World, client, send, text};

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn run(gateway: &Gateway, token: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
    command.arg("audit").args(arguments).stdin(Stdio::null());
    command.env("PILOTGATE_ADDRESS", format!("http://{}", gateway.grpc())).env("PILOTGATE_TOKEN", token);
    // It gives up by itself after its own timeout.
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: ended.status.code().unwrap(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_export_is_checked_without_a_gateway_and_what_was_edited_is_named() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut sender = client(&gateway).await;
    for _ in 0..6 {
        send(&mut sender, text(READER, "x")).await;
    }
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    let exported = run(&gateway, REVIEWER, &["export"]).await;
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    let expected: Vec<_> = entries
        .iter()
        .map(|entry| json!({ "sequence": entry.sequence, "link": entry.link, "entry": entry.text }))
        .collect();
    assert_eq!(lines(&exported.stdout), expected);
    let behind = run(&gateway, REVIEWER, &["export", "--after", "4"]).await;
    assert_eq!(lines(&behind.stdout), expected[4..]);

    let place = world.directory.path().join("audit.jsonl");
    let path = place.to_str().unwrap();
    let check = async |text: &str, more: &[&str]| {
        fs::write(Path::new(path), text).unwrap();
        // Of a gateway it knows nothing.
        run(&gateway, "", &[&["verify", path], more].concat()).await
    };
    let whole_link = &entries[5].link;
    let intact = check(&exported.stdout, &[]).await;
    assert_eq!((intact.code, intact.stdout), (0, format!("intact  6 entries, 1 to 6, last link {whole_link}\n")));
    let later = check(&behind.stdout, &["--json"]).await;
    let found = json!({ "intact": true, "entries": 2, "first_sequence": 5, "last_sequence": 6, "last_link": whole_link, "faults": [] });
    assert_eq!((later.code, lines(&later.stdout)), (0, vec![found]));
    assert_eq!(
        check(&format!("{}{}", exported.stdout, ""), &["--noted", &format!("3:{}", entries[2].link)]).await.code,
        0
    );
    let noted = check(&exported.stdout, &["--noted", &format!("3:{}", entries[3].link)]).await;
    assert_eq!(noted.code, 1);
    assert!(noted.stdout.starts_with("line 3: entry 3: its link is not the one that was noted\n"), "{}", noted.stdout);

    let all: Vec<_> = exported.stdout.lines().collect();
    let changed = "its link does not follow from the entry before and its text: one of them was changed";
    let joined = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    let edited_line = all[2].replace("accepted", "refused!");
    assert_ne!(edited_line, all[2]);
    let mut edited = all.clone();
    edited[2] = &edited_line;
    let (mut cut, mut moved, mut garbled) = (all.clone(), all.clone(), all.clone());
    cut.remove(3);
    moved.swap(1, 2);
    garbled[4] = "{";
    for (lines, expected) in [
        (edited, format!("line 3: entry 3: {changed}\n")),
        (cut, "line 4: entry 5: entry 4 before it is missing\n".to_owned()),
        (
            moved,
            "line 2: entry 3: entry 2 before it is missing\nline 3: entry 2: it stands where entry 4 should be\n\
             line 4: entry 4: entry 3 before it is missing\n"
                .to_owned(),
        ),
        (garbled, "line 5: it is no line of an export\nline 6: entry 6: entry 5 before it is missing\n".to_owned()),
    ] {
        let told = check(&joined(&lines), &[]).await;
        assert_eq!((told.code, told.stderr.as_str()), (1, ""));
        assert!(told.stdout.starts_with(&format!("{expected}not intact  ")), "{}", told.stdout);
    }
    // An end that was cut off is known only to who has noted it.
    let short = joined(&all[..4]);
    assert_eq!(check(&short, &[]).await.code, 0);
    let told = check(&short, &["--noted", &format!("6:{whole_link}")]).await;
    assert_eq!(told.code, 1);
    assert!(told.stdout.starts_with("entry 6: it was noted, but the export ends at entry 4\n"), "{}", told.stdout);
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn the_log_is_listed_and_checked_from_the_command_line() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let mut sender = client(&gateway).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(send(&mut sender, text(READER, "x")).await);
    }
    let listed = run(&gateway, REVIEWER, &["list", "--limit", "2"]).await;
    let lines_shown: Vec<_> = listed.stdout.lines().collect();
    assert_eq!((listed.code, lines_shown.len()), (0, 2));
    let tail = format!(
        "orders  message.attempt  message/{}  accepted  generation=1  handoff=direct  number=wn_sandbox  recipient=+55*******0101",
        ids[2]
    );
    assert!(lines_shown[0].starts_with("       3  ") && lines_shown[0].ends_with(&tail), "{}", lines_shown[0]);
    let subject = format!("message/{}", ids[0]);
    let listed = run(&gateway, REVIEWER, &["list", "--subject", &subject, "--oldest-first", "--json"]).await;
    let [entry] = &lines(&listed.stdout)[..] else { panic!("{}", listed.stdout) };
    assert_eq!(
        (&entry["sequence"], &entry["subject"], &entry["actor"]),
        (&json!(1), &json!(subject), &json!("orders"))
    );
    let checked = run(&gateway, REVIEWER, &["verify"]).await;
    assert_eq!(checked.code, 0);
    assert!(checked.stdout.starts_with("intact  3 entries, 1 to 3, last link "), "{}", checked.stdout);
    for arguments in [&["list"][..], &["verify"], &["export"]] {
        let refused = run(&gateway, KEEPER, arguments).await;
        let told = "error: PERMISSION_DENIED NOT_ADMINISTRATOR: this takes the right audit.view\n";
        assert_eq!((refused.code, refused.stdout.as_str(), refused.stderr.as_str()), (1, "", told));
    }
    world.end(sender, gateway).await;
}
