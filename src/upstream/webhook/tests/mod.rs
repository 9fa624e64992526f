//! Bodies, and what they are read as.

mod batches;
mod bounds;
mod calls_and_leads;
mod everything;
mod identities;
mod messages;
mod meta;
mod statuses;

use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::Value;

use super::{Arrival, Delivery, Item, Told, read};
use crate::domain::{
    inbound::{EventIdentity, Happening, Inbound},
    message::ForeignIds,
    secret::NumberKey,
};

const KEY: &str = "ps_7f3aEXAMPLEONLYmm01";

/// When everything is learned of.
const NOW: &str = "2027-01-14T09:30:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn number(name: &str) -> crate::domain::ids::NumberName {
    name.to_owned().try_into().unwrap()
}

/// Reads text that came in at `support`, which is `wn_88aa`, at this time.
fn read_at(now: &str, body: impl AsRef<[u8]>) -> Option<Delivery> {
    let (number, key) = (number("support"), NumberKey::from_secret(SecretString::from(KEY)).unwrap());
    let (observed_at, delivered_at) = (time(now), time(now));
    let upstream_id = Some("wn_88aa");
    read(body.as_ref(), &Arrival { number: &number, upstream_id, key: &key, observed_at, delivered_at })
}

fn items(body: &Value) -> Vec<Item> {
    read_at(NOW, body.to_string()).unwrap().items
}

/// The one event that a body tells.
fn event(body: &Value) -> Inbound {
    let items = items(body);
    let [Item::Event(inbound, _)] = &items[..] else { panic!("not one event: {items:?}") };
    (**inbound).clone()
}

fn events(body: &Value) -> Vec<Inbound> {
    let is_event = |item| if let Item::Event(inbound, _) = item { Some(*inbound) } else { None };
    items(body).into_iter().filter_map(is_event).collect()
}

/// The one status that a body tells.
fn told(body: &Value) -> Told {
    let items = items(body);
    let [Item::Status(told)] = &items[..] else { panic!("not one status: {items:?}") };
    told.clone()
}

/// The identity of the one event that a body tells at this time.
fn identity_at(now: &str, body: &Value) -> EventIdentity {
    let items = read_at(now, body.to_string()).unwrap().items;
    let [Item::Event(_, identity)] = items[..] else { panic!("not one event: {items:?}") };
    identity
}

fn at(name: &str, happened: &str, what: Happening) -> Inbound {
    Inbound { number: number("support"), name: name.to_owned(), at: time(happened), observed_at: time(NOW), what }
}

/// The body itself, as an event that happened then.
fn as_it_came(name: &str, happened: &str, body: &Value) -> Inbound {
    at(name, happened, Happening::Unrecognized(body.to_string()))
}

/// Ids of others; a dash stands for none.
fn ids(upstream: &str, correlation: &str, external: &str) -> ForeignIds {
    fn given<T: TryFrom<String>>(text: &str) -> Option<T> {
        if text == "-" { None } else { text.to_owned().try_into().ok() }
    }
    ForeignIds { upstream: given(upstream), correlation: given(correlation), external: given(external) }
}
