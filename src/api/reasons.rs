//! The catalogue of reasons: every `ErrorInfo.reason` that is ours, with what a caller may do about it.
//!
//! One table; the README's is held against it by a test.

use tonic::Code;

/// The domain of every `ErrorInfo` of this gateway.
pub(super) const DOMAIN: &str = "pilotgate";

/// Whether a call may be repeated with the same `request_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameRequestId {
    /// It may, and the message is sent at most once.
    Safe,
    /// It would be answered the same way.
    Pointless,
    /// The call takes none.
    NotApplicable,
}

impl SameRequestId {
    /// The word in the README's table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Pointless => "pointless",
            Self::NotApplicable => "-",
        }
    }
}

/// One line of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The reason.
    pub reason: Reason,
    /// Its word on the wire.
    pub word: &'static str,
    /// The gRPC code that goes with it.
    pub code: Code,
    /// Whether the same call may succeed later without anybody doing anything.
    pub retryable: bool,
    /// Whether it may be repeated with the same `request_id`.
    pub same_request_id: SameRequestId,
    /// Who has to act.
    pub acts: &'static str,
    /// What has happened.
    pub meaning: &'static str,
}

macro_rules! reasons {
    ($($name:ident = $word:literal, $code:ident, retryable: $retryable:literal, $same:ident, acts: $acts:literal,
       $meaning:literal;)*) => {
        /// Why a call failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        /// Every reason, in the order of the README.
        pub const CATALOGUE: &[Entry] = &[
            $(Entry {
                reason: Reason::$name,
                word: $word,
                code: Code::$code,
                retryable: $retryable,
                same_request_id: SameRequestId::$same,
                acts: $acts,
                meaning: $meaning,
            },)*
        ];

        impl Reason {
            /// Its line in the catalogue.
            pub const fn entry(self) -> &'static Entry {
                &CATALOGUE[self as usize]
            }
        }
    };
}

reasons! {
    CredentialMissing = "CREDENTIAL_MISSING", Unauthenticated, retryable: false, NotApplicable, acts: "caller",
        "No `authorization` metadata came with the call, and no certificate that names anybody.";
    CredentialInvalid = "CREDENTIAL_INVALID", Unauthenticated, retryable: false, NotApplicable, acts: "caller",
        "The credential is not one of a registered caller.";
    CredentialExpired = "CREDENTIAL_EXPIRED", Unauthenticated, retryable: false, NotApplicable, acts: "caller",
        "The credential was one of a registered caller until it ended.";
    NotAdministrator = "NOT_ADMINISTRATOR", PermissionDenied, retryable: false, NotApplicable, acts: "platform team",
        "The caller has no such right over what it wants to look at or change; metadata `right` names it.";
    NumberNotGranted = "NUMBER_NOT_GRANTED", PermissionDenied, retryable: false, NotApplicable, acts: "platform team",
        "The caller has no such right on this number, or the number does not exist; which of the two is not told.";
    TemplateNotGranted = "TEMPLATE_NOT_GRANTED", PermissionDenied, retryable: false, Safe, acts: "platform team",
        "The caller may send from this number certain templates only, and this is none of them. Nothing was stored.";
    RecipientNotGranted = "RECIPIENT_NOT_GRANTED", PermissionDenied, retryable: false, Safe, acts: "platform team",
        "The caller may send this from this number to certain recipients only, and this is none of them. Nothing was stored.";
    GrantsChanged = "GRANTS_CHANGED", Aborted, retryable: true, NotApplicable, acts: "nobody",
        "What the caller may see has changed, so that the stream ended. A new one resumes with the last cursor.";
    InvalidRequest = "INVALID_REQUEST", InvalidArgument, retryable: false, Safe, acts: "caller",
        "Fields are missing or wrong; `BadRequest` lists them, at most 20. Nothing was stored.";
    EtagMismatch = "ETAG_MISMATCH", Aborted, retryable: false, NotApplicable, acts: "caller",
        "What was to be changed has been changed since its `etag` was read. Read it again, and decide anew.";
    NameTaken = "NAME_TAKEN", AlreadyExists, retryable: false, NotApplicable, acts: "caller",
        "A number, caller, id, phone, path or credential of that name is registered already.";
    NotRegistered = "NOT_REGISTERED", NotFound, retryable: false, NotApplicable, acts: "caller",
        "Nothing of that name is registered.";
    DeclaredInConfiguration = "DECLARED_IN_CONFIGURATION", FailedPrecondition, retryable: false, NotApplicable,
        acts: "platform team",
        "The configuration declares it, and only there it can be changed.";
    RightNotHeld = "RIGHT_NOT_HELD", PermissionDenied, retryable: false, NotApplicable, acts: "platform team",
        "Nobody gives an administrator's right that it does not hold; metadata `right` names it.";
    RecordUnreadable = "RECORD_UNREADABLE", DataLoss, retryable: false, NotApplicable, acts: "platform team",
        "The sealed record is damaged, was tampered with, or is sealed under another root key.";
    WrongState = "WRONG_STATE", FailedPrecondition, retryable: false, NotApplicable, acts: "platform team",
        "It cannot be done as things stand; the message says why.";
    RequestIdReused = "REQUEST_ID_REUSED", AlreadyExists, retryable: false, Pointless, acts: "caller",
        "The `request_id` stands for another request of this caller.";
    RequestInProgress = "REQUEST_IN_PROGRESS", Aborted, retryable: true, Safe, acts: "nobody",
        "The first call with this `request_id` still runs.";
    UpstreamRejected = "UPSTREAM_REJECTED", FailedPrecondition, retryable: false, Safe, acts: "caller",
        "Pilot Status refused without a code of its own. With one, that code is the reason. Nothing was sent. The gRPC \
         code follows the HTTP status: 400 INVALID_ARGUMENT, 404 NOT_FOUND, else FAILED_PRECONDITION.";
    NumberKeyRefused = "NUMBER_KEY_REFUSED", FailedPrecondition, retryable: false, Safe, acts: "platform team",
        "Pilot Status does not accept the number's key. Nothing was sent. The caller's own credential is fine.";
    UpstreamRateLimited = "UPSTREAM_RATE_LIMITED", ResourceExhausted, retryable: true, Safe, acts: "nobody",
        "Pilot Status asks to slow down. Nothing was sent.";
    PaceExceeded = "PACE_EXCEEDED", ResourceExhausted, retryable: true, Safe, acts: "nobody",
        "It would not be the number's turn within the caller's deadline; `RetryInfo` says when it is. Nothing was stored.";
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted, retryable: true, Safe, acts: "nobody",
        "A limit on what may be sent is used up; `QuotaFailure` says which, `RetryInfo` when it resets. Nothing was stored.";
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE", Unavailable, retryable: true, Safe, acts: "nobody",
        "Pilot Status could not be reached, or has not answered for a while, so that no calls are made until `RetryInfo` \
         is over. Nothing was sent.";
    NumberHeld = "NUMBER_HELD", Unavailable, retryable: true, Safe, acts: "platform team",
        "Nothing of this number is sent for now: its key is refused or still being changed, or Pilot Status has blocked it \
         (metadata `cause`). It is tried again once `RetryInfo` is over. Nothing was stored.";
    NumberDisabled = "NUMBER_DISABLED", FailedPrecondition, retryable: false, Safe, acts: "platform team",
        "An administrator has disabled the number. Nothing was stored.";
    SendInDoubt = "SEND_IN_DOUBT", Unknown, retryable: true, Safe, acts: "caller",
        "It is not known whether Pilot Status took the message; it is `IN_DOUBT`. Repeating the call with the same \
         `request_id` settles it without sending twice, if `RetryInfo` is given. Never repeat it under another one.";
    MessageNotFound = "MESSAGE_NOT_FOUND", NotFound, retryable: false, NotApplicable, acts: "caller",
        "There is no such message that the caller may see.";
    CursorExpired = "CURSOR_EXPIRED", OutOfRange, retryable: false, NotApplicable, acts: "caller",
        "Entries behind the start of the stream were trimmed. Metadata: `oldest_cursor`, `oldest_time`.";
    CursorInvalid = "CURSOR_INVALID", InvalidArgument, retryable: false, NotApplicable, acts: "caller",
        "The cursor was not made by this gateway for a stream with this filter and caller, or it was changed.";
    SubscriptionNotFound = "SUBSCRIPTION_NOT_FOUND", NotFound, retryable: false, NotApplicable, acts: "caller",
        "The caller has no such subscription: no stream has named it yet, or it was not used for a long time.";
    SubscriptionFilterChanged = "SUBSCRIPTION_FILTER_CHANGED", FailedPrecondition, retryable: false, NotApplicable,
        acts: "caller",
        "The subscription was made by a stream with another filter. A stream that names a start gives it the new one.";
    SubscriptionTakenOver = "SUBSCRIPTION_TAKEN_OVER", Aborted, retryable: false, NotApplicable, acts: "caller",
        "A newer stream of this caller carries the subscription.";
    SubscriptionMoved = "SUBSCRIPTION_MOVED", Aborted, retryable: true, NotApplicable, acts: "nobody",
        "An administrator has moved or deleted the subscription. A new stream without a start begins where it stands now.";
    SubscriptionsExceeded = "SUBSCRIPTIONS_EXCEEDED", ResourceExhausted, retryable: false, NotApplicable, acts: "caller",
        "The caller has as many subscriptions as it may.";
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, retryable: false, NotApplicable, acts: "caller",
        "The page token was not made by this gateway for a list with this filter and caller, or it was changed.";
    Overloaded = "OVERLOADED", Unavailable, retryable: true, Safe, acts: "nobody",
        "Too much is going on. This call stored and sent nothing.";
    Draining = "DRAINING", Unavailable, retryable: true, Safe, acts: "nobody",
        "The gateway is shutting down, or the connection has become too old; call again over another one.";
    StoreUnavailable = "STORE_UNAVAILABLE", Unavailable, retryable: true, Safe, acts: "platform team",
        "The gateway's store failed. What Pilot Status had not accepted by then was not sent.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_finds_its_own_line() {
        for entry in CATALOGUE {
            assert_eq!(entry.reason.entry().word, entry.word);
        }
    }
}
