//! Reading answers.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    ReadError, SendOutcome,
    call::Answer,
    clean,
    refusal::{Doubt, Refusal, RefusalClass, Verdict, verdict},
};
use crate::domain::{
    failure::Failure,
    ids::{CorrelationId, ExternalId, UpstreamId},
    merge::{Fact, Observed},
    message::ForeignIds,
    secret::NumberKey,
    status::{Origin, Status},
};

/// Whoever asks to be left alone for longer is asked again after this. A slip in its unit must not silence a number for
/// years.
const LONGEST_HINT: Duration = Duration::from_secs(3600);

/// Longer flow tokens are not taken over.
const MAX_FLOW_TOKEN: usize = 512;

/// Where the times of statuses stand.
pub(super) const TIMES: [(Status, &str); 3] =
    [(Status::Sent, "sentAt"), (Status::Delivered, "deliveredAt"), (Status::Read, "readAt")];

/// The answer to an accepted send.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// Its id and perhaps the business id.
    pub ids: ForeignIds,
    /// The status it names; `Queued` if it names none that is known.
    pub status: Observed,
    /// When Pilot Status took it.
    pub created_at: Option<Timestamp>,
    /// Token of a flow.
    pub flow_token: Option<String>,
    /// Whether this is the stored answer to an earlier call with the same idempotency key.
    pub replayed: bool,
}

/// A message as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Its ids.
    pub ids: ForeignIds,
    /// Every status that it tells of, with its time where one is given.
    pub statuses: Vec<(Observed, Option<Timestamp>)>,
}

impl Reading {
    /// Every status that it tells of, as learned at `observed_at`.
    pub fn into_facts(self, observed_at: Timestamp) -> Vec<Fact> {
        let Self { ids, statuses } = self;
        facts(&ids, statuses, observed_at)
    }
}

pub(super) fn facts(
    ids: &ForeignIds,
    statuses: impl IntoIterator<Item = (Observed, Option<Timestamp>)>,
    observed_at: Timestamp,
) -> Vec<Fact> {
    let fact = |(status, at): (Observed, Option<Timestamp>)| {
        let at = at.unwrap_or(observed_at);
        Fact { status, at, observed_at, origin: Origin::Poll, ids: ids.clone() }
    };
    statuses.into_iter().map(fact).collect()
}

/// What became of a cancellation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancellation {
    /// How it was told.
    pub shape: CancelShape,
}

/// Pilot Status has answered cancellations in two ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelShape {
    /// Each id's fate.
    Lists {
        /// Canceled now.
        canceled: Vec<UpstreamId>,
        /// Not canceled, with a free text.
        failed: BTreeMap<UpstreamId, String>,
    },
    /// Only how many. Each message has to be read back.
    Counts,
}

/// Reads the answer to a send.
pub(super) fn of_send(answer: &Answer, key: &NumberKey) -> SendOutcome {
    let body = Body::of(answer, key);
    if !(200..300).contains(&answer.status) {
        return match verdict(answer.status, body.code()) {
            Verdict::Refused(class) => SendOutcome::Refused(body.refusal(class, answer)),
            Verdict::Unknown => SendOutcome::Unknown(body.doubt(answer)),
        };
    }
    let ids = body.ids();
    if ids.upstream.is_none() {
        return SendOutcome::Unknown(body.doubt(answer));
    }
    SendOutcome::Accepted(Receipt {
        ids,
        status: match body.text("status").map(|word| observed(word, &body)) {
            Some(known @ (Observed::Reached(_) | Observed::Failed(_))) => known,
            // Whatever word goes with it, a 2xx with an id means that the message was taken.
            Some(Observed::Unknown(_)) | None => Observed::Reached(Status::Queued),
        },
        created_at: body.time("createdAt"),
        flow_token: body.text("flowToken").filter(|token| token.len() <= MAX_FLOW_TOKEN).map(str::to_owned),
        replayed: answer.headers.get("idempotent-replayed").is_some_and(|value| value == "true"),
    })
}

/// Reads a message. Times that are given prove statuses even if the word has moved on.
pub(super) fn of_read(answer: &Answer, key: &NumberKey) -> Result<Reading, ReadError> {
    let body = expect_success(answer, key)?;
    let ids = body.ids();
    let Some(word) = body.text("status") else {
        return Err(ReadError::Unavailable { detail: "the answer names no status".to_owned() });
    };
    let mut statuses = vec![(Observed::Reached(Status::Queued), body.time("createdAt"))];
    for (status, field) in TIMES {
        if let Some(at) = body.time(field) {
            statuses.push((Observed::Reached(status), Some(at)));
        }
    }
    let current = observed(word, &body);
    if !statuses.iter().any(|(status, _)| *status == current) {
        statuses.push((current, None));
    }
    Ok(Reading { ids, statuses })
}

/// The body of a cancellation.
pub(super) fn cancel_body(ids: &[UpstreamId]) -> Bytes {
    let ids: Vec<&str> = ids.iter().map(UpstreamId::as_str).collect();
    json!({ "messageIds": ids }).to_string().into()
}

/// Reads the answer to a cancellation, in either shape.
pub(super) fn of_cancel(answer: &Answer, key: &NumberKey) -> Result<Cancellation, ReadError> {
    let body = expect_success(answer, key)?;
    let shape = match body.json.get("cancelled").or_else(|| body.json.get("canceled")) {
        Some(Value::Array(canceled)) => CancelShape::Lists {
            canceled: canceled.iter().filter_map(Value::as_str).filter_map(id).collect(),
            failed: body.json.get("failed").and_then(Value::as_array).map_or_else(BTreeMap::new, |failed| {
                failed
                    .iter()
                    .filter_map(|entry| {
                        let reason = entry.get("reason").and_then(Value::as_str).unwrap_or_default();
                        Some((id(entry.get("id")?.as_str()?)?, body.clean(reason)))
                    })
                    .collect()
            }),
        },
        Some(Value::Number(_)) => CancelShape::Counts,
        _ => return Err(ReadError::Unavailable { detail: "the answer tells no cancellations".to_owned() }),
    };
    Ok(Cancellation { shape })
}

fn id(text: &str) -> Option<UpstreamId> {
    UpstreamId::from_text(text).ok()
}

pub(super) fn expect_success<'a>(answer: &Answer, key: &'a NumberKey) -> Result<Body<'a>, ReadError> {
    success(answer, key).map_err(|error| match error {
        ReadError::Refused(Refusal { class: RefusalClass::NotFound, .. }) => ReadError::NotFound,
        other => other,
    })
}

/// A 2xx. A 404 is a refusal like others, with its code.
pub(super) fn success<'a>(answer: &Answer, key: &'a NumberKey) -> Result<Body<'a>, ReadError> {
    let body = Body::of(answer, key);
    match (answer.status, verdict(answer.status, body.code())) {
        (200..300, _) => Ok(body),
        (_, Verdict::Refused(class)) => Err(ReadError::Refused(body.refusal(class, answer))),
        (_, Verdict::Unknown) => Err(ReadError::Unavailable { detail: body.doubt(answer).detail }),
    }
}

/// A status word, with the failure that goes with it.
fn observed(word: &str, body: &Body<'_>) -> Observed {
    match status_of(word) {
        Some(Status::Failed) => Observed::Failed(Failure::reported(
            body.text("errorCode").and_then(|code| clean::code(code, body.key)).unwrap_or_default(),
            body.clean(body.text("errorMessage").unwrap_or_default()),
        )),
        Some(status) => Observed::Reached(status),
        None => Observed::Unknown(body.clean(word)),
    }
}

/// A time of a message. One that cannot be true, for want of a century or more, is none: the earliest time of a status
/// counts, so that a wrong one would stay for good.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(is_plausible)
}

/// Whether a time can be that of a message.
pub(super) fn is_plausible(time: &Timestamp) -> bool {
    const YEAR_2000: Timestamp = Timestamp::constant(946_684_800, 0);
    const YEAR_2200: Timestamp = Timestamp::constant(7_258_118_400, 0);
    (YEAR_2000..YEAR_2200).contains(time)
}

/// Pilot Status's words. Both spellings of a cancellation have been seen.
pub(super) fn status_of(word: &str) -> Option<Status> {
    match word.to_ascii_uppercase().as_str() {
        "QUEUED" => Some(Status::Queued),
        "SENT" => Some(Status::Sent),
        "DELIVERED" => Some(Status::Delivered),
        "READ" => Some(Status::Read),
        "FAILED" => Some(Status::Failed),
        "CANCELED" | "CANCELLED" => Some(Status::Canceled),
        _ => None,
    }
}

/// An answer's body as far as it can be read; `Null` if it is no JSON.
pub(super) struct Body<'a> {
    pub(super) json: Value,
    raw: String,
    key: &'a NumberKey,
}

impl<'a> Body<'a> {
    fn of(answer: &Answer, key: &'a NumberKey) -> Self {
        let json = serde_json::from_slice(&answer.body).unwrap_or_default();
        let raw = match &json {
            Value::Object(_) => String::new(),
            _ => String::from_utf8_lossy(&answer.body).into_owned(),
        };
        Self { json, raw, key }
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.json.get(field)?.as_str()
    }

    fn time(&self, field: &str) -> Option<Timestamp> {
        time(self.text(field)?)
    }

    fn code(&self) -> Option<&str> {
        clean::code(self.text("code")?, self.key)
    }

    fn ids(&self) -> ForeignIds {
        ForeignIds {
            upstream: self.text("id").and_then(id),
            correlation: self.text("correlationId").and_then(|text| CorrelationId::from_text(text).ok()),
            external: self.text("externalMessageId").and_then(|text| ExternalId::from_text(text).ok()),
        }
    }

    fn refusal(&self, class: RefusalClass, answer: &Answer) -> Refusal {
        Refusal {
            class,
            status: answer.status,
            code: self.code().map(str::to_owned),
            message: self.message(),
            retry_after: self.retry_after(answer),
        }
    }

    fn doubt(&self, answer: &Answer) -> Doubt {
        Doubt {
            status: Some(answer.status),
            code: self.code().map(str::to_owned),
            detail: format!("HTTP {}: {}", answer.status, self.message()),
            retry_after: self.retry_after(answer),
        }
    }

    /// The text for people, with the details that name fields.
    fn message(&self) -> String {
        let text = self.text("error").or_else(|| self.text("message")).unwrap_or(&self.raw);
        let details = self.json.get("details").filter(|details| !details.is_null());
        self.clean(&details.map_or_else(|| text.to_owned(), |details| format!("{text} {details}")))
    }

    /// The hint of the header, in seconds or as a date, or that of the body; never longer than [`LONGEST_HINT`].
    fn retry_after(&self, answer: &Answer) -> Option<Duration> {
        let header = answer.headers.get("retry-after").and_then(|value| value.to_str().ok());
        let from_header =
            header.and_then(|text| text.trim().parse().ok().map(Duration::from_secs).or_else(|| date(text)));
        let hint = from_header.or_else(|| {
            let seconds = self.json.get("retryAfterSeconds")?.as_f64()?;
            Duration::try_from_secs_f64(seconds).ok()
        });
        hint.map(|hint| hint.min(LONGEST_HINT))
    }

    pub(super) fn clean(&self, text: &str) -> String {
        clean::text(text, self.key)
    }
}

fn date(text: &str) -> Option<Duration> {
    let until = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Duration::try_from(until.duration_since(Timestamp::now())).ok()
}
