//! The servers of `demo` and `sandbox`: what they print where, and that nothing is left of them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{Ended, Running};

const ESCAPE: char = '\u{1b}';

/// Starts a command with a place of its own for temporary files.
fn start(arguments: &[&str]) -> (Running, TempDir) {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
    (Running::start(command.args(arguments).env("TMPDIR", temporary.path())), temporary)
}

fn left_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// Plays the demo with nothing of our environment that decides on colours, on a terminal or in a pipe.
fn play(terminal: bool, environment: &[(&str, &str)]) -> Ended {
    let temporary = tempfile::tempdir().unwrap();
    let demo = format!("{} demo", env!("CARGO_BIN_EXE_pilotgate"));
    let (program, option) = if terminal { ("script", "-qec") } else { ("sh", "-c") };
    let mut command = Command::new(program);
    command.args([option, &demo, "/dev/null"]);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm-256color").env("TMPDIR", temporary.path()).envs(environment.iter().copied());
    let ended = Running::start(command.stdin(Stdio::null()).stderr(Stdio::piped())).end();
    assert_eq!(left_in(temporary.path()), Vec::<String>::new(), "the demo leaves something behind");
    ended
}

/// Label and way of each message in the summary, whatever times stand behind them.
fn summary(story: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, summary) = story.split_once("Summary,").unwrap();
    let rows = summary.lines().filter(|line| line.contains(" → "));
    rows.map(|row| {
        let (label, way) = row.trim().split_once("  ").unwrap();
        let (way, _) = way.trim_start().split_once("  ").unwrap();
        (label, way.split(" → ").collect())
    })
    .collect()
}

#[test]
fn the_demo_is_told_in_plain_text_to_a_pipe() {
    let read = || vec!["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"];
    for environment in [[].as_slice(), &[("NO_COLOR", "1")]] {
        let demo = play(false, environment);
        assert_eq!((demo.code, demo.stderr.as_str()), (0, ""));
        assert!(!demo.stdout.contains(ESCAPE), "{}", demo.stdout);
        let expected = [
            ("template", read()),
            ("text+buttons", read()),
            ("document", read()),
            ("scheduled", vec!["PENDING", "QUEUED", "CANCELED"]),
            ("unreachable", vec!["PENDING", "QUEUED", "FAILED"]),
        ];
        assert_eq!(summary(&demo.stdout), expected, "{}", demo.stdout);
        assert!(demo.stdout.contains("  5 of 5 ended as expected, none was sent twice.\n"), "{}", demo.stdout);
    }
}

#[test]
fn the_demo_is_told_in_colours_on_a_terminal() {
    // A terminal is made by util-linux's `script`; without one there is nothing to try.
    let Ok(version) = Command::new("script").arg("--version").output() else { return };
    if !String::from_utf8_lossy(&version.stdout).contains("util-linux") {
        return;
    }
    let coloured = play(true, &[]);
    assert_eq!(coloured.code, 0, "{}", coloured.stdout);
    assert!(coloured.stdout.contains("\u{1b}[1m\u{1b}[32mREAD\u{1b}[0m"), "{:?}", coloured.stdout);
    let plain = play(true, &[("NO_COLOR", "1")]);
    assert_eq!(plain.code, 0, "{}", plain.stdout);
    assert!(plain.stdout.contains("READ") && !plain.stdout.contains(ESCAPE), "{:?}", plain.stdout);
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing() {
    let (mut demo, temporary) = start(&["demo"]);
    assert_eq!(demo.line(), "pilotgate demo\n");
    demo.signal("INT");
    assert_eq!(demo.end().code, 130);
    assert_eq!(left_in(temporary.path()), Vec::<String>::new());
}

#[test]
fn a_sandbox_prints_one_line_and_leaves_nothing() {
    for (name, arguments) in [
        ("TERM", ["sandbox", "--port", "0", "--json"].as_slice()),
        ("INT", &["sandbox", "--port", "0", "--json"]),
        ("TERM", &["sandbox", "--port", "0", "--json", "--upstream-only"]),
    ] {
        let (mut sandbox, temporary) = start(arguments);
        let line = sandbox.line();
        assert!(line.starts_with('{') && line.ends_with("}\n"), "{line}");
        let while_it_runs = usize::from(!arguments.contains(&"--upstream-only"));
        assert_eq!(left_in(temporary.path()).len(), while_it_runs);
        sandbox.signal(name);
        let ended = sandbox.end();
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
        assert_eq!(left_in(temporary.path()), Vec::<String>::new());
    }
}
