//! What sends cost in each way of sending, as ratios to a bare pipe measured in the same run.
//!
//! ```sh
//! cargo bench --bench sends
//! cargo bench --bench sends -- 40000   # sends per round; 20,000 if not given
//! ```
//!
//! The bare pipe is a tonic server that turns each call into one HTTP call with a pooled hyper client and serde_json: no
//! callers, no store, no checks. Pipe and gateway each run in a process of their own, so that their CPU time is told
//! apart from that of the load and of the upstream, which run here. Rounds alternate, so that a noisy neighbour hits
//! all. Times are of this machine; the ratios are what is worth comparing.
//!
//! The two rows named "accept" have an upstream that cannot be reached, so that they show what storing a message costs;
//! "queued, handed over" counts until the upstream has taken everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/child.rs"]
mod child;
mod load;
mod server;
mod upstream;

use std::time::{Duration, Instant};

use child::Child;
use pilotgate::proto::v1::Handoff;
use server::Role;

/// The program's own, for the pipe as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
/// Sends a second, for latency: a constant rate does not hide stalls.
const RATE: u32 = 2_000;

/// One way of sending.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Pipe,
    UnaryDirect,
    BulkDirect,
    UnaryAccept,
    BulkAccept,
    HandedOver,
}

const WAYS: [(Way, &str); 6] = [
    (Way::Pipe, "bare pipe"),
    (Way::UnaryDirect, "unary, direct"),
    (Way::BulkDirect, "bulk, direct"),
    (Way::UnaryAccept, "unary, queued: accept"),
    (Way::BulkAccept, "bulk, queued: accept"),
    (Way::HandedOver, "bulk, queued, handed over"),
];

/// A port that nobody listens on.
const NOWHERE: &str = "http://127.0.0.1:1";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, upstream] = arguments.as_slice() {
        return server::run(role, upstream);
    }
    let sends = arguments.first().map_or(20_000, |text| text.parse().expect("a number of sends"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare(sends));
}

/// Of one round: CPU seconds for 10,000 sends, sends a second, median latency in ms, writes for each commit, MiB resident
/// after it.
type Round = [f64; 5];

async fn compare(sends: usize) {
    let upstream = upstream::start().await;
    let mut measured: [Vec<Round>; WAYS.len()] = Default::default();
    for round in 0..=ROUNDS {
        for (rounds, (way, _)) in measured.iter_mut().zip(WAYS) {
            let one = measure(way, &upstream, sends).await;
            // The first round fills caches and is not counted.
            if round > 0 {
                rounds.push(one);
            }
        }
    }
    let medians = measured.map(|rounds| std::array::from_fn::<f64, 5, _>(|index| median(&rounds, index)));
    println!(
        "{CALLERS} callers or 8 bulk streams, {sends} sends a round, {ROUNDS} rounds, medians; in () by the pipe's"
    );
    println!(
        "{:28} {:>18} {:>18} {:>18} {:>8} {:>8}",
        "", "CPU s for 10,000", "sends a second", "p50 ms at 2,000/s", "batch", "MiB"
    );
    let [pipe, ..] = medians;
    for ((_, name), values) in WAYS.iter().zip(medians) {
        let cell = |index: usize| match values[index] {
            value if value.is_nan() => String::new(),
            value => format!("{value:.3} ({:.2})", value / pipe[index]),
        };
        let batch = if values[3].is_nan() { String::new() } else { format!("{:.1}", values[3]) };
        println!("{name:28} {:>18} {:>18} {:>18} {batch:>8} {:>8.0}", cell(0), cell(1), cell(2), values[4]);
    }
}

fn median(rounds: &[Round], index: usize) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(way: Way, upstream: &str, sends: usize) -> Round {
    let role = if way == Way::Pipe { Role::Pipe } else { Role::Gateway };
    let target = if matches!(way, Way::UnaryAccept | Way::BulkAccept) { NOWHERE } else { upstream };
    let (mut child, url) = Child::start(&[role.word(), target]);
    run(way, &url, sends / 10).await;
    let (cpu, [writes, commits]) = (child.cpu_seconds(), child.written());
    let took = run(way, &url, sends).await;
    let (cpu, after) = (child.cpu_seconds() - cpu, child.written());
    let p50 = match way {
        Way::Pipe | Way::UnaryDirect => load::constant_rate(&url, Handoff::Direct, RATE, Duration::from_secs(2)).await,
        Way::UnaryAccept => load::constant_rate(&url, Handoff::Queued, RATE, Duration::from_secs(2)).await,
        Way::BulkDirect | Way::BulkAccept | Way::HandedOver => Duration::MAX,
    };
    [
        cpu * 10_000.0 / sends as f64,
        sends as f64 / took.as_secs_f64(),
        if p50 == Duration::MAX { f64::NAN } else { p50.as_secs_f64() * 1e3 },
        (after[0] - writes) / (after[1] - commits),
        child.resident_kib() / 1024.0,
    ]
}

/// Sends, and how long that took.
async fn run(way: Way, url: &str, sends: usize) -> Duration {
    match way {
        Way::Pipe | Way::UnaryDirect => load::closed_loop(url, Handoff::Direct, CALLERS, sends).await,
        Way::UnaryAccept => load::closed_loop(url, Handoff::Queued, CALLERS, sends).await,
        Way::BulkDirect => load::bulk(url, Handoff::Direct, sends).await,
        Way::BulkAccept => load::bulk(url, Handoff::Queued, sends).await,
        Way::HandedOver => {
            let (start, before) = (Instant::now(), upstream::taken());
            load::bulk(url, Handoff::Queued, sends).await;
            let all = before + (sends / 8 * 8) as u64;
            while upstream::taken() < all {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            start.elapsed()
        }
    }
}
