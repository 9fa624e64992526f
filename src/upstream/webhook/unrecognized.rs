//! Whatever has no known shape: taken over as it came.
//!
//! Events of other subscriptions (`phone_line.*`), of other programs (`messages.upsert`), events that are newer than this
//! code, and bodies that are no events at all.

use serde_json::Value;

use super::{super::clean, Arrival, Item, fields, identity};
use crate::domain::inbound::Happening;

/// An event that can be read and is not known.
pub(super) fn as_it_came(name: &str, text: &str, event: &Value, arrival: &Arrival<'_>) -> Item {
    // Beside `data`, an id is that of the event itself.
    let own_id = event.get("data").and(event.get("id")).and_then(fields::word).unwrap_or_default();
    let identity = identity::of(name, &[&own_id], event, arrival);
    let what = Happening::Unrecognized(kept(text, event, arrival));
    Item::Event(arrival.inbound(name, identity::time_of(event), what), identity)
}

/// A part of a body that is not known.
pub(super) fn part(name: &str, part: &Value, arrival: &Arrival<'_>) -> Item {
    as_it_came(name, &part.to_string(), part, arrival)
}

/// JSON that is nested too deeply, or whose texts or numbers cannot be represented, or too much of it at once.
pub(super) fn unread(text: &str, arrival: &Arrival<'_>) -> Item {
    let identity = identity::of_text("", text, true, arrival);
    let what = Happening::Unrecognized(quoted(text, arrival));
    Item::Event(arrival.inbound("", None, what), identity)
}

/// The text as it came, unless that could hold a key: a field that comes twice or a character that is written as a number
/// may hide one from those who look at the text alone.
fn kept(text: &str, event: &Value, arrival: &Arrival<'_>) -> String {
    let mut clean = event.clone();
    let dirty = clean::json(&mut clean, arrival.key) || !clean::is_clean(text, arrival.key) || text.contains("\\u00");
    let text = if dirty { clean.to_string() } else { text.to_owned() };
    if text.len() > fields::JSON { quoted(&text, arrival) } else { text }
}

/// The beginning of a text, as a JSON string.
fn quoted(text: &str, arrival: &Arrival<'_>) -> String {
    Value::String(clean::prose(text, arrival.key, fields::JSON)).to_string()
}
