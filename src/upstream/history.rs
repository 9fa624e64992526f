//! Reading histories: what a number has sent, a page at a time.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    PAGE, ReadError,
    call::Answer,
    reply::{TIMES, expect_success, facts, status_of, time},
};
use crate::domain::{
    ids::ExternalId,
    merge::{Fact, Observed},
    message::ForeignIds,
    secret::NumberKey,
    status::Status,
};

/// A message that a number sent, as its history tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The provider's id.
    pub external: ExternalId,
    /// To whom and what it said, if both are told.
    pub said: Option<(String, String)>,
    /// SENT, DELIVERED and READ, as far as their times are told.
    pub times: Vec<(Status, Timestamp)>,
    /// Where it stands, as Pilot Status writes it, if that is told.
    pub word: Option<String>,
}

/// A page of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastPage {
    /// Messages on it that the number sent and the provider has given an id.
    pub past: Vec<Past>,
    /// How many pages lie behind it; 1 if that is not told and it is full.
    pub behind: usize,
}

impl Past {
    /// What it tells, as learned at `observed_at`, if that is all there is to be told: a history knows the reason of no
    /// failure, and may name a status without its time.
    pub fn facts(&self, observed_at: Timestamp) -> Option<Vec<Fact>> {
        let furthest = self.times.iter().map(|(status, _)| *status).max()?;
        if self.word.as_ref().is_some_and(|word| status_of(word) != Some(furthest)) {
            return None;
        }
        let ids = ForeignIds { external: Some(self.external.clone()), ..ForeignIds::default() };
        let statuses = self.times.iter().map(|(status, at)| (Observed::Reached(*status), Some(*at)));
        Some(facts(&ids, statuses, observed_at))
    }
}

/// Reads a page.
pub(super) fn of_history(answer: &Answer, key: &NumberKey) -> Result<PastPage, ReadError> {
    let body = expect_success(answer, key)?;
    let Some(rows) = body.json.get("messages").and_then(Value::as_array) else {
        return Err(ReadError::Unavailable { detail: "the answer lists no messages".to_owned() });
    };
    let count = |field: &str| usize::try_from(body.json.get(field)?.as_u64()?).ok();
    let behind = match (count("totalPages"), count("page")) {
        (Some(pages), Some(page)) => pages.saturating_sub(page),
        _ => usize::from(rows.len() >= PAGE),
    };
    Ok(PastPage { past: rows.iter().filter_map(past).collect(), behind })
}

fn past(row: &Value) -> Option<Past> {
    let text = |field: &str| row.get(field)?.as_str();
    if text("direction") != Some("OUTBOUND") {
        return None;
    }
    let at = |(status, field)| Some((status, time(text(field)?)?));
    Some(Past {
        external: ExternalId::from_text(text("externalMessageId")?).ok()?,
        said: text("participantPhone").zip(text("text")).map(|(to, text)| (to.to_owned(), text.to_owned())),
        times: TIMES.into_iter().filter_map(at).collect(),
        word: text("status").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use secrecy::SecretString;
    use serde_json::json;

    use super::*;
    use crate::domain::status::Origin;

    fn read(status: u16, body: &Value) -> Result<PastPage, ReadError> {
        let key = NumberKey::from_secret(SecretString::from("ps_0123456789abcdef")).unwrap();
        of_history(&Answer { status, headers: HeaderMap::new(), body: body.to_string().into() }, &key)
    }

    fn row(word: Option<&str>, delivered: Option<&str>) -> Past {
        let row = json!({
            "direction": "OUTBOUND", "externalMessageId": "w1", "participantPhone": "+5511", "text": "x", "status": word,
            "sentAt": "2027-01-12T14:00:02.500Z", "deliveredAt": delivered, "readAt": null,
        });
        let page = read(200, &json!({ "messages": [row] })).unwrap();
        page.past.into_iter().next().unwrap()
    }

    #[test]
    fn only_what_the_number_sent_and_the_provider_knows_is_read() {
        let rows = json!([
            { "direction": "INBOUND", "externalMessageId": "in" },
            { "direction": "OUTBOUND", "externalMessageId": null },
            { "direction": "OUTBOUND", "externalMessageId": "bare", "text": "to whom?", "sentAt": "never" },
            7,
        ]);
        let bare = Past { external: "bare".to_owned().try_into().unwrap(), said: None, times: vec![], word: None };
        let page = |behind| Ok(PastPage { past: vec![bare.clone()], behind });
        assert_eq!(read(200, &json!({ "messages": rows, "page": 2, "totalPages": 5 })), page(3));
        assert_eq!(read(200, &json!({ "messages": rows, "page": 1, "totalPages": 0 })), page(0));
        assert_eq!(read(200, &json!({ "messages": rows })), page(0));
        let full = vec![json!({}); PAGE];
        assert_eq!(read(200, &json!({ "messages": full })), Ok(PastPage { past: vec![], behind: 1 }));
        let relayed = json!({ "messages": [], "total": 0, "page": 1, "totalPages": 0, "notice": "PII_RELAY_ONLY" });
        assert_eq!(read(200, &relayed), Ok(PastPage { past: vec![], behind: 0 }));
        assert!(matches!(read(200, &json!({ "messages": null })), Err(ReadError::Unavailable { .. })));
        assert_eq!(read(404, &json!({})), Err(ReadError::NotFound));
    }

    #[test]
    fn a_row_counts_only_if_it_tells_everything() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let (delivered, now) = ("2027-01-12T14:00:04.870Z", time("2027-01-12T15:00:00Z"));
        let fact = |status, at| Fact {
            status: Observed::Reached(status),
            at: time(at),
            observed_at: now,
            origin: Origin::Poll,
            ids: ForeignIds { external: Some("w1".to_owned().try_into().unwrap()), ..ForeignIds::default() },
        };
        let sent = fact(Status::Sent, "2027-01-12T14:00:02.500Z");
        let both = Some(vec![sent.clone(), fact(Status::Delivered, delivered)]);
        for word in [Some("DELIVERED"), Some("delivered"), None] {
            assert_eq!(row(word, Some(delivered)).facts(now), both, "{word:?}");
        }
        assert_eq!(row(Some("SENT"), None).facts(now), Some(vec![sent]));
        for word in ["DELIVERED", "READ", "FAILED", "PLAYED"] {
            assert_eq!(row(Some(word), None).facts(now), None, "{word}");
        }
        assert_eq!(Past { times: vec![], word: None, ..row(None, None) }.facts(now), None);
    }
}
