//! Owns the memory of what happened: requests seen, sends accepted per
//! idempotency key, and plain counters. `front` and `send` write it, tests read it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::Serialize;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answered {
    /// With this HTTP status.
    Status(u16),
    /// Not: see the word.
    Not(Unanswered),
}

/// Why a request has no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unanswered {
    /// Still running, or the caller went away first.
    Pending,
    /// The double closed the connection on purpose.
    Dropped,
}

/// A request under `/v1`, without its key and its body.
#[derive(Debug, Clone, Serialize)]
pub struct SeenRequest {
    /// Counts from 1 for the life of the double.
    pub seq: u64,
    /// When it arrived.
    pub at: String,
    /// HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub path: String,
    /// How it ended.
    pub status: Answered,
    /// Header `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// Destination of a send.
    pub recipient: Option<String>,
    /// Lower-case hex.
    pub body_sha256: String,
    /// Header `x-whatsapp-number-id`.
    pub number_id: Option<String>,
    /// Last four characters of the key.
    pub key_last4: Option<String>,
    /// Whether the answer replayed a stored one.
    pub replayed: bool,
}

pub struct Ledger {
    requests: VecDeque<SeenRequest>,
    seq: u64,
    keep: usize,
    accepted: HashMap<(String, String), u64>,
    accepted_order: VecDeque<(String, String)>,
    keep_accepted: usize,
}

impl Ledger {
    pub fn new(keep: usize, keep_accepted: usize) -> Self {
        Self {
            requests: VecDeque::new(),
            seq: 0,
            keep: keep.max(1),
            accepted: HashMap::new(),
            accepted_order: VecDeque::new(),
            keep_accepted: keep_accepted.max(1),
        }
    }

    /// Notes a request before it runs and gives it its place.
    pub fn open(&mut self, mut request: SeenRequest) -> u64 {
        self.seq += 1;
        request.seq = self.seq;
        if self.requests.len() >= self.keep {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
        self.seq
    }

    /// Notes how it ended; nothing if it is no longer kept.
    pub fn close(&mut self, seq: u64, status: Answered, replayed: bool) {
        let behind = self.seq.saturating_sub(seq);
        let index = usize::try_from(behind).ok().and_then(|b| self.requests.len().checked_sub(b + 1));
        if let Some(seen) = index.and_then(|i| self.requests.get_mut(i))
            && seen.seq == seq
        {
            seen.status = status;
            seen.replayed = replayed;
        }
    }

    /// Counts a send really accepted under a key of a number.
    pub fn accepted(&mut self, number: &str, key: &str) {
        let at = (number.to_owned(), key.to_owned());
        if let Some(count) = self.accepted.get_mut(&at) {
            *count += 1;
            return;
        }
        if self.accepted_order.len() >= self.keep_accepted
            && let Some(oldest) = self.accepted_order.pop_front()
        {
            self.accepted.remove(&oldest);
        }
        self.accepted_order.push_back(at.clone());
        self.accepted.insert(at, 1);
    }

    pub fn accepted_under(&self, number: &str, key: &str) -> u64 {
        let at = (number.to_owned(), key.to_owned());
        self.accepted.get(&at).copied().unwrap_or(0)
    }

    pub fn requests(&self) -> impl Iterator<Item = &SeenRequest> {
        self.requests.iter()
    }

    pub fn clear(&mut self) {
        self.requests.clear();
        self.accepted.clear();
        self.accepted_order.clear();
    }
}

/// Counters since the start or the last reset.
#[derive(Default)]
pub struct Stats {
    pub requests: AtomicU64,
    pub sends_accepted: AtomicU64,
    pub sends_refused: AtomicU64,
    pub sends_replayed: AtomicU64,
    pub connections: AtomicU64,
    pub replies_dropped: AtomicU64,
    pub webhooks_delivered: AtomicU64,
    pub webhooks_failed: AtomicU64,
    pub webhooks_given_up: AtomicU64,
    pub webhooks_lost: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests under `/v1`.
    pub requests: u64,
    /// Sends that became a message.
    pub sends_accepted: u64,
    /// Sends answered 4xx or 5xx without a message.
    pub sends_refused: u64,
    /// Sends answered from memory.
    pub sends_replayed: u64,
    /// Connections taken.
    pub connections: u64,
    /// Connections closed on purpose.
    pub replies_dropped: u64,
    /// Attempts answered 2xx.
    pub webhooks_delivered: u64,
    /// Attempts that were not.
    pub webhooks_failed: u64,
    /// Events whose last attempt failed.
    pub webhooks_given_up: u64,
    /// Events lost to a fault rule or a full outbox.
    pub webhooks_lost: u64,
}

impl Stats {
    fn all(&self) -> [&AtomicU64; 10] {
        [
            &self.requests,
            &self.sends_accepted,
            &self.sends_refused,
            &self.sends_replayed,
            &self.connections,
            &self.replies_dropped,
            &self.webhooks_delivered,
            &self.webhooks_failed,
            &self.webhooks_given_up,
            &self.webhooks_lost,
        ]
    }

    pub fn clear(&self) {
        for counter in self.all() {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub fn counts(&self) -> Counts {
        let [
            requests,
            sends_accepted,
            sends_refused,
            sends_replayed,
            connections,
            replies_dropped,
            webhooks_delivered,
            webhooks_failed,
            webhooks_given_up,
            webhooks_lost,
        ] = self.all().map(|c| c.load(Ordering::Relaxed));
        Counts {
            requests,
            sends_accepted,
            sends_refused,
            sends_replayed,
            connections,
            replies_dropped,
            webhooks_delivered,
            webhooks_failed,
            webhooks_given_up,
            webhooks_lost,
        }
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A time for the ledger.
pub fn now() -> String {
    super::clock::iso(Timestamp::now())
}
