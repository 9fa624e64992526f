//! The real program as a process of its own: killed at any moment, searched for secrets, asked to end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canary;
mod crash;
mod custody;
mod haystack;
mod serve;
#[path = "../gateway/jwt/signer.rs"]
#[expect(dead_code, reason = "others sign more than is signed here")]
mod signer;
mod support;
mod watch;
