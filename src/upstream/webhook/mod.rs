//! Webhook bodies become facts and inbound events, whichever of the vendor's schemas they are written in.
//!
//! Owns the shapes: one file each. Whatever is JSON becomes at least one item: an event that has no known shape, or whose
//! shape cannot be made out, is taken over as it came, and takes nothing else of its body with it. Fields that nobody knows
//! stay with their event. Called by `tracking`.

mod call;
mod fields;
mod identity;
mod items;
mod lead;
mod message;
mod meta;
mod number;
mod status;
#[cfg(test)]
mod tests;
mod unrecognized;

use jiff::Timestamp;
use serde_json::{Value, value::RawValue};

use self::items::Items;
pub use super::signature::HEADER as SIGNATURE_HEADER;
use crate::domain::{
    ids::NumberName,
    inbound::{EventIdentity, Happening, Inbound, MessageSource},
    merge::Fact,
    secret::NumberKey,
    status::Status,
};

/// Where and when a body came in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// At which number.
    pub number: &'a NumberName,
    /// That number's id at Pilot Status, if known.
    pub upstream_id: Option<&'a str>,
    /// Its key, which must not come out of the body.
    pub key: &'a NumberKey,
    /// When the gateway learned of it.
    pub observed_at: Timestamp,
    /// When Pilot Status told it. Stands in where an event tells no time.
    pub delivered_at: Timestamp,
}

/// What a body holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// At least one.
    pub items: Vec<Item>,
    /// A number that the body names and that is not the one it came in at, if that one's id is known.
    pub other_number: Option<String>,
}

/// One thing that a body tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A status of a sent message.
    Status(Told),
    /// Anything else.
    Event(Box<Inbound>, EventIdentity),
}

/// A status of a sent message, and what the webhook says about that message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status.
    pub fact: Fact,
    /// The recipient and the text, if both are given.
    pub said: Option<(String, String)>,
}

/// Reads a body; `None` if it is not JSON. One that holds too many items, or makes too much of its length, is taken over as
/// one, unread.
pub fn read(body: &[u8], arrival: &Arrival<'_>) -> Option<Delivery> {
    let whole: &RawValue = serde_json::from_slice(body).ok()?;
    let parts = serde_json::from_str::<Vec<&RawValue>>(whole.get()).unwrap_or_default();
    let parts = if parts.is_empty() { vec![whole] } else { parts };
    let mut items = Items::of(whole.get());
    let mut other_number = None;
    if !items::too_many(whole.get(), &parts) {
        for part in parts {
            read_part(part.get(), arrival, &mut items, &mut other_number);
        }
        if let Some(items) = items.into_vec() {
            return Some(Delivery { items, other_number });
        }
    }
    Some(Delivery { items: vec![unrecognized::unread(whole.get(), arrival)], other_number })
}

fn read_part(text: &str, arrival: &Arrival<'_>, items: &mut Items, other_number: &mut Option<String>) {
    let Ok(event) = serde_json::from_str::<Value>(text) else {
        return items.push(unrecognized::unread(text, arrival));
    };
    if let Some(named) = fields::number_named(&event)
        && arrival.upstream_id.is_some_and(|own| own != named)
    {
        other_number.get_or_insert(named);
    }
    let name = event.get("event").and_then(Value::as_str).unwrap_or_default();
    let shape = Shape::of(name);
    if shape.is_none() && meta::read(&event, arrival, items) {
        return;
    }
    let known = match shape {
        Some(Shape::Status(status)) => status::read(status, &event, arrival),
        Some(Shape::Message(source)) => message::read(name, source, &event, arrival),
        Some(Shape::Number) => number::read(name, &event, arrival),
        Some(Shape::Lead) => lead::read(name, &event, arrival),
        Some(Shape::Call) => call::read(name, &event, arrival),
        Some(Shape::NativeCall) => call::read_native(name, &event, arrival),
        None => None,
    };
    items.push(known.unwrap_or_else(|| unrecognized::as_it_came(name, text, &event, arrival)));
}

/// What an event's name says about its shape.
enum Shape {
    Status(Status),
    Message(MessageSource),
    Number,
    Lead,
    Call,
    NativeCall,
}

impl Shape {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "message.queued" => Self::Status(Status::Queued),
            "message.sent" => Self::Status(Status::Sent),
            "message.delivered" => Self::Status(Status::Delivered),
            "message.read" => Self::Status(Status::Read),
            "message.failed" => Self::Status(Status::Failed),
            "message.canceled" | "message.cancelled" => Self::Status(Status::Canceled),
            "message.received" => Self::Message(MessageSource::Received),
            "message.reply" => Self::Message(MessageSource::Reply),
            "message.group" => Self::Message(MessageSource::Group),
            "message.newsletter" => Self::Message(MessageSource::Newsletter),
            "lead.received" => Self::Lead,
            "CallOffer" | "CallAccept" | "CallTerminate" => Self::NativeCall,
            _ if name.starts_with("number.") => Self::Number,
            _ if name.starts_with("call.") => Self::Call,
            _ => return None,
        })
    }
}

/// Longest name of an event that is taken over, in bytes.
const MOST_NAME: usize = 128;

impl Arrival<'_> {
    /// An event that came in.
    fn inbound(&self, name: &str, at: Option<Timestamp>, what: Happening) -> Box<Inbound> {
        let name = super::clean::prose(name, self.key, MOST_NAME);
        let at = at.unwrap_or(self.delivered_at);
        Box::new(Inbound::at(self.number.clone(), name, (at, self.observed_at), what))
    }
}
