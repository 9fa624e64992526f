//! Owns the registered webhooks, their logs and the `/v1/webhooks` routes.
//! `delivery` carries events to them, `event` writes the bodies, `signature`
//! signs. It does not decide when an event happens.

mod delivery;
mod event;
mod handlers;
mod signature;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

pub use self::delivery::{Job, Outbox, Treatment, emit, retry, work};
pub use self::event::Event;
pub use self::handlers::{create, delete, get, list, logs, update};
use super::clock::{iso, iso_or_null};

/// More webhooks than a test needs.
const MOST: usize = 1_000;

/// Log rows kept per webhook; the oldest go first.
const KEEP_LOGS: usize = 200;

/// What a webhook can subscribe to by name; other names are dropped silently.
const EVENTS: [&str; 20] = [
    "message.sent",
    "message.delivered",
    "message.read",
    "message.failed",
    "message.received",
    "message.reply",
    "message.group",
    "message.newsletter",
    "number.created",
    "number.connected",
    "number.disconnected",
    "number.removed",
    "number.restored",
    "lead.received",
    "call.ringing",
    "call.connected",
    "call.ended",
    "call.missed",
    "call.permission_updated",
    "flow.response_received",
];

#[derive(Clone)]
pub struct Hook {
    pub seq: u64,
    pub id: String,
    pub number_id: String,
    pub name: String,
    pub url: String,
    pub active: bool,
    pub events: Vec<String>,
    pub last_triggered: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    given_up_in_a_row: u32,
}

impl Hook {
    /// A body without an event name goes to every active webhook.
    fn wants(&self, event: Option<&str>) -> bool {
        let named = |wanted: &String| wanted == "*" || event.is_none_or(|e| e == wanted);
        self.active && self.events.iter().any(named)
    }

    fn to_json(&self, tenant: &str, keys: &Value) -> Value {
        json!({
            "id": self.id, "tenantId": tenant, "name": self.name, "url": self.url,
            "environment": "LIVE", "active": self.active, "events": self.events,
            "apiKeys": keys, "lastTriggered": iso_or_null(self.last_triggered),
            "whatsappNumberIds": [self.number_id], "whatsappInstanceIds": [],
            "createdAt": iso(self.created_at), "updatedAt": iso(self.updated_at),
        })
    }
}

/// One attempt, kept as bytes until somebody reads it.
struct Log {
    event: Option<String>,
    status_code: Option<u16>,
    payload: Bytes,
    response: String,
    duration_ms: u64,
    at: Timestamp,
}

impl Log {
    fn to_json(&self) -> Value {
        let delivered = self.status_code.is_some_and(|s| (200..300).contains(&s));
        let payload: Value = serde_json::from_slice(&self.payload).unwrap_or(Value::Null);
        json!({
            "event": self.event, "status": if delivered { "SUCCESS" } else { "FAILED" },
            "statusCode": self.status_code, "payload": payload, "response": self.response,
            "durationMs": self.duration_ms, "createdAt": iso(self.at),
        })
    }
}

#[derive(Default)]
pub struct Hooks {
    hooks: BTreeMap<u64, (Hook, VecDeque<Log>)>,
    seq: u64,
}

impl Hooks {
    fn add(&mut self, mut hook: Hook) -> Option<Hook> {
        if self.hooks.len() >= MOST {
            return None;
        }
        self.seq += 1;
        hook.seq = self.seq;
        self.hooks.insert(hook.seq, (hook.clone(), VecDeque::new()));
        Some(hook)
    }

    pub fn all(&self) -> impl Iterator<Item = &Hook> {
        self.hooks.values().map(|(hook, _)| hook)
    }

    fn by_id(&mut self, id: &str) -> Option<&mut (Hook, VecDeque<Log>)> {
        self.hooks.values_mut().find(|(hook, _)| hook.id == id)
    }

    fn remove(&mut self, seq: u64) {
        self.hooks.remove(&seq);
    }

    pub fn remove_number(&mut self, number: &str) {
        self.hooks.retain(|_, (hook, _)| hook.number_id != number);
    }

    /// Who gets an event; `number` is `None` for every number's.
    fn subscribed(&self, number: Option<&str>, event: Option<&str>) -> Vec<u64> {
        self.all().filter(|h| number.is_none_or(|n| n == h.number_id) && h.wants(event)).map(|h| h.seq).collect()
    }

    /// Where to deliver; `None` if the webhook is gone or paused.
    fn target(&mut self, seq: u64) -> Option<String> {
        let (hook, _) = self.hooks.get_mut(&seq)?;
        if !hook.active {
            return None;
        }
        hook.last_triggered = Some(Timestamp::now());
        Some(hook.url.clone())
    }

    fn log(&mut self, seq: u64, log: Log) {
        if let Some((_, logs)) = self.hooks.get_mut(&seq) {
            if logs.len() >= KEEP_LOGS {
                logs.pop_front();
            }
            logs.push_back(log);
        }
    }

    /// Notes an event's end; a webhook that fails too often in a row turns off.
    fn settled(&mut self, seq: u64, delivered: bool, disable_after: Option<u32>) {
        if let Some((hook, _)) = self.hooks.get_mut(&seq) {
            hook.given_up_in_a_row = if delivered { 0 } else { hook.given_up_in_a_row + 1 };
            if disable_after.is_some_and(|most| hook.given_up_in_a_row >= most) {
                hook.active = false;
            }
        }
    }
}
