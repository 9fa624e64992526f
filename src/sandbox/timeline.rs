//! Owns what becomes of a message by its recipient: the table in `timelines.md`, and the
//! choice between it and the `timelines` switch. It owns no clock and no store:
//! `send` asks it once per message, `messages::advance` walks the steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::messages::Status;
use super::switches::Switches;

/// What becomes of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timeline {
    /// In order; the first one waits from acceptance, or from `deliverAt`.
    pub steps: Vec<Step>,
    /// How the events of the steps go out.
    pub order: EventOrder,
    /// How the send itself is answered.
    pub reply: Reply,
}

impl Timeline {
    /// Whether every step is a state a message can come to.
    pub(super) fn moves_forward(&self) -> bool {
        let start = |s: &Step| matches!(s.status, Status::Queued | Status::Canceled);
        !self.steps.iter().any(start)
    }
}

/// One change of state, with its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// `SENT`, `DELIVERED`, `READ` or `FAILED`.
    pub status: Status,
    /// Milliseconds after the step before; absent: what the switches say for
    /// this status, and a READ that never comes ends the timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// For `FAILED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// How the events of one message go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrder {
    /// One by one, each once the first attempt of the one before has ended.
    #[default]
    InOrder,
    /// The same, each twice.
    Doubled,
    /// Held back until the last step, then last first.
    Reversed,
}

/// How a send is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Reply {
    /// 202.
    #[default]
    Accepted,
    /// 202, after the first step's event was delivered.
    AfterFirstEvent,
    /// Accepted, connection closed.
    Dropped,
    /// Accepted, then 502 and HTML.
    BadGateway,
    /// Accepted, 202 after `slow_answer_ms`.
    Slow,
    /// Not accepted.
    Refused {
        /// HTTP status.
        status: u16,
        /// Machine code.
        #[serde(default)]
        code: Option<String>,
        /// A wait hint after the switches; only for a 429.
        #[serde(default)]
        hinted: bool,
    },
}

impl Reply {
    /// Whether the answer waits for something, so that the caller may be gone
    /// before it comes.
    pub(super) fn takes_time(&self) -> bool {
        matches!(self, Self::AfterFirstEvent | Self::Slow)
    }
}

/// The built-in endings. Made once per double.
pub struct Endings {
    normal: Arc<Timeline>,
    table: BTreeMap<&'static str, Arc<Timeline>>,
}

impl Default for Endings {
    fn default() -> Self {
        let table = built_in().into_iter().map(|(k, t)| (k, Arc::new(t)));
        Self { normal: Arc::new(Timeline { steps: normal(), ..Timeline::default() }), table: table.collect() }
    }
}

impl Endings {
    /// The timeline of a recipient: a phone, a BSUID or a JID.
    pub fn of(&self, recipient: &str, switches: &Switches) -> Arc<Timeline> {
        let digits: String = recipient.chars().filter(char::is_ascii_digit).collect();
        let scripted = switches
            .timelines
            .iter()
            .filter(|(key, _)| digits.ends_with(key.as_str()))
            .max_by_key(|(key, _)| key.len());
        if let Some((_, timeline)) = scripted {
            return Arc::new(timeline.clone());
        }
        let ending = digits.get(digits.len().saturating_sub(4)..).unwrap_or("");
        match self.table.get(ending) {
            Some(timeline) if switches.recipient_endings => Arc::clone(timeline),
            _ => Arc::clone(&self.normal),
        }
    }

    /// The table as the control API shows it.
    pub fn to_json(&self) -> serde_json::Value {
        let mut all = serde_json::Map::new();
        all.insert("*".into(), serde_json::json!(*self.normal));
        for (ending, timeline) in &self.table {
            all.insert((*ending).into(), serde_json::json!(**timeline));
        }
        serde_json::Value::Object(all)
    }
}

fn step(status: Status) -> Step {
    Step { status, after_ms: None, error_code: None }
}

fn failed(code: &str) -> Step {
    Step { status: Status::Failed, after_ms: Some(50), error_code: Some(code.into()) }
}

fn normal() -> Vec<Step> {
    vec![step(Status::Sent), step(Status::Delivered), step(Status::Read)]
}

fn built_in() -> Vec<(&'static str, Timeline)> {
    use Status::{Delivered, Read, Sent};
    let steps = |steps: Vec<Step>| Timeline { steps, ..Timeline::default() };
    let reply = |reply: Reply| Timeline { steps: normal(), reply, ..Timeline::default() };
    let order = |order: EventOrder| Timeline { steps: normal(), order, ..Timeline::default() };
    let refused = |status: u16, code: Option<&str>, hinted: bool| {
        reply(Reply::Refused { status, code: code.map(Into::into), hinted })
    };
    let late = |status: Status| Step { after_ms: Some(100), ..step(status) };
    let unconfirmed = || failed("DELIVERED_NOT_CONFIRMED");
    vec![
        ("0001", steps(vec![failed("WHATSAPP_NOT_EXIST")])),
        ("0002", steps(vec![failed("META_OUTSIDE_24H_WINDOW")])),
        ("0003", steps(vec![failed("DELIVERY_TIMEOUT")])),
        ("0004", steps(vec![step(Sent), unconfirmed()])),
        ("0005", steps(vec![step(Sent), unconfirmed(), late(Delivered), late(Read)])),
        ("0006", steps(vec![])),
        ("0007", steps(vec![step(Sent)])),
        ("0008", steps(vec![step(Sent), step(Delivered)])),
        ("0009", reply(Reply::AfterFirstEvent)),
        ("0011", refused(500, None, false)),
        ("0012", reply(Reply::Dropped)),
        ("0013", reply(Reply::BadGateway)),
        ("0014", refused(429, Some("RATE_LIMITED"), true)),
        ("0015", refused(429, Some("RATE_LIMITED"), false)),
        ("0016", reply(Reply::Slow)),
        ("0017", refused(400, Some("INVALID_DESTINATION"), false)),
        ("0018", refused(402, Some("SUBSCRIPTION_REQUIRED_FOR_MEDIA"), false)),
        ("0019", refused(409, Some("NUMBER_BLOCKED"), false)),
        ("0020", order(EventOrder::Doubled)),
        ("0021", order(EventOrder::Reversed)),
    ]
}
