//! Settling: what an attempt's outcome means for the message, its `request_id` and its caller.
//!
//! Three outcomes, not two. What is not known is recorded as such, and only evidence turns it into something else.

use jiff::SignedDuration;

use super::{
    Messaging,
    outcome::{Ended, SendError, Sent},
};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        ids::MessageId,
        merge::{Fact, Observed},
        message::Message,
        status::{Origin, Status},
    },
    store::{Claim, Settlement, StoreError},
    upstream::{Doubt, Receipt, Refusal, SendOutcome},
};

impl Messaging {
    /// Records what Pilot Status answered, and tells what that means.
    pub(super) async fn settle(&self, message: &Message, outcome: SendOutcome) -> Ended {
        let id = message.origins.message_id;
        let in_doubt_before = message.status == Status::InDoubt;
        match outcome {
            SendOutcome::Accepted(receipt) => {
                let settled = self.store.settle(id, self.accepted(receipt)).await;
                // What was sent cannot be unsent: if its record fails, the answer is that nothing is known.
                let message = settled.map_err(|error| {
                    self.in_doubt(
                        message,
                        Doubt {
                            status: None,
                            code: None,
                            detail: format!("accepted upstream, but the record failed: {error}"),
                            retry_after: None,
                        },
                    )
                })?;
                Ok(Sent { message, replayed: false })
            }
            // No refusal settles a doubt: a time that has passed, a key that was changed or a proxy in between may refuse
            // a repeated call before anybody looks for what became of the first one.
            SendOutcome::Refused(refusal) if in_doubt_before => {
                let doubt = Doubt {
                    status: Some(refusal.status),
                    code: refusal.code.clone(),
                    detail: format!("a repeated call was refused: {refusal}"),
                    retry_after: refusal.retry_after,
                };
                self.settle_doubt(message, doubt).await
            }
            SendOutcome::Refused(refusal) => {
                self.settle_failure(id, failure_of(&refusal), Origin::SendReply).await?;
                Err(SendError::Refused { id, refusal })
            }
            SendOutcome::NotSent { detail } if in_doubt_before => {
                self.settle_doubt(message, Doubt { status: None, code: None, detail, retry_after: None }).await
            }
            SendOutcome::NotSent { detail } => {
                let failure = Failure::of_handoff(FailureCode::NotSent, "pilot status could not be reached");
                self.settle_failure(id, failure, Origin::Gateway).await?;
                Err(SendError::NotSent { id, detail })
            }
            SendOutcome::Unknown(doubt) => self.settle_doubt(message, doubt).await,
        }
    }

    async fn settle_doubt(&self, message: &Message, doubt: Doubt) -> Ended {
        let settlement = self.settlement(Observed::Reached(Status::InDoubt), Origin::Gateway, Claim::Kept);
        if let Err(error) = self.store.settle(message.origins.message_id, settlement).await {
            tracing::error!(message_id = %message.origins.message_id, %error, "a doubtful send could not be recorded");
        }
        Err(self.in_doubt(message, doubt))
    }

    /// Nothing was queued, so the `request_id` may be used again.
    async fn settle_failure(&self, id: MessageId, failure: Failure, origin: Origin) -> Result<(), SendError> {
        let settlement = self.settlement(Observed::Failed(failure), origin, Claim::Released);
        self.store.settle(id, settlement).await?;
        Ok(())
    }

    /// Makes sure that a message about to be repeated is visibly in doubt: its first attempt left no answer.
    pub(super) async fn doubt(&self, message: Message) -> Result<Message, StoreError> {
        if message.status == Status::InDoubt {
            return Ok(message);
        }
        let settlement = self.settlement(Observed::Reached(Status::InDoubt), Origin::Gateway, Claim::Kept);
        self.store.settle(message.origins.message_id, settlement).await
    }

    fn in_doubt(&self, message: &Message, doubt: Doubt) -> SendError {
        let repeatable = message.origins.request_id.is_some() && self.is_replayable(message);
        SendError::InDoubt { id: message.origins.message_id, doubt, repeatable }
    }

    pub(super) fn is_replayable(&self, message: &Message) -> bool {
        let window = SignedDuration::try_from(self.options.replay_window).unwrap_or(SignedDuration::MAX);
        self.sources.now().duration_since(message.origins.create_time) < window
    }

    fn accepted(&self, receipt: Receipt) -> Settlement {
        let observed_at = self.sources.now();
        let at = receipt.created_at.unwrap_or(observed_at);
        Settlement {
            fact: Fact { status: receipt.status, at, observed_at, origin: Origin::SendReply, ids: receipt.ids },
            flow_token: receipt.flow_token,
            claim: Claim::Kept,
        }
    }
}

/// How a refusal stands in the message's record.
fn failure_of(refusal: &Refusal) -> Failure {
    Failure {
        raw_code: refusal.code.clone().unwrap_or_else(|| FailureCode::Rejected.word().to_owned()),
        message: refusal.message.clone(),
        never_left: true,
    }
}
