//! The table of errors: what an HTTP status of Pilot Status says about a message.

use std::{fmt, time::Duration};

/// Pilot Status said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no.
    pub class: RefusalClass,
    /// HTTP status.
    pub status: u16,
    /// Its `code`, if it gave one.
    pub code: Option<String>,
    /// Its text, with anything that looks like a key blotted out.
    pub message: String,
    /// When it may be worth trying again.
    pub retry_after: Option<Duration>,
}

/// Kinds of refusals, by HTTP status first; codes only refine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalClass {
    /// 400, 413, 422 and their like: the request itself will never do.
    Invalid,
    /// 401: the number's key is not accepted.
    KeyRefused,
    /// 402: a paid plan is needed.
    Payment,
    /// 403: scope, permission, plan.
    Forbidden,
    /// 404.
    NotFound,
    /// 409 and every other refusal: the state of things is against it.
    Conflict,
    /// 409 with a code that says so: nothing of this number is taken for now.
    Blocked,
    /// 429.
    RateLimited,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(code) = &self.code {
            write!(f, " {code}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// It is not known whether Pilot Status took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Its `code`, if it gave one.
    pub code: Option<String>,
    /// For operators.
    pub detail: String,
    /// When asking again is worth it.
    pub retry_after: Option<Duration>,
}

impl Doubt {
    /// The connection broke or time ran out.
    pub(super) const fn no_answer(detail: String) -> Self {
        Self { status: None, code: None, detail, retry_after: None }
    }
}

/// What a status that is not 2xx says about a send.
pub(super) enum Verdict {
    /// Nothing was queued by this call.
    Refused(RefusalClass),
    /// It may have been queued.
    Unknown,
}

/// The table. A 5xx may come from behind the queue, a 408 from before or behind it, and a 3xx from anywhere.
pub(super) fn verdict(status: u16, code: Option<&str>) -> Verdict {
    match (status, code) {
        // An earlier call with this key is still running, or ended with other bytes: either way it may have been taken.
        (409, Some("IDEMPOTENCY_KEY_IN_USE" | "IDEMPOTENCY_KEY_REUSED")) => Verdict::Unknown,
        (409, Some("NUMBER_BLOCKED" | "WHATSAPP_INSTANCE_NOT_CONNECTED")) => Verdict::Refused(RefusalClass::Blocked),
        (401, _) => Verdict::Refused(RefusalClass::KeyRefused),
        (402, _) => Verdict::Refused(RefusalClass::Payment),
        (403, _) => Verdict::Refused(RefusalClass::Forbidden),
        (404, _) => Verdict::Refused(RefusalClass::NotFound),
        (429, _) => Verdict::Refused(RefusalClass::RateLimited),
        (400 | 405 | 406 | 411 | 413 | 414 | 415 | 422 | 431, _) => Verdict::Refused(RefusalClass::Invalid),
        (408 | 499, _) => Verdict::Unknown,
        (400..=498, _) => Verdict::Refused(RefusalClass::Conflict),
        _ => Verdict::Unknown,
    }
}
