//! Messages, inside a transaction of the writer or a read.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    super::{Accepted, Claim, Claimed, Draft, OutboxBounds, Settlement, StoreError},
    audit, checks, likeness, log,
    orphans::join_early,
    outbox, quotas,
    writer::Writing,
};
use crate::domain::{
    event::Update,
    ids::{CallerName, MessageId, NumberName, RequestId},
    merge::{Fact, Merged, Observed},
    message::{ForeignIds, Handoff, Message},
    status::{Origin, Status},
};

/// Records a new pending message and its first log entry, or finds what the `request_id` stands for.
pub(super) fn accept(writing: &mut Writing<'_>, draft: &Draft, bounds: OutboxBounds) -> Result<Accepted, StoreError> {
    let origins = &draft.origins;
    if let Some(request_id) = &origins.request_id
        && let Some(claimed) = claimed(writing.db, &origins.caller, request_id)?
    {
        let same = claimed.fingerprint == draft.fingerprint;
        let id = claimed.message.origins.message_id;
        return Ok(if same { Accepted::Before(claimed.message) } else { Accepted::Reused(id) });
    }
    if let Some(queued) = &draft.queued
        && outbox::is_full(writing.db, bounds, queued)?
    {
        return Ok(Accepted::Full);
    }
    if let Some(exceeded) = quotas::debit(writing.db, &draft.limits, origins.create_time)? {
        return Ok(Accepted::OverQuota(exceeded));
    }
    let message = Message::accepted(origins.clone());
    writing
        .db
        .prepare_cached(
            "INSERT INTO messages (message_id, caller, number, request_id, fingerprint, pending, record, likeness)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            origins.message_id.as_bytes(),
            origins.caller.as_str(),
            origins.number.as_str(),
            origins.request_id.as_ref().map(|id| id.as_str()),
            draft.fingerprint,
            is_pending(&message),
            serde_json::to_string(&message)?,
            draft.likeness.as_ref().map(|likeness| likeness.as_bytes()),
        ])?;
    if let Some(queued) = &draft.queued {
        outbox::insert(writing.db, writing.db.last_insert_rowid(), origins, queued)?;
    }
    let pending = Fact {
        status: Observed::Reached(Status::Pending),
        at: origins.create_time,
        observed_at: origins.create_time,
        origin: Origin::Gateway,
        ids: ForeignIds::default(),
    };
    log::append(writing, Update::of(&message, &pending, false))?;
    Ok(Accepted::New(message))
}

/// What a caller's `request_id` stands for.
pub(super) fn claimed(
    db: &Connection,
    caller: &CallerName,
    request_id: &RequestId,
) -> Result<Option<Claimed>, StoreError> {
    let found = db
        .prepare_cached("SELECT fingerprint, record FROM messages WHERE caller = ?1 AND request_id = ?2")?
        .query_row((caller.as_str(), request_id.as_str()), |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let claimed = found.map(|(fingerprint, record)| {
        Ok::<_, StoreError>(Claimed { fingerprint, message: serde_json::from_str(&record)? })
    });
    claimed.transpose()
}

/// Folds the outcome of an attempt into its message and joins the facts that waited for the ids it brought.
pub(super) fn settle(writing: &mut Writing<'_>, id: MessageId, settlement: &Settlement) -> Result<Message, StoreError> {
    let (seq, message) = existing(writing.db, id)?;
    settle_row(writing, seq, message, settlement)
}

/// The same for a message that has been read already.
pub(super) fn settle_row(
    writing: &mut Writing<'_>,
    seq: i64,
    mut message: Message,
    settlement: &Settlement,
) -> Result<Message, StoreError> {
    message.attempts += settlement.attempts;
    message.flow_token = message.flow_token.or_else(|| settlement.flow_token.clone());
    fold(writing, &mut message, &settlement.fact)?;
    likeness::recognise_early(writing, seq, &mut message)?;
    join_early(writing, &mut message)?;
    save(writing, seq, &message)?;
    audit::append(writing.db, settlement.audit.as_slice())?;
    if settlement.claim == Claim::Released {
        writing.db.prepare_cached("UPDATE messages SET request_id = NULL WHERE seq = ?1")?.execute([seq])?;
    }
    Ok(message)
}

/// Folds facts into a message known by our id.
pub(super) fn merge(writing: &mut Writing<'_>, id: MessageId, facts: &[Fact]) -> Result<Message, StoreError> {
    let (seq, mut message) = existing(writing.db, id)?;
    let before = message.clone();
    for fact in facts {
        fold(writing, &mut message, fact)?;
    }
    save_changed(writing, seq, &before, &mut message)?;
    Ok(message)
}

/// The message with our id.
pub(super) fn message(db: &Connection, id: MessageId) -> Result<Option<Message>, StoreError> {
    by_id(db, id).map(|found| found.map(|(_, message)| message))
}

/// The same with its row's number.
pub(super) fn by_id(db: &Connection, id: MessageId) -> Result<Option<(i64, Message)>, StoreError> {
    select(db, "SELECT seq, record FROM messages WHERE message_id = ?1", [id.as_bytes()])
}

/// The newest message of the number with these foreign ids.
pub(super) fn find(db: &Connection, number: &NumberName, ids: &ForeignIds) -> Result<Option<Message>, StoreError> {
    locate(db, number, ids).map(|found| found.map(|(_, message)| message))
}

/// Messages accepted for hand-over at once and still pending.
pub(super) fn pending(db: &Connection, limit: usize) -> Result<Vec<Message>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached("SELECT seq, record FROM messages WHERE pending ORDER BY seq LIMIT ?1")?;
    let rows = statement.query_map([limit], stored)?;
    rows.map(|row| Ok(serde_json::from_str(&row?.1)?)).collect()
}

pub(super) fn fold(writing: &mut Writing<'_>, message: &mut Message, fact: &Fact) -> Result<Merged, StoreError> {
    let merged = message.merge(fact);
    if merged != Merged::Known {
        log::append(writing, Update::of(message, fact, merged == Merged::Correction))?;
        writing.news.fact(fact);
    }
    Ok(merged)
}

/// The message that these ids name: by Pilot Status's id if given, else by the provider's, else by the business id.
pub(super) fn locate(
    db: &Connection,
    number: &NumberName,
    ids: &ForeignIds,
) -> Result<Option<(i64, Message)>, StoreError> {
    let (id, sql) = match (&ids.upstream, &ids.external, &ids.correlation) {
        (Some(id), _, _) => (
            id.as_str(),
            "SELECT seq, record FROM messages WHERE upstream_id = ?1 AND number = ?2 ORDER BY seq DESC LIMIT 1",
        ),
        (None, Some(id), _) => (
            id.as_str(),
            "SELECT seq, record FROM messages WHERE external_id = ?1 AND number = ?2 ORDER BY seq DESC LIMIT 1",
        ),
        (None, None, Some(id)) => (
            id.as_str(),
            "SELECT seq, record FROM messages WHERE correlation_id = ?1 AND number = ?2 ORDER BY seq DESC LIMIT 1",
        ),
        (None, None, None) => return Ok(None),
    };
    select(db, sql, (id, number.as_str()))
}

pub(super) fn existing(db: &Connection, id: MessageId) -> Result<(i64, Message), StoreError> {
    by_id(db, id)?.ok_or_else(|| StoreError::Failed(format!("there is no message {id}")))
}

pub(super) fn select(
    db: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<Option<(i64, Message)>, StoreError> {
    let found = db.prepare_cached(sql)?.query_row(params, stored).optional()?;
    found.map(|(seq, record)| Ok((seq, serde_json::from_str(&record)?))).transpose()
}

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<(i64, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// A hand-over at once has begun and left no answer yet.
fn is_pending(message: &Message) -> bool {
    let unanswered = message.status == Status::Pending && message.ids.upstream.is_none();
    unanswered && message.origins.handoff == Handoff::Direct
}

/// Joins what waits for new ids of a message and saves it. What it is looked up by is written only where that has changed,
/// for each such column costs more than all the others together.
pub(super) fn save_changed(
    writing: &mut Writing<'_>,
    seq: i64,
    before: &Message,
    message: &mut Message,
) -> Result<(), StoreError> {
    if before == message {
        return Ok(());
    }
    // Facts that name a known id never wait.
    if before.ids != message.ids {
        join_early(writing, message)?;
    }
    let keys = |message: &Message| (is_pending(message), message.status == Status::InDoubt);
    if before.ids != message.ids || keys(before) != keys(message) {
        return save(writing, seq, message);
    }
    let record = serde_json::to_string(message)?;
    writing.db.prepare_cached("UPDATE messages SET record = ?2 WHERE seq = ?1")?.execute((seq, record))?;
    checks::note(writing, seq, message)
}

/// Saves a message with everything that was folded into it, and when it is to be read back if there were news.
pub(super) fn save(writing: &mut Writing<'_>, seq: i64, message: &Message) -> Result<(), StoreError> {
    let ids = &message.ids;
    writing
        .db
        .prepare_cached(
            "UPDATE messages SET upstream_id = ?2, correlation_id = ?3, external_id = ?4, pending = ?5, record = ?6,
                                 in_doubt = ?7
             WHERE seq = ?1",
        )?
        .execute(params![
            seq,
            ids.upstream.as_ref().map(|id| id.as_str()),
            ids.correlation.as_ref().map(|id| id.as_str()),
            ids.external.as_ref().map(|id| id.as_str()),
            is_pending(message),
            serde_json::to_string(message)?,
            message.status == Status::InDoubt,
        ])?;
    checks::note(writing, seq, message)
}
