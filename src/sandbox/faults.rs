//! Owns the fault rules: what may go wrong, on what, how often. It does not do
//! the harm; `front`, `send` and `webhooks` ask what is due and do it.
//!
//! A rule is `{on, kind, times?, probability?, recipient?}` and what its kind needs:
//!
//! | kind | needs | on | effect |
//! | --- | --- | --- | --- |
//! | `drop_reply` | | any request | carried out, connection closed without an answer |
//! | `reset` | | any request | connection closed before anything is carried out |
//! | `http` | `status`, `code?`, `retry_after_seconds?`, `hint?`, `body?` | any request | answered so, nothing carried out; a text `body` goes out as HTML |
//! | `delay` | `ms` | any request, `webhook` | a send waits with its idempotency key in use; a webhook attempt waits in line |
//! | `unauthorized` | | any request | 401 |
//! | `webhook_before_reply` | | `send` | the first event is delivered before the answer |
//! | `webhook_drop` | | `webhook` | the event is never delivered |
//! | `webhook_duplicate` | | `webhook` | the event is delivered twice |
//! | `webhook_reorder` | | `webhook` | the event changes places with the next one of its message; the last one does not |
//! | `webhook_wrong_signature` | | `webhook` | the delivery carries a signature that does not verify |
//!
//! `any` is every request, not webhooks; a webhook kind may also say `any`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Operation;
use super::ids::Chance;
use super::switches::Hint;

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// `POST /v1/messages/send`.
    Send,
    /// `GET /v1/messages/{id}`.
    Status,
    /// `DELETE /v1/messages/cancel`.
    Cancel,
    /// `GET /v1/messages/history`.
    History,
    /// `POST /v1/api-keys` and `POST /v1/api-keys/regenerate`.
    Keys,
    /// A delivery.
    Webhook,
    /// Every request under `/v1`.
    Any,
}

/// What goes wrong; the module's table says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum FaultKind {
    DropReply,
    Reset,
    Http,
    Delay,
    Unauthorized,
    WebhookBeforeReply,
    WebhookDrop,
    WebhookDuplicate,
    WebhookReorder,
    WebhookWrongSignature,
}

impl FaultKind {
    fn on_webhook(self) -> bool {
        matches!(self, Self::WebhookDrop | Self::WebhookDuplicate | Self::WebhookReorder | Self::WebhookWrongSignature)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What it is about.
    pub on: On,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How often; absent: until cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// 0 to 1, from the seeded generator.
    #[serde(default = "certain")]
    pub probability: f64,
    /// Only for this destination: a phone (with or without `+`) or a JID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// Of `http`: where `retry_after_seconds` is said.
    #[serde(default)]
    pub hint: Hint,
    /// Of `http`: JSON, or a text that goes out as HTML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Of `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
}

fn certain() -> f64 {
    1.0
}

impl Fault {
    /// A rule that strikes until cleared.
    pub fn new(on: On, kind: FaultKind) -> Self {
        Self {
            on,
            kind,
            times: None,
            probability: 1.0,
            recipient: None,
            status: None,
            code: None,
            retry_after_seconds: None,
            hint: Hint::Both,
            body: None,
            ms: None,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let right = match self.on {
            On::Any => true,
            On::Webhook => self.kind.on_webhook() || self.kind == FaultKind::Delay,
            On::Send => !self.kind.on_webhook(),
            On::Status | On::Cancel | On::History | On::Keys => {
                !self.kind.on_webhook() && self.kind != FaultKind::WebhookBeforeReply
            }
        };
        if !right {
            return Err("this kind does not go with this on");
        }
        if self.kind == FaultKind::Http && !self.status.is_some_and(|s| (200..=599).contains(&s)) {
            return Err("http needs a status from 200 to 599");
        }
        if self.kind == FaultKind::Delay && self.ms.is_none() {
            return Err("delay needs ms");
        }
        if !(0.0..=1.0).contains(&self.probability) {
            return Err("probability is 0 to 1");
        }
        Ok(())
    }

    fn is_about(&self, operation: Option<Operation>) -> bool {
        match (self.on, operation) {
            (On::Any, Some(_)) => !self.kind.on_webhook(),
            (On::Any, None) => self.kind.on_webhook(),
            (On::Send, Some(o)) => o == Operation::Send,
            (On::Status, Some(o)) => o == Operation::Status,
            (On::Cancel, Some(o)) => o == Operation::Cancel,
            (On::History, Some(o)) => o == Operation::History,
            (On::Keys, Some(o)) => o == Operation::Keys,
            (On::Webhook, o) => o.is_none(),
            (_, None) => false,
        }
    }
}

/// The rules, oldest first.
#[derive(Default)]
pub struct Faults(Vec<Fault>);

/// More rules than a test needs.
const MOST: usize = 1_000;

impl Faults {
    pub fn add(&mut self, fault: Fault) -> Result<(), &'static str> {
        fault.check()?;
        if self.0.len() >= MOST {
            return Err("too many rules");
        }
        self.0.push(fault);
        Ok(())
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn list(&self) -> Vec<Fault> {
        self.0.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rules that strike now, each used up once. `None` asks for a delivery.
    pub fn strike(&mut self, operation: Option<Operation>, recipients: &[String], chance: &Chance) -> Vec<Fault> {
        let mut struck = Vec::new();
        for fault in &mut self.0 {
            let known = |wanted: &String| recipients.iter().any(|r| same(r, wanted));
            if fault.times == Some(0)
                || !fault.is_about(operation)
                || !fault.recipient.as_ref().is_none_or(known)
                || !chance.roll(fault.probability)
            {
                continue;
            }
            if let Some(left) = &mut fault.times {
                *left -= 1;
            }
            struck.push(fault.clone());
        }
        self.0.retain(|f| f.times != Some(0));
        struck
    }
}

/// Whether two texts name one destination: `+` does not matter.
pub fn same(a: &str, b: &str) -> bool {
    a.trim_start_matches('+') == b.trim_start_matches('+')
}
