//! Deleting what is too old, a small step at a time, so that no other write waits long for its turn.
//!
//! Of the newest log entry that was trimmed the row stays, without its payload: it keeps the place and the time at which
//! the log goes on, also when nothing else is left.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Deserialize;

use super::{
    super::{
        StoreError,
        retention::{Trim, Trimmed},
    },
    audit, log, orphans, quotas,
    reader::Readers,
    subscriptions,
    writer::{Writer, Writing},
};
use crate::domain::{position::Position, status::Status};

/// How many rows a step deletes at most. Messages stand in many indexes, so that each costs several times as much.
const EVENTS: i64 = 500;
const EARLY: usize = 200;
/// How many messages a step looks at.
const MESSAGES: i64 = 200;

/// A message that is to go, unless it changes first.
struct Ripe {
    seq: i64,
    record: String,
    in_doubt: bool,
}

/// The part of a message's record that decides.
#[derive(Deserialize)]
struct Standing {
    origins: Acceptance,
    status: Status,
}

#[derive(Deserialize)]
struct Acceptance {
    #[serde(with = "jiff::fmt::serde::timestamp::microsecond::required")]
    create_time: Timestamp,
}

/// Runs one step.
pub(super) async fn step(writer: &Writer, readers: &Readers, step: Trim) -> Result<Trimmed, StoreError> {
    match step {
        Trim::Events { before } => writer.write(move |tx| events(tx, before)).await,
        Trim::Early { at, before } => writer.write(move |tx| early(tx, at, before)).await,
        Trim::Subscriptions { before } => writer.write(move |tx| subscriptions::trim(tx.db, before)).await,
        Trim::Audit { at, before } => writer.write(move |tx| audit::trim(tx.db, at, before)).await,
        Trim::Quotas { at } => writer.write(move |tx| quotas::trim(tx.db, at)).await,
        Trim::Messages { after, ended, open } => {
            // Looking takes longer than deleting, and most of what is looked at may have to stay.
            let (ripe, last) = readers.read(move |db| ripe(db, after, ended, open)).await?;
            let next = last.map(|after| Trim::Messages { after, ended, open });
            if ripe.is_empty() {
                return Ok(Trimmed { deleted: 0, in_doubt: 0, next });
            }
            let trimmed = writer.write(move |tx| messages(tx, &ripe)).await?;
            Ok(Trimmed { next, ..trimmed })
        }
    }
}

/// Bytes in pages that hold something.
pub(super) fn used_bytes(db: &Connection) -> Result<u64, StoreError> {
    let pragma = |name: &str| db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let used = (pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?;
    Ok(u64::try_from(used).unwrap_or_default())
}

fn events(writing: &mut Writing<'_>, before: Timestamp) -> Result<Trimmed, StoreError> {
    let trimmed = log::trimmed(writing.db)?;
    let (deleted, last): (i64, Option<i64>) = writing
        .db
        .prepare_cached(
            "SELECT count(*), max(position)
             FROM (SELECT position, logged_at FROM events WHERE position > ?1 ORDER BY position LIMIT ?2)
             WHERE logged_at < ?3",
        )?
        .query_row((trimmed.0, EVENTS, before.as_microsecond()), |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let Some(last) = last {
        writing.db.prepare_cached("DELETE FROM events WHERE position < ?1")?.execute([last])?;
        writing
            .db
            .prepare_cached("UPDATE events SET payload = '', identity = NULL WHERE position = ?1")?
            .execute([last])?;
        writing.db.prepare_cached("UPDATE log SET trimmed = ?1 WHERE id = 1")?.execute([last])?;
        writing.tail.trimmed = Position(last);
    }
    let next = (deleted == EVENTS).then_some(Trim::Events { before });
    Ok(Trimmed { deleted: deleted.unsigned_abs(), in_doubt: 0, next })
}

fn early(writing: &mut Writing<'_>, at: Timestamp, before: Timestamp) -> Result<Trimmed, StoreError> {
    orphans::tell_oldest(writing, at, before, EARLY)?;
    let deleted = writing
        .db
        .prepare_cached(
            "DELETE FROM orphans WHERE seq IN (SELECT seq FROM orphans ORDER BY seq LIMIT ?1)
             AND json_extract(fact, '$.observed_at') < ?2",
        )?
        .execute((EARLY as i64, before.as_microsecond()))?;
    let next = (deleted == EARLY).then_some(Trim::Early { at, before });
    Ok(Trimmed { deleted: deleted as u64, in_doubt: 0, next })
}

/// The next messages behind `after` that may go, and the place to go on behind unless nothing further is old enough.
///
/// Messages are accepted on many threads, so times may fall a little from one to the next. The walk ends only where a whole
/// step is too young.
fn ripe(
    db: &Connection,
    after: i64,
    ended: Timestamp,
    open: Timestamp,
) -> Result<(Vec<Ripe>, Option<i64>), StoreError> {
    let mut statement = db.prepare_cached("SELECT seq, record FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut rows = statement.query((after, MESSAGES))?;
    let (mut ripe, mut looked_at, mut last, mut any_old) = (Vec::new(), 0, after, false);
    while let Some(row) = rows.next()? {
        (looked_at, last) = (looked_at + 1, row.get(0)?);
        let record = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let standing: Standing = match serde_json::from_str(record) {
            Ok(standing) => standing,
            Err(error) => {
                // One damaged row must not keep all that lies behind it.
                tracing::warn!(seq = last, %error, "a stored record cannot be read, so it is not trimmed");
                any_old = true;
                continue;
            }
        };
        let accepted = standing.origins.create_time;
        any_old |= accepted < ended.max(open);
        let before = match standing.status {
            Status::Pending => continue,
            Status::InDoubt | Status::Queued => open,
            Status::Sent | Status::Canceled | Status::Failed | Status::Delivered | Status::Read => ended,
        };
        if accepted < before {
            let in_doubt = standing.status == Status::InDoubt;
            ripe.push(Ripe { seq: last, record: record.to_owned(), in_doubt });
        }
    }
    Ok((ripe, (looked_at == MESSAGES && any_old).then_some(last)))
}

/// Deletes the messages that are still as they were when they were looked at and wait neither to be handed off nor for what
/// was claimed of them to be read back.
fn messages(writing: &mut Writing<'_>, ripe: &[Ripe]) -> Result<Trimmed, StoreError> {
    let mut delete = writing.db.prepare_cached(
        "DELETE FROM messages
         WHERE seq = ?1 AND record = ?2 AND claimed IS NULL
           AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.seq = messages.seq)",
    )?;
    let (mut deleted, mut in_doubt) = (0, 0);
    for message in ripe {
        let gone = delete.execute((message.seq, &message.record))? as u64;
        deleted += gone;
        in_doubt += if message.in_doubt { gone } else { 0 };
    }
    Ok(Trimmed { deleted, in_doubt, next: None })
}
