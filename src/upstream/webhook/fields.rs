//! The fields of an event, taken out one by one, so that what is left is what nobody knew.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    super::{clean, reply},
    Arrival,
};
use crate::domain::{Invalid, secret::NumberKey};

/// Longest name, phone, word or the like, in bytes.
pub(super) const SHORT: usize = 1024;
/// Longest link; a longer one is left among the unknown fields, since a part of it leads nowhere.
const LINK: usize = 8 * 1024;
/// Longest text of a message.
const TEXT: usize = 64 * 1024;
/// Longest JSON that is kept of one event.
pub(super) const JSON: usize = 256 * 1024;

/// Where what stands around an event's own fields is kept.
const AROUND: &str = "envelope";

/// Fields that are still to be read. Any of them may be missing, null, empty or of another type; one that cannot be read
/// is left.
pub(super) struct Fields<'a> {
    left: Map<String, Value>,
    key: &'a NumberKey,
}

impl<'a> Fields<'a> {
    /// Those of an object.
    pub(super) fn of(value: &Value, key: &'a NumberKey) -> Option<Self> {
        value.as_object().map(|fields| Self { left: fields.clone(), key })
    }

    /// Those of an event in an envelope, `{event, data}`; without `data` there are none. What else the envelope holds is
    /// left among the unknown ones.
    pub(super) fn enveloped(event: &Value, arrival: &Arrival<'a>) -> Option<Self> {
        let mut envelope = Self::of(event, arrival.key)?;
        envelope.left.remove("event");
        let mut fields = match envelope.left.remove("data") {
            Some(Value::Object(left)) => Self { left, key: arrival.key },
            None | Some(Value::Null) => Self { left: Map::new(), key: arrival.key },
            Some(_) => return None,
        };
        fields.put_back(AROUND, envelope);
        fields.drop_own_number(arrival);
        Some(fields)
    }

    /// Those of an event whose fields stand beside its name. Such as come in an envelope are taken as well.
    pub(super) fn flat(event: &Value, arrival: &Arrival<'a>) -> Option<Self> {
        let mut fields = Self::of(event, arrival.key)?;
        fields.left.remove("event");
        if let Some(mut data) = fields.inner("data") {
            let (doubled, own) = data.left.into_iter().partition(|(name, _)| fields.left.contains_key(name));
            fields.left.extend::<Map<_, _>>(own);
            data.left = doubled;
            fields.put_back("data", data);
        }
        fields.drop_own_number(arrival);
        Some(fields)
    }

    /// The number's own id tells nothing that the event does not tell anyway.
    fn drop_own_number(&mut self, arrival: &Arrival<'_>) {
        for name in NUMBER_FIELDS {
            if self.left.get(name).and_then(word).is_some_and(|id| Some(id.as_str()) == arrival.upstream_id) {
                self.left.remove(name);
            }
        }
    }

    /// The first of these fields that can be read.
    pub(super) fn take<T>(&mut self, names: &[&str], read: impl Fn(&Value) -> Option<T>) -> Option<T> {
        names.iter().find_map(|name| {
            let taken = self.left.get(*name).and_then(&read)?;
            self.left.remove(*name);
            Some(taken)
        })
    }

    /// A short text; empty if there is none.
    pub(super) fn text(&mut self, names: &[&str]) -> String {
        let key = self.key;
        self.take(names, |value| word(value).map(|text| clean::prose(&text, key, SHORT))).unwrap_or_default()
    }

    /// What somebody wrote.
    pub(super) fn prose(&mut self, names: &[&str]) -> String {
        let key = self.key;
        self.take(names, |value| prose(value, key)).unwrap_or_default()
    }

    /// A link.
    pub(super) fn link(&mut self, names: &[&str]) -> String {
        let key = self.key;
        let read = |value: &Value| word(value).filter(|text| text.len() <= LINK);
        self.take(names, |value| read(value).map(|text| clean::prose(&text, key, LINK))).unwrap_or_default()
    }

    /// An id.
    pub(super) fn id<T>(&mut self, names: &[&str], check: fn(&str) -> Result<T, Invalid>) -> Option<T> {
        let key = self.key;
        self.take(names, |value| check(&word(value).filter(|text| clean::is_clean(text, key))?).ok())
    }

    /// A time.
    pub(super) fn time(&mut self, names: &[&str]) -> Option<Timestamp> {
        let around = self.left.get(AROUND);
        let around =
            around.and_then(|around| ["createdAt", "timestamp"].iter().find_map(|name| time(around.get(name)?)));
        self.take(names, time).or(around)
    }

    /// Yes or no.
    pub(super) fn flag(&mut self, names: &[&str]) -> Option<bool> {
        self.take(names, |value| match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) => text.trim().to_ascii_lowercase().parse().ok(),
            _ => None,
        })
    }

    /// A whole number.
    pub(super) fn count(&mut self, names: &[&str]) -> Option<u64> {
        self.take(names, |value| word(value)?.trim().parse().ok())
    }

    /// An object among the fields.
    pub(super) fn inner(&mut self, name: &str) -> Option<Self> {
        let key = self.key;
        self.take(&[name], |value| Self::of(value, key))
    }

    /// The fields of another object of the same event.
    pub(super) fn sibling(&self, value: &Value) -> Option<Self> {
        Self::of(value, self.key)
    }

    /// An object that is not among the unknown ones any more, as far as it was read.
    pub(super) fn put_back(&mut self, name: &str, inner: Self) {
        if !inner.left.is_empty() {
            self.put(name, Value::Object(inner.left));
        }
    }

    /// Adds what is not known either. Whatever has that name already keeps it.
    pub(super) fn put(&mut self, name: &str, value: Value) {
        let mut name = name.to_owned();
        while self.left.contains_key(&name) {
            name.push('_');
        }
        self.left.insert(name, value);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(|value| !value.is_null())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// What is left.
    pub(super) fn left(self) -> Value {
        Value::Object(self.left)
    }

    /// What is left, as the text of a JSON object; empty if nothing is. What is too long is cut and becomes a text of its
    /// own, in the field `cut`.
    pub(super) fn rest(mut self) -> String {
        self.left.retain(|_, value| !matches!(value, Value::Null) && value.as_str() != Some(""));
        if self.left.is_empty() {
            return String::new();
        }
        let mut rest = Value::Object(self.left);
        clean::json(&mut rest, self.key);
        let text = rest.to_string();
        if text.len() <= JSON { text } else { json!({ "cut": &text[..text.floor_char_boundary(JSON)] }).to_string() }
    }
}

/// Where an event names the number it came in at.
const NUMBER_FIELDS: [&str; 2] = ["numberId", "whatsappNumberId"];

/// The number that an event says it came in at.
pub(super) fn number_named(event: &Value) -> Option<String> {
    let among = |fields: &Value| NUMBER_FIELDS.iter().find_map(|name| word(fields.get(name)?));
    event.get("data").and_then(among).or_else(|| among(event))
}

/// What somebody wrote.
pub(super) fn prose(value: &Value, key: &NumberKey) -> Option<String> {
    word(value).map(|text| clean::prose(&text, key, TEXT))
}

/// A text that is not empty, or a number that stands for one.
pub(super) fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A time as text, or in seconds or milliseconds since 1970.
pub(super) fn time(value: &Value) -> Option<Timestamp> {
    /// As seconds, this would be in the year 5138; as milliseconds, it is in 1973.
    const MILLISECONDS: i64 = 100_000_000_000;
    let text = word(value)?;
    let since_1970 = text.parse::<i64>().ok().and_then(|count| {
        let at = if count < MILLISECONDS { Timestamp::from_second(count) } else { Timestamp::from_millisecond(count) };
        at.ok().filter(reply::is_plausible)
    });
    since_1970.or_else(|| reply::time(&text))
}
