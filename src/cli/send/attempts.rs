//! Sends one message for as long as there is hope and time.
//!
//! Owns which refusals are worth another attempt: the gateway was not reached or could not serve, or the outcome of an
//! earlier attempt is open. Every attempt carries the same request id, so that none can send twice. Called by `send`.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request};

use crate::{
    cli::{
        backoff::{Backoff, chance},
        connect::Client,
        errors::{CliError, NO_ANSWER, Refusal},
        output::Output,
        render::human,
        times,
    },
    proto::v1::{SendMessageRequest, SendMessageResponse},
};

/// Sends `request`, again if need be, and gives up after `limit`.
///
/// # Errors
/// The last refusal, with the request id in its metadata. A refusal whose pause does not fit into `limit` is the last.
pub async fn deliver(
    client: &mut Client,
    request: SendMessageRequest,
    limit: Duration,
    out: &mut Output,
) -> Result<SendMessageResponse, CliError> {
    let deadline = Instant::now() + limit;
    let mut backoff = Backoff::new();
    loop {
        let mut call = Request::new(request.clone());
        call.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let mut refusal = match timeout_at(deadline, client.send_message(call)).await {
            Ok(Ok(answer)) => return Ok(answer.into_inner()),
            Ok(Err(status)) => match Refusal::from(status) {
                refusal if refusal.reason == NO_ANSWER => no_answer(limit),
                refusal => refusal,
            },
            Err(_) => no_answer(limit),
        };
        let pause = backoff.pause(refusal.retry_after, chance());
        let hopeful = refusal.is_unavailable() || refusal.is_in_doubt();
        if !hopeful || Instant::now() + pause >= deadline {
            let id = request.request_id.clone();
            refusal.metadata.entry("request_id".into()).or_insert(id);
            return Err(refusal.into());
        }
        let what = format!("{}; trying again in {}", refusal.line(), times::spell(pause));
        out.note(&human::faint(&what));
        sleep(pause).await;
    }
}

fn no_answer(limit: Duration) -> Refusal {
    let message = format!("no answer within {}; it is not known whether the message was sent", times::spell(limit));
    Refusal::local(Code::DeadlineExceeded, NO_ANSWER, message)
}
