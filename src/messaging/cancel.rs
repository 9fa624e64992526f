//! Canceling scheduled messages, and telling each one's fate.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Messaging;
use crate::{
    domain::{
        ids::{MessageId, NumberName, UpstreamId},
        merge::{Fact, Observed},
        message::{ForeignIds, Message},
        principal::Principal,
        status::{Origin, Status},
    },
    identity::{Cancel, Identity},
    store::StoreError,
    upstream::CancelShape,
};

/// After this long no further message is read back; what is not clear by then stays so.
const READ_BACKS: Duration = Duration::from_secs(30);

/// Pilot Status takes at most this many ids in one call.
const CHUNK: usize = 100;

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelResult {
    /// As asked.
    pub id: MessageId,
    /// What became of it.
    pub outcome: CancelOutcome,
    /// The message afterwards; `None` if it was not found.
    pub message: Option<Message>,
    /// What Pilot Status said.
    pub detail: String,
}

/// What became of one cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It will not be sent.
    Canceled,
    /// It has left already.
    TooLate,
    /// There is none that the caller may see and cancel.
    NotFound,
    /// Canceled earlier.
    AlreadyCanceled,
    /// No clear answer.
    Unclear,
}

impl Messaging {
    /// Cancels what can be canceled. One message's trouble never hides another's fate.
    ///
    /// What Pilot Status answers is recorded even if the caller goes away.
    pub async fn cancel(
        &self,
        identity: Arc<Identity>,
        principal: Principal,
        ids: Vec<MessageId>,
    ) -> Result<Vec<CancelResult>, StoreError> {
        let messaging = self.clone();
        let cancel = self.tasks.spawn(async move { messaging.cancel_all(&identity, &principal, &ids).await });
        cancel.await.unwrap_or(Err(StoreError::Unknown))
    }

    async fn cancel_all(
        &self,
        identity: &Identity,
        principal: &Principal,
        ids: &[MessageId],
    ) -> Result<Vec<CancelResult>, StoreError> {
        let stop = Instant::now() + READ_BACKS;
        let found = self.store.messages(ids.to_vec()).await?;
        let mut known: HashMap<MessageId, CancelResult> = HashMap::new();
        let mut to_ask: HashMap<NumberName, Vec<Message>> = HashMap::new();
        for message in found {
            let number = message.origins.number.clone();
            let may = identity.authorize::<Cancel>(principal, Some(number.clone())).is_ok();
            if !may || message.origins.caller != principal.caller {
                continue;
            }
            let id = message.origins.message_id;
            match message.status {
                Status::Queued if message.ids.upstream.is_some() => to_ask.entry(number).or_default().push(message),
                Status::Canceled => drop(known.insert(id, told(message, CancelOutcome::AlreadyCanceled))),
                Status::Pending | Status::InDoubt | Status::Queued => {
                    drop(known.insert(id, told(message, CancelOutcome::Unclear)));
                }
                Status::Sent | Status::Failed | Status::Delivered | Status::Read => {
                    drop(known.insert(id, told(message, CancelOutcome::TooLate)));
                }
            }
        }
        for (number, messages) in to_ask {
            for chunk in messages.chunks(CHUNK) {
                for result in self.cancel_chunk(&number, chunk, stop).await {
                    known.insert(result.id, result);
                }
            }
        }
        let not_found =
            |id| CancelResult { id, outcome: CancelOutcome::NotFound, message: None, detail: String::new() };
        Ok(ids.iter().map(|id| known.get(id).cloned().unwrap_or_else(|| not_found(*id))).collect())
    }

    /// Asks Pilot Status and believes what it says of each; where it says nothing of one, reads that one back.
    async fn cancel_chunk(&self, number: &NumberName, messages: &[Message], stop: Instant) -> Vec<CancelResult> {
        let Some(number) = self.keys.get(number) else {
            return messages.iter().map(|message| told(message.clone(), CancelOutcome::Unclear)).collect();
        };
        let ids: Vec<UpstreamId> = messages.iter().filter_map(|message| message.ids.upstream.clone()).collect();
        let answer = self.upstream.cancel(&number.key, &ids).await;
        let (canceled, failed, trouble) = match answer.map(|cancellation| cancellation.shape) {
            Ok(CancelShape::Lists { canceled, failed }) => (canceled, failed, String::new()),
            Ok(CancelShape::Counts) => Default::default(),
            Err(error) => (Vec::new(), Default::default(), error.to_string()),
        };
        let mut results = Vec::with_capacity(messages.len());
        for message in messages {
            let upstream_id = message.ids.upstream.as_ref();
            let told_canceled = upstream_id.is_some_and(|id| canceled.contains(id));
            let reason = upstream_id.and_then(|id| failed.get(id)).cloned();
            let mut result = if told_canceled {
                self.note_canceled(message).await
            } else if Instant::now() >= stop {
                told(message.clone(), CancelOutcome::Unclear)
            } else {
                self.look_again(message, trouble.is_empty()).await
            };
            result.detail = reason.unwrap_or_else(|| trouble.clone());
            results.push(result);
        }
        results
    }

    async fn note_canceled(&self, message: &Message) -> CancelResult {
        let now = self.sources.now();
        let fact = Fact {
            status: Observed::Reached(Status::Canceled),
            at: now,
            observed_at: now,
            origin: Origin::SendReply,
            ids: ForeignIds::default(),
        };
        match self.store.merge(message.origins.message_id, vec![fact]).await {
            Ok(message) => told(message, CancelOutcome::Canceled),
            Err(error) => {
                tracing::error!(message_id = %message.origins.message_id, %error, "a cancellation was not recorded");
                told(message.clone(), CancelOutcome::Unclear)
            }
        }
    }

    /// `answered` tells whether Pilot Status answered the cancellation at all.
    async fn look_again(&self, message: &Message, answered: bool) -> CancelResult {
        let Ok(message) = self.refresh(message.clone()).await else {
            return told(message.clone(), CancelOutcome::Unclear);
        };
        let outcome = match message.status {
            Status::Canceled => CancelOutcome::Canceled,
            // Still waiting upstream although it was asked to stop: not scheduled, so on its way.
            Status::Queued if answered => CancelOutcome::TooLate,
            Status::Pending | Status::InDoubt | Status::Queued => CancelOutcome::Unclear,
            Status::Sent | Status::Failed | Status::Delivered | Status::Read => CancelOutcome::TooLate,
        };
        told(message, outcome)
    }
}

fn told(message: Message, outcome: CancelOutcome) -> CancelResult {
    CancelResult { id: message.origins.message_id, outcome, message: Some(message), detail: String::new() }
}
