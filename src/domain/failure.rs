//! Why a message failed, and whether sending it again is safe.

use serde::{Deserialize, Serialize};

/// An outcome of a message; not an error of a request.
///
/// Ordered only so that of two failures at the same time the same one is shown, whichever came first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Failure {
    /// The code as written by Pilot Status or by the gateway; empty if none was given.
    pub raw_code: String,
    /// Text for people.
    pub message: String,
    /// Overrides what the table says of `raw_code`: it is certain that the message never left.
    pub never_left: bool,
}

impl Failure {
    /// A failure that Pilot Status reported for an accepted message.
    pub fn reported(raw_code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { raw_code: raw_code.into(), message: message.into(), never_left: false }
    }

    /// A failure of the hand-off itself, where it is certain that nothing left.
    pub fn of_handoff(code: FailureCode, message: impl Into<String>) -> Self {
        Self { raw_code: code.word().to_owned(), message: message.into(), never_left: true }
    }

    /// The kind, if the code is a known one.
    pub fn code(&self) -> Option<FailureCode> {
        FailureCode::ALL.into_iter().find(|code| code.word() == self.raw_code)
    }

    /// The same message to the same recipient will fail again.
    pub fn is_permanent(&self) -> bool {
        self.code().is_some_and(FailureCode::is_permanent)
    }

    /// It is certain that the message never left, so that sending it again cannot deliver it twice.
    pub fn is_safe_to_resend(&self) -> bool {
        self.never_left || self.code().is_some_and(FailureCode::never_left)
    }
}

macro_rules! failure_codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, permanent: $permanent:literal, never_left: $never_left:literal;)*) => {
        /// Known kinds of failure. Pilot Status adds words over time; an unknown one has no kind, only its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailureCode {
            $($(#[$doc])* $name,)*
        }

        impl FailureCode {
            /// Every known kind.
            pub const ALL: [Self; [$($word),*].len()] = [$(Self::$name),*];

            /// The word on the wire.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The same message to the same recipient will fail again.
            pub const fn is_permanent(self) -> bool {
                match self { $(Self::$name => $permanent,)* }
            }

            /// The code alone proves that the message never left.
            pub const fn never_left(self) -> bool {
                match self { $(Self::$name => $never_left,)* }
            }
        }
    };
}

failure_codes! {
    /// Sent without a delivery report in time; a late one may follow.
    DeliveredNotConfirmed = "DELIVERED_NOT_CONFIRMED", permanent: false, never_left: false;
    /// No such template or version.
    TemplateVersionNotFound = "TEMPLATE_VERSION_NOT_FOUND", permanent: true, never_left: false;
    /// Unusable address.
    InvalidDestination = "INVALID_DESTINATION", permanent: true, never_left: false;
    /// The platform's own number.
    PilotSelfNumber = "PILOT_SELF_NUMBER", permanent: true, never_left: false;
    /// Waited for days, never tried.
    NeverAttemptedMaxAgeExceeded = "NEVER_ATTEMPTED_MAX_AGE_EXCEEDED", permanent: false, never_left: true;
    /// Ran out of time after attempts.
    ExpiredAfterAttempts = "EXPIRED_AFTER_ATTEMPTS", permanent: false, never_left: false;
    /// Older word for expiry.
    MessageExpired = "MESSAGE_EXPIRED", permanent: false, never_left: false;
    /// Not delivered in time; ambiguous.
    DeliveryTimeout = "DELIVERY_TIMEOUT", permanent: false, never_left: false;
    /// The sender was removed at the provider.
    NumberNotFoundRemoved = "NUMBER_NOT_FOUND_REMOVED", permanent: false, never_left: false;
    /// The key's session vanished.
    LinkedWhatsappInstanceNotFound = "LINKED_WHATSAPP_INSTANCE_NOT_FOUND", permanent: false, never_left: false;
    /// Not on WhatsApp.
    WhatsappNotExist = "WHATSAPP_NOT_EXIST", permanent: true, never_left: false;
    /// Template not approved.
    MetaTemplateNotApproved = "META_TEMPLATE_NOT_APPROVED", permanent: false, never_left: false;
    /// Conversation window closed.
    MetaOutside24hWindow = "META_OUTSIDE_24H_WINDOW", permanent: false, never_left: false;
    /// No conversation yet.
    MetaNoConversation = "META_NO_CONVERSATION", permanent: false, never_left: false;
    /// Meta's rate limit.
    MetaRateLimited = "META_RATE_LIMITED", permanent: false, never_left: false;
    /// Pilot Status refused the request.
    Rejected = "REJECTED", permanent: false, never_left: true;
    /// Pilot Status was not reached.
    NotSent = "NOT_SENT", permanent: false, never_left: true;
    /// Waited here until its time was over.
    QueueExpired = "QUEUE_EXPIRED", permanent: false, never_left: true;
    /// Its stored body could not be read any more.
    BodyUnreadable = "BODY_UNREADABLE", permanent: false, never_left: true;
    /// Taken out of the queue by an administrator.
    Discarded = "DISCARDED", permanent: false, never_left: true;
    /// Somebody found out that it never left.
    ResolvedNotSent = "RESOLVED_NOT_SENT", permanent: false, never_left: true;
}
