//! How a send ends, for the caller.

use std::time::Duration;

use crate::{
    domain::{ids::MessageId, message::Message, quota::Exceeded},
    identity::SendDenied,
    store::StoreError,
    upstream::{Doubt, Refusal},
};

/// How an attempt ended, for all who wait for it.
pub(super) type Ended = Result<Sent, SendError>;

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
    /// These fields name times that have passed, and the request was not accepted before. Nothing was recorded.
    #[error("times have passed")]
    Overdue(Vec<&'static str>),
    /// Too many sends wait for Pilot Status. Nothing was recorded.
    #[error("too many sends are waiting")]
    Overloaded,
    /// Pilot Status does not answer, so that no calls are made for now. Nothing was recorded.
    #[error("pilot status does not answer")]
    HostDown {
        /// When it is worth trying again.
        retry: Duration,
    },
    /// Pilot Status takes nothing of this number for now. Nothing was recorded.
    #[error("the number is held back: {cause}")]
    NumberHeld {
        /// When it is worth trying again.
        retry: Duration,
        /// Why.
        cause: String,
    },
    /// It would not be the number's turn in time. Nothing was recorded.
    #[error("the number's pace is exceeded")]
    PaceExceeded {
        /// When it is.
        wait: Duration,
    },
    /// The number's key is being changed, and that did not end in time. Nothing was recorded.
    #[error("the number's key is being changed")]
    KeyChanging,
    /// The number is disabled. Nothing was recorded.
    #[error("the number is disabled")]
    NumberDisabled,
    /// There is no such number any more. Nothing was recorded.
    #[error("there is no such number")]
    NumberGone,
    /// The gateway ends, and the send was still waiting for leave. Nothing was recorded.
    #[error("the gateway is ending")]
    Draining,
    /// The right to send it was lost while it waited. Nothing was recorded.
    #[error(transparent)]
    Denied(#[from] SendDenied),
    /// A limit on what may be sent is used up. Nothing was recorded.
    #[error("{} of {} messages a {} used up", .0.limit.subject.to_text(), .0.limit.most, .0.limit.window.word())]
    OverQuota(Exceeded),
    /// The queue holds as much as it may. Nothing was recorded.
    #[error("the queue is full")]
    QueueFull,
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
