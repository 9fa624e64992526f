//! The HTTP door: webhooks in, and whether the process lives and is ready.
//!
//! Answers a webhook with 2xx only after what it told is on disk. Decides nothing about messages.

mod webhook;

use std::time::Duration;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::{get, post},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

use crate::{domain::position::Position, tracking::Tracking};

/// Longest time for one request, its body included. A webhook that was cut off may have been recorded all the same; its
/// repetition then changes nothing.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How the port is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Longest body of a webhook.
    pub max_body_bytes: usize,
}

#[derive(Clone)]
struct Door {
    tracking: Tracking,
    head: watch::Receiver<Position>,
    draining: CancellationToken,
}

/// All routes of the port.
///
/// The port is ready while nothing drains and the store, whose newest position is `head`, is open.
pub fn router(
    tracking: Tracking,
    head: watch::Receiver<Position>,
    draining: CancellationToken,
    options: &Options,
) -> Router {
    Router::new()
        .route("/webhooks/{token}", post(webhook::receive))
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/healthz", get(ready))
        .layer(DefaultBodyLimit::max(options.max_body_bytes))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .with_state(Door { tracking, head, draining })
}

async fn live() -> &'static str {
    "live\n"
}

async fn ready(State(door): State<Door>) -> (StatusCode, &'static str) {
    if door.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if door.head.has_changed().is_err() {
        (StatusCode::SERVICE_UNAVAILABLE, "the store ended\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}
