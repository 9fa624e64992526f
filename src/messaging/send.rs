//! One send: accept, attempt, settle.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Messaging, idempotency_key,
    running::{Ended, Entry, Guard},
};
use crate::{
    domain::{
        failure::{Failure, FailureCode},
        ids::{MessageId, RequestId},
        intent::Intent,
        merge::{Fact, Observed},
        message::{Handoff, Message, Origins},
        status::{Origin, Status},
    },
    identity::{Authorized, Send},
    keys::Number,
    store::{Accepted, Claim, Draft, Settlement, StoreError},
    upstream::{Doubt, Receipt, Refusal, RefusalClass, SendBody, SendOutcome, Slot},
};

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SendRequest {
    /// What is sent, and where.
    pub intent: Intent,
    /// The caller's notes.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// The caller's idempotency key.
    pub request_id: Option<RequestId>,
    /// When the caller stops waiting; `None` if it does not say.
    pub deadline: Option<Instant>,
}

/// A message that Pilot Status accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The message afterwards.
    pub message: Message,
    /// Nothing was sent now: the `request_id` had been accepted before.
    pub replayed: bool,
}

/// Why a send brought no accepted message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SendError {
    /// The `request_id` stands for another request.
    #[error("the request id stands for another request")]
    RequestIdReused(MessageId),
    /// The first call with this `request_id` still runs.
    #[error("the first call with this request id still runs")]
    InProgress(MessageId),
    /// Too many sends wait for Pilot Status. Nothing was recorded.
    #[error("too many sends are waiting")]
    Overloaded,
    /// Pilot Status refused. The message is FAILED and its `request_id` free again.
    #[error("refused upstream: {refusal}")]
    Refused {
        /// The message.
        id: MessageId,
        /// What was said.
        refusal: Refusal,
    },
    /// Pilot Status was not reached. The message is FAILED and its `request_id` free again.
    #[error("not sent: {detail}")]
    NotSent {
        /// The message.
        id: MessageId,
        /// For operators.
        detail: String,
    },
    /// It is not known whether Pilot Status took the message. It is IN_DOUBT.
    #[error("in doubt: {}", .doubt.detail)]
    InDoubt {
        /// The message.
        id: MessageId,
        /// What is known.
        doubt: Doubt,
        /// Whether a call with the same `request_id` settles it. False without a `request_id`, and once Pilot Status may
        /// have forgotten the idempotency key.
        repeatable: bool,
    },
    /// The store failed before anything was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Messaging {
    /// Sends a message and returns when Pilot Status has answered and the answer is on disk.
    ///
    /// Once accepted, the attempt runs to its end and is recorded even if the caller goes away.
    pub async fn send(&self, right: Authorized<Send>, request: SendRequest) -> Result<Sent, SendError> {
        let now = self.sources.now();
        let body = SendBody::of(&request.intent).map_err(|error| StoreError::Failed(error.to_string()))?;
        let draft = self.draft(&right, &request, &body, now);
        let Some(number) = self.keys.get(right.number()).cloned() else {
            return Err(StoreError::Failed(format!("number {} has no key", right.number())).into());
        };
        // Leave comes before the record: a send refused as overload leaves no trace and can simply be repeated.
        let wait = Instant::now() + self.options.slot_wait;
        let wait = request.deadline.map_or(wait, |deadline| wait.min(deadline));
        let slot = timeout_at(wait, self.upstream.slot()).await.ok().flatten().ok_or(SendError::Overloaded)?;

        let messaging = self.clone();
        let deadline = request.deadline;
        // On a task of its own, since dropping this future must not stop a send half-way.
        let send = self.tasks.spawn(async move { messaging.run(draft, number, body, slot, deadline).await });
        send.await.unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    async fn run(
        &self,
        draft: Draft,
        number: Number,
        body: SendBody,
        slot: Slot,
        deadline: Option<Instant>,
    ) -> Result<Sent, SendError> {
        // A new message cannot be running already; it is entered before it is on disk, so that a repeated call finds it.
        let own = self.running.enter(draft.origins.message_id);
        match (self.store.accept(draft).await?, own) {
            (Accepted::New(message), Entry::Mine(guard)) => {
                Ok(self.attempt(guard, message, number, body, slot).await?)
            }
            (Accepted::New(message), Entry::Theirs(_)) => Err(SendError::InProgress(message.origins.message_id)),
            (Accepted::Reused(id), _) => Err(SendError::RequestIdReused(id)),
            (Accepted::Before(message), _) if !message.status.is_unsettled() => Ok(Sent { message, replayed: true }),
            (Accepted::Before(message), _) => self.repeat(message, number, body, slot, deadline).await,
        }
    }

    /// The same request again while its first attempt runs, or after it ended without an answer.
    async fn repeat(
        &self,
        message: Message,
        number: Number,
        body: SendBody,
        slot: Slot,
        deadline: Option<Instant>,
    ) -> Result<Sent, SendError> {
        let id = message.origins.message_id;
        match self.running.enter(id) {
            Entry::Theirs(mut ended) => {
                drop(slot);
                let wait = Instant::now() + self.options.repeat_wait;
                let wait = deadline.map_or(wait, |deadline| wait.min(deadline));
                let first = timeout_at(wait, ended.wait_for(Option::is_some)).await;
                match first {
                    Ok(Ok(ended)) => match ended.as_ref() {
                        Some(Ok(sent)) => Ok(Sent { message: sent.message.clone(), replayed: true }),
                        Some(Err(error)) => Err(error.clone()),
                        None => Err(SendError::InProgress(id)),
                    },
                    Ok(Err(_)) | Err(_) => Err(SendError::InProgress(id)),
                }
            }
            Entry::Mine(guard) => {
                // Read again: the attempt may have been settled between the look and the entry.
                let message = self.store.message(id).await?.unwrap_or(message);
                if !message.status.is_unsettled() {
                    return Ok(Sent { message, replayed: true });
                }
                if !self.is_replayable(&message) {
                    let detail = "the time in which a repeated call is recognised upstream has passed".to_owned();
                    let doubt = Doubt { status: None, code: None, detail, retry_after: None };
                    return Err(SendError::InDoubt { id, doubt, repeatable: false });
                }
                let doubtful = self.doubt(message).await?;
                self.attempt(guard, doubtful, number, body, slot).await
            }
        }
    }

    /// Calls Pilot Status and records what it answered.
    async fn attempt(
        &self,
        guard: Guard,
        message: Message,
        number: Number,
        body: SendBody,
        slot: Slot,
    ) -> Result<Sent, SendError> {
        let key = idempotency_key(message.origins.message_id);
        let outcome = self.upstream.send(&slot, &number.key, &body, &key).await;
        drop(slot);
        let ended = self.settle(&message, outcome).await;
        guard.end(&ended);
        ended
    }

    async fn settle(&self, message: &Message, outcome: SendOutcome) -> Ended {
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
            SendOutcome::Refused(refusal) if in_doubt_before && !refusal.class.settles_doubt() => {
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
    async fn doubt(&self, message: Message) -> Result<Message, StoreError> {
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

    fn is_replayable(&self, message: &Message) -> bool {
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

    fn draft(&self, right: &Authorized<Send>, request: &SendRequest, body: &SendBody, now: Timestamp) -> Draft {
        let intent = &request.intent;
        Draft {
            origins: Origins {
                message_id: self.sources.message_id(now),
                caller: right.caller().clone(),
                number: right.number().clone(),
                recipient: intent.recipient.clone(),
                request_id: request.request_id.clone(),
                handoff: Handoff::Direct,
                labels: intent.labels.clone(),
                metadata: request.metadata.clone(),
                create_time: now,
            },
            fingerprint: fingerprint(right, request, body),
        }
    }
}

/// A digest of everything that the caller decides. Lengths stand before the parts, so that parts cannot run together.
fn fingerprint(right: &Authorized<Send>, request: &SendRequest, body: &SendBody) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(right.number().as_str().as_bytes());
    part(&body.bytes());
    for (key, value) in &request.metadata {
        part(key.as_bytes());
        part(value.as_bytes());
    }
    digest.finalize().into()
}

/// How a refusal stands in the message's record.
fn failure_of(refusal: &Refusal) -> Failure {
    Failure {
        raw_code: refusal.code.clone().unwrap_or_else(|| FailureCode::Rejected.word().to_owned()),
        message: refusal.message.clone(),
        never_left: true,
    }
}

impl SendError {
    /// When trying again is worth it, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { refusal, .. } if refusal.class == RefusalClass::RateLimited => refusal.retry_after,
            Self::InDoubt { doubt, repeatable: true, .. } => doubt.retry_after,
            _ => None,
        }
    }
}
