//! What comes in by itself: facts of messages, those that wait until their message is known, and inbound events.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{
    super::{Entry, Recorded, Sighting, StoreError},
    checks, likeness, log, rows,
    writer::Writing,
};
use crate::domain::{
    ids::{MessageId, NumberName},
    inbound::{EventIdentity, Happening, Inbound, Trust, Unattributed},
    merge::{Fact, Merged},
    message::{ForeignIds, Message},
};

/// So many facts wait for their message at most. Those of messages that were sent past the gateway wait in vain.
const MOST_EARLY: i64 = 100_000;

/// A fact that waits.
pub(super) struct Orphan {
    pub(super) seq: i64,
    pub(super) fact: Fact,
    pub(super) trust: Trust,
}

/// Records one thing that came in.
pub(super) fn record(writing: &mut Writing<'_>, number: &NumberName, entry: &Entry) -> Result<Recorded, StoreError> {
    match entry {
        Entry::Status(sighting) => record_fact(writing, number, sighting),
        Entry::Inbound(inbound, identity) => record_inbound(writing, inbound, identity),
    }
}

/// Folds a fact into the message that its ids name, or keeps it until that message is known. A claim only makes the message
/// due to be read back.
fn record_fact(writing: &mut Writing<'_>, number: &NumberName, sighting: &Sighting) -> Result<Recorded, StoreError> {
    let fact = &sighting.fact;
    let named = rows::locate(writing.db, number, &fact.ids)?;
    let is_named = named.is_some();
    let found = match named {
        Some(found) => Some(found),
        None => likeness::doubtful(writing.db, sighting)?,
    };
    let Some((seq, mut message)) = found else {
        return keep_early(writing, number, sighting);
    };
    if sighting.trust == Trust::Claimed || (sighting.trust == Trust::Named && !is_named) {
        return match message.clone().merge(fact) {
            Merged::Known => Ok(Recorded::Known),
            Merged::New | Merged::Correction => {
                writing.news.claim(fact);
                checks::note(writing, seq, &message)?;
                // The ids are part of the claim where no message is known by them.
                if is_named { Ok(Recorded::Claimed) } else { keep_early(writing, number, sighting) }
            }
        };
    }
    let before = message.clone();
    let merged = rows::fold(writing, &mut message, fact)?;
    rows::save_changed(writing, seq, &before, &mut message)?;
    Ok(if merged == Merged::Known { Recorded::Known } else { Recorded::Appended })
}

/// Appends an inbound event, with our id of the message that it answers.
fn record_inbound(
    writing: &mut Writing<'_>,
    inbound: &Inbound,
    identity: &EventIdentity,
) -> Result<Recorded, StoreError> {
    let mut inbound = inbound.clone();
    if let Happening::Message(message) = &mut inbound.what
        && let Some(quoted) = &mut message.quoted
    {
        quoted.message_id = answered(writing.db, &inbound.number, &quoted.ids)?;
    }
    let appended = log::append_inbound(writing, inbound, Some(identity))?;
    Ok(if appended { Recorded::Appended } else { Recorded::Known })
}

/// Our id of the message that one of these ids names, the surest first. Unlike a fact, an answer changes nothing about what
/// it answers, so that any id will do.
fn answered(db: &Connection, number: &NumberName, ids: &ForeignIds) -> Result<Option<MessageId>, StoreError> {
    let ids = ids.clone();
    let one_by_one = [
        ForeignIds { upstream: ids.upstream, ..ForeignIds::default() },
        ForeignIds { external: ids.external, ..ForeignIds::default() },
        ForeignIds { correlation: ids.correlation, ..ForeignIds::default() },
    ];
    for id in one_by_one {
        if let Some((_, message)) = rows::locate(db, number, &id)? {
            return Ok(Some(message.origins.message_id));
        }
    }
    Ok(None)
}

/// Joins early facts until no id leads to further ones: a fact may bring an id that others were waiting for.
pub(super) fn join_early(writing: &mut Writing<'_>, message: &mut Message) -> Result<(), StoreError> {
    loop {
        let waiting = early(writing.db, &message.origins.number, &message.ids)?;
        if waiting.is_empty() {
            return Ok(());
        }
        for orphan in waiting {
            match orphan.trust {
                Trust::Proven | Trust::Named => {
                    rows::fold(writing, message, &orphan.fact)?;
                }
                Trust::Claimed if message.clone().merge(&orphan.fact) == Merged::Known => {}
                Trust::Claimed => writing.news.claim(&orphan.fact),
            }
            writing.db.prepare_cached("DELETE FROM orphans WHERE seq = ?1")?.execute([orphan.seq])?;
        }
    }
}

/// Facts that wait for one of these ids, in the order in which they came. A fact that names a Pilot Status id waits for
/// that id alone: the other ids are not promised to be unique.
fn early(db: &Connection, number: &NumberName, ids: &ForeignIds) -> Result<Vec<Orphan>, StoreError> {
    let mut found = Vec::new();
    let keys = [
        (
            ids.upstream.as_ref().map(|id| id.as_str()),
            "SELECT seq, fact, proven FROM orphans WHERE upstream_id = ?1 AND number = ?2 ORDER BY seq",
        ),
        (
            ids.external.as_ref().map(|id| id.as_str()),
            "SELECT seq, fact, proven FROM orphans
             WHERE external_id = ?1 AND number = ?2 AND upstream_id IS NULL ORDER BY seq",
        ),
        (
            ids.correlation.as_ref().map(|id| id.as_str()),
            "SELECT seq, fact, proven FROM orphans
             WHERE correlation_id = ?1 AND number = ?2 AND upstream_id IS NULL AND external_id IS NULL ORDER BY seq",
        ),
    ];
    for (id, sql) in keys {
        let Some(id) = id else { continue };
        found.extend(select(db, sql, (id, number.as_str()))?);
    }
    found.sort_by_key(|orphan| orphan.seq);
    Ok(found)
}

/// Reads rows of `seq, fact, proven`.
pub(super) fn select(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Orphan>, StoreError> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let fact = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        found.push(Orphan { seq: row.get(0)?, fact: serde_json::from_str(fact)?, trust: trust(row.get(2)?) });
    }
    Ok(found)
}

/// How far a fact that waits is proven, as its row has it.
const fn proven(trust: Trust) -> i64 {
    match trust {
        Trust::Claimed => 0,
        Trust::Named => 1,
        Trust::Proven => 2,
    }
}

const fn trust(proven: i64) -> Trust {
    match proven {
        ..=0 => Trust::Claimed,
        1 => Trust::Named,
        2.. => Trust::Proven,
    }
}

fn keep_early(writing: &mut Writing<'_>, number: &NumberName, sighting: &Sighting) -> Result<Recorded, StoreError> {
    let fact = &sighting.fact;
    let ids = &fact.ids;
    let identity = serde_json::to_string(&(&fact.status, ids))?;
    let proven = proven(sighting.trust);
    let kept = writing
        .db
        .prepare_cached(
            "INSERT INTO orphans (number, upstream_id, correlation_id, external_id, identity, fact, likeness, proven)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (number, identity) DO NOTHING",
        )?
        .execute(params![
            number.as_str(),
            ids.upstream.as_ref().map(|id| id.as_str()),
            ids.correlation.as_ref().map(|id| id.as_str()),
            ids.external.as_ref().map(|id| id.as_str()),
            &identity,
            serde_json::to_string(fact)?,
            sighting.likeness.as_ref().map(|likeness| likeness.as_bytes()),
            proven,
        ])?;
    if kept > 0 {
        // Rows are numbered in the order they came, so that the oldest go first. None goes untold.
        let oldest = writing.db.last_insert_rowid() - MOST_EARLY;
        let untold = "SELECT seq, fact, proven, number FROM orphans WHERE NOT told AND seq <= ?1";
        tell(writing, fact.observed_at, untold, [oldest])?;
        let dropped = writing.db.prepare_cached("DELETE FROM orphans WHERE seq <= ?1")?.execute([oldest])?;
        if dropped > 0 {
            tracing::warn!(dropped, "more early facts are waiting than are kept; the oldest were dropped");
        }
        return Ok(Recorded::Early);
    }
    // As in a message, the earliest time counts, of those that are proven best; and what is proven once is proven.
    writing
        .db
        .prepare_cached(
            "UPDATE orphans SET fact = json_set(fact, '$.at', iif(?4 > proven, ?3, min(at, ?3))), proven = ?4
             WHERE number = ?1 AND identity = ?2 AND proven <= ?4",
        )?
        .execute((number.as_str(), identity, fact.at.as_microsecond(), proven))?;
    Ok(Recorded::Known)
}

/// Tells facts that have waited since before this time.
pub(super) fn tell_unattributed(
    writing: &mut Writing<'_>,
    at: Timestamp,
    before: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    // The oldest came first, so that looking can end where they are too young.
    let sql = "SELECT seq, fact, proven, number
               FROM (SELECT seq, fact, proven, number FROM orphans WHERE NOT told ORDER BY seq LIMIT ?1)
               WHERE json_extract(fact, '$.observed_at') < ?2";
    tell(writing, at, sql, (i64::try_from(limit).unwrap_or(i64::MAX), before.as_microsecond()))
}

/// Tells those of the oldest facts that were not told yet and were learned before this time, so that none goes untold.
pub(super) fn tell_oldest(
    writing: &mut Writing<'_>,
    at: Timestamp,
    before: Timestamp,
    oldest: usize,
) -> Result<usize, StoreError> {
    let sql = "SELECT seq, fact, proven, number
               FROM (SELECT seq, fact, proven, number, told FROM orphans ORDER BY seq LIMIT ?1)
               WHERE NOT told AND json_extract(fact, '$.observed_at') < ?2";
    tell(writing, at, sql, (i64::try_from(oldest).unwrap_or(i64::MAX), before.as_microsecond()))
}

/// Appends rows of `seq, fact, proven, number` to the log as unattributed, and notes that they were told.
fn tell(
    writing: &mut Writing<'_>,
    at: Timestamp,
    sql: &str,
    params: impl rusqlite::Params,
) -> Result<usize, StoreError> {
    let mut untold = Vec::new();
    {
        let mut statement = writing.db.prepare_cached(sql)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            untold.push((
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                trust(row.get(2)?),
                row.get::<_, String>(3)?,
            ));
        }
    }
    for (seq, fact, trust, number) in &untold {
        let fact: Fact = serde_json::from_str(fact)?;
        let inbound = Inbound {
            number: NumberName::from_text(number).map_err(|error| StoreError::Failed(error.0))?,
            name: String::new(),
            at: fact.at,
            // That it belongs to no message is learned now.
            observed_at: at,
            what: Happening::Unattributed(Unattributed { fact, trust: *trust }),
        };
        log::append_inbound(writing, inbound, None)?;
        writing.db.prepare_cached("UPDATE orphans SET told = 1 WHERE seq = ?1")?.execute([seq])?;
    }
    Ok(untold.len())
}
