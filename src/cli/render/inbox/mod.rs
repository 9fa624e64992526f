//! How inbound events look: `human` for people, `json` for programs. Called by `inbox`.

pub mod human;
pub mod json;

use prost_types::{Struct, Value, value::Kind};

use super::without;
use crate::proto::v1::{InboundKind, InboundSource, stream_inbound_events_response::Frame};

/// The contract's word without its prefix.
pub fn kind_word(kind: InboundKind) -> &'static str {
    without(kind.as_str_name(), "INBOUND_KIND_")
}

fn source_word(source: InboundSource) -> &'static str {
    without(source.as_str_name(), "INBOUND_SOURCE_")
}

/// The kind of event that a frame holds; unspecified for a frame without one.
fn kind(frame: &Frame) -> InboundKind {
    match frame {
        Frame::Message(_) => InboundKind::Message,
        Frame::Number(_) => InboundKind::Number,
        Frame::Call(_) => InboundKind::Call,
        Frame::Lead(_) => InboundKind::Lead,
        Frame::Unattributed(_) => InboundKind::Unattributed,
        Frame::Unrecognized(_) => InboundKind::Unrecognized,
        Frame::Heartbeat(_) | Frame::Gap(_) | Frame::Drain(_) => InboundKind::Unspecified,
    }
}

/// The JSON that a struct stands for.
fn plain(object: &Struct) -> serde_json::Value {
    object.fields.iter().map(|(key, value)| (key.clone(), plain_value(value))).collect::<serde_json::Map<_, _>>().into()
}

fn plain_value(value: &Value) -> serde_json::Value {
    // Up to here doubles hold every whole number.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        #[expect(clippy::cast_possible_truncation, reason = "whole and inside the range that a double holds exactly")]
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= WHOLE => (*number as i64).into(),
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::BoolValue(truth)) => (*truth).into(),
        Some(Kind::StructValue(object)) => plain(object),
        Some(Kind::ListValue(list)) => list.values.iter().map(plain_value).collect(),
    }
}
