//! Owns the reads of single messages, the log list and the typing stub.

use axum::extract::{Path, State as Ext};
use axum::response::Response;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::clock::{iso, iso_or_null};
use super::super::errors::{ApiError, ok};
use super::super::send::destination;
use super::super::state::{Shared, held};
use super::{Message, Status};

/// A message as `GET /v1/messages/{id}` shows it.
pub fn details(message: &Message) -> Value {
    let mut row = json!({
        "id": message.id, "externalMessageId": message.external_id, "status": message.status,
        "correlationId": message.correlation_id,
        "destinationNumber": message.draft.destination,
        "createdAt": iso(message.created_at), "sentAt": iso_or_null(message.sent_at),
        "deliveredAt": iso_or_null(message.delivered_at), "readAt": iso_or_null(message.read_at),
        "errorCode": message.error_code, "errorMessage": message.error_code.as_deref().map(explain),
        "origin": "API", "metaPricing": null,
    });
    if let Some(template) = &message.draft.template {
        row["template"] = json!(template);
    }
    row
}

/// The human text of an error code.
pub fn explain(code: &str) -> String {
    match code {
        "WHATSAPP_NOT_EXIST" => "The recipient is not on WhatsApp".into(),
        "META_OUTSIDE_24H_WINDOW" => "Conversation window closed".into(),
        "DELIVERY_TIMEOUT" => "Delivery timed out".into(),
        "DELIVERED_NOT_CONFIRMED" => "Sent, but delivery was not confirmed".into(),
        other => format!("Failed: {other}"),
    }
}

/// `GET /v1/messages/{id}`
pub async fn get(Ext(state): Ext<Shared>, Path(id): Path<String>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let messages = held(&state.messages);
    match messages.find(&id) {
        Some(message) if message.draft.number_id == number => Ok(ok(details(message))),
        _ => Err(ApiError::new(404, "Message not found")),
    }
}

/// `GET /v1/messages`: parameters and envelope are guesses after `/history`.
pub async fn list(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number_or_header(&state)?;
    let (page, size) = call.page();
    let messages = held(&state.messages);
    let of_number = |m: &&Message| m.draft.number_id == number;
    let total = messages.rows().filter(of_number).count();
    let rows: Vec<Value> =
        messages.rows().rev().filter(of_number).skip((page - 1).saturating_mul(size)).take(size).map(details).collect();
    Ok(ok(json!({
        "messages": rows, "total": total, "page": page, "pageSize": size,
        "totalPages": total.div_ceil(size),
    })))
}

/// `POST /v1/messages/typing`: body and answer are guesses.
pub async fn typing(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number()?;
    call.object()?;
    let to = call.json.as_ref().and_then(destination);
    let to = to.ok_or_else(|| ApiError::invalid(&call.switches, "destinationNumber is required"))?;
    held(&state.inbox).mark_read(&number, to);
    Ok(ok(json!({ "ok": true })))
}

/// Whether a cancel still catches a message.
pub fn is_cancelable(message: &Message) -> bool {
    message.status == Status::Queued && message.draft.deliver_at.is_some_and(|at| at > jiff::Timestamp::now())
}
