//! Canceling scheduled messages, and telling each one's fate.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Messaging, key_patience};
use crate::{
    domain::{
        ids::{MessageId, NumberName, UpstreamId},
        merge::Observed,
        message::{Handoff, Message},
        principal::Principal,
        status::{Origin, Status},
    },
    identity::{Cancel, Identity},
    store::{StoreError, Withdrawn},
    upstream::{CancelShape, Cancellation, ReadError},
};

/// After this long nothing further of a group is asked; what is not clear by then stays so.
const READ_BACKS: Duration = Duration::from_secs(30);

/// So many messages are looked at together. Results for more than these come without their messages, which would make the
/// answer too long for most clients.
const GROUP: usize = 1000;

/// After this long no further group is begun.
const LONGEST: Duration = Duration::from_secs(300);

/// How long an attempt that runs is waited for.
const ATTEMPT_WAIT: Duration = Duration::from_secs(10);

/// How long to wait for an attempt to begin or to be leased anew.
const LEASE_PAUSE: Duration = Duration::from_millis(20);

/// How many are taken out of the queue at once; they share commits.
const AT_ONCE: usize = 64;

/// Pilot Status takes at most this many ids in one call.
const CHUNK: usize = 100;

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelResult {
    /// As asked.
    pub id: MessageId,
    /// What became of it.
    pub outcome: CancelOutcome,
    /// The message afterwards; `None` if it was not found, or if very many were asked for.
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

    /// Goes group by group, so that only one group's messages are held at a time.
    async fn cancel_all(
        &self,
        identity: &Identity,
        principal: &Principal,
        ids: &[MessageId],
    ) -> Result<Vec<CancelResult>, StoreError> {
        let stop = Instant::now() + LONGEST;
        let told_whole = ids.len() <= GROUP;
        let mut distinct = ids.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let mut known: HashMap<MessageId, CancelResult> = HashMap::with_capacity(distinct.len());
        for group in distinct.chunks(GROUP) {
            if Instant::now() >= stop || self.draining.is_cancelled() {
                break;
            }
            for (id, mut result) in self.cancel_group(identity, principal, group, stop).await? {
                result.message = result.message.filter(|_| told_whole);
                known.insert(id, result);
            }
        }
        // Those that were not come to any more.
        let unclear = |id| CancelResult { id, outcome: CancelOutcome::Unclear, message: None, detail: String::new() };
        Ok(ids.iter().map(|id| known.get(id).cloned().unwrap_or_else(|| unclear(*id))).collect())
    }

    async fn cancel_group(
        &self,
        identity: &Identity,
        principal: &Principal,
        ids: &[MessageId],
        stop: Instant,
    ) -> Result<HashMap<MessageId, CancelResult>, StoreError> {
        let stop = stop.min(Instant::now() + READ_BACKS);
        let found = self.store.messages(ids.to_vec()).await?;
        let own = |message: &Message| {
            let number = message.origins.number.clone();
            message.origins.caller == principal.caller && identity.authorize::<Cancel>(principal, Some(number)).is_ok()
        };
        let found = stream::iter(found.into_iter().filter(own)).map(|message| self.withdraw(message));
        let found: Vec<_> = found.buffer_unordered(AT_ONCE).collect().await;
        let mut known: HashMap<MessageId, CancelResult> = HashMap::new();
        let mut to_ask: HashMap<NumberName, Vec<Message>> = HashMap::new();
        for withdrawn in found {
            let message = match withdrawn {
                Ok(result) => {
                    known.insert(result.id, result);
                    continue;
                }
                Err(message) => message,
            };
            let number = message.origins.number.clone();
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
                let asked = Instant::now() < stop && !self.draining.is_cancelled();
                let results = if asked {
                    self.cancel_chunk(&number, chunk, stop).await
                } else {
                    chunk.iter().map(|message| told(message.clone(), CancelOutcome::Unclear)).collect()
                };
                known.extend(results.into_iter().map(|result| (result.id, result)));
            }
        }
        let not_found =
            |id| CancelResult { id, outcome: CancelOutcome::NotFound, message: None, detail: String::new() };
        for id in ids {
            known.entry(*id).or_insert_with(|| not_found(*id));
        }
        Ok(known)
    }

    /// Cancels a message that is still in the queue; any other is handed back as it stands. One that is being attempted
    /// right now is waited for.
    async fn withdraw(&self, mut message: Message) -> Result<CancelResult, Message> {
        let id = message.origins.message_id;
        let stop = Instant::now() + ATTEMPT_WAIT;
        while message.origins.handoff == Handoff::Queued && message.status == Status::Pending {
            let fact = self.fact(Observed::Reached(Status::Canceled), Origin::Gateway);
            match self.store.withdraw(id, Status::Pending, fact, None).await {
                Ok(Withdrawn::Done(message)) => {
                    self.wakers.due(&message.origins.number);
                    return Ok(told(*message, CancelOutcome::Canceled));
                }
                Ok(Withdrawn::Busy) if Instant::now() < stop => match self.running.find(id) {
                    Some(ended) => drop(timeout_at(stop, ended).await),
                    None => sleep(LEASE_PAUSE).await,
                },
                Ok(Withdrawn::Absent) => {}
                Ok(Withdrawn::Busy) | Err(_) => return Ok(told(message, CancelOutcome::Unclear)),
            }
            match self.store.message(id).await {
                Ok(Some(now)) => message = now,
                Ok(None) | Err(_) => return Ok(told(message, CancelOutcome::Unclear)),
            }
        }
        Err(message)
    }

    /// Asks Pilot Status and believes what it says of each; where it says nothing of one, reads that one back.
    async fn cancel_chunk(&self, number: &NumberName, messages: &[Message], stop: Instant) -> Vec<CancelResult> {
        let ids: Vec<UpstreamId> = messages.iter().filter_map(|message| message.ids.upstream.clone()).collect();
        let answer = self.ask_to_cancel(number, &ids).await;
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

    /// Canceling what is canceled changes nothing, so that this may be asked twice.
    async fn ask_to_cancel(&self, number: &NumberName, ids: &[UpstreamId]) -> Result<Cancellation, ReadError> {
        let mut asking = self.keys.asking(number, key_patience(&self.upstream));
        loop {
            let slot = self.upstream.read_slot().await?;
            let Some((slot, in_use)) = asking.key(slot).await? else { continue };
            let answer = self.upstream.cancel(&slot, in_use.key(), ids).await;
            if asking.is_answered(in_use, &answer) {
                return answer;
            }
        }
    }

    async fn note_canceled(&self, message: &Message) -> CancelResult {
        let fact = self.fact(Observed::Reached(Status::Canceled), Origin::SendReply);
        match self.store.merge(message.origins.message_id, vec![fact]).await {
            Ok(message) => told(message, CancelOutcome::Canceled),
            Err(error) => {
                tracing::error!(message_id = %message.origins.message_id, %error, "a cancellation was not recorded");
                told(message.clone(), CancelOutcome::Unclear)
            }
        }
    }

    /// The message with what Pilot Status says of it now.
    async fn read_again(&self, message: &Message) -> Option<Message> {
        let id = message.ids.upstream.as_ref()?;
        let mut asking = self.keys.asking(&message.origins.number, key_patience(&self.upstream));
        let reading = loop {
            let slot = self.upstream.read_slot().await.ok()?;
            let Some((slot, in_use)) = asking.key(slot).await.ok()? else { continue };
            let reading = self.upstream.message(&slot, in_use.key(), id.as_str()).await;
            if asking.is_answered(in_use, &reading) {
                break reading.ok()?;
            }
        };
        self.store.merge(message.origins.message_id, reading.into_facts(self.sources.now())).await.ok()
    }

    /// `answered` tells whether Pilot Status answered the cancellation at all.
    async fn look_again(&self, message: &Message, answered: bool) -> CancelResult {
        let Some(message) = self.read_again(message).await else {
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
