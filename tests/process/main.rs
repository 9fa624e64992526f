//! The real program as a process of its own: killed at any moment, searched for secrets, asked to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canary;
mod crash;
mod custody;
mod haystack;
mod serve;
mod support;
mod watch;
