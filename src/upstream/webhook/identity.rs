//! What makes two deliveries the same event.
//!
//! Deliveries are repeated, and nothing in them says so. An event that has ids of its own is known by its name and these.
//! One without is known by its name and all that it tells, which holds a time that sets it apart. One that tells neither id
//! nor time is known by all that it tells and the hour in which it was told: a repetition soon after is the same event, and
//! the same news on another day is news. At the turn of an hour such a repetition is told twice, rather than news never.

use jiff::Timestamp;
use serde_json::Value;

use super::{Arrival, fields};
use crate::domain::inbound::EventIdentity;

/// Fields in which an event may tell when it happened.
pub(super) const TIMES: [&str; 12] = [
    "createdAt",
    "timestamp",
    "Timestamp",
    "happenedAt",
    "receivedAt",
    "updatedAt",
    "sentAt",
    "deliveredAt",
    "readAt",
    "failedAt",
    "time",
    "date_time",
];

/// Fields in which an event may have an id of its own.
const IDS: [&str; 8] =
    ["id", "messageId", "internalMessageId", "callId", "externalCallId", "leadId", "leadgenId", "CallID"];

/// Of an event with these ids of its own, of which some may be missing; or of all that it tells.
pub(super) fn of(name: &str, ids: &[&str], event: &Value, arrival: &Arrival<'_>) -> EventIdentity {
    if ids.iter().all(|id| id.is_empty()) {
        return of_whole(name, event, arrival);
    }
    let parts = ["ids", name].into_iter().chain(ids.iter().copied());
    EventIdentity::of(arrival.number, parts.map(str::as_bytes))
}

/// Of an event of no known shape.
pub(super) fn of_whole(name: &str, event: &Value, arrival: &Arrival<'_>) -> EventIdentity {
    let marked = has_id(event) || event.get("data").is_some_and(has_id) || tells_time(event);
    // An object's fields are written in order of their names, so that it is the same in whatever order they came.
    of_text(name, &event.to_string(), !marked, arrival)
}

/// Of an event about something that stays: whatever id it tells is that thing's, so that only a time marks the event.
pub(super) fn of_news(name: &str, event: &Value, arrival: &Arrival<'_>) -> EventIdentity {
    of_text(name, &event.to_string(), !tells_time(event), arrival)
}

/// Of an event that can be told from others by its text alone.
pub(super) fn of_text(name: &str, text: &str, by_hour: bool, arrival: &Arrival<'_>) -> EventIdentity {
    let hour = if by_hour { arrival.delivered_at.as_second().div_euclid(3600).to_string() } else { String::new() };
    EventIdentity::of(arrival.number, ["whole", name, text, &hour].map(str::as_bytes))
}

fn has_id(fields: &Value) -> bool {
    IDS.iter().any(|name| fields.get(name).and_then(fields::word).is_some())
}

/// Whether there is a time anywhere in it.
fn tells_time(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            TIMES.iter().any(|name| fields.get(*name).and_then(fields::time).is_some())
                || fields.values().any(tells_time)
        }
        Value::Array(values) => values.iter().any(tells_time),
        _ => false,
    }
}

/// The time of an event of no known shape.
pub(super) fn time_of(event: &Value) -> Option<Timestamp> {
    let among = |fields: &Value| TIMES.iter().find_map(|name| fields::time(fields.get(name)?));
    event.get("data").and_then(among).or_else(|| among(event))
}
