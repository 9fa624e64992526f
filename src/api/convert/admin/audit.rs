//! Which entries of the audit log to list, from the wire, and what was found to the wire.

use prost::Message as _;
use tonic::Status;

use super::super::{
    list::{MOST_BYTES, page_size},
    times::{proto, timestamp},
    violations::Violations,
};
use crate::{
    admin::{AuditPage, Verified},
    api::status::of_list,
    domain::{
        audit::Fault,
        signed::{Fingerprint, SigningKey},
    },
    messaging::PageTokenError,
    proto::admin::v1,
    store::{AuditQuery, AuditRecord},
};

/// Longest text that narrows a list.
const LONGEST: usize = 300;

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 8 + 8;

/// Makes and reads the page tokens of one list.
pub(in crate::api) struct AuditTokens {
    key: SigningKey,
    filter: Fingerprint,
}

impl AuditTokens {
    /// Those of a caller's lists that ask for the same.
    pub(in crate::api) fn of(key: &[u8; 32], caller: &str, request: &v1::ListAuditEntriesRequest) -> Self {
        let time = |time: &Option<prost_types::Timestamp>| time.map(|time| time.encode_to_vec()).unwrap_or_default();
        let parts = [
            caller.as_bytes().to_vec(),
            time(&request.start_time),
            time(&request.end_time),
            request.actor.clone().into_bytes(),
            request.action.clone().into_bytes(),
            request.subject.clone().into_bytes(),
            vec![u8::from(request.oldest_first)],
            request.after_sequence.to_be_bytes().to_vec(),
        ];
        let filter = Fingerprint::of((0..).zip(parts.iter().map(Vec::as_slice)));
        Self { key: SigningKey::of(key, b"pilotgate audit page token"), filter }
    }

    fn encode(&self, seq: i64) -> String {
        let mut bytes = [0; SIGNED];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&seq.to_be_bytes());
        bytes[9..].copy_from_slice(&self.filter.0);
        self.key.sign(&bytes)
    }

    fn decode(&self, text: &str) -> Result<i64, PageTokenError> {
        let bytes: [u8; SIGNED] = self.key.open(text).ok_or(PageTokenError::NotOurs)?;
        let [version, rest @ ..] = bytes;
        let (seq, filter) = rest.split_first_chunk::<8>().ok_or(PageTokenError::NotOurs)?;
        match (version, *filter == self.filter.0) {
            (VERSION, true) => Ok(i64::from_be_bytes(*seq)),
            (VERSION, false) => Err(PageTokenError::OtherFilter),
            _ => Err(PageTokenError::NotOurs),
        }
    }
}

/// Checks a list request.
pub(in crate::api) fn audit_query(
    request: v1::ListAuditEntriesRequest,
    tokens: &AuditTokens,
) -> Result<AuditQuery, Status> {
    let mut wrong = Violations::default();
    let limit = page_size(&mut wrong, request.page_size);
    let since = request.start_time.and_then(|time| wrong.take("start_time", timestamp(time)));
    let until = request.end_time.and_then(|time| wrong.take("end_time", timestamp(time)));
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        wrong.add("end_time", "must lie after start_time");
    }
    if request.after_sequence < 0 {
        wrong.add("after_sequence", "must not be negative");
    }
    let mut query = AuditQuery {
        after: request.after_sequence,
        before: None,
        backwards: !request.oldest_first,
        since,
        until,
        actor: wrong.optional_text("actor", request.actor, LONGEST),
        action: wrong.optional_text("action", request.action, LONGEST),
        subject: wrong.optional_text("subject", request.subject, LONGEST),
        limit,
    };
    wrong.finish(Some(()))?;
    if !request.page_token.is_empty() {
        let seq = tokens.decode(&request.page_token).map_err(|error| of_list(&error.into()))?;
        if query.backwards {
            query.before = Some(seq);
        } else {
            query.after = seq;
        }
    }
    Ok(query)
}

/// A page. What it has no room for comes with the next one.
pub(in crate::api) fn audit_response(page: AuditPage, tokens: &AuditTokens) -> v1::ListAuditEntriesResponse {
    let AuditPage { entries, mut next } = page;
    let mut shown: Vec<v1::AuditEntry> = Vec::with_capacity(entries.len());
    let mut bytes = 0;
    for one in entries {
        let one = entry(one);
        bytes += one.encoded_len();
        if let Some(last) = shown.last().filter(|_| bytes > MOST_BYTES) {
            next = Some(last.sequence);
            break;
        }
        shown.push(one);
    }
    let next_page_token = next.map(|seq| tokens.encode(seq)).unwrap_or_default();
    v1::ListAuditEntriesResponse { entries: shown, next_page_token }
}

/// An entry; of one that cannot be read, its number, link and text.
fn entry(record: AuditRecord) -> v1::AuditEntry {
    let act = record.act().ok();
    let entry = v1::AuditEntry {
        sequence: record.seq,
        link: record.link.to_hex(),
        text: record.text,
        ..v1::AuditEntry::default()
    };
    let Some(act) = act else { return entry };
    v1::AuditEntry {
        time: Some(proto(act.at)),
        actor: act.actor,
        credential: act.credential.unwrap_or_default(),
        source_address: act.from.unwrap_or_default(),
        action: act.action,
        subject: act.subject,
        reason: act.reason.unwrap_or_default(),
        outcome: act.outcome,
        details: act.detail,
        ..entry
    }
}

/// What was found.
pub(in crate::api) fn verified(verified: Verified) -> v1::VerifyAuditChainResponse {
    let Verified { entries, ends, faults } = verified;
    let is_empty = ends.head == ends.trimmed;
    let fault = |Fault { seq, what }| v1::AuditFault { sequence: seq, description: what };
    v1::VerifyAuditChainResponse {
        intact: faults.is_empty(),
        entries: i64::try_from(entries).unwrap_or(i64::MAX),
        first_sequence: if is_empty { 0 } else { ends.trimmed.saturating_add(1) },
        last_sequence: ends.head,
        last_link: ends.link.to_hex(),
        faults: faults.into_iter().map(fault).collect(),
    }
}
