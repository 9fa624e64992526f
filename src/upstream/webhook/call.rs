//! Calls: `call.*`, whose fields stand beside the event's name, and those of a program that Pilot Status once used.

use serde_json::Value;

use super::{
    Arrival, Item,
    fields::{self, Fields},
    identity,
};
use crate::domain::inbound::{Call, Happening};

pub(super) fn read(name: &str, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::flat(event, arrival)?;
    let timestamp = told_time(event, "timestamp");
    let at = of.time(&["timestamp", "createdAt"]);
    let call = Call {
        call_id: of.text(&["callId"]),
        external_id: of.text(&["externalCallId"]),
        direction: of.text(&["direction"]),
        status: of.text(&["status"]),
        from: of.text(&["from"]),
        to: of.text(&["to"]),
        seconds: of.count(&["duration"]),
        extra: of.rest(),
    };
    Some(item(name, call, at, &timestamp, event, arrival))
}

/// `CallOffer`, `CallAccept` and `CallTerminate`, with names that begin with capitals.
pub(super) fn read_native(name: &str, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::enveloped(event, arrival)?;
    let timestamp = event.get("data").map(|data| told_time(data, "Timestamp")).unwrap_or_default();
    let at = of.time(&["Timestamp"]);
    let call = Call {
        external_id: of.text(&["CallID"]),
        status: of.text(&["Reason"]),
        from: of.text(&["From", "CallCreator"]),
        extra: of.rest(),
        ..Call::default()
    };
    Some(item(name, call, at, &timestamp, event, arrival))
}

/// A call goes through several steps under one id, some of them under one name.
fn item(
    name: &str,
    call: Call,
    at: Option<jiff::Timestamp>,
    timestamp: &str,
    event: &Value,
    arrival: &Arrival<'_>,
) -> Item {
    let identity = if call.call_id.is_empty() && call.external_id.is_empty() {
        identity::of_whole(name, event, arrival)
    } else {
        identity::of(name, &[&call.call_id, &call.external_id, &call.status, timestamp], event, arrival)
    };
    Item::Event(arrival.inbound(name, at, Happening::Call(call)), identity)
}

fn told_time(fields: &Value, name: &str) -> String {
    fields.get(name).and_then(fields::word).unwrap_or_default()
}
