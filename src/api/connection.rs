//! How old a call's connection may become.

use std::time::Duration;

use tokio::time::Instant;
use tonic::Request;

/// What the server knows of a call's connection.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// When no further calls are to come over it...
    pub old_at: Instant,
    /// ...and how much longer those that go on may take.
    pub grace: Duration,
}

impl Connection {
    /// When a stream over this connection is to end: within the first half of the grace, each after another part of it, so
    /// that they do not all come back at once. `None` if the connection may become as old as it will.
    pub(super) fn leave_at<T>(request: &Request<T>, chance: f64) -> Option<Instant> {
        let connection = request.extensions().get::<Option<Self>>()?.as_ref()?;
        connection.old_at.checked_add(connection.grace.mul_f64(chance / 2.0))
    }
}
