//! Owns `POST /v1/messages/send`: claim the idempotency key, check, store,
//! answer. The checks are `check`'s, the memory of keys is `idempotency`'s, what
//! becomes of the message afterwards is `messages`'.

mod check;
mod idempotency;
mod parts;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State as Ext;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

pub use self::check::destination;
pub use self::idempotency::Idempotency;
use self::idempotency::{Claim, Claimed, claim};
use super::account::Scope;
use super::call::Call;
use super::clock::iso;
use super::errors::{ApiError, json_response};
use super::ledger::count;
use super::messages::{self, Start, Witness};
use super::state::{Shared, State, held};
use super::switches::Switches;
use super::timeline::{Reply, Timeline};

/// Marks an answer that came from memory.
pub const REPLAYED: &str = "idempotent-replayed";

/// On a response: `front` closes the connection instead of sending it.
#[derive(Clone)]
pub struct DropReply;

/// How long an answer waits for a delivery that must come first.
const WITNESS_PATIENCE: Duration = Duration::from_secs(10);

/// `POST /v1/messages/send`
pub async fn send(Ext(state): Ext<Shared>, call: Call) -> Result<Response, ApiError> {
    let result = answer(&state, call).await;
    if result.is_err() {
        count(&state.stats.sends_refused);
    }
    result
}

async fn answer(state: &Shared, call: Call) -> Result<Response, ApiError> {
    let number = sender(state, &call)?;
    call.object()?;
    let claim = match claim(state, &call, &number)? {
        Claimed::Replay(body) => {
            count(&state.stats.sends_replayed);
            let mut response = json_response(call.switches.replay_status, body);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
        Claimed::First(claim) => claim,
    };
    let recipient = call.json.as_ref().and_then(destination).unwrap_or("");
    let timeline = state.endings.of(recipient, &call.switches);
    let slow = call.delay.is_some() || call.event_before_reply || timeline.reply.takes_time();
    let run = run(Arc::clone(state), call, number, claim, timeline);
    if !slow {
        return run.await;
    }
    // The caller may hang up meanwhile. That must not undo the send or free its
    // key, so the work runs apart from the connection.
    let stop = state.stop.clone();
    let work = state.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => Err(ApiError::new(503, "Shutting down")),
            response = run => response,
        }
    });
    work.await.unwrap_or_else(|_| Err(ApiError::new(500, "Internal error")))
}

/// The number that sends.
fn sender(state: &State, call: &Call) -> Result<String, ApiError> {
    if call.caller()?.scope == Scope::Tenant && call.switches.tenant_key_may_send {
        return call.number_or_header(state);
    }
    call.number()
}

async fn run(
    state: Shared,
    call: Call,
    number: String,
    claim: Option<Claim>,
    timeline: Arc<Timeline>,
) -> Result<Response, ApiError> {
    if let Some(delay) = call.delay {
        tokio::time::sleep(delay).await;
    }
    let number = held(&state.numbers).get(&number)?;
    if number.unpaid_since.is_some() {
        return Err(blocked());
    }
    let checked = check::check(&state, &call, &number)?;
    if let Reply::Refused { status, code, hinted } = &timeline.reply {
        return Err(refused(&call.switches, *status, code.as_deref(), *hinted));
    }
    let mut draft = checked;
    draft.idempotency_key = call.header("idempotency-key").map(str::to_owned);
    draft.timeline = Arc::clone(&timeline);
    let flow_token = draft.carries_flow.then(|| format!("ft_{}", state.chance.hex(8)));
    // A scheduled message has no event yet that could come first.
    let event_first =
        draft.deliver_at.is_none() && (call.event_before_reply || timeline.reply == Reply::AfterFirstEvent);
    let start = if event_first { Start::Caller } else { Start::Clock };
    let accepted = messages::accept(&state, &call.switches, draft, start);
    count(&state.stats.sends_accepted);

    if event_first {
        let witness = messages::advance(&state, accepted.seq, Witness::Wanted);
        let first_attempts = async {
            for done in witness {
                drop(done.await);
            }
        };
        drop(tokio::time::timeout(WITNESS_PATIENCE, first_attempts).await);
    }
    if timeline.reply == Reply::Slow {
        tokio::time::sleep(Duration::from_millis(call.switches.slow_answer_ms)).await;
    }
    let mut body = json!({
        "id": accepted.id, "correlationId": accepted.correlation_id, "status": "QUEUED",
        "createdAt": iso(accepted.created_at), "origin": number.name,
        "sourceNumber": number.digits,
    });
    if let Some(token) = flow_token {
        body["flowToken"] = json!(token);
    }
    let body = Bytes::from(body.to_string());
    if let Some(claim) = claim {
        claim.done(body.clone());
    }
    Ok(reply(&timeline.reply, body))
}

/// The answer to a send that was accepted.
fn reply(reply: &Reply, body: Bytes) -> Response {
    let mut response = json_response(202, body);
    match reply {
        Reply::Dropped => {
            response.extensions_mut().insert(DropReply);
        }
        Reply::BadGateway => {
            response = (
                StatusCode::BAD_GATEWAY,
                [(header::CONTENT_TYPE, "text/html")],
                Body::from("<html><body><h1>502 Bad Gateway</h1></body></html>"),
            )
                .into_response();
        }
        Reply::Accepted | Reply::AfterFirstEvent | Reply::Slow | Reply::Refused { .. } => {}
    }
    response
}

fn blocked() -> ApiError {
    ApiError::coded(409, "NUMBER_BLOCKED", "Sending is blocked for this number")
        .with("reason", Value::from("extra_charge_unpaid"))
}

fn refused(switches: &Switches, status: u16, code: Option<&str>, hinted: bool) -> ApiError {
    match (status, code) {
        (409, Some("NUMBER_BLOCKED")) => blocked(),
        (429, Some("RATE_LIMITED")) if hinted => {
            ApiError::rate_limited(switches.rate_limit_hint, switches.rate_limit_retry_after_seconds)
        }
        (_, Some(code)) => ApiError::coded(status, code, "Refused by the recipient's ending"),
        (_, None) => ApiError::new(status, "Internal server error"),
    }
}
