//! No message lost, none sent twice unknowingly: gateways that are killed between every two steps, at any moment, and in
//! front of an upstream that fails in every way or is not there at all.
//!
//! ```sh
//! cargo test --test chaos
//! PILOTGATE_CHAOS_SEED=7 PILOTGATE_CHAOS_SENDS=20000 cargo test --test chaos storm
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod caller;
mod crash;
mod doomed;
mod outage;
mod place;
mod plan;
mod storm;
