//! The audit log.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::super::{
    AuditEnds, AuditQuery, AuditRecord, Checkpoint, StoreError,
    retention::{Trim, Trimmed},
};
use crate::domain::audit::{Act, Link};

/// How many entries a step of trimming deletes at most.
const TRIMMED: usize = 500;

/// Fewer than a step's worth of entries wait for this much longer, so that the entries about trimming do not themselves
/// become what is trimmed.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24);

/// How many checkpoints are kept at most.
const CHECKPOINTS: usize = 1024;

/// Appends inside the transaction of what the entries tell of, so that neither is there without the other.
pub(super) fn append(db: &Connection, acts: &[Act]) -> Result<(), StoreError> {
    if acts.is_empty() {
        return Ok(());
    }
    let AuditEnds { mut head, mut link, .. } = ends(db)?;
    for act in acts {
        let text = serde_json::to_string(act)?;
        head = head.saturating_add(1);
        link = link.then(head, &text);
        db.prepare_cached("INSERT INTO audit (seq, entry, link) VALUES (?1, ?2, ?3)")?
            .execute(params![head, text, link.0])?;
    }
    Ok(())
}

pub(super) fn ends(db: &Connection) -> Result<AuditEnds, StoreError> {
    let (trimmed, anchor) = db
        .prepare_cached("SELECT seq, link FROM audit_anchor WHERE id = 1")?
        .query_row([], |row| Ok((row.get(0)?, link(row, 1)?)))?;
    let newest = db
        .prepare_cached("SELECT seq, link FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, link(row, 1)?)))
        .optional()?;
    let (head, link) = newest.unwrap_or((trimmed, anchor));
    Ok(AuditEnds { trimmed, anchor, head, link })
}

pub(super) fn read(db: &Connection, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
    let mut conditions = vec!["seq > ?"];
    let mut values = vec![Value::Integer(query.after)];
    let mut also = |condition, value: Value| {
        conditions.push(condition);
        values.push(value);
    };
    if let Some(before) = query.before {
        also("seq < ?", Value::Integer(before));
    }
    if let Some(since) = query.since {
        also("at >= ?", Value::Integer(since.as_microsecond()));
    }
    if let Some(until) = query.until {
        also("at < ?", Value::Integer(until.as_microsecond()));
    }
    if let Some(actor) = &query.actor {
        also("actor = ?", Value::Text(actor.clone()));
    }
    if let Some(subject) = &query.subject {
        also("subject = ?", Value::Text(subject.clone()));
    }
    if let Some(action) = &query.action {
        // Compared as text, not as a pattern: an asterisk in it is an asterisk.
        let prefix = format!("{action}.");
        also("substr(action || '.', 1, ?) = ?", Value::Integer(prefix.chars().count() as i64));
        values.push(Value::Text(prefix));
    }
    let order = if query.backwards { "DESC" } else { "ASC" };
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let sql = format!(
        "SELECT seq, link, entry FROM audit WHERE {} ORDER BY seq {order} LIMIT {limit}",
        conditions.join(" AND ")
    );
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(values), record)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn keep_checkpoint(db: &Connection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    db.prepare_cached("INSERT OR IGNORE INTO audit_checkpoints (seq, mac) VALUES (?1, ?2)")?
        .execute(params![checkpoint.seq, checkpoint.mac])?;
    let kept: Vec<i64> = db
        .prepare_cached("SELECT seq FROM audit_checkpoints ORDER BY seq")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if kept.len() > CHECKPOINTS
        && let Some(spare) = spare(&kept)
    {
        db.prepare_cached("DELETE FROM audit_checkpoints WHERE seq = ?1")?.execute([spare])?;
    }
    Ok(())
}

/// The checkpoint that is missed least: the one that leaves the narrowest gap for its age. So the older they are, the further
/// they are apart, and the first and the last one stay.
fn spare(kept: &[i64]) -> Option<i64> {
    let head = *kept.last()?;
    let gap =
        |around: &[i64]| around[2].saturating_sub(around[0]) as f64 / head.saturating_sub(around[1]).max(1) as f64;
    let narrowest = kept.windows(3).min_by(|one, other| gap(one).total_cmp(&gap(other)));
    narrowest.map(|around| around[1])
}

/// Deletes the oldest entries that are from before a time, and says so in the log.
pub(super) fn trim(db: &Connection, at: Timestamp, before: Timestamp) -> Result<Trimmed, StoreError> {
    let mut statement = db.prepare_cached("SELECT seq, link, at FROM audit ORDER BY seq LIMIT ?1")?;
    let rows = statement.query_map([TRIMMED as i64], |row| {
        // What cannot be read goes with what is around it.
        Ok((row.get(0)?, link(row, 1)?, row.get::<_, Option<i64>>(2).ok().flatten()))
    })?;
    let mut ripe: Vec<(i64, Link, Option<i64>)> = Vec::new();
    for row in rows {
        let row = row?;
        if row.2.is_some_and(|at| at >= before.as_microsecond()) {
            break;
        }
        ripe.push(row);
    }
    let overdue = before.saturating_sub(PATIENCE).unwrap_or(Timestamp::MIN).as_microsecond();
    let is_overdue = ripe.iter().find_map(|(_, _, at)| *at).is_some_and(|at| at < overdue);
    let Some((last, link, _)) = ripe.last().filter(|_| ripe.len() == TRIMMED || is_overdue) else {
        return Ok(Trimmed { deleted: 0, in_doubt: 0, next: None });
    };
    append(db, &[Act::trimming(at, *last, *link)])?;
    db.prepare_cached("DELETE FROM audit WHERE seq <= ?1")?.execute([last])?;
    // The one of the anchor itself stays.
    db.prepare_cached("DELETE FROM audit_checkpoints WHERE seq < ?1")?.execute([last])?;
    db.prepare_cached("UPDATE audit_anchor SET seq = ?1, link = ?2 WHERE id = 1")?.execute(params![last, link.0])?;
    let next = (ripe.len() == TRIMMED).then_some(Trim::Audit { at, before });
    Ok(Trimmed { deleted: ripe.len() as u64, in_doubt: 0, next })
}

pub(super) fn checkpoints(db: &Connection) -> Result<Vec<Checkpoint>, StoreError> {
    let mut statement = db.prepare_cached("SELECT seq, mac FROM audit_checkpoints ORDER BY seq")?;
    let rows = statement.query_map([], |row| {
        // One of another length fits nothing either.
        let mac = row.get_ref(1)?.as_bytes().unwrap_or_default().try_into().unwrap_or([0; 32]);
        Ok(Checkpoint { seq: row.get(0)?, mac })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whatever stands there: what was tampered with must not keep anybody from reading the rest.
fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    let text = String::from_utf8_lossy(row.get_ref(2)?.as_bytes().unwrap_or_default()).into_owned();
    Ok(AuditRecord { seq: row.get(0)?, link: link(row, 1)?, text })
}

/// A link; what has not the length of one becomes the one before the first entry, which no entry has.
fn link(row: &Row<'_>, column: usize) -> rusqlite::Result<Link> {
    let bytes = row.get_ref(column)?.as_bytes().unwrap_or_default();
    Ok(bytes.try_into().map_or(Link::START, Link))
}
