//! The double of Pilot Status, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod faults;
mod lifecycle;
mod send;
mod support;
mod webhooks;
