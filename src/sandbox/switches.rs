//! Owns every guess about the real service. Nothing outside this file may
//! hard-code a behaviour that upstream does not document: it reads a switch.
//! The control API reads and patches them by these names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::timeline::Timeline;

/// Generation of the webhook body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventSchema {
    /// `id`, `to`, `createdAt`, `error`, `errorCode`.
    V3,
    /// `internalMessageId`, `destinationNumber`, `sentAt` and so on.
    V1,
}

/// What the signature header of a delivery holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureStyle {
    /// Lower-case hex.
    Plain,
    /// `sha256=` and lower-case hex.
    Prefixed,
    /// No header.
    Absent,
    /// A well-formed header over other bytes.
    Wrong,
}

/// Shape of the cancel answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelShape {
    /// `{cancelled: [id], failed: [{id, reason}]}`.
    Arrays,
    /// `{cancelled: n, notFound: n}`.
    Counts,
}

/// Shape of a list answer that the sources show in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ListShape {
    /// An object with one named array.
    Wrapped,
    /// The array alone.
    Bare,
}

/// What the answer to a change shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeAnswer {
    /// The whole object.
    Whole,
    /// Its id and when it was changed.
    Subset,
}

/// When the body of a repeated send counts as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Equal as JSON values, whatever the order of members.
    Value,
    /// Equal byte for byte.
    Bytes,
}

/// Where a 429 says how long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// `Retry-After` only.
    Header,
    /// `retryAfterSeconds` only.
    Body,
    /// Both.
    #[default]
    Both,
    /// Nowhere.
    None,
}

impl Hint {
    pub(super) fn in_header(self) -> bool {
        matches!(self, Self::Header | Self::Both)
    }

    pub(super) fn in_body(self) -> bool {
        matches!(self, Self::Body | Self::Both)
    }
}

/// How group sends are met on a Meta number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetaGroups {
    /// 400 `NOT_SUPPORTED_FOR_META`.
    NotSupported,
    /// 400 `META_GROUPS_NOT_ELIGIBLE`.
    NotEligible,
    /// Accepted.
    Eligible,
}

/// A delay, or the word `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum After {
    /// Milliseconds after the step before.
    Millis(u64),
    /// The step does not happen.
    Never(Never),
}

impl After {
    /// The step does not happen.
    pub const NEVER: Self = Self::Never(Never::Never);
}

/// The word `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Never {
    /// It.
    Never,
}

/// Every guess about the real service, and the few knobs of the double itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Guess: the newest SDK parses v3, the guide still names a v1 field.
    pub event_schema: EventSchema,
    /// Guess: plain hex is stated for phone lines "as for numbers" only.
    pub signature: SignatureStyle,
    /// Guess: nothing is known of the real timeout.
    pub webhook_timeout_ms: u64,
    /// Guess: attempts per event, 1 to 5; before them pass 0, 5 s, 30 s, 2 min and 10 min.
    pub webhook_attempts: u32,
    /// Ours: multiplies the waits before webhook attempts; tests use 0.01.
    pub time_scale: f64,
    /// Guess: a webhook turns inactive after so many events in a row whose
    /// attempts all failed; null is never.
    pub webhook_auto_disable_after: Option<u32>,
    /// Guess: 200 or 201.
    pub webhook_create_status: u16,
    /// Guess: what the answer to a changed webhook shows.
    pub webhook_update_answer: ChangeAnswer,
    /// Guess: events that the numbers' provider cannot emit, which are dropped silently from a webhook's list.
    pub webhook_events_dropped: Vec<String>,
    /// Guess: envelope of a webhook's logs (`{logs: []}` when wrapped).
    pub webhook_logs_shape: ListShape,
    /// Guess: two sources show two shapes.
    pub cancel_shape: CancelShape,
    /// Guess: two sources show two shapes.
    pub groups_shape: ListShape,
    /// Guess: two sources show two shapes.
    pub newsletters_shape: ListShape,
    /// Ours: QUEUED to SENT.
    pub sent_after_ms: u64,
    /// Ours: SENT to DELIVERED.
    pub delivered_after_ms: u64,
    /// Ours: DELIVERED to READ, or `"never"`.
    pub read_after: After,
    /// Guess: an old source has MARKETING sends wait 8 to 25 s; `[low, high]`, off here.
    pub marketing_delay_ms: (u64, u64),
    /// Guess: status of a replayed send, 200 or 202.
    pub replay_status: u16,
    /// Guess: how bodies are compared under one idempotency key.
    pub idempotency_compare: Comparison,
    /// Documented as 24 hours; shorter for a test.
    pub idempotency_ttl_ms: u64,
    /// Guess: code of a 401; null is none.
    pub unauthorized_code: Option<String>,
    /// Guess: code of a plain validation refusal; null is none.
    pub validation_code: Option<String>,
    /// Guess: unknown members of a send are refused instead of ignored.
    pub refuse_unknown_fields: bool,
    /// Ours: whether the 24 h window is open for flows.
    pub flow_window_open: bool,
    /// Guess: status of `FLOW_WINDOW_CLOSED`, 409 or 400.
    pub flow_window_closed_status: u16,
    /// Guess: where a 429 says how long to wait.
    pub rate_limit_hint: Hint,
    /// Guess: what it says.
    pub rate_limit_retry_after_seconds: u64,
    /// Guess: longest free text in characters; null is no limit.
    pub max_text_chars: Option<usize>,
    /// Guess: rows of a list message; null is no limit.
    pub max_list_rows: Option<usize>,
    /// Guess: data URIs are refused on numbers that are not Meta's.
    pub data_uris_only_on_meta: bool,
    /// Guess: group sends on a Meta number.
    pub meta_groups: MetaGroups,
    /// Ours: false makes every media send a 402.
    pub paid_plan: bool,
    /// Guess: an account-wide key with a number header may send.
    pub tenant_key_may_send: bool,
    /// Guess: `GET /v1/api-keys` lists masked rows to a number key instead of a 403.
    pub number_key_lists_keys: bool,
    /// Guess: `GET /v1/api-keys` shows the keys themselves; those of old numbers it is said not to.
    pub reveal_keys: bool,
    /// Ours: how late the answer to recipient `…0016` comes.
    pub slow_answer_ms: u64,
    /// Ours: false turns the built-in recipient endings off (for load tests).
    pub recipient_endings: bool,
    /// Ours: timelines by recipient; a key is digits that the recipient's
    /// digits end with, the longest key wins, and all win over the built-in ones.
    pub timelines: BTreeMap<String, Timeline>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            event_schema: EventSchema::V3,
            signature: SignatureStyle::Plain,
            webhook_timeout_ms: 10_000,
            webhook_attempts: 5,
            time_scale: 1.0,
            webhook_auto_disable_after: None,
            webhook_create_status: 201,
            webhook_update_answer: ChangeAnswer::Whole,
            webhook_events_dropped: Vec::new(),
            webhook_logs_shape: ListShape::Bare,
            cancel_shape: CancelShape::Arrays,
            groups_shape: ListShape::Wrapped,
            newsletters_shape: ListShape::Wrapped,
            sent_after_ms: 50,
            delivered_after_ms: 50,
            read_after: After::Millis(100),
            marketing_delay_ms: (0, 0),
            replay_status: 202,
            idempotency_compare: Comparison::Value,
            idempotency_ttl_ms: 24 * 60 * 60 * 1000,
            unauthorized_code: None,
            validation_code: Some("VALIDATION_ERROR".into()),
            refuse_unknown_fields: false,
            flow_window_open: true,
            flow_window_closed_status: 409,
            rate_limit_hint: Hint::Both,
            rate_limit_retry_after_seconds: 1,
            max_text_chars: Some(4096),
            max_list_rows: Some(10),
            data_uris_only_on_meta: true,
            meta_groups: MetaGroups::NotSupported,
            paid_plan: true,
            tenant_key_may_send: false,
            number_key_lists_keys: false,
            reveal_keys: true,
            slow_answer_ms: 5_000,
            recipient_endings: true,
            timelines: BTreeMap::new(),
        }
    }
}

impl Switches {
    /// These switches with the members of `patch` put over them.
    ///
    /// # Errors
    ///
    /// The text names the first member that is unknown or has a bad value;
    /// nothing is changed then.
    pub fn patched(&self, patch: &Map<String, Value>) -> Result<Self, String> {
        let mut switches = self.clone();
        for (name, value) in patch {
            let Ok(Value::Object(mut all)) = serde_json::to_value(&switches) else {
                return Err("the switches cannot be written as JSON".into());
            };
            if !all.contains_key(name) {
                return Err(format!("unknown switch {name}"));
            }
            all.insert(name.clone(), value.clone());
            switches =
                serde_json::from_value(Value::Object(all)).map_err(|e| format!("bad value for switch {name}: {e}"))?;
            if let Some((bad, why)) = switches.fault() {
                return Err(format!("bad value for switch {bad}: {why}"));
            }
        }
        Ok(switches)
    }

    /// The first switch whose value the types let through and sense does not.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        let digits = |key: &String| !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
        let rules = [
            (matches!(self.replay_status, 200 | 202), "replay_status", "200 or 202"),
            (matches!(self.webhook_create_status, 200 | 201), "webhook_create_status", "200 or 201"),
            (matches!(self.flow_window_closed_status, 400 | 409), "flow_window_closed_status", "400 or 409"),
            ((1..=5).contains(&self.webhook_attempts), "webhook_attempts", "1 to 5"),
            (self.time_scale.is_finite() && (0.0..=1000.0).contains(&self.time_scale), "time_scale", "0 to 1000"),
            (self.timelines.keys().all(digits), "timelines", "a key is one or more digits"),
            (
                self.timelines.values().all(Timeline::moves_forward),
                "timelines",
                "a step is SENT, DELIVERED, READ or FAILED",
            ),
        ];
        rules.into_iter().find(|(holds, ..)| !holds).map(|(_, name, why)| (name, why))
    }
}
