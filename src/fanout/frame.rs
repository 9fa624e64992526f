//! What a follower is given.

use std::time::Duration;

use bytes::Bytes;

use crate::domain::position::Position;

/// What a follower is given, one after the other.
#[derive(Clone, Debug)]
pub enum Frame {
    /// Entries that pass the filter, one or more, in the frames that [`Wire`](super::Wire) made of them.
    Events(Bytes),
    /// Anything else.
    Notice(Notice),
}

/// What a follower is given beside entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A sign of life.
    Heartbeat {
        /// Age of the oldest entry not looked at yet.
        head_lag: Duration,
        /// How many entries lie ahead.
        backlog: u64,
        /// How many entries up to here its subscription has not acknowledged.
        unacknowledged: u64,
        /// Why nothing else came.
        idle: Idle,
    },
    /// Entries were trimmed before they could be read.
    Gap {
        /// The last position before them.
        from: Position,
    },
    /// The process or the connection is about to end.
    Drain {
        /// How long to wait before coming back.
        reconnect_after: Duration,
    },
}

/// Why a follower is given a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It has just begun.
    Started,
    /// It has seen everything.
    CaughtUp,
    /// It reads old entries, of which none passed lately.
    CatchingUp,
}
