//! The gateway between a real gRPC client and the double.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod bounds;
mod bulk;
mod cancel;
mod carriers;
mod connection_age;
mod doubts;
mod fanout;
mod get;
mod identity;
mod inbox;
mod intake;
mod keys;
mod list;
mod matrix;
mod moved;
mod old_connections;
mod queue;
mod reconcile;
mod registration;
mod resolve;
mod retention;
mod retention_size;
mod retries;
mod rights;
mod send;
mod status;
mod stream_ends;
mod streams;
mod subscriptions;
mod support;
mod undecided;
mod wire;
