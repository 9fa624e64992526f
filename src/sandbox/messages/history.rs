//! Owns the chat side: history, unread, group rows, conversations, made on
//! request from the messages sent and the inbound rows of `inbox`.

use axum::extract::State as Ext;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::clock::{iso, iso_or_null};
use super::super::errors::{ApiError, ok};
use super::super::inbox::Inbound;
use super::super::state::{Shared, State, held};
use super::super::switches::MetaGroups;
use super::Message;

/// `GET /v1/messages/history`
pub async fn history(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let rows = both_directions(&state, &number, Range::of(&call)?);
    Ok(paged(&call, "messages", rows))
}

/// `GET /v1/messages/unread`
pub async fn unread(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let inbox = held(&state.inbox);
    let unread: Vec<&Inbound> = inbox.of(&number).filter(|r| r.read_at.is_none()).collect();
    let row = |r: &&Inbound| {
        let mut row = inbound(r);
        let same = unread.iter().filter(|o| o.from == r.from).count();
        row["unreadCount"] = json!(same);
        (r.at, row)
    };
    let rows = unread.iter().rev().map(row).collect();
    Ok(paged(&call, "messages", rows))
}

/// `GET /v1/messages/group`
pub async fn group(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let provider = held(&state.numbers).get(&number)?.provider;
    let code = match call.switches.meta_groups {
        MetaGroups::NotSupported => "NOT_SUPPORTED_FOR_META",
        MetaGroups::NotEligible => "META_GROUPS_NOT_ELIGIBLE",
        MetaGroups::Eligible => "",
    };
    if provider == "META" && !code.is_empty() {
        return Err(ApiError::coded(400, code, "Groups are not available"));
    }
    let range = Range::of(&call)?;
    let inbox = held(&state.inbox);
    let rows = inbox
        .of(&number)
        .rev()
        .filter(|r| range.holds(r.at))
        .filter_map(|r| {
            let group = r.group.as_ref()?;
            let mut row = inbound(r);
            row["groupId"] = json!(group);
            row["groupName"] = json!(r.group_name);
            Some((r.at, row))
        })
        .collect();
    Ok(paged(&call, "messages", rows))
}

/// `GET /v1/conversations`
pub async fn conversations(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let mut rows: Vec<(Timestamp, Value)> = Vec::new();
    let mut known = std::collections::HashMap::<String, usize>::new();
    for (at, row) in both_directions(&state, &number, Range::of(&call)?) {
        let id = row["conversationId"].as_str().unwrap_or("").to_owned();
        let index = *known.entry(id).or_insert_with(|| {
            let peer = row["participantPhone"].as_str().unwrap_or("");
            let kind = match peer {
                p if p.ends_with("@g.us") => "GROUP",
                p if p.ends_with("@newsletter") => "NEWSLETTER",
                _ => "DIRECT",
            };
            rows.push((
                at,
                json!({
                    "id": row["conversationId"], "type": kind, "from": peer,
                    "fromName": row["participantName"], "userId": null, "username": null,
                    "unreadCount": 0, "lastMessageAt": iso(at),
                    "lastMessagePreview": row["text"], "createdAt": iso(at),
                }),
            ));
            rows.len() - 1
        });
        let conversation = &mut rows[index].1;
        conversation["createdAt"] = json!(iso(at));
        if row["direction"] == "INBOUND" && row["readAt"].is_null() {
            let unread = conversation["unreadCount"].as_u64().unwrap_or(0) + 1;
            conversation["unreadCount"] = json!(unread);
        }
    }
    Ok(paged(&call, "conversations", rows))
}

#[derive(Clone, Copy)]
struct Range(Option<Timestamp>, Option<Timestamp>);

impl Range {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let bad = || ApiError::coded(400, "INVALID_DATE_RANGE", "Invalid date range");
        let time = |name: &str| match call.param(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| bad()),
        };
        let range = Self(time("startDate")?, time("endDate")?);
        match range {
            Self(Some(start), Some(end)) if start > end => Err(bad()),
            _ => Ok(range),
        }
    }

    fn holds(self, at: Timestamp) -> bool {
        self.0.is_none_or(|s| s <= at) && self.1.is_none_or(|e| at <= e)
    }
}

/// Newest first.
fn both_directions(state: &State, number: &str, range: Range) -> Vec<(Timestamp, Value)> {
    let mut rows: Vec<(Timestamp, Value)> = {
        let messages = held(&state.messages);
        let of_number = |m: &&Message| m.draft.number_id == number && range.holds(m.created_at);
        let rows = messages.rows().filter(of_number);
        rows.map(|m| (m.created_at, outbound(m))).collect()
    };
    let inbox = held(&state.inbox);
    let inbound_rows = inbox.of(number).filter(|r| range.holds(r.at));
    rows.extend(inbound_rows.map(|r| (r.at, inbound(r))));
    rows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    rows
}

fn conversation(peer: &str) -> String {
    format!("conv_{}", peer.trim_start_matches('+'))
}

fn outbound(m: &Message) -> Value {
    let media = m.draft.media.as_ref().map(|media| {
        json!({ "provider": "META", "id": null, "url": media.link, "mimeType": null,
                "fileName": null })
    });
    json!({
        "id": format!("cm_{}", m.seq), "conversationId": conversation(&m.draft.destination),
        "direction": "OUTBOUND", "providerKind": "META", "externalMessageId": m.external_id,
        "status": m.status, "messageType": m.draft.kind, "origin": "API",
        "text": m.draft.content, "participantName": null,
        "participantPhone": m.draft.destination, "participantUserId": null,
        "repliedToExternalId": null, "media": media, "sentAt": iso_or_null(m.sent_at),
        "deliveredAt": iso_or_null(m.delivered_at), "readAt": iso_or_null(m.read_at),
        "providerTimestamp": iso(m.created_at), "createdAt": iso(m.created_at),
        "referral": null,
    })
}

fn inbound(r: &Inbound) -> Value {
    json!({
        "id": r.id, "conversationId": conversation(r.group.as_ref().unwrap_or(&r.from)),
        "direction": "INBOUND", "providerKind": "META", "externalMessageId": r.external_id,
        "status": "DELIVERED", "messageType": r.kind, "origin": null, "text": r.text,
        "participantName": r.name, "participantPhone": r.from, "participantUserId": null,
        "repliedToExternalId": r.quoted, "media": null, "sentAt": null,
        "deliveredAt": iso(r.at), "readAt": iso_or_null(r.read_at),
        "providerTimestamp": iso(r.at), "createdAt": iso(r.at), "referral": null,
    })
}

fn paged(call: &Call, name: &str, rows: Vec<(Timestamp, Value)>) -> Response {
    let (page, size) = call.page();
    let total = rows.len();
    let skip = (page - 1).saturating_mul(size);
    let rows: Vec<Value> = rows.into_iter().skip(skip).take(size).map(|r| r.1).collect();
    ok(json!({
        name: rows, "total": total, "page": page, "pageSize": size,
        "totalPages": total.div_ceil(size),
    }))
}
