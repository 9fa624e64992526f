//! Webhook bodies become facts, whichever of the vendor's schemas they are written in.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

pub use super::signature::HEADER as SIGNATURE_HEADER;
use super::{
    clean,
    reply::{status_of, time},
};
use crate::domain::{
    failure::Failure,
    ids::{CorrelationId, ExternalId, UpstreamId},
    merge::{Fact, Observed},
    message::ForeignIds,
    secret::NumberKey,
    status::{Origin, Status},
};

/// What a webhook body holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// Statuses of sent messages.
    Facts(Vec<Told>),
    /// An event that says nothing about a sent message, by name; empty if it has none.
    Other(String),
    /// Not JSON.
    Malformed,
}

/// A status of a sent message, and what the webhook says about that message.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The status.
    pub fact: Fact,
    /// The recipient and the text, if both are given.
    pub said: Option<(String, String)>,
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
    to: Option<Value>,
    destination_number: Option<Value>,
    content: Option<Value>,
}

/// Reads a body that was received at `observed_at` for the number with this key, which must not come out of it.
pub fn read(body: &[u8], observed_at: Timestamp, key: &NumberKey) -> Delivery {
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
    let told = status.zip(data).and_then(|(status, data)| {
        let fact = fact_of(status, &data, observed_at, key)?;
        let text = |text: &str| Some(text.to_owned());
        let said = first([&data.to, &data.destination_number], text).zip(first([&data.content], text));
        Some(Told { fact, said })
    });
    told.map_or_else(|| Delivery::Other(event.chars().take(64).collect()), |told| Delivery::Facts(vec![told]))
}

fn fact_of(status: Status, data: &MessageData, observed_at: Timestamp, key: &NumberKey) -> Option<Fact> {
    let ids = ForeignIds {
        upstream: first([&data.id, &data.internal_message_id], |text| UpstreamId::from_text(text).ok()),
        correlation: first([&data.correlation_id], |text| CorrelationId::from_text(text).ok()),
        external: first([&data.message_id], |text| ExternalId::from_text(text).ok()),
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
    let at = first([older_time, &data.created_at], time).unwrap_or(observed_at);
    let status = if status == Status::Failed {
        let code = first([&data.error_code], |text| clean::code(text, key).map(str::to_owned));
        let message = first([&data.error, &data.error_message], |text| Some(clean::text(text, key)));
        Observed::Failed(Failure::reported(code.unwrap_or_default(), message.unwrap_or_default()))
    } else {
        Observed::Reached(status)
    };
    Some(Fact { status, at, observed_at, origin: Origin::Webhook, ids })
}

/// The first that can be read, from a text or from a number that stands for one.
fn first<T, const N: usize>(values: [&Option<Value>; N], read: impl Fn(&str) -> Option<T>) -> Option<T> {
    values.into_iter().flatten().find_map(|value| match value {
        Value::String(text) if !text.is_empty() => read(text),
        Value::Number(number) => read(&number.to_string()),
        _ => None,
    })
}
