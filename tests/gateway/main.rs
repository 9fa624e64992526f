//! The gateway between a real gRPC client and the double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cancel;
mod get;
mod send;
mod support;
mod wire;
