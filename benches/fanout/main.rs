//! What it costs to tell many subscribers of each update, as ratios to a generated tonic stream over a broadcast channel,
//! measured in the same run.
//!
//! ```sh
//! cargo bench --bench fanout
//! cargo bench --bench fanout -- 4000000   # deliveries for each measurement; 2,000,000 if not given
//! ```
//!
//! Server and subscribers each run in a process of their own. Updates come into being by accepting messages, 500 times
//! a second where that many can be delivered: one at a time ("singly") or 16 at once ("in bursts"). What is counted is the
//! CPU time of the server, the store included. Latency is from the time an update bears to its arrival. Memory is what a
//! server grows by with its subscribers, idle. The last row is one subscriber that reads a log of 200,000 entries from its
//! start, most of it from storage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/child.rs"]
mod child;
mod client;
mod server;

use std::time::{Duration, Instant};

use child::Child;
use client::Plan;

/// The program's own, for the other one as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub const TOKEN: &str = "pgt_bench";

const ROUNDS: usize = 3;
const LOG: usize = 200_000;
const BURST: usize = 16;

/// Who subscribes: how many, on how many connections, each with a filter of its own or not.
const AUDIENCES: [(&str, usize, usize, bool); 5] = [
    ("100 on 10 connections", 100, 10, false),
    ("1,000 on 10 connections", 1_000, 10, false),
    ("10,000 on 10 connections", 10_000, 10, false),
    ("1,000 on 1,000 connections", 1_000, 1_000, false),
    ("1,000 on 10, own filters", 1_000, 10, true),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.as_slice() {
        [role] if role.parse::<usize>().is_err() => server::run(role),
        [role, address, plan @ ..] if role == "subscribers" => client::run(address, plan),
        [] => compare(2_000_000),
        [deliveries] => compare(deliveries.parse().expect("a number of deliveries")),
        other => panic!("{other:?}"),
    }
}

fn compare(deliveries: usize) {
    println!("{deliveries} deliveries for each measurement, medians of {ROUNDS}; in () by the naive server's");
    println!(
        "{:28} {:10} {:>20} {:>20} {:>20} {:>16}",
        "", "", "deliveries a core-s", "p50 us", "p99 us", "KiB a subscriber"
    );
    for (name, streams, connections, own_filters) in AUDIENCES {
        let plan = Plan { streams, connections, own_filters, earliest: false };
        for (way, at_once) in [("singly", 1), ("in bursts", BURST)] {
            let [gateway, naive] = ["gateway", "naive"].map(|role| measure(role, plan, deliveries, at_once));
            let cell = |index: usize, digits: usize| {
                format!("{:.*} ({:.2})", digits, gateway[index], gateway[index] / naive[index])
            };
            println!("{name:28} {way:10} {:>20} {:>20} {:>20} {:>16}", cell(0, 0), cell(1, 0), cell(2, 0), cell(3, 1));
        }
    }
    let (rate, cpu) = catch_up();
    println!("one subscriber catching up: {rate:.0} updates a second, {cpu:.0} a core-second");
}

/// Deliveries for each second of the server's CPU time, latencies in microseconds, KiB for each subscriber.
fn measure(role: &str, plan: Plan, deliveries: usize, at_once: usize) -> [f64; 4] {
    let (mut server, address) = Child::start(&[role]);
    let idle = server.resident_kib();
    let (mut subscribers, _) = subscribers(&address, plan);
    let memory = (server.resident_kib() - idle) / plan.streams as f64;
    // The first round fills caches and is not counted.
    let each = (deliveries / plan.streams / ROUNDS).next_multiple_of(BURST);
    // So many a second that there is time for all of them.
    let rate = (500_000 / plan.streams).clamp(10, 500);
    let micros = 1_000_000 * at_once / rate;
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS + 1 {
        let cpu = server.cpu_seconds();
        server.ask(&format!("{each} {at_once} {micros}"));
        subscribers.ask(&(round * each * plan.streams).to_string());
        let told = subscribers.line();
        let cpu = server.cpu_seconds() - cpu;
        server.line();
        let numbers: Vec<f64> = told.split_whitespace().map(|number| number.parse().unwrap()).collect();
        if round > 1 {
            rounds.push([(each * plan.streams) as f64 / cpu, numbers[1], numbers[2], memory]);
        }
    }
    drop(subscribers);
    std::array::from_fn(|index| median(rounds.iter().map(|round| round[index])))
}

fn subscribers(address: &str, plan: Plan) -> (Child, String) {
    let plan = plan.to_arguments();
    let arguments: Vec<&str> = ["subscribers", address].into_iter().chain(plan.iter().map(String::as_str)).collect();
    Child::start(&arguments)
}

/// Updates a second, and updates for each second of CPU time.
fn catch_up() -> (f64, f64) {
    let (mut server, address) = Child::start(&["gateway"]);
    server.ask(&server::fill(LOG));
    server.line();
    let plan = Plan { streams: 1, connections: 1, own_filters: false, earliest: true };
    let count = server::filled(LOG);
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|_| {
            let (cpu, start) = (server.cpu_seconds(), Instant::now());
            let (mut subscribers, _) = subscribers(&address, plan);
            subscribers.ask(&count.to_string());
            subscribers.line();
            // Starting the process takes its time too.
            let took: Duration = start.elapsed();
            (count as f64 / took.as_secs_f64(), count as f64 / (server.cpu_seconds() - cpu))
        })
        .collect();
    (median(rounds.iter().map(|round| round.0)), median(rounds.iter().map(|round| round.1)))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
