//! No message lost, none sent twice unknowingly: gateways that are killed between every two steps, at any moment, and in
//! front of an upstream that fails in every way or is not there at all. And the truth for every subscriber: over webhooks
//! that are lost, repeated, reordered and forged, without any, and over restarts.
//!
//! ```sh
//! cargo test --test chaos
//! PILOTGATE_CHAOS_SEED=7 PILOTGATE_CHAOS_SENDS=20000 cargo test --test chaos storm
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod audience;
mod caller;
mod crash;
mod doomed;
mod forger;
mod outage;
mod place;
mod plan;
mod rolling;
mod rotation;
mod storm;
mod subscriber;
mod webhooks;
