//! Settling: what an attempt's outcome means for the message, its `request_id` and its caller.
//!
//! Three outcomes, not two. What is not known is recorded as such, and only evidence turns it into something else.

use jiff::{SignedDuration, Timestamp};

use super::{
    Messaging,
    outcome::{Ended, SendError, Sent},
};
use crate::{
    domain::{
        audit::Act,
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
    /// Records what Pilot Status answered for good, and tells what that means. `attempt` is the attempt that brought it;
    /// `None` if that was noted already.
    pub(super) async fn settle(&self, message: &Message, outcome: SendOutcome, attempt: Option<Act>) -> Ended {
        let id = message.origins.message_id;
        let in_doubt_before = message.status == Status::InDoubt;
        match outcome {
            SendOutcome::Accepted(receipt) => {
                let settled = self.store.settle(id, counting(attempt, self.accepted(receipt))).await;
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
                self.settle_doubt(message, doubt, attempt).await
            }
            SendOutcome::Refused(refusal) => {
                self.settle_failure(id, failure_of(&refusal), Origin::SendReply, attempt).await?;
                Err(SendError::Refused { id, refusal })
            }
            SendOutcome::NotSent { detail } if in_doubt_before => {
                self.settle_doubt(message, Doubt { status: None, code: None, detail, retry_after: None }, attempt).await
            }
            SendOutcome::NotSent { detail } => {
                let failure = Failure::of_handoff(FailureCode::NotSent, "pilot status could not be reached");
                self.settle_failure(id, failure, Origin::Gateway, attempt).await?;
                Err(SendError::NotSent { id, detail })
            }
            SendOutcome::Unknown(doubt) => self.settle_doubt(message, doubt, attempt).await,
        }
    }

    /// Records an attempt that did not settle the message, because another one follows.
    pub(super) async fn note(
        &self,
        message: &Message,
        outcome: &SendOutcome,
        attempt: Act,
    ) -> Result<Message, StoreError> {
        let status = match outcome {
            SendOutcome::Unknown(_) => Status::InDoubt,
            SendOutcome::Accepted(_) | SendOutcome::Refused(_) | SendOutcome::NotSent { .. } => message.status,
        };
        let settlement = self.settlement(Observed::Reached(status), Origin::Gateway, Claim::Kept, 1);
        let settlement = counting(Some(attempt), settlement);
        self.store.settle(message.origins.message_id, settlement).await
    }

    async fn settle_doubt(&self, message: &Message, doubt: Doubt, attempt: Option<Act>) -> Ended {
        let settlement = self.settlement(Observed::Reached(Status::InDoubt), Origin::Gateway, Claim::Kept, 0);
        let settlement = counting(attempt, settlement);
        match self.store.settle(message.origins.message_id, settlement).await {
            // A webhook has told of it already.
            Ok(message) if !message.status.is_unsettled() => return Ok(Sent { message, replayed: false }),
            Ok(_) => {}
            Err(error) => {
                let id = message.origins.message_id;
                tracing::error!(message_id = %id, %error, "a doubtful send could not be recorded");
            }
        }
        Err(self.in_doubt(message, doubt))
    }

    /// Nothing was queued, so the `request_id` may be used again.
    async fn settle_failure(
        &self,
        id: MessageId,
        failure: Failure,
        origin: Origin,
        attempt: Option<Act>,
    ) -> Result<(), SendError> {
        let settlement = counting(attempt, self.settlement(Observed::Failed(failure), origin, Claim::Released, 0));
        self.store.settle(id, settlement).await?;
        Ok(())
    }

    /// Makes sure that a message about to be repeated is visibly in doubt: its first attempt left no answer.
    pub(super) async fn doubt(&self, message: Message) -> Result<Message, StoreError> {
        if message.status == Status::InDoubt {
            return Ok(message);
        }
        let settlement = self.settlement(Observed::Reached(Status::InDoubt), Origin::Gateway, Claim::Kept, 0);
        let lost = Act::lost_attempt(&message, self.sources.now());
        self.store.settle(message.origins.message_id, counting(Some(lost), settlement)).await
    }

    pub(super) fn in_doubt(&self, message: &Message, doubt: Doubt) -> SendError {
        let origins = &message.origins;
        let repeatable = origins.request_id.is_some() && self.is_replayable(origins.create_time);
        SendError::InDoubt { id: message.origins.message_id, doubt, repeatable }
    }

    /// Whether Pilot Status still knows the key of a message that was first sent at `since` or later.
    pub(super) fn is_replayable(&self, since: Timestamp) -> bool {
        self.sources.now().duration_since(since) < self.replay_window()
    }

    pub(super) fn replay_window(&self) -> SignedDuration {
        SignedDuration::try_from(self.options.replay_window).unwrap_or(SignedDuration::MAX)
    }

    pub(super) fn accepted(&self, receipt: Receipt) -> Settlement {
        let observed_at = self.sources.now();
        let at = receipt.created_at.unwrap_or(observed_at);
        Settlement {
            fact: Fact { status: receipt.status, at, observed_at, origin: Origin::SendReply, ids: receipt.ids },
            attempts: 1,
            flow_token: receipt.flow_token,
            audit: None,
            claim: Claim::Kept,
        }
    }
}

/// The same, as the end of this attempt, if it is one that was not counted yet.
fn counting(attempt: Option<Act>, settlement: Settlement) -> Settlement {
    Settlement { attempts: u32::from(attempt.is_some()), audit: attempt, ..settlement }
}

/// How a refusal stands in the message's record.
pub(super) fn failure_of(refusal: &Refusal) -> Failure {
    Failure {
        raw_code: refusal.code.clone().unwrap_or_else(|| FailureCode::Rejected.word().to_owned()),
        message: refusal.message.clone(),
        never_left: true,
    }
}
