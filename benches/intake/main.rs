//! What it costs to take a signed webhook in, from the socket to the committed update, as a ratio to a bare door measured
//! in the same run.
//!
//! ```sh
//! cargo bench --bench intake
//! cargo bench --bench intake -- 20000   # messages per round, three webhooks each; 10,000 if not given
//! ```
//!
//! The bare door is an axum route that checks the signature, parses the JSON and answers; it stores nothing. Door and
//! gateway each run in a process of their own, so that their CPU time is told apart from that of the load. The gateway knows
//! every message, so that each webhook is merged and appended. Rounds alternate; times are of this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../support/child.rs"]
mod child;
mod load;
mod server;

use child::Child;
use server::Role;

/// The program's own, for the bare door as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 5;

/// Of one round: CPU seconds for 10,000 webhooks, webhooks for each second of CPU time, webhooks a second, writes for each
/// commit, MiB resident after it.
type Round = [f64; 5];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, messages] = arguments.as_slice() {
        return server::run(role, messages.parse().expect("a number of messages"));
    }
    let messages = arguments.first().map_or(10_000, |text| text.parse().expect("a number of messages"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(compare(messages));
}

async fn compare(messages: usize) {
    let roles = [(Role::Door, "bare door"), (Role::Gateway, "gateway")];
    let mut measured: [Vec<Round>; 2] = Default::default();
    for round in 0..=ROUNDS {
        for (rounds, (role, _)) in measured.iter_mut().zip(roles) {
            let one = measure(role, messages).await;
            // The first round fills caches and is not counted.
            if round > 0 {
                rounds.push(one);
            }
        }
    }
    let medians = measured.map(|rounds| std::array::from_fn::<f64, 5, _>(|index| median(&rounds, index)));
    println!(
        "{} connections, {} webhooks a round, {ROUNDS} rounds, medians; in () by the bare door's",
        load::CONNECTIONS,
        3 * messages
    );
    println!(
        "{:10} {:>18} {:>22} {:>18} {:>8} {:>8}",
        "", "CPU s for 10,000", "a second of CPU", "a second", "batch", "MiB"
    );
    let [door, _] = medians;
    for ((_, name), values) in roles.iter().zip(medians) {
        let cell = |index: usize| format!("{:.3} ({:.2})", values[index], values[index] / door[index]);
        let batch = if values[3].is_nan() { String::new() } else { format!("{:.1}", values[3]) };
        println!("{name:10} {:>18} {:>22} {:>18} {batch:>8} {:>8.0}", cell(0), cell(1), cell(2), values[4]);
    }
}

fn median(rounds: &[Round], index: usize) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|round| round[index]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(role: Role, messages: usize) -> Round {
    let (mut child, address) = Child::start(&[role.word(), &messages.to_string()]);
    let webhooks = load::webhooks(messages);
    let count = webhooks.iter().map(Vec::len).sum::<usize>() as f64;
    let (cpu, [writes, commits]) = (child.cpu_seconds(), child.written());
    let took = load::deliver(address.parse().unwrap(), webhooks).await;
    let (cpu, after) = (child.cpu_seconds() - cpu, child.written());
    let written = after[0] - writes;
    assert!(matches!(role, Role::Door) || written >= count, "{count} webhooks, {written} writes");
    [
        cpu * 10_000.0 / count,
        count / cpu,
        count / took.as_secs_f64(),
        written / (after[1] - commits),
        child.resident_kib() / 1024.0,
    ]
}
