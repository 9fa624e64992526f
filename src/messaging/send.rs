//! One send: accept, attempt, settle; or accept, and leave the rest to the queue.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::{
    Messaging, after,
    gate::{Leave, Patience, Shut},
    key_patience,
    outcome::{SendError, Sent},
    running::{Entry, Guard, Receiver},
};
use crate::{
    domain::{
        content::Content,
        ids::{MessageId, RequestId},
        intent::Intent,
        message::{Handoff, Message, Origins},
        quota::{Limit, Quota, Subject},
    },
    identity::{Authorized, Send},
    store::{Accepted, Draft, Queued, StoreError},
    upstream::{Doubt, SendBody},
    vault::Place,
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
    /// Whether the caller waits for Pilot Status.
    pub handoff: Handoff,
    /// When the caller stops waiting; `None` if it does not say.
    pub deadline: Option<Instant>,
    /// What it does until then where many wait.
    pub waiting: Waiting,
    /// Times of the request that have passed, by field name. Such a request can only be a repeated one.
    pub overdue: Vec<&'static str>,
}

/// How a send waits for what others hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// For a while; then it is refused, so that the caller knows soon.
    Brief,
    /// For as long as it takes, because waiting is how the caller is slowed down.
    Patient,
}

/// What is known of a request before anything is recorded.
struct Asked {
    right: Authorized<Send>,
    body: SendBody,
    fingerprint: [u8; 32],
    request: SendRequest,
}

impl Messaging {
    /// Sends a message. Returns when Pilot Status has answered and the answer is on disk, or, for a queued one, when the
    /// message is on disk.
    ///
    /// Once accepted, attempts run to their end and are recorded even if the caller goes away.
    pub async fn send(&self, right: Authorized<Send>, request: SendRequest) -> Result<Sent, SendError> {
        // The store stays open until this has come to its end, too.
        let _unfinished = self.tasks.token();
        let _in_progress = match request.waiting {
            Waiting::Brief => self.in_progress.try_acquire().map_err(|_| SendError::Overloaded)?,
            Waiting::Patient => {
                let place = self.draining.run_until_cancelled(self.patient.acquire()).await;
                place.ok_or(SendError::Draining)?.map_err(|_| SendError::Overloaded)?
            }
        };
        let body = SendBody::of(&request.intent).map_err(|error| StoreError::Failed(error.to_string()))?;
        let fingerprint = fingerprint(&right, &request, &body);
        let asked = Box::new(Asked { right, body, fingerprint, request });
        match asked.request.handoff {
            Handoff::Direct => self.send_now(asked).await,
            Handoff::Queued => self.enqueue(asked).await,
        }
    }

    async fn send_now(&self, asked: Box<Asked>) -> Result<Sent, SendError> {
        // Leave comes before the record: a send refused as overload leaves no trace and can simply be repeated.
        let leave = match self.gate.pass_at_once(asked.right.number()) {
            Ok(leave) if asked.request.overdue.is_empty() => leave,
            at_once => {
                let open = match Box::pin(self.answered_before(&asked)).await? {
                    Before::Answered(sent) => return Ok(*sent),
                    Before::Open(id) => match self.running.find(id) {
                        Some(ended) => return self.join(id, ended, asked.request.deadline).await,
                        None => Some(id),
                    },
                    Before::Never => None,
                };
                match at_once {
                    Ok(leave) => leave,
                    Err(_) => {
                        let leave = Box::pin(self.gate.pass(asked.right.number(), self.patience(&asked.request)));
                        let leave = self.draining.run_until_cancelled(leave).await.ok_or(SendError::Draining)?;
                        leave.map_err(|shut| turned_away(shut, open))?
                    }
                }
            }
        };
        // On a task of its own, since dropping this future must not stop a send half-way.
        let send = self.tasks.spawn(Box::pin(self.clone().run(asked, leave)));
        send.await.unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    /// Stores the message for the queue to hand over.
    async fn enqueue(&self, mut asked: Box<Asked>) -> Result<Sent, SendError> {
        // It may have waited for its place for long.
        asked.right = asked.right.renewed(&asked.request.intent)?;
        let usable = match self.keys.get(asked.right.number()) {
            Some(number) if number.disabled => Err(SendError::NumberDisabled),
            Some(_) => Ok(()),
            None => Err(SendError::NumberGone),
        };
        if (usable.is_err() || !asked.request.overdue.is_empty())
            && let Before::Answered(sent) = self.answered_before(&asked).await?
        {
            return Ok(*sent);
        }
        usable?;
        let mut draft = self.draft(&asked);
        let too_old = after(draft.origins.create_time, self.options.queue.max_age);
        let expires = asked.request.intent.deliver_until.map_or(too_old, |until| until.min(too_old));
        let sealed = self.vault.seal(&Place::Outbox(draft.origins.message_id), &asked.body.bytes());
        let body = sealed.map_err(|error| StoreError::Failed(error.to_string()))?;
        draft.queued = Some(Queued { body, expires });
        let messaging = self.clone();
        // On a task of its own, so that the queue hears of it even if the caller goes away.
        let accepted = self.tasks.spawn(async move {
            let accepted = messaging.store.accept(draft).await;
            if let Ok(Accepted::New(message)) = &accepted {
                messaging.wakers.added(&message.origins.number, expires);
            }
            accepted
        });
        match accepted.await.unwrap_or(Err(StoreError::Unknown))? {
            Accepted::New(message) => Ok(Sent { message, replayed: false }),
            Accepted::Before(message) => Ok(Sent { message, replayed: true }),
            Accepted::Reused(id) => Err(SendError::RequestIdReused(id)),
            Accepted::Full => Err(SendError::QueueFull),
            Accepted::OverQuota(exceeded) => Err(SendError::OverQuota(exceeded)),
        }
    }

    /// What the `request_id` stands for already. A request that is overdue is refused if it stands for nothing.
    async fn answered_before(&self, asked: &Asked) -> Result<Before, SendError> {
        let claimed = match &asked.request.request_id {
            Some(request_id) => self.store.claimed(asked.right.caller(), request_id).await?,
            None => None,
        };
        match claimed {
            Some(claimed) if claimed.fingerprint != asked.fingerprint => {
                Err(SendError::RequestIdReused(claimed.message.origins.message_id))
            }
            Some(claimed) => {
                let message = claimed.message;
                let answered = message.origins.handoff == Handoff::Queued || !message.status.is_unsettled();
                Ok(if answered {
                    Before::Answered(Box::new(Sent { message, replayed: true }))
                } else {
                    Before::Open(message.origins.message_id)
                })
            }
            None if !asked.request.overdue.is_empty() => Err(SendError::Overdue(asked.request.overdue.clone())),
            None => Ok(Before::Never),
        }
    }

    fn patience(&self, request: &SendRequest) -> Patience {
        let now = Instant::now();
        let left = |deadline: Instant| deadline.saturating_duration_since(now);
        match (request.waiting, request.deadline) {
            (Waiting::Brief, None) => Patience {
                turn: now + self.options.pace_wait,
                place: self.options.slot_wait,
                key: now + key_patience(&self.upstream),
            },
            (Waiting::Brief, Some(deadline)) => {
                Patience { turn: deadline, place: self.options.slot_wait.min(left(deadline)), key: deadline }
            }
            (Waiting::Patient, deadline) => {
                let deadline = deadline.unwrap_or(now + PATIENT);
                Patience { turn: deadline, place: left(deadline), key: deadline }
            }
        }
    }

    async fn run(self, mut asked: Box<Asked>, leave: Leave) -> Result<Sent, SendError> {
        // It may have waited for its leave for long.
        asked.right = asked.right.renewed(&asked.request.intent)?;
        let draft = self.draft(&asked);
        let deadline = asked.request.deadline;
        // A new message cannot be running already; it is entered before it is on disk, so that a repeated call finds it.
        let own = self.running.enter(draft.origins.message_id);
        match (self.store.accept(draft).await?, own) {
            (Accepted::New(message), Entry::Mine(guard)) => {
                self.attempt(guard, message, asked.body, leave, deadline).await
            }
            (Accepted::New(message), Entry::Theirs(_)) => Err(SendError::InProgress(message.origins.message_id)),
            (Accepted::Reused(id), _) => Err(SendError::RequestIdReused(id)),
            (Accepted::Full, _) => Err(SendError::QueueFull),
            (Accepted::OverQuota(exceeded), _) => Err(SendError::OverQuota(exceeded)),
            (Accepted::Before(message), _) if !message.status.is_unsettled() => Ok(Sent { message, replayed: true }),
            (Accepted::Before(message), _) => Box::pin(self.repeat(message, asked, leave)).await,
        }
    }

    /// The same request again while its first attempt runs, or after it ended without an answer.
    async fn repeat(&self, message: Message, asked: Box<Asked>, leave: Leave) -> Result<Sent, SendError> {
        let id = message.origins.message_id;
        match self.running.enter(id) {
            Entry::Theirs(ended) => {
                drop(leave);
                self.join(id, ended, asked.request.deadline).await
            }
            Entry::Mine(guard) => self.settle_by_repeating(guard, message, asked, leave).await,
        }
    }

    /// Waits for an attempt that runs, and answers as it does.
    async fn join(&self, id: MessageId, ended: Receiver, deadline: Option<Instant>) -> Result<Sent, SendError> {
        let wait = Instant::now() + self.options.repeat_wait;
        let wait = deadline.map_or(wait, |deadline| wait.min(deadline));
        match timeout_at(wait, ended).await {
            Ok(Ok(Ok(sent))) => Ok(Sent { message: sent.message, replayed: true }),
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_)) | Err(_) => Err(SendError::InProgress(id)),
        }
    }

    async fn settle_by_repeating(
        &self,
        guard: Guard,
        message: Message,
        asked: Box<Asked>,
        leave: Leave,
    ) -> Result<Sent, SendError> {
        let id = message.origins.message_id;
        // Read again: the attempt may have been settled between the look and the entry.
        let message = self.store.message(id).await?.unwrap_or(message);
        if message.ids.upstream.is_some() {
            return Ok(Sent { message, replayed: true });
        }
        if !message.status.is_unsettled() {
            // Refused in that moment, so that the request id stands for nothing: the next call begins anew.
            return Err(SendError::InProgress(id));
        }
        if !self.is_replayable(message.origins.create_time) {
            let detail = "the time in which a repeated call is recognised upstream has passed".to_owned();
            let doubt = Doubt { status: None, code: None, detail, retry_after: None };
            return Err(SendError::InDoubt { id, doubt, repeatable: false });
        }
        let doubtful = self.doubt(message).await?;
        self.attempt(guard, doubtful, asked.body, leave, asked.request.deadline).await
    }

    fn draft(&self, asked: &Asked) -> Draft {
        let now = self.sources.now();
        let intent = &asked.request.intent;
        Draft {
            origins: Origins {
                message_id: self.sources.message_id(now),
                caller: asked.right.caller().clone(),
                number: asked.right.number().clone(),
                recipient: intent.recipient.clone(),
                request_id: asked.request.request_id.clone(),
                handoff: asked.request.handoff,
                labels: intent.labels.clone(),
                metadata: asked.request.metadata.clone(),
                create_time: now,
                // Cut to what is stored.
                deliver_at: intent.deliver_at.and_then(|at| Timestamp::from_microsecond(at.as_microsecond()).ok()),
            },
            fingerprint: asked.fingerprint,
            likeness: match &intent.content {
                Content::Text(text) => {
                    Some(self.vault.likeness(asked.right.number(), intent.recipient.address(), &text.body))
                }
                _ => None,
            },
            queued: None,
            limits: self.limits(&asked.right),
        }
    }

    /// What a message counts towards: the caller's limits, and the number's.
    fn limits(&self, right: &Authorized<Send>) -> Vec<Limit> {
        let of_caller = (Subject::Caller(right.caller().clone()), right.quota());
        let number = self.keys.get(right.number());
        let of_number = number.map(|number| (Subject::Number(number.name.clone()), number.quota));
        let each = |(subject, quota): (Subject, Quota)| {
            quota.limits().map(move |(window, most)| Limit { subject: subject.clone(), window, most })
        };
        [of_caller].into_iter().chain(of_number).flat_map(each).collect()
    }
}

/// How long the patient wait at most: longer than any stream of theirs lives.
const PATIENT: Duration = Duration::from_secs(24 * 3600);

/// What a `request_id` stood for before this call.
enum Before {
    /// Nothing.
    Never,
    /// A message whose hand-over is decided.
    Answered(Box<Sent>),
    /// One whose hand-over is not.
    Open(MessageId),
}

/// The answer to a send that got no leave. `open` is the message that a repeated call was to settle.
fn turned_away(shut: Shut, open: Option<MessageId>) -> SendError {
    match (open, shut) {
        (Some(id), Shut::Host { retry } | Shut::Held { retry, .. } | Shut::Pace { wait: retry }) => {
            still_in_doubt(id, Some(retry))
        }
        (Some(id), Shut::Overloaded | Shut::Key | Shut::Disabled | Shut::Absent) => still_in_doubt(id, None),
        (None, Shut::Overloaded) => SendError::Overloaded,
        (None, Shut::Host { retry }) => SendError::HostDown { retry },
        (None, Shut::Held { retry, cause }) => SendError::NumberHeld { retry, cause },
        (None, Shut::Pace { wait }) => SendError::PaceExceeded { wait },
        (None, Shut::Key) => SendError::KeyChanging,
        (None, Shut::Disabled) => SendError::NumberDisabled,
        (None, Shut::Absent) => SendError::NumberGone,
    }
}

fn still_in_doubt(id: MessageId, retry_after: Option<Duration>) -> SendError {
    let detail = "the repeated call has to wait".to_owned();
    SendError::InDoubt { id, doubt: Doubt { status: None, code: None, detail, retry_after }, repeatable: true }
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
    if request.handoff == Handoff::Queued {
        part(b"queued");
    }
    digest.finalize().into()
}
