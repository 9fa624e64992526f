//! Owns inbound rows: what the control API let a contact say. Bounded; the
//! history reads show them. It delivers nothing.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde_json::Value;

/// The newest this many are kept.
const KEEP: usize = 10_000;

pub struct Inbound {
    pub number_id: String,
    pub id: String,
    pub external_id: Option<String>,
    pub from: String,
    pub name: Option<String>,
    pub kind: String,
    pub text: Option<String>,
    pub quoted: Option<String>,
    pub group: Option<String>,
    pub group_name: Option<String>,
    pub at: Timestamp,
    pub read_at: Option<Timestamp>,
}

#[derive(Default)]
pub struct Inbox(VecDeque<Inbound>);

impl Inbox {
    /// Oldest first.
    pub fn of(&self, number: &str) -> impl DoubleEndedIterator<Item = &Inbound> {
        self.0.iter().filter(move |r| r.number_id == number)
    }

    /// Keeps the row if the event is an inbound message in v3 shape.
    pub fn take_event(&mut self, event: &Value) {
        let data = &event["data"];
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        let inbound = ["message.received", "message.reply", "message.group"];
        let named = event["event"].as_str().unwrap_or("");
        let (true, Some(number_id), Some(from)) = (inbound.contains(&named), text("numberId"), text("from")) else {
            return;
        };
        if self.0.len() >= KEEP {
            self.0.pop_front();
        }
        self.0.push_back(Inbound {
            number_id,
            id: text("id").unwrap_or_default(),
            external_id: text("messageId"),
            from,
            name: text("participantName"),
            kind: text("type").unwrap_or_else(|| "text".into()),
            text: text("content"),
            quoted: text("quotedMessageId"),
            group: text("groupId"),
            group_name: text("groupName"),
            at: Timestamp::now(),
            read_at: None,
        });
    }

    /// A typing indicator marks the chat read.
    pub fn mark_read(&mut self, number: &str, from: &str) {
        for row in &mut self.0 {
            if row.number_id == number && super::faults::same(&row.from, from) {
                row.read_at.get_or_insert_with(Timestamp::now);
            }
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
