//! Webhook bodies become facts, whichever of the vendor's schemas they are written in.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::reply::status_of;
pub use super::signature::HEADER as SIGNATURE_HEADER;
use crate::domain::{
    failure::Failure,
    ids::{CorrelationId, ExternalId, UpstreamId},
    merge::{Fact, Observed},
    message::ForeignIds,
    status::{Origin, Status},
};

/// What a webhook body holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Statuses of sent messages.
    Facts(Vec<Fact>),
    /// An event that says nothing about a sent message, by name; empty if it has none.
    Other(String),
    /// Not JSON.
    Malformed,
}

/// Both schemas at once: the newer name first, then the one it replaced.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct MessageData {
    id: Option<Value>,
    internal_message_id: Option<Value>,
    message_id: Option<Value>,
    correlation_id: Option<Value>,
    created_at: Option<Value>,
    sent_at: Option<Value>,
    delivered_at: Option<Value>,
    read_at: Option<Value>,
    failed_at: Option<Value>,
    error: Option<Value>,
    error_message: Option<Value>,
    error_code: Option<Value>,
}

/// Reads a body that was received at `observed_at`.
pub fn read(body: &[u8], observed_at: Timestamp) -> Delivery {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return Delivery::Malformed;
    };
    let event = json.get("event").and_then(Value::as_str).unwrap_or_default();
    let status = match event.strip_prefix("message.") {
        Some("queued") => status_of("QUEUED"),
        Some("sent") => Some(Status::Sent),
        Some("delivered") => Some(Status::Delivered),
        Some("read") => Some(Status::Read),
        Some("failed") => Some(Status::Failed),
        Some("canceled" | "cancelled") => Some(Status::Canceled),
        _ => None,
    };
    let data: Option<MessageData> = json.get("data").and_then(|data| MessageData::deserialize(data).ok());
    let fact = status.zip(data).and_then(|(status, data)| fact_of(status, &data, observed_at));
    fact.map_or_else(|| Delivery::Other(event.chars().take(64).collect()), |fact| Delivery::Facts(vec![fact]))
}

fn fact_of(status: Status, data: &MessageData, observed_at: Timestamp) -> Option<Fact> {
    let ids = ForeignIds {
        upstream: first([&data.id, &data.internal_message_id]).and_then(|text| UpstreamId::from_text(text).ok()),
        correlation: first([&data.correlation_id]).and_then(|text| CorrelationId::from_text(text).ok()),
        external: first([&data.message_id]).and_then(|text| ExternalId::from_text(text).ok()),
    };
    if ids == ForeignIds::default() {
        return None;
    }
    let older_time = match status {
        Status::Sent => &data.sent_at,
        Status::Delivered => &data.delivered_at,
        Status::Read => &data.read_at,
        Status::Failed => &data.failed_at,
        _ => &None,
    };
    let at = first([older_time, &data.created_at]).and_then(|text| text.parse().ok());
    let status = if status == Status::Failed {
        Observed::Failed(Failure::reported(
            bounded(first([&data.error_code])),
            bounded(first([&data.error, &data.error_message])),
        ))
    } else {
        Observed::Reached(status)
    };
    Some(Fact { status, at: at.unwrap_or(observed_at), observed_at, origin: Origin::Webhook, ids })
}

/// The first that is a text with something in it.
fn first<const N: usize>(values: [&Option<Value>; N]) -> Option<&str> {
    values.into_iter().filter_map(|value| value.as_ref()?.as_str()).find(|text| !text.is_empty())
}

fn bounded(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().take(500).collect()
}
