//! What a direct send costs, as a ratio to a bare pipe measured in the same run.
//!
//! ```sh
//! cargo bench --bench direct_send
//! cargo bench --bench direct_send -- 40000   # sends per round; 20,000 if not given
//! ```
//!
//! The bare pipe is a tonic server that turns each call into one HTTP call with a pooled hyper client and serde_json: no
//! callers, no store, no checks. Pipe and gateway each run in a process of their own, so that their CPU time is told
//! apart from that of the load and of the upstream, which run here. Rounds alternate, so that a noisy neighbour hits
//! both. Times are of this machine; the ratios are what is worth comparing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod child;
mod load;
mod upstream;

use std::time::Duration;

use child::{Child, Role};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
/// Sends a second, for latency: a constant rate does not hide stalls.
const RATE: u32 = 2_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, upstream] = arguments.as_slice() {
        return child::run(role, upstream);
    }
    let sends = arguments.first().map_or(20_000, |text| text.parse().expect("a number of sends"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare(sends));
}

/// One role's measurements.
#[derive(Default)]
struct Measured {
    cpu: Vec<f64>,
    throughput: Vec<f64>,
    latency: Vec<f64>,
}

async fn compare(sends: usize) {
    let upstream = upstream::start().await;
    let mut roles = [(Role::Pipe, Measured::default()), (Role::Gateway, Measured::default())];
    for round in 0..=ROUNDS {
        for (role, measured) in &mut roles {
            let child = Child::start(*role, &upstream).await;
            load::closed_loop(&child, CALLERS, sends / 10).await;
            let before = child.cpu_seconds();
            let took = load::closed_loop(&child, CALLERS, sends).await;
            let cpu = child.cpu_seconds() - before;
            let p50 = load::constant_rate(&child, RATE, Duration::from_secs(2)).await;
            // The first round fills caches and is not counted.
            if round > 0 {
                measured.cpu.push(cpu * 10_000.0 / sends as f64);
                measured.throughput.push(sends as f64 / took.as_secs_f64());
                measured.latency.push(p50.as_secs_f64() * 1e3);
            }
        }
    }
    let [(_, pipe), (_, gateway)] = roles.map(|(role, measured)| (role, measured.medians()));
    println!("{CALLERS} callers, {sends} sends a round, {ROUNDS} rounds, medians");
    println!("{:34} {:>10} {:>10} {:>8}", "", "bare pipe", "gateway", "ratio");
    let row = |name: &str, index: usize| {
        println!("{name:34} {:>10.3} {:>10.3} {:>8.2}", pipe[index], gateway[index], gateway[index] / pipe[index]);
    };
    row("CPU seconds for 10,000 sends", 0);
    row("sends a second, closed loop", 1);
    row(&format!("p50 in ms at {RATE} sends a second"), 2);
}

impl Measured {
    fn medians(self) -> [f64; 3] {
        [self.cpu, self.throughput, self.latency].map(|mut values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        })
    }
}
