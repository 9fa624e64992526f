//! Owns the bodies of events about messages sent, in both generations. Other
//! events come ready-made from the control API.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::clock::iso;
use super::super::messages::{Message, Status, explain};
use super::super::switches::{EventSchema, Switches};

/// One event, written once for all who get it.
pub struct Event {
    /// `None`: for the webhooks of every number.
    pub number_id: Option<String>,
    pub name: Option<String>,
    pub payload: Bytes,
    /// Events with the same line are delivered one after the other.
    pub line: Option<u64>,
}

impl Event {
    /// What a message that just came to `status` has to tell, if anything.
    pub fn of(message: &Message, status: Status, switches: &Switches) -> Option<Self> {
        let name = match status {
            Status::Sent => "message.sent",
            Status::Delivered => "message.delivered",
            Status::Read => "message.read",
            Status::Failed => "message.failed",
            Status::Queued | Status::Canceled => return None,
        };
        let data = match switches.event_schema {
            EventSchema::V3 => v3(message, status),
            EventSchema::V1 => v1(message, status),
        };
        Some(Self {
            number_id: Some(message.draft.number_id.clone()),
            name: Some(name.into()),
            payload: json!({ "event": name, "data": data }).to_string().into(),
            line: Some(message.seq),
        })
    }
}

/// A phone with `+`; anything else as it is.
fn e164(destination: &str) -> String {
    if destination.bytes().all(|b| b.is_ascii_digit()) { format!("+{destination}") } else { destination.to_owned() }
}

fn v3(message: &Message, status: Status) -> Value {
    let draft = &message.draft;
    let mut data = json!({
        "numberId": draft.number_id, "messageId": message.external_id, "id": message.id,
        "type": draft.kind, "fromMe": true, "createdAt": iso(Timestamp::now()),
        "from": draft.from, "to": e164(&draft.destination), "content": draft.content,
        "correlationId": message.correlation_id,
    });
    if let Some(media) = &draft.media {
        data["mediaType"] = json!(media.media_type);
        if let Some(link) = &media.link {
            data["mediaLink"] = json!(link);
        }
        if let Some(caption) = &media.caption {
            data["mediaCaption"] = json!(caption);
        }
    }
    if status == Status::Failed {
        let code = message.error_code.as_deref().unwrap_or("");
        data["error"] = json!(explain(code));
        data["errorCode"] = json!(code);
    }
    data
}

fn v1(message: &Message, status: Status) -> Value {
    let draft = &message.draft;
    let mut data = json!({
        "messageId": message.external_id, "internalMessageId": message.id,
        "environment": "LIVE", "destinationNumber": e164(&draft.destination),
        "content": draft.content, "status": status, "correlationId": message.correlation_id,
    });
    let when = match status {
        Status::Sent => "sentAt",
        Status::Delivered => "deliveredAt",
        Status::Read => "readAt",
        Status::Failed | Status::Queued | Status::Canceled => "failedAt",
    };
    data[when] = json!(iso(Timestamp::now()));
    if status == Status::Failed {
        let code = message.error_code.as_deref().unwrap_or("");
        data["errorMessage"] = json!(explain(code));
    }
    data
}
