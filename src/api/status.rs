//! Any error becomes a gRPC status here and nowhere else.
//!
//! Each error has two texts. The caller's is written here; the operator's, with the causes, goes to the log here and
//! never crosses the edge.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use super::reasons::{DOMAIN, Reason};
use crate::{
    admin::AdminError,
    domain::{
        ids::MessageId,
        quota::{Exceeded, Limit},
    },
    fanout::{CommitError, CursorError, FollowError, SeekError},
    identity::{CredentialError, Duty, Lapse, Narrowed, NotAdministrator, NotGranted, SendDenied},
    messaging::{ListError, LookError, PageTokenError, SendError, UndecidedError},
    store::StoreError,
    tracking::RefreshError,
    upstream::{Doubt, ReadError, Refusal, RefusalClass},
};

/// What a caller is asked to wait where nothing better is known.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);

/// An error on its way to the wire.
struct Answer {
    reason: Reason,
    text: String,
    metadata: HashMap<String, String>,
    retry: Option<Duration>,
}

impl Answer {
    fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), metadata: HashMap::new(), retry: None }
    }

    fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        self.retry = Some(wait);
        self
    }

    fn into_status(self) -> Status {
        let entry = self.reason.entry();
        self.into_status_as(entry.code, entry.word.to_owned(), |_| {})
    }

    fn into_status_as(self, code: Code, reason: String, add: impl FnOnce(&mut ErrorDetails)) -> Status {
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, self.metadata);
        if let Some(wait) = self.retry {
            details.set_retry_info(Some(wait));
        }
        add(&mut details);
        Status::with_error_details(code, self.text, details)
    }
}

/// Fields that are missing or wrong: all of them, by their paths in the protobuf schema.
pub(super) fn invalid_request(violations: Vec<FieldViolation>) -> Status {
    // The text travels beside the details and both within a client's limit for headers, so it names only the first.
    let first = violations.first().map(|one| format!("{}: {}", one.field, one.description)).unwrap_or_default();
    let more = match violations.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more, see BadRequest)", count - 1),
    };
    let entry = Reason::InvalidRequest.entry();
    let answer = Answer::new(Reason::InvalidRequest, format!("invalid request: {first}{more}"));
    answer.into_status_as(entry.code, entry.word.to_owned(), |details| {
        details.set_bad_request(violations);
    })
}

/// For a stream whose reading the gateway's end has stopped.
pub(super) fn draining() -> Status {
    let answer = Answer::new(Reason::Draining, "the gateway is shutting down; send again what was not answered");
    answer.retry_after(DEFAULT_WAIT).into_status()
}

pub(super) fn of_credential(error: CredentialError) -> Status {
    let answer = match error {
        CredentialError::Missing => {
            Answer::new(Reason::CredentialMissing, "send `authorization: Bearer <caller token>` metadata")
        }
        CredentialError::Invalid => Answer::new(Reason::CredentialInvalid, "the credential was not accepted"),
        CredentialError::Expired => Answer::new(Reason::CredentialExpired, "the credential has expired"),
    };
    answer.into_status()
}

pub(super) fn of_not_granted(_: NotGranted) -> Status {
    Answer::new(Reason::NumberNotGranted, "the caller has no such right on this number").into_status()
}

pub(super) fn of_narrowed(narrowed: Narrowed) -> Status {
    let answer = match narrowed {
        Narrowed::Template => Answer::new(
            Reason::TemplateNotGranted,
            "the caller may send certain templates from this number, and nothing else",
        ),
        Narrowed::Recipient => Answer::new(
            Reason::RecipientNotGranted,
            "the caller may send this from this number to certain recipients, and to nobody else",
        ),
    };
    answer.into_status()
}

pub(super) fn of_lapse(lapse: Lapse) -> Status {
    match lapse {
        Lapse::Credential(error) => of_credential(error),
        Lapse::Blind => of_not_granted(NotGranted),
        Lapse::Changed => {
            let text = "what the caller may see has changed; resume with the last cursor";
            Answer::new(Reason::GrantsChanged, text).into_status()
        }
    }
}

pub(super) fn of_store(error: &StoreError) -> Status {
    tracing::error!(%error, "the store failed a call");
    Answer::new(Reason::StoreUnavailable, "the gateway's store failed").retry_after(DEFAULT_WAIT).into_status()
}

pub(super) fn of_not_administrator<D: Duty>(_: NotAdministrator) -> Status {
    let answer = Answer::new(Reason::NotAdministrator, format!("this takes the right {}", D::RIGHT));
    answer.with("right", D::RIGHT).into_status()
}

pub(super) fn of_admin(error: &AdminError) -> Status {
    let reason = match error {
        AdminError::Store(error) => return of_store(error),
        AdminError::NotFound(_) => Reason::NotRegistered,
        AdminError::Exists(_) | AdminError::Taken(_) => Reason::NameTaken,
        AdminError::Changed(_) => Reason::EtagMismatch,
        AdminError::Declared(_) => Reason::DeclaredInConfiguration,
        AdminError::NotNow(_) => Reason::WrongState,
        AdminError::Unreadable(..) => Reason::RecordUnreadable,
        AdminError::Beyond(_) => Reason::RightNotHeld,
        AdminError::Lost(_) => Reason::NotAdministrator,
        AdminError::KeyRefused => Reason::NumberKeyRefused,
        AdminError::Refused(..) => Reason::UpstreamRejected,
        AdminError::Unavailable(_) => Reason::UpstreamUnavailable,
    };
    tracing::warn!(%error, "an act of administration was refused");
    let answer = Answer::new(reason, error.to_string());
    let answer = match error {
        AdminError::Beyond(right) | AdminError::Lost(right) => answer.with("right", right),
        AdminError::Refused(status, _) => answer.with("upstream_status", status),
        AdminError::Unavailable(_) => answer.retry_after(DEFAULT_WAIT),
        _ => answer,
    };
    answer.into_status()
}

pub(super) fn of_undecided(error: &UndecidedError) -> Status {
    let reason = match error {
        UndecidedError::Store(error) => return of_store(error),
        UndecidedError::NotFound => Reason::MessageNotFound,
        UndecidedError::NotQueued | UndecidedError::InDoubt | UndecidedError::NotInDoubt(_) | UndecidedError::Busy => {
            Reason::WrongState
        }
    };
    Answer::new(reason, error.to_string()).into_status()
}

pub(super) fn of_seek(error: &SeekError) -> Status {
    match error {
        SeekError::Unknown => {
            Answer::new(Reason::SubscriptionNotFound, "the caller has no such subscription").into_status()
        }
        SeekError::Cursor(_) => Answer::new(Reason::CursorInvalid, error.to_string()).into_status(),
        SeekError::Store(error) => of_store(error),
    }
}

fn of_quota(exceeded: &Exceeded, now: Timestamp) -> Status {
    let Limit { subject, window, most } = &exceeded.limit;
    let subject = subject.to_text();
    let wait = exceeded.resets.duration_since(now);
    let text = format!("{subject}: all {most} messages of this {} are used", window.word());
    let answer = Answer::new(Reason::QuotaExceeded, &*text)
        .with("subject", &subject)
        .with("limit", most)
        .with("window", window.word())
        .with("reset_time", exceeded.resets)
        .retry_after(Duration::try_from(wait).unwrap_or(DEFAULT_WAIT));
    let entry = Reason::QuotaExceeded.entry();
    answer.into_status_as(entry.code, entry.word.to_owned(), |details| {
        details.add_quota_failure_violation(&*subject, text);
    })
}

/// How long until a limit resets is told from `now`.
pub(super) fn of_send(error: &SendError, now: Timestamp) -> Status {
    match error {
        SendError::RequestIdReused(id) => {
            let answer = Answer::new(Reason::RequestIdReused, "the request_id stands for another request");
            answer.with("message_id", id).into_status()
        }
        SendError::InProgress(id) => {
            let answer = Answer::new(Reason::RequestInProgress, "the first call with this request_id still runs");
            answer.with("message_id", id).retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::Overdue(fields) => {
            let violation = |field: &&str| FieldViolation::new(*field, "must lie in the future");
            invalid_request(fields.iter().map(violation).collect())
        }
        SendError::Denied(SendDenied::Credential(error)) => of_credential(*error),
        SendError::Denied(SendDenied::NotGranted(error)) => of_not_granted(*error),
        SendError::Denied(SendDenied::Narrowed(error)) => of_narrowed(*error),
        SendError::OverQuota(exceeded) => of_quota(exceeded, now),
        SendError::Overloaded => {
            let answer = Answer::new(Reason::Overloaded, "too many sends are waiting for pilot status");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::HostDown { retry } => {
            let answer = Answer::new(Reason::UpstreamUnavailable, "pilot status does not answer; nothing was sent");
            answer.retry_after(*retry).into_status()
        }
        SendError::NumberHeld { retry, cause } => {
            let answer = Answer::new(Reason::NumberHeld, "pilot status takes nothing of this number for now");
            answer.with("cause", cause).retry_after(*retry).into_status()
        }
        SendError::KeyChanging => {
            let answer = Answer::new(Reason::NumberHeld, "the number's key is being changed");
            answer.with("cause", "key change").retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::NumberDisabled => {
            Answer::new(Reason::NumberDisabled, "the number is disabled; nothing was sent").into_status()
        }
        SendError::NumberGone => of_not_granted(NotGranted),
        SendError::PaceExceeded { wait } => {
            let entry = Reason::PaceExceeded.entry();
            let answer = Answer::new(Reason::PaceExceeded, "it would not be this number's turn in time");
            answer.retry_after(*wait).into_status_as(entry.code, entry.word.to_owned(), |details| {
                details.add_quota_failure_violation("number", "the number's pace");
            })
        }
        SendError::Draining => {
            let answer = Answer::new(Reason::Draining, "the gateway is shutting down; this call sent nothing");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::QueueFull => {
            let answer = Answer::new(Reason::Overloaded, "the queue holds as much as it may");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::Refused { id, refusal } => of_refusal(refusal, Some(*id)),
        SendError::NotSent { id, detail } => {
            tracing::warn!(message_id = %id, %detail, "pilot status could not be reached");
            let answer =
                Answer::new(Reason::UpstreamUnavailable, "pilot status could not be reached; nothing was sent");
            answer.with("message_id", id).retry_after(DEFAULT_WAIT).into_status()
        }
        SendError::InDoubt { id, doubt, repeatable } => of_doubt(*id, doubt, *repeatable),
        SendError::Store(error) => of_store(error),
    }
}

pub(super) fn of_look(error: &LookError) -> Status {
    match error {
        LookError::NotFound => not_found(),
        LookError::Store(error) => of_store(error),
    }
}

pub(super) fn of_refresh(error: &RefreshError) -> Status {
    match error {
        RefreshError::Upstream(ReadError::NotFound) => not_found(),
        RefreshError::Upstream(ReadError::Refused(refusal)) => of_refusal(refusal, None),
        RefreshError::Upstream(ReadError::Unavailable { detail }) => {
            tracing::warn!(%detail, "a message could not be read back");
            let answer = Answer::new(Reason::UpstreamUnavailable, "pilot status gave no usable answer");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        RefreshError::Store(error) => of_store(error),
    }
}

fn not_found() -> Status {
    Answer::new(Reason::MessageNotFound, "there is no such message").into_status()
}

pub(super) fn of_list(error: &ListError) -> Status {
    match error {
        ListError::PageToken(error) => {
            let why = match error {
                PageTokenError::NotOurs => "not_ours",
                PageTokenError::OtherFilter => "other_filter",
            };
            Answer::new(Reason::PageTokenInvalid, error.to_string()).with("cause", why).into_status()
        }
        ListError::Store(error) => of_store(error),
    }
}

pub(super) fn of_follow(error: &FollowError) -> Status {
    match error {
        FollowError::TooMany => {
            let answer = Answer::new(Reason::Overloaded, "as many streams are open as may be");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        FollowError::Cursor(error) => of_cursor(*error),
        FollowError::Expired { oldest, oldest_time } => {
            let answer = Answer::new(Reason::CursorExpired, "entries behind the start of the stream were trimmed");
            let answer = answer.with("oldest_cursor", oldest);
            match oldest_time {
                Some(time) => answer.with("oldest_time", time).into_status(),
                None => answer.into_status(),
            }
        }
        FollowError::UnknownMessage => {
            Answer::new(Reason::MessageNotFound, "a message in filter.message_ids does not exist").into_status()
        }
        FollowError::OtherFilter => {
            let text = "the subscription was made with another filter; name a start to give it this one";
            Answer::new(Reason::SubscriptionFilterChanged, text).into_status()
        }
        FollowError::TooManySubscriptions => {
            let text = "the caller has as many subscriptions as it may";
            Answer::new(Reason::SubscriptionsExceeded, text).into_status()
        }
        FollowError::Moved => {
            Answer::new(Reason::SubscriptionMoved, "an administrator has moved or deleted the subscription")
                .into_status()
        }
        FollowError::Lapsed(lapse) => of_lapse(*lapse),
        FollowError::TakenOver => {
            Answer::new(Reason::SubscriptionTakenOver, "a newer stream carries the subscription").into_status()
        }
        FollowError::Draining => {
            let answer =
                Answer::new(Reason::Draining, "the gateway or the connection ends; resume with the last cursor");
            answer.retry_after(DEFAULT_WAIT).into_status()
        }
        FollowError::Store(error) => of_store(error),
    }
}

pub(super) fn of_commit(error: &CommitError) -> Status {
    match error {
        CommitError::Unknown => Answer::new(Reason::SubscriptionNotFound, "no such subscription").into_status(),
        CommitError::Cursor(error) => of_cursor(*error),
        CommitError::Store(error) => of_store(error),
    }
}

fn of_cursor(error: CursorError) -> Status {
    let why = match error {
        CursorError::NotOurs => "not_ours",
        CursorError::OtherLog => "other_log",
        CursorError::OtherFilter => "other_filter",
    };
    Answer::new(Reason::CursorInvalid, error.to_string()).with("cause", why).into_status()
}

/// The table for answers of Pilot Status that refuse. Its own code is the reason wherever it gives one that can be.
fn of_refusal(refusal: &Refusal, id: Option<MessageId>) -> Status {
    let (reason, code) = match refusal.class {
        RefusalClass::Invalid => (Reason::UpstreamRejected, Code::InvalidArgument),
        RefusalClass::NotFound => (Reason::UpstreamRejected, Code::NotFound),
        RefusalClass::Payment | RefusalClass::Forbidden | RefusalClass::Conflict | RefusalClass::Blocked => {
            (Reason::UpstreamRejected, Code::FailedPrecondition)
        }
        RefusalClass::KeyRefused => (Reason::NumberKeyRefused, Code::FailedPrecondition),
        RefusalClass::RateLimited => (Reason::UpstreamRateLimited, Code::ResourceExhausted),
    };
    tracing::warn!(message_id = id.map(tracing::field::display), %refusal, "pilot status refused");
    let said = match (reason, refusal.message.as_str()) {
        (Reason::NumberKeyRefused, _) => "pilot status does not accept the number's key".to_owned(),
        (_, "") => "pilot status refused".to_owned(),
        (_, message) => format!("pilot status refused: {message}"),
    };
    let mut answer = Answer::new(reason, said).with("upstream_status", refusal.status);
    if let Some(id) = id {
        answer = answer.with("message_id", id);
    }
    if let Some(upstream_code) = &refusal.code {
        answer = answer.with("upstream_code", upstream_code);
    }
    if refusal.class == RefusalClass::RateLimited {
        answer = answer.retry_after(refusal.retry_after.unwrap_or(DEFAULT_WAIT));
    }
    let own = refusal.code.as_deref().filter(|code| reason == Reason::UpstreamRejected && is_reason(code));
    let word = own.unwrap_or(reason.entry().word).to_owned();
    let subject = word.clone();
    answer.into_status_as(code, word, |details| {
        if code == Code::FailedPrecondition {
            details.add_precondition_failure_violation(subject, "pilot-status", refusal.message.clone());
        }
    })
}

fn of_doubt(id: MessageId, doubt: &Doubt, repeatable: bool) -> Status {
    tracing::warn!(message_id = %id, detail = doubt.detail, "a send is in doubt");
    let text = if repeatable {
        "it is not known whether pilot status took the message; repeat the call with the same request_id"
    } else {
        "it is not known whether pilot status took the message; do not send it again"
    };
    let mut answer = Answer::new(Reason::SendInDoubt, text).with("message_id", id);
    if let Some(status) = doubt.status {
        answer = answer.with("upstream_status", status);
    }
    if let Some(code) = &doubt.code {
        answer = answer.with("upstream_code", code);
    }
    if repeatable {
        answer = answer.retry_after(doubt.retry_after.unwrap_or(DEFAULT_WAIT));
    }
    answer.into_status()
}

/// The shape that `google.rpc.ErrorInfo` prescribes for reasons.
fn is_reason(code: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let bytes = code.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes[0].is_ascii_uppercase()
        && bytes.iter().all(|byte| inner(*byte))
        && bytes.last() != Some(&b'_')
}
