//! The README tells the truth: its tables are those of the code, its commands work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fmt::Write,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use pilotgate::{api::CATALOGUE, config::DEFAULTS};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

/// The lines between a mark and the end of its block.
fn block(mark: &str) -> String {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("<!-- {mark} -->\n")).unwrap_or_else(|| panic!("no mark {mark}"));
    rest.split_once("<!-- end -->").expect("an end").0.to_owned()
}

/// With `PILOTGATE_WRITE_README=1` the block is written instead of compared.
fn holds(mark: &str, expected: &str) {
    let found = block(mark);
    if found != expected && std::env::var_os("PILOTGATE_WRITE_README").is_some() {
        let opened = format!("<!-- {mark} -->\n");
        let written = readme().replace(&format!("{opened}{found}"), &format!("{opened}{expected}"));
        return fs::write(root().join("README.md"), written).unwrap();
    }
    assert_eq!(found, expected, "run `PILOTGATE_WRITE_README=1 cargo test --test readme -- --test-threads 1`");
}

fn commands(mark: &str) -> Vec<String> {
    let readme = readme();
    let (_, rest) = readme.split_once(&format!("<!-- {mark} -->\n```sh\n")).unwrap_or_else(|| panic!("no mark {mark}"));
    rest.split_once("```").unwrap().0.lines().map(str::to_owned).collect()
}

#[test]
fn the_reasons_are_those_of_the_code() {
    let mut table = String::from(
        "| Reason | Code | Retry | Same `request_id` | Who acts | Meaning |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for entry in CATALOGUE {
        let code = format!("{:?}", entry.code);
        let code: String = code.chars().enumerate().fold(String::new(), |mut word, (index, letter)| {
            if index > 0 && letter.is_uppercase() {
                word.push('_');
            }
            word.push(letter.to_ascii_uppercase());
            word
        });
        let retry = if entry.retryable { "yes" } else { "no" };
        let (word, same, acts, meaning) = (entry.word, entry.same_request_id.word(), entry.acts, entry.meaning);
        writeln!(table, "| `{word}` | `{code}` | {retry} | {same} | {acts} | {meaning} |").unwrap();
    }
    holds("generated:reasons", &table);
}

#[test]
fn the_settings_are_those_of_the_defaults() {
    let mut table = String::from("| Setting | Default | Meaning |\n| --- | --- | --- |\n");
    let (mut section, mut comment) = (String::new(), String::new());
    for line in DEFAULTS.lines() {
        if let Some(text) = line.strip_prefix("# ") {
            comment = [comment.as_str(), text].join(" ").trim().to_owned();
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            comment.clear();
        } else if let Some((name, value)) = line.split_once(" = ") {
            writeln!(table, "| `{section}.{name}` | `{value}` | {comment} |").unwrap();
            comment.clear();
        }
    }
    holds("generated:settings", &table);
}

#[test]
fn the_doubles_tables_are_its_own() {
    for file in ["src/sandbox/timelines.md", "src/sandbox/control.md"] {
        holds(&format!("include:{file}"), &fs::read_to_string(root().join(file)).unwrap());
    }
}

#[test]
fn the_configuration_shown_is_one() {
    let readme = readme();
    let shown = readme.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, "ps_0123456789\n").unwrap();
    let hash = "ab".repeat(32);
    let config = shown
        .replace("/run/secrets/support.key", key.to_str().unwrap())
        .replace("{ env = \"SUPPORT_WEBHOOK_TOKEN\" }", &format!("{{ file = \"{}\" }}", path_token(directory.path())))
        .replace("{ env = \"SUPPORT_WEBHOOK_SECRET\" }", &format!("{{ file = \"{}\" }}", key.display()))
        .replace("<the hash that `pilotgate token` printed>", &hash)
        .replace("<another hash>", &"cd".repeat(32));
    let file = directory.path().join("pilotgate.toml");
    fs::write(&file, config).unwrap();
    let config = pilotgate::config::load(&file).unwrap();
    assert_eq!(config.numbers[0].name.as_str(), "support");
    assert_eq!(config.numbers[0].quota.per_day, Some(100_000));
    let [grant] = &config.callers[0].grants[..] else { panic!("one grant") };
    let text = r#"{ number = "support", permissions = ["send", "cancel", "read"], templates = ["order_update"], recipient_prefixes = ["+55"] }"#;
    assert_eq!(grant.to_string(), text);
    let rights: Vec<String> = config.callers[1].admin.iter().map(ToString::to_string).collect();
    assert_eq!(rights, ["callers.manage", "outbox.manage"]);
    assert_eq!(config.callers[1].quota.per_minute, Some(60));
}

fn path_token(directory: &Path) -> String {
    let file = directory.join("path-token");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    file.to_str().unwrap().to_owned()
}

/// A sandbox that ends with the test.
struct Sandbox(Child);

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_demo_command_shows_five_messages_to_their_end() {
    assert_eq!(commands("command:demo"), ["cargo run --release -- demo"]);
    let directory = tempfile::tempdir().unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_pilotgate")).arg("demo").env("TMPDIR", directory.path()).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{story}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(story.contains("  5 of 5 ended as expected, none was sent twice.\n"), "{story}");
    let summary = story.split_once("Summary,").unwrap().1;
    for way in [
        "template      PENDING → QUEUED → SENT → DELIVERED → READ",
        "text+buttons  PENDING → QUEUED → SENT → DELIVERED → READ",
        "document      PENDING → QUEUED → SENT → DELIVERED → READ",
        "scheduled     PENDING → QUEUED → CANCELED",
        "unreachable   PENDING → QUEUED → FAILED",
    ] {
        assert!(summary.contains(way), "{way:?} is missing in\n{summary}");
    }
    assert!(!story.contains('\u{1b}'), "a pipe gets no colours");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn the_client_commands_work_against_the_sandbox() {
    assert_eq!(commands("command:test"), ["cargo test --locked"]);
    let binary = Path::new(env!("CARGO_BIN_EXE_pilotgate"));
    let mut sandbox = Sandbox(
        Command::new(binary).args(["sandbox", "--port", "0", "--json"]).stdout(Stdio::piped()).spawn().unwrap(),
    );
    let mut line = String::new();
    BufReader::new(sandbox.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let place: serde_json::Value = serde_json::from_str(&line).unwrap();
    let path = format!("{}:{}", binary.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for command in commands("commands:client") {
        let output = Command::new("bash")
            .args(["-c", &command])
            .env("PATH", &path)
            .env("PILOTGATE_ADDRESS", place["grpc"].as_str().unwrap())
            .env("PILOTGATE_TOKEN", place["token"].as_str().unwrap())
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && !stdout.is_empty(), "{command}\n{stdout}\n{stderr}");
    }
}
