//! Other people's clients: a gRPC client that knows the schema from reflection alone, and the official Pilot Status SDK.
//!
//! Both are Python. `.ci/run` installs them and names the interpreter in `PILOTGATE_TEST_PYTHON`; without that variable
//! there is nothing to run here, and the tests say so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use pilotgate::sandbox;

fn python(script: &str) -> Option<Command> {
    let Some(interpreter) = std::env::var_os("PILOTGATE_TEST_PYTHON") else {
        eprintln!("skipped: PILOTGATE_TEST_PYTHON is not set; .ci/run sets it");
        return None;
    };
    let mut command = Command::new(interpreter);
    command.arg(format!("{}/tests/interop/{script}", env!("CARGO_MANIFEST_DIR")));
    Some(command)
}

fn check(output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
}

#[test]
fn a_client_that_knows_only_reflection_sends_and_watches() {
    let Some(mut command) = python("reflection_client.py") else { return };
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_pilotgate"))
        .args(["sandbox", "--port", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(gateway.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = command.arg(line.trim()).output();
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    check(&output.unwrap());
}

#[tokio::test]
async fn the_official_sdk_works_against_the_double_unchanged() {
    let Some(mut command) = python("official_sdk.py") else { return };
    let double = sandbox::open(sandbox::Options::default()).await.unwrap();
    let account = double.account();
    command.args([double.base_url(), &account.numbers[0].key, &account.tenant_key, &account.webhook_secret]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    check(&output.unwrap());
    double.shutdown().await;
}
