//! The outbox: rows of queued messages, leased, settled, and gone once handed over.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    super::{
        Expired, Expiry, Lease, LeaseEnd, LeaseSettled, Leased, Leases, Next, OutboxBounds, Queued, StoreError, Terms,
        Withdrawn,
    },
    audit, likeness, orphans, rows,
    writer::Writing,
};
use crate::domain::{
    audit::Act,
    ids::MessageId,
    merge::{Fact, Observed},
    message::{ForeignIds, Message, Origins},
    secret::Sealed,
    status::{Origin, Status},
};

const IN_DOUBT: Observed = Observed::Reached(Status::InDoubt);

/// Whether one more would be too much.
pub(super) fn is_full(db: &Connection, bounds: OutboxBounds, queued: &Queued) -> Result<bool, StoreError> {
    let (messages, bytes): (u64, u64) = db
        .prepare_cached("SELECT messages, bytes FROM outbox_size WHERE id = 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs())))?;
    let length = queued.body.as_bytes().len() as u64;
    Ok(messages >= bounds.messages || bytes + length > bounds.bytes)
}

/// Adds the row of a message that has just been recorded.
pub(super) fn insert(db: &Connection, seq: i64, origins: &Origins, queued: &Queued) -> Result<(), StoreError> {
    let (number, recipient) = (origins.number.as_str(), lane(origins)?);
    db.prepare_cached(
        "INSERT INTO outbox (seq, number, recipient, first, due, expires, generation, leased, body)
         VALUES (?1, ?2, ?3, NOT EXISTS (SELECT 1 FROM outbox WHERE number = ?2 AND recipient = ?3), ?4, ?5, 0, 0, ?6)",
    )?
    .execute(params![
        seq,
        number,
        recipient,
        origins.create_time.as_microsecond(),
        queued.expires.as_microsecond(),
        queued.body.as_bytes(),
    ])?;
    resize(db, 1, queued.body.as_bytes().len() as i64)
}

/// Leases rows and notes a doubt for those whose last lease left no answer.
pub(super) fn lease(writing: &mut Writing<'_>, terms: &Terms) -> Result<Leases, StoreError> {
    let mut leased = Vec::new();
    for row in due(writing.db, terms)? {
        leased.push(take(writing, row, terms)?);
    }
    let sql = "SELECT min(due) FROM outbox WHERE number = ?1 AND first AND (expires > ?2 OR leased)";
    let next = writing.db.prepare_cached(sql)?.query_row((terms.number.as_str(), terms.at.as_microsecond()), time)?;
    Ok(Leases { leased, next })
}

/// Records the end of a lease, unless a later one has followed.
pub(super) fn settle(
    writing: &mut Writing<'_>,
    lease: Lease,
    end: &LeaseEnd,
) -> Result<Option<LeaseSettled>, StoreError> {
    let (seq, message) = rows::existing(writing.db, lease.id)?;
    let held = "SELECT 1 FROM outbox WHERE seq = ?1 AND generation = ?2 AND leased";
    if !writing.db.prepare_cached(held)?.exists((seq, lease.generation))? {
        return Ok(None);
    }
    // Before the row goes: it tells when the first attempt began, which bounds what can be about the message.
    let message = rows::settle_row(writing, seq, message, &end.settlement)?;
    let followed = match &end.next {
        Next::Gone => remove(writing.db, seq, &message.origins)?,
        Next::Again { due, expires, arrived } => {
            writing
                .db
                .prepare_cached(
                    "UPDATE outbox SET due = ?2, expires = ?3, leased = 0,
                            first_attempt = CASE WHEN ?4 THEN first_attempt END
                     WHERE seq = ?1",
                )?
                .execute((seq, due.as_microsecond(), expires.as_microsecond(), arrived))?;
            false
        }
    };
    Ok(Some(LeaseSettled { message, followed }))
}

/// Takes out what has expired and is not under a lease.
pub(super) fn expire(writing: &mut Writing<'_>, expiry: &Expiry) -> Result<Expired, StoreError> {
    let (at, forsaken) = (expiry.at.as_microsecond(), expiry.forsaken.as_microsecond());
    let limit = i64::try_from(expiry.limit).unwrap_or(i64::MAX);
    let rows: Vec<(i64, bool)> = writing
        .db
        .prepare_cached(
            "SELECT seq, leased FROM outbox WHERE expires <= ?1 AND (NOT leased OR due < ?2) ORDER BY expires LIMIT ?3",
        )?
        .query_map((at, forsaken, limit), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut messages = Vec::with_capacity(rows.len());
    for (seq, was_leased) in rows {
        let mut message = of_row(writing.db, seq)?;
        let surely_here = message.status == Status::Pending && !was_leased;
        let fact = if surely_here { Observed::Failed(expiry.failure.clone()) } else { IN_DOUBT };
        // An answer may have been recorded past the lease; then there is no question left.
        if message.status.is_unsettled() {
            // Saved before it is looked for by its likeness, which finds what is saved.
            rows::fold(writing, &mut message, &gateway(fact, expiry.at))?;
            rows::save(writing, seq, &message)?;
            likeness::recognise_early(writing, seq, &mut message)?;
            orphans::join_early(writing, &mut message)?;
            rows::save(writing, seq, &message)?;
        }
        if was_leased {
            audit::append(writing.db, &[Act::lost_attempt(&message, expiry.at)])?;
        }
        remove(writing.db, seq, &message.origins)?;
        messages.push(message);
    }
    // As many as were asked for, so that there may be more: not looked for, since they may be very many.
    if messages.len() == expiry.limit {
        return Ok(Expired { messages, next: Some(expiry.at) });
    }
    // What has expired and is still here is under a lease, which has to be over for a while.
    let sql = "SELECT min(at) FROM (SELECT min(expires) AS at FROM outbox WHERE expires > ?1
               UNION ALL SELECT min(due) + (?1 - ?2) + 1 FROM outbox WHERE leased AND expires <= ?1)";
    let next = writing.db.prepare_cached(sql)?.query_row((at, forsaken), time)?;
    Ok(Expired { messages, next })
}

/// Takes a row out that nobody works on.
pub(super) fn withdraw(
    writing: &mut Writing<'_>,
    id: MessageId,
    expected: Status,
    fact: &Fact,
    act: Option<&Act>,
) -> Result<Withdrawn, StoreError> {
    let (seq, mut message) = rows::existing(writing.db, id)?;
    let sql = "SELECT leased FROM outbox WHERE seq = ?1";
    let leased: Option<bool> = writing.db.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?;
    match leased {
        None => Ok(Withdrawn::Absent),
        Some(true) => Ok(Withdrawn::Busy),
        Some(false) if message.status != expected => Ok(Withdrawn::Busy),
        Some(false) => {
            remove(writing.db, seq, &message.origins)?;
            rows::fold(writing, &mut message, fact)?;
            orphans::join_early(writing, &mut message)?;
            rows::save(writing, seq, &message)?;
            audit::append(writing.db, act.map_or(&[], std::slice::from_ref))?;
            Ok(Withdrawn::Done(Box::new(message)))
        }
    }
}

/// Makes every leased row due; the next lease finds that the last one left no answer.
pub(super) fn end_leases(db: &Connection, at: Timestamp) -> Result<(), StoreError> {
    db.execute("UPDATE outbox SET due = min(due, ?1) WHERE leased", [at.as_microsecond()])?;
    Ok(())
}

/// The oldest body.
pub(super) fn oldest_body(db: &Connection) -> Result<Option<(MessageId, Sealed)>, StoreError> {
    let sql = "SELECT message_id, body FROM outbox JOIN messages USING (seq) ORDER BY seq LIMIT 1";
    let found =
        db.prepare_cached(sql)?.query_row([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?))).optional()?;
    Ok(found.map(|(id, body)| (MessageId::from_uuid(uuid::Uuid::from_bytes(id)), Sealed::from_bytes(body))))
}

/// A row that is due.
struct Due {
    seq: i64,
    generation: i64,
    was_leased: bool,
    first_attempt: Option<i64>,
    expires: i64,
    body: Vec<u8>,
}

fn due(db: &Connection, terms: &Terms) -> Result<Vec<Due>, StoreError> {
    let read = |row: &Row<'_>| {
        Ok(Due {
            seq: row.get(0)?,
            generation: row.get(1)?,
            was_leased: row.get(2)?,
            first_attempt: row.get(3)?,
            expires: row.get(4)?,
            body: row.get(5)?,
        })
    };
    let limit = i64::try_from(terms.limit).unwrap_or(i64::MAX);
    let rows = db
        .prepare_cached(
            "SELECT seq, generation, leased, first_attempt, expires, body FROM outbox
             WHERE number = ?1 AND first AND due <= ?2 AND (expires > ?2 OR leased) ORDER BY due LIMIT ?3",
        )?
        .query_map((terms.number.as_str(), terms.at.as_microsecond(), limit), read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

fn take(writing: &mut Writing<'_>, row: Due, terms: &Terms) -> Result<Leased, StoreError> {
    let generation = row.generation + 1;
    let since = row.first_attempt.and_then(|micros| Timestamp::from_microsecond(micros).ok()).unwrap_or(terms.at);
    let mut message = of_row(writing.db, row.seq)?;
    let mut expires = row.expires;
    if row.was_leased {
        audit::append(writing.db, &[Act::lost_attempt(&message, terms.at)])?;
    }
    if row.was_leased && message.status.is_unsettled() {
        expires = since.saturating_add(terms.replay).unwrap_or(Timestamp::MAX).as_microsecond();
        rows::fold(writing, &mut message, &gateway(IN_DOUBT, terms.at))?;
        likeness::recognise_early(writing, row.seq, &mut message)?;
        orphans::join_early(writing, &mut message)?;
        rows::save(writing, row.seq, &message)?;
    }
    writing
        .db
        .prepare_cached(
            "UPDATE outbox SET generation = ?2, leased = 1, due = ?3, first_attempt = ?4, expires = ?5 WHERE seq = ?1",
        )?
        .execute((row.seq, generation, terms.until.as_microsecond(), since.as_microsecond(), expires))?;
    Ok(Leased {
        lease: Lease { id: message.origins.message_id, generation },
        message,
        body: Sealed::from_bytes(row.body),
        since,
        expires: Timestamp::from_microsecond(expires).unwrap_or(Timestamp::MAX),
    })
}

fn of_row(db: &Connection, seq: i64) -> Result<Message, StoreError> {
    let found = rows::select(db, "SELECT seq, record FROM messages WHERE seq = ?1", [seq])?;
    found.map(|(_, message)| message).ok_or_else(|| StoreError::Failed(format!("outbox row {seq} has no message")))
}

/// A fact that nobody but the gateway tells.
fn gateway(status: Observed, at: Timestamp) -> Fact {
    Fact { status, at, observed_at: at, origin: Origin::Gateway, ids: ForeignIds::default() }
}

/// Removes a row; the next one of its number and recipient, if there is one, takes its place.
fn remove(db: &Connection, seq: i64, origins: &Origins) -> Result<bool, StoreError> {
    let length: i64 = db
        .prepare_cached("DELETE FROM outbox WHERE seq = ?1 RETURNING length(body)")?
        .query_row([seq], |row| row.get(0))?;
    let promoted = db
        .prepare_cached(
            "UPDATE outbox SET first = 1
             WHERE seq = (SELECT min(seq) FROM outbox WHERE number = ?1 AND recipient = ?2) AND NOT first",
        )?
        .execute((origins.number.as_str(), lane(origins)?))?;
    resize(db, -1, -length)?;
    Ok(promoted > 0)
}

fn resize(db: &Connection, messages: i64, bytes: i64) -> Result<(), StoreError> {
    db.prepare_cached("UPDATE outbox_size SET messages = messages + ?1, bytes = bytes + ?2 WHERE id = 1")?
        .execute((messages, bytes))?;
    Ok(())
}

/// What keeps the order of messages: the kind and the address of their recipient.
fn lane(origins: &Origins) -> Result<String, StoreError> {
    Ok(serde_json::to_string(&origins.recipient)?)
}

fn time(row: &Row<'_>) -> rusqlite::Result<Option<Timestamp>> {
    let micros: Option<i64> = row.get(0)?;
    Ok(micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()))
}
