//! One send: accept, attempt, settle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Messaging, idempotency_key,
    outcome::{SendError, Sent},
    running::{Entry, Guard},
};
use crate::{
    domain::{
        ids::RequestId,
        intent::Intent,
        message::{Handoff, Message, Origins},
    },
    identity::{Authorized, Send},
    keys::Number,
    store::{Accepted, Draft, StoreError},
    upstream::{Doubt, SendBody, Slot},
};

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct SendRequest {
    /// What is sent, and where.
    pub intent: Intent,
    /// The caller's notes.
    pub metadata: BTreeMap<String, String>,
    /// The caller's idempotency key.
    pub request_id: Option<RequestId>,
    /// When the caller stops waiting; `None` if it does not say.
    pub deadline: Option<Instant>,
    /// Times of the request that have passed, by field name. Such a request can only be a repeated one.
    pub overdue: Vec<&'static str>,
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
        let slot = match self.upstream.free_slot() {
            Some(slot) if request.overdue.is_empty() => slot,
            free => {
                if let Some(sent) = self.answered_before(&draft, &request.overdue).await? {
                    return Ok(sent);
                }
                match free {
                    Some(slot) => slot,
                    None => self.slot(request.deadline).await?,
                }
            }
        };

        let messaging = self.clone();
        let deadline = request.deadline;
        // On a task of its own, since dropping this future must not stop a send half-way.
        let send = self.tasks.spawn(async move { messaging.run(draft, number, body, slot, deadline).await });
        send.await.unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    /// The answer to a request that was accepted before, which takes no call and no time that is still to come. A request
    /// that is overdue is refused if it is none of those.
    async fn answered_before(&self, draft: &Draft, overdue: &[&'static str]) -> Result<Option<Sent>, SendError> {
        let claimed = match &draft.origins.request_id {
            Some(request_id) => self.store.claimed(&draft.origins.caller, request_id).await?,
            None => None,
        };
        match claimed {
            Some(claimed) if claimed.fingerprint != draft.fingerprint => {
                Err(SendError::RequestIdReused(claimed.message.origins.message_id))
            }
            Some(claimed) if !claimed.message.status.is_unsettled() => {
                Ok(Some(Sent { message: claimed.message, replayed: true }))
            }
            None if !overdue.is_empty() => Err(SendError::Overdue(overdue.to_vec())),
            Some(_) | None => Ok(None),
        }
    }

    async fn slot(&self, deadline: Option<Instant>) -> Result<Slot, SendError> {
        let wait = Instant::now() + self.options.slot_wait;
        let wait = deadline.map_or(wait, |deadline| wait.min(deadline));
        timeout_at(wait, self.upstream.slot()).await.ok().flatten().ok_or(SendError::Overloaded)
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
                if message.ids.upstream.is_some() {
                    return Ok(Sent { message, replayed: true });
                }
                if !message.status.is_unsettled() {
                    // Refused in that moment, so that the request id stands for nothing: the next call begins anew.
                    return Err(SendError::InProgress(id));
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
