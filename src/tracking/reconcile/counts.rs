//! What reading back has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters at one moment, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconcileCounts {
    /// Messages read one by one.
    pub polls: u64,
    /// Pages of histories read instead.
    pub pages: u64,
    /// Texts in doubt looked for; each takes several calls.
    pub doubts: u64,
    /// Updates that reading brought.
    pub news: u64,
    /// Messages left to their webhooks for longer.
    pub deferred: u64,
    /// Calls refused.
    pub refused: u64,
    /// Calls without a usable answer.
    pub unanswered: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) polls: AtomicU64,
    pub(super) pages: AtomicU64,
    pub(super) doubts: AtomicU64,
    pub(super) news: AtomicU64,
    pub(super) deferred: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) unanswered: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> ReconcileCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ReconcileCounts {
            polls: read(&self.polls),
            pages: read(&self.pages),
            doubts: read(&self.doubts),
            news: read(&self.news),
            deferred: read(&self.deferred),
            refused: read(&self.refused),
            unanswered: read(&self.unanswered),
        }
    }
}
