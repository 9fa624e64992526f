//! The attempts of a send whose caller waits: one call, and further ones while that makes sense and time is left.

use tokio::time::{Instant, sleep_until};

use super::{
    Messaging,
    gate::{Leave, Patience},
    idempotency_key, key_patience,
    outcome::{Ended, Sent},
    running::Guard,
};
use crate::{
    domain::message::Message,
    upstream::{RefusalClass, SendBody, SendOutcome},
};

impl Messaging {
    /// Calls Pilot Status until it has answered for good, attempts or time run out, or the gateway ends; each time with
    /// the same key and the same bytes, and each time's outcome is recorded before the next.
    ///
    /// A refusal of a key that is being changed is no answer: the message is held until the new one stands.
    ///
    /// The deadline bounds when attempts begin. One that has begun is not cut off by it, since that would only turn an
    /// answer into a doubt.
    pub(super) async fn attempt(
        &self,
        guard: Guard,
        mut message: Message,
        body: SendBody,
        mut leave: Leave,
        deadline: Option<Instant>,
    ) -> Ended {
        let key = idempotency_key(message.origins.message_id);
        let began = Instant::now();
        let stop = deadline.unwrap_or(began + self.options.patience);
        let key_stop = deadline.unwrap_or(began + key_patience(&self.upstream));
        let mut made = 0;
        let ended = loop {
            made += 1;
            let outcome = self.upstream.send(leave.slot(), leave.key(), &body, &key).await;
            let act = self.attempted(&message, leave.number(), &outcome);
            let now = if self.gate.report(leave, &outcome) {
                None
            } else {
                made -= 1;
                Some(Instant::now()).filter(|now| *now < key_stop && !self.draining.is_cancelled())
            };
            let Some(next) = now.or_else(|| self.next_attempt(made, stop, &outcome)) else {
                break self.settle(&message, outcome, Some(act)).await;
            };
            match self.note(&message, &outcome, act.clone()).await {
                // A webhook has told of it already.
                Ok(message) if !message.status.is_unsettled() => break Ok(Sent { message, replayed: false }),
                Ok(noted) => message = noted,
                Err(_) => break self.settle(&message, outcome, Some(act)).await,
            }
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.draining.cancelled() => break self.settle(&message, outcome, None).await,
            }
            let stop = if now.is_some() { key_stop } else { stop };
            let patience =
                Patience { turn: stop, place: stop.saturating_duration_since(Instant::now()), key: key_stop };
            let created = message.origins.create_time;
            let leave_again = self.gate.pass(&message.origins.number, patience);
            match Box::pin(self.draining.run_until_cancelled(leave_again)).await {
                Some(Ok(next)) if self.is_replayable(created) => leave = next,
                // What Pilot Status may have forgotten by now is not asked again.
                Some(Ok(_) | Err(_)) | None => break self.settle(&message, outcome, None).await,
            }
        };
        guard.end(&ended);
        ended
    }

    /// When to call again, if at all.
    fn next_attempt(&self, made: u32, stop: Instant, outcome: &SendOutcome) -> Option<Instant> {
        let asked = match outcome {
            SendOutcome::NotSent { .. } => None,
            SendOutcome::Unknown(doubt) => doubt.retry_after,
            SendOutcome::Refused(refusal) if refusal.class == RefusalClass::RateLimited => refusal.retry_after,
            SendOutcome::Accepted(_) | SendOutcome::Refused(_) => return None,
        };
        if made >= self.options.attempts || self.draining.is_cancelled() {
            return None;
        }
        let wait = self.options.backoff.wait(made, asked, self.sources.chance());
        Instant::now().checked_add(wait).filter(|next| *next < stop)
    }
}
