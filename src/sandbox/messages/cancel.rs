//! Owns `DELETE /v1/messages/cancel`. Documented: 1 to 100 ids, only scheduled
//! messages still QUEUED, the rest named in `failed`. The reasons are ours.

use axum::extract::State as Ext;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::errors::{ApiError, ok};
use super::super::state::{Shared, State, held};
use super::super::switches::CancelShape;
use super::Status;
use super::reads::is_cancelable;

pub async fn cancel(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let number = call.number()?;
    let body = call.object()?;
    let bad = || ApiError::invalid(&call.switches, "messageIds must be 1 to 100 strings");
    let ids = body.get("messageIds").and_then(Value::as_array);
    let ids: Option<Vec<&str>> = ids.ok_or_else(bad)?.iter().map(Value::as_str).collect();
    let ids = ids.filter(|i| (1..=100).contains(&i.len())).ok_or_else(bad)?;

    let mut cancelled = Vec::new();
    let mut failed = Vec::new();
    for id in ids {
        match cancel_one(&state, &number, id) {
            Ok(()) => cancelled.push(id),
            Err(reason) => failed.push((id, reason)),
        }
    }
    Ok(ok(match call.switches.cancel_shape {
        CancelShape::Counts => {
            json!({ "cancelled": cancelled.len(), "notFound": failed.len() })
        }
        CancelShape::Arrays => {
            let failed: Vec<Value> = failed.iter().map(|(id, reason)| json!({ "id": id, "reason": reason })).collect();
            json!({ "cancelled": cancelled, "failed": failed })
        }
    }))
}

fn cancel_one(state: &State, number: &str, id: &str) -> Result<(), &'static str> {
    let mut messages = held(&state.messages);
    let found = messages.find(id).filter(|m| m.draft.number_id == number);
    let seq = found.map(|m| m.seq).ok_or("not found")?;
    let message = messages.at(seq).ok_or("not found")?;
    match message.status {
        Status::Queued if is_cancelable(message) => {}
        Status::Queued => return Err("not scheduled"),
        Status::Canceled => return Err("already canceled"),
        Status::Failed => return Err("already failed"),
        Status::Sent | Status::Delivered | Status::Read => return Err("already sent"),
    }
    message.status = Status::Canceled;
    let alarms = [message.alarm.take(), message.expiry.take()];
    for alarm in alarms.into_iter().flatten() {
        state.clock.unset(alarm);
    }
    Ok(())
}
