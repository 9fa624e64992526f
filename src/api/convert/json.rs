//! JSON of Pilot Status, to a protobuf struct.

use std::{collections::BTreeMap, fmt};

use prost::Message as _;
use prost_types::{ListValue, NullValue, Struct, Value, value::Kind};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Objects and lists inside one another, the outermost included. Each is three protobuf messages deep, and many
/// protobuf libraries read no more than a hundred.
const DEEPEST: u8 = 24;

/// A struct is several times as long as its JSON, and clients refuse messages of more than 4 MiB unless they are told
/// otherwise. One that they cannot read would stand in their way for ever.
const LONGEST: usize = 2 * 1024 * 1024;

/// What stands in for the JSON where a struct would be too long, and holds what is no object.
const VALUE: &str = "value";

/// The object; `None` if the text is empty. What is nested too deeply stands as its own JSON text.
pub(super) fn structure(json: &str) -> Option<Struct> {
    if json.is_empty() {
        return None;
    }
    let whole = match serde_json::from_str::<Root>(json).map(|root| root.0.kind) {
        Ok(Some(Kind::StructValue(object))) => object,
        Ok(kind) => single(Value { kind }),
        Err(_) => single(text(json)),
    };
    Some(if whole.encoded_len() <= LONGEST { whole } else { single(text(json)) })
}

fn single(value: Value) -> Struct {
    Struct { fields: BTreeMap::from([(VALUE.to_owned(), value)]) }
}

fn text(text: &str) -> Value {
    value(Kind::StringValue(text.to_owned()))
}

const fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

struct Root(Value);

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Level(0).deserialize(deserializer).map(Self)
    }
}

/// Reads a value inside so many objects and lists.
#[derive(Clone, Copy)]
struct Level(u8);

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.0 < DEEPEST {
            return deserializer.deserialize_any(self);
        }
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with(['{', '[']) {
            return Ok(text(raw));
        }
        serde_json::Deserializer::from_str(raw).deserialize_any(self).map_err(D::Error::custom)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(value(Kind::NullValue(NullValue::NullValue.into())))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(value(Kind::BoolValue(truth)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(value(Kind::NumberValue(number)))
    }

    #[expect(clippy::cast_precision_loss, reason = "the schema says so: a struct has doubles only")]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(value(Kind::NumberValue(number as f64)))
    }

    #[expect(clippy::cast_precision_loss, reason = "the schema says so: a struct has doubles only")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(value(Kind::NumberValue(number as f64)))
    }

    fn visit_str<E>(self, read: &str) -> Result<Value, E> {
        Ok(text(read))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(one) = list.next_element_seed(Level(self.0 + 1))? {
            values.push(one);
        }
        Ok(value(Kind::ListValue(ListValue { values })))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some(key) = object.next_key()? {
            fields.insert(key, object.next_value_seed(Level(self.0 + 1))?);
        }
        Ok(value(Kind::StructValue(Struct { fields })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: f64) -> Value {
        value(Kind::NumberValue(number))
    }

    fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
        Struct { fields: fields.map(|(key, value)| (key.to_owned(), value)).into() }
    }

    #[test]
    fn every_kind_of_value() {
        let json =
            r#"{"null":null,"true":true,"half":-0.5,"whole":7,"text":"a\"\u00e9","list":[1,[],{}],"in":{"a":"b"}}"#;
        let list = vec![
            number(1.0),
            value(Kind::ListValue(ListValue::default())),
            value(Kind::StructValue(Struct::default())),
        ];
        let expected = object([
            ("null", value(Kind::NullValue(0))),
            ("true", value(Kind::BoolValue(true))),
            ("half", number(-0.5)),
            ("whole", number(7.0)),
            ("text", text("a\"é")),
            ("list", value(Kind::ListValue(ListValue { values: list }))),
            ("in", value(Kind::StructValue(object([("a", text("b"))])))),
        ]);
        assert_eq!(structure(json), Some(expected));
        assert_eq!(structure("{}"), Some(Struct::default()));
        assert_eq!(structure(""), None);
    }

    #[test]
    fn what_is_no_object_stands_under_value() {
        assert_eq!(structure("[1]").unwrap().fields.into_keys().collect::<Vec<_>>(), ["value"]);
        assert_eq!(structure("7"), Some(object([("value", number(7.0))])));
        for not_json in ["{", "hello", "{} {}", "1e999"] {
            assert_eq!(structure(not_json), Some(object([("value", text(not_json))])), "{not_json}");
        }
    }

    #[test]
    fn a_number_that_no_double_holds_is_rounded() {
        assert_eq!(structure(r#"{"a":9007199254740993}"#), Some(object([("a", number(9_007_199_254_740_992.0))])));
        assert_eq!(structure(r#"{"a":-9007199254740993}"#), Some(object([("a", number(-9_007_199_254_740_992.0))])));
    }

    /// Objects inside one another, and what stands in the innermost.
    fn nested(levels: usize, inmost: &str) -> String {
        format!("{}{inmost}{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
    }

    fn inmost(json: &str) -> (usize, Value) {
        let mut value = value(Kind::StructValue(structure(json).unwrap()));
        let mut levels = 0;
        while let Some(Kind::StructValue(object)) = &mut value.kind {
            let Some(inner) = object.fields.remove("a") else { break };
            value = inner;
            levels += 1;
        }
        (levels, value)
    }

    #[test]
    fn what_is_nested_too_deeply_stands_as_text() {
        assert_eq!(inmost(&nested(24, "7")), (24, number(7.0)));
        assert_eq!(inmost(&nested(25, "7")), (24, text(r#"{"a":7}"#)));
        assert_eq!(inmost(&nested(24, "[ 1, 2]")), (24, text("[ 1, 2]")));
        assert_eq!(inmost(&nested(100_000, "7")), (24, text(&nested(100_000 - 24, "7"))));
        // Deep enough for a struct, and yet not too deep for a reader that takes a hundred messages.
        let encoded = structure(&nested(24, "{}")).unwrap().encode_to_vec();
        assert_eq!(Struct::decode(&*encoded).unwrap(), structure(&nested(24, "{}")).unwrap());
    }

    #[test]
    fn a_struct_that_would_be_too_long_is_text() {
        let numbers = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count - 1));
        assert!(
            matches!(inmost(&numbers(180_000)).1.kind, Some(Kind::ListValue(list)) if list.values.len() == 180_000)
        );
        let long = numbers(200_000);
        assert_eq!(structure(&long), Some(object([("value", text(&long))])));
    }
}
