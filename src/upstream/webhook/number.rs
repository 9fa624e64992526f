//! `number.*`: the life and the health of a number. What the health events hold is not documented.

use serde_json::Value;

use super::{Arrival, Item, fields::Fields, identity};
use crate::domain::inbound::{Happening, NumberChange};

pub(super) fn read(name: &str, event: &Value, arrival: &Arrival<'_>) -> Option<Item> {
    let mut of = Fields::enveloped(event, arrival)?;
    let at = of.time(&["createdAt", "timestamp"]);
    let change = NumberChange {
        phone: of.text(&["phone"]),
        display_name: of.text(&["displayName"]),
        error: of.text(&["error", "errorMessage"]),
        error_code: of.text(&["errorCode"]),
        extra: of.rest(),
    };
    let identity = identity::of_news(name, event, arrival);
    Some(Item::Event(arrival.inbound(name, at, Happening::Number(change)), identity))
}
