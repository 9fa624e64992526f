//! Owns the messages: their state, the newest N of them, three ways to find
//! one. `send` puts them in; `advance` moves them; `reads` and `history` show
//! them; `cancel` takes them back. It owns no webhook and no request rule.

mod advance;
mod cancel;
mod history;
mod reads;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::advance::{Witness, advance, expire, release};
pub use self::cancel::cancel;
pub use self::history::{conversations, group, history, unread};
pub use self::reads::{explain, get, list, typing};
use super::clock::{Alarm, Clock, Due, until};
use super::state::{State, held};
use super::switches::Switches;
use super::timeline::Timeline;
use super::webhooks::Event;

/// State of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Status {
    Queued,
    Sent,
    Delivered,
    Read,
    Failed,
    Canceled,
}

/// A message's media. A data URI is not kept.
#[derive(Debug, Clone)]
pub struct Media {
    pub link: Option<String>,
    pub media_type: String,
    pub caption: Option<String>,
}

/// A message that passed the checks and has no id yet.
pub struct Draft {
    pub number_id: String,
    pub from: String,
    pub destination: String,
    pub template: Option<String>,
    pub marketing: bool,
    /// The v3 field `type`.
    pub kind: String,
    pub content: String,
    pub media: Option<Media>,
    pub carries_flow: bool,
    pub deliver_at: Option<Timestamp>,
    pub deliver_until: Option<Timestamp>,
    pub idempotency_key: Option<String>,
    pub timeline: Arc<Timeline>,
}

pub struct Message {
    pub seq: u64,
    pub id: String,
    pub correlation_id: String,
    pub external_id: Option<String>,
    pub draft: Draft,
    pub status: Status,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub read_at: Option<Timestamp>,
    pub error_code: Option<String>,
    next_step: usize,
    alarm: Option<Alarm>,
    expiry: Option<Alarm>,
    /// Due while its number was not connected.
    parked: bool,
    /// Events held back: all of them for a reversed order, one for a swap.
    held: Vec<Arc<Event>>,
}

/// What `send` tells its caller.
pub struct Accepted {
    pub seq: u64,
    pub id: String,
    pub correlation_id: String,
    pub created_at: Timestamp,
}

/// Who sets the first step off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Clock,
    Caller,
}

/// The newest messages. `first` is the seq of the oldest one kept.
pub struct Messages {
    rows: VecDeque<Message>,
    first: u64,
    keep: usize,
    by_id: HashMap<String, u64>,
    /// Numbers that are not connected.
    closed: HashSet<String>,
}

impl Messages {
    pub fn new(keep: usize) -> Self {
        Self { rows: VecDeque::new(), first: 0, keep: keep.max(1), by_id: HashMap::new(), closed: HashSet::new() }
    }

    /// Forgets the rows, not who is connected.
    pub fn clear(&mut self) {
        self.first += self.rows.len() as u64;
        self.rows.clear();
        self.by_id.clear();
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first)?).ok()
    }

    pub fn at(&mut self, seq: u64) -> Option<&mut Message> {
        let index = self.index(seq)?;
        self.rows.get_mut(index)
    }

    /// By id, correlation id or external id.
    pub fn find(&self, id: &str) -> Option<&Message> {
        let index = self.index(*self.by_id.get(id)?)?;
        self.rows.get(index)
    }

    pub fn recipient(&self, id: &str) -> Option<String> {
        self.find(id).map(|m| m.draft.destination.clone())
    }

    /// Oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.rows.iter()
    }

    fn push(&mut self, message: Message, clock: &Clock) {
        if self.rows.len() >= self.keep
            && let Some(oldest) = self.rows.pop_front()
        {
            self.first += 1;
            for alarm in [oldest.alarm, oldest.expiry].into_iter().flatten() {
                clock.unset(alarm);
            }
            for id in [Some(oldest.id), Some(oldest.correlation_id), oldest.external_id] {
                self.by_id.remove(&id.unwrap_or_default());
            }
        }
        let seq = message.seq;
        self.by_id.insert(message.id.clone(), seq);
        self.by_id.insert(message.correlation_id.clone(), seq);
        self.rows.push_back(message);
    }
}

/// Stores a message and has its timeline start.
pub fn accept(state: &State, switches: &Switches, draft: Draft, start: Start) -> Accepted {
    let id = state.chance.message_id();
    let correlation_id = state.chance.uuid();
    let created_at = Timestamp::now();
    let first = draft.timeline.steps.first();
    let mut wait = first.and_then(|s| advance::wait(s, switches));
    if let (Some(wait), true) = (&mut wait, draft.marketing) {
        let (low, high) = switches.marketing_delay_ms;
        *wait += Duration::from_millis(state.chance.between(low, high));
    }
    if let (Some(wait), Some(at)) = (&mut wait, draft.deliver_at) {
        *wait += until(at);
    }
    let expires = draft.deliver_until.map(until);
    if let Some(key) = &draft.idempotency_key {
        held(&state.ledger).accepted(&draft.number_id, key);
    }
    let mut messages = held(&state.messages);
    let seq = messages.first + messages.rows.len() as u64;
    let alarm = match (start, wait) {
        (Start::Clock, Some(wait)) => Some(state.clock.set(wait, Due::Advance(seq))),
        _ => None,
    };
    let message = Message {
        seq,
        id: id.clone(),
        correlation_id: correlation_id.clone(),
        external_id: None,
        draft,
        status: Status::Queued,
        created_at,
        sent_at: None,
        delivered_at: None,
        read_at: None,
        error_code: None,
        next_step: 0,
        alarm,
        expiry: expires.map(|wait| state.clock.set(wait, Due::Expire(seq))),
        parked: false,
        held: Vec::new(),
    };
    messages.push(message, &state.clock);
    Accepted { seq, id, correlation_id, created_at }
}
