//! The connection of a call.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::Request;

use crate::fanout::Line;

/// What the server knows of a call's connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Wakes it behind its streams.
    pub line: Line,
    /// When it has to make way; `None` if it may become as old as it will.
    pub end: Option<End>,
    /// Where it comes from; `None` if that is not known.
    pub peer: Option<IpAddr>,
    /// The names in the certificate that the other side has proven to hold, as callers are known by them.
    pub certificate: Arc<[String]>,
}

/// How a connection ends that has become old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// When no further calls are to come over it...
    pub at: Instant,
    /// ...and within what time after that streams end.
    pub grace: Duration,
}

impl Connection {
    /// The line of a call's connection.
    pub(super) fn line<T>(request: &Request<T>) -> Option<Line> {
        request.extensions().get::<Self>().map(|connection| connection.line.clone())
    }

    /// From which address a call comes.
    pub(super) fn peer<T>(request: &Request<T>) -> Option<IpAddr> {
        request.extensions().get::<Self>()?.peer
    }

    /// When a stream is to end: within the first half of its connection's grace, each after another part of it, so that
    /// they do not all come back at once.
    pub(super) fn leave_at<T>(request: &Request<T>, chance: f64) -> Option<Instant> {
        let End { at, grace } = request.extensions().get::<Self>()?.end?;
        at.checked_add(grace.mul_f64(chance / 2.0))
    }
}
