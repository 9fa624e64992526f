//! Owns what happens around every request under `/v1`: the body is read and
//! bounded, the key looked up, fault rules strike, the ledger is written. It
//! knows no endpoint; the router hangs it in front of all of them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State as Ext};
use axum::http::{HeaderMap, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::account::{Key, Scope};
use super::call::{Call, CallParts, Operation};
use super::errors::ApiError;
use super::faults::{Fault, FaultKind};
use super::ledger::{Answered, SeenRequest, Unanswered, count, now};
use super::send::{DropReply, REPLAYED, destination};
use super::server::Hangup;
use super::state::{Shared, State, held};

/// Bodies above this are answered 413.
const MOST_BODY: usize = 32 * 1024 * 1024;

pub async fn front(Ext(state): Ext<Shared>, request: Request, next: Next) -> Response {
    let Some(path) = api_path(request.uri()) else {
        return next.run(request).await;
    };
    count(&state.stats.requests);
    let operation = Operation::of(request.method(), &path);
    let (mut parts, body) = request.into_parts();
    let hangup = parts.extensions.get::<Hangup>().cloned();
    let (body, too_large) = match read(body).await {
        Ok(body) => (body, None),
        Err(refusal) => (Bytes::new(), Some(refusal)),
    };
    let json: Option<Value> = serde_json::from_slice(&body).ok();
    let key = key(&state, &parts.headers);
    let recipient = match operation {
        Operation::Send => json.as_ref().and_then(destination).map(str::to_owned),
        _ => None,
    };
    let seq = held(&state.ledger).open(SeenRequest {
        seq: 0,
        at: now(),
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        status: Answered::Not(Unanswered::Pending),
        idempotency_key: text(&parts.headers, "idempotency-key"),
        recipient: recipient.clone(),
        body_sha256: hex::encode(Sha256::digest(&body)),
        number_id: text(&parts.headers, "x-whatsapp-number-id"),
        key_last4: key.as_ref().map(Key::last4),
        replayed: false,
    });
    let close = |answered, replayed| held(&state.ledger).close(seq, answered, replayed);
    if let Some(refusal) = too_large {
        close(Answered::Status(refusal.status), false);
        return refusal.into_response();
    }

    let faults = strike(&state, operation, &path, recipient, json.as_ref());
    let struck = |kind| faults.iter().find(|f: &&Fault| f.kind == kind);
    let drop_now = || {
        close(Answered::Not(Unanswered::Dropped), false);
        count(&state.stats.replies_dropped);
        hang_up(hangup.as_ref())
    };
    if struck(FaultKind::Reset).is_some() {
        return drop_now().await;
    }
    let delay = struck(FaultKind::Delay).and_then(|f| f.ms).map(Duration::from_millis);
    let refusal = if struck(FaultKind::Unauthorized).is_some() {
        Some(ApiError::unauthorized(&state.switches()).into_response())
    } else {
        struck(FaultKind::Http).map(http_fault)
    };
    if let Some(delay) = delay
        && (operation != Operation::Send || refusal.is_some())
    {
        tokio::time::sleep(delay).await;
    }
    let response = if let Some(refusal) = refusal {
        refusal
    } else {
        parts.extensions.insert(Call::from(CallParts {
            switches: state.switches(),
            query: query(parts.uri.query().unwrap_or("")),
            headers: std::mem::take(&mut parts.headers),
            body,
            json,
            key,
            delay,
            event_before_reply: struck(FaultKind::WebhookBeforeReply).is_some(),
        }));
        next.run(Request::from_parts(parts, Body::empty())).await
    };
    if struck(FaultKind::DropReply).is_some() || response.extensions().get::<DropReply>().is_some() {
        return drop_now().await;
    }
    let replayed = response.headers().contains_key(REPLAYED);
    close(Answered::Status(response.status().as_u16()), replayed);
    response
}

/// Closes the connection under this very request. The connection task drops
/// the future that waits here, so it never answers.
async fn hang_up(hangup: Option<&Hangup>) -> Response {
    match hangup {
        Some(hangup) => {
            hangup.0.cancel();
            std::future::pending().await
        }
        None => ApiError::new(500, "No connection to close").into_response(),
    }
}

/// The path below `/v1` or `/api/v1`; `None` for the control API.
fn api_path(uri: &Uri) -> Option<String> {
    let path = uri.path();
    if path.starts_with(super::server::CONTROL) {
        return None;
    }
    let path = path.strip_prefix("/api").unwrap_or(path);
    Some(path.strip_prefix("/v1").unwrap_or(path).to_owned())
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MOST_BODY).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(e) if e.is::<LengthLimitError>() => Err(ApiError::new(413, "Request body too large")),
        Err(_) => Err(ApiError::new(400, "Request body could not be read")),
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The live key of a request. A key of a deleted number is not live.
fn key(state: &State, headers: &HeaderMap) -> Option<Key> {
    let secret = headers.get("x-api-key").map(|v| v.to_str().unwrap_or(""));
    let id = headers.get("x-api-key-id").and_then(|v| v.to_str().ok());
    let key = held(&state.keyring).find(secret, id)?;
    match &key.scope {
        Scope::Number(number) if !held(&state.numbers).is_live(number) => None,
        _ => Some(key),
    }
}

fn strike(
    state: &State,
    operation: Operation,
    path: &str,
    recipient: Option<String>,
    json: Option<&Value>,
) -> Vec<Fault> {
    if held(&state.faults).is_empty() {
        return Vec::new();
    }
    let ids: Vec<&str> = match operation {
        Operation::Status => path.rsplit('/').next().into_iter().collect(),
        Operation::Cancel => {
            let listed = json.and_then(|j| j["messageIds"].as_array());
            listed.map_or(vec![], |l| l.iter().filter_map(Value::as_str).collect())
        }
        Operation::Send | Operation::History | Operation::Keys | Operation::Other => vec![],
    };
    let mut recipients: Vec<String> = recipient.into_iter().collect();
    {
        let messages = held(&state.messages);
        recipients.extend(ids.into_iter().filter_map(|id| messages.recipient(id)));
    }
    held(&state.faults).strike(Some(operation), &recipients, &state.chance)
}

fn http_fault(fault: &Fault) -> Response {
    let status = fault.status.unwrap_or(500);
    let mut error = match &fault.code {
        Some(code) => ApiError::coded(status, code, "Injected fault"),
        None => ApiError::new(status, "Injected fault"),
    };
    if let Some(seconds) = fault.retry_after_seconds {
        error.hint(fault.hint, seconds);
    }
    if let Some(Value::Object(body)) = &fault.body {
        error.body.clone_from(body);
    }
    let mut response = error.into_response();
    match &fault.body {
        None | Some(Value::Object(_)) => {}
        Some(Value::String(page)) => {
            *response.body_mut() = Body::from(page.clone());
            response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
        }
        Some(other) => *response.body_mut() = Body::from(json!(other).to_string()),
    }
    response
}

/// Pairs of a query text; `+` is a blank and `%xx` a byte.
pub fn query(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter(|p| !p.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (plain(name), plain(value))
        })
        .collect()
}

fn plain(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let mut byte = [0];
                if hex::decode_to_slice([*high, *low], &mut byte).is_ok() {
                    bytes.push(byte[0]);
                    rest = after;
                } else {
                    bytes.push(b'%');
                }
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
