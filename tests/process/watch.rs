//! `pilotgate watch` over the ends of the gateway that it watches, as processes of their own.

use std::{
    io::{BufRead, BufReader, Read},
    ops::Range,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use pilotgate::sandbox;
use serde_json::Value;

use crate::support::{NUMBER, Place, READER, TOKEN, patiently, run, run_with, text};

/// Messages of each half, before and after the gateway went.
const HALF: usize = 10;
const STATUSES: [&str; 5] = ["PENDING", "QUEUED", "SENT", "DELIVERED", "READ"];

/// A running client command, which does not outlive the test.
struct Watch {
    process: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_pilotgate"))
            .arg("watch")
            .args(arguments)
            .envs([("PILOTGATE_ADDRESS", format!("http://{}", place.grpc).as_str()), ("PILOTGATE_TOKEN", TOKEN)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (told, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().try_for_each(|line| told.send(line.unwrap())));
        Self { process, lines }
    }

    /// The next update: the request id of its message, and the status.
    fn next(&self) -> (String, String) {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an update within 60 s");
        let line: Value = serde_json::from_str(&line).unwrap();
        let word = |name: &str| line["update"][name].as_str().unwrap().to_owned();
        (word("request_id"), word("status"))
    }

    /// The exit status, what was printed and not read, and what was told on stderr.
    fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        let mut told = String::new();
        let status = patiently(self.process.id(), || {
            self.process.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            self.process.wait().unwrap()
        });
        (status.code(), self.lines.iter().collect(), told)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Fails if it has ended, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn send(place: &Place, requests: Range<usize>) {
    let mut client = place.client().await;
    for index in requests {
        client.send_message(text(READER, &format!("r-{index}"))).await.unwrap();
    }
}

/// Watches while the gateway is ended by `signal` in the middle of things and started again at the same place.
async fn every_update_is_printed_once_over(signal: &str) {
    let place = Place::new(sandbox::Options::default(), "[streams]\ndrain_spread = \"100ms\"\n").await;
    let gateway = place.serve();
    let all = 2 * HALF * STATUSES.len();
    let watch = Watch::start(&place, &["--from", "earliest", "--json", "--count", &all.to_string()]);
    send(&place, 0..HALF).await;
    // Webhooks of most are still to come.
    let mut printed: Vec<_> = (0..HALF).map(|_| watch.next()).collect();
    gateway.signal(signal);
    let status = tokio::task::spawn_blocking(move || gateway.wait()).await.unwrap();
    assert_eq!(status.code(), (signal == "TERM").then_some(0));

    let _gateway = place.serve();
    send(&place, HALF..2 * HALF).await;
    printed.extend((HALF..all).map(|_| watch.next()));
    let (code, more, told) = watch.end();
    assert_eq!((code, more), (Some(0), Vec::new()), "{told}");
    assert!(!told.is_empty() && told.lines().all(|line| line.contains("reconnecting in")), "{told}");
    let expected = (0..2 * HALF).flat_map(|index| STATUSES.map(|status| (format!("r-{index}"), status.to_owned())));
    let mut expected: Vec<_> = expected.collect();
    expected.sort();
    printed.sort();
    assert_eq!(printed, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_update_is_printed_once_over_an_orderly_end() {
    every_update_is_printed_once_over("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_update_is_printed_once_over_a_kill() {
    every_update_is_printed_once_over("KILL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_made_opens_a_gateway_that_knows_its_hash() {
    let (code, made) = run(&["token", "--json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let (token, hash) = (made["token"].as_str().unwrap(), made["hash"].as_str().unwrap());
    assert_eq!(code, Some(0));
    let caller = format!(
        "[[callers]]\nname = \"made\"\ntoken_hashes = [\"{hash}\"]\n\
         [[callers.grants]]\nnumber = \"{NUMBER}\"\npermissions = [\"send\", \"read\"]\n"
    );
    let place = Place::new(sandbox::Options::default(), &caller).await;
    let _gateway = place.serve();
    drop(place.client().await);
    let address = format!("http://{}", place.grpc);
    let send = ["send", "--number", NUMBER, "--to", READER, "--text", "x", "--request-id", "r-1", "--watch"];
    let (code, said) = run_with(&send, &[("PILOTGATE_ADDRESS", &address), ("PILOTGATE_TOKEN", token)]);
    assert_eq!((code, said.lines().count()), (Some(0), STATUSES.len()), "{said}");
    let file = place.write("token", &format!("{token}\n"));
    let watch = ["watch", "--from", "earliest", "--count", "1", "--json", "--token-file", file.to_str().unwrap()];
    let (code, said) = run_with(&watch, &[("PILOTGATE_ADDRESS", &address)]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, told["update"]["caller"].as_str()), (Some(0), Some("made")));
    // The hash itself opens nothing.
    let (code, said) = run_with(&send, &[("PILOTGATE_ADDRESS", &address), ("PILOTGATE_TOKEN", hash)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("CREDENTIAL_INVALID") && !said.contains(hash) && !said.contains(token), "{said}");
}
