//! The audit log.

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter, types::Value};

use super::super::{AuditEnds, AuditQuery, AuditRecord, Checkpoint, StoreError};
use crate::domain::audit::{Act, Link};

/// Appends inside the transaction of what the entries tell of, so that neither is there without the other.
pub(super) fn append(db: &Connection, acts: &[Act]) -> Result<(), StoreError> {
    if acts.is_empty() {
        return Ok(());
    }
    let AuditEnds { mut head, mut link, .. } = ends(db)?;
    for act in acts {
        let text = serde_json::to_string(act)?;
        head += 1;
        link = link.then(head, &text);
        db.prepare_cached("INSERT INTO audit (seq, entry, link) VALUES (?1, ?2, ?3)")?
            .execute(params![head, text, link.0])?;
    }
    Ok(())
}

pub(super) fn ends(db: &Connection) -> Result<AuditEnds, StoreError> {
    let (trimmed, anchor) = db
        .prepare_cached("SELECT seq, link FROM audit_anchor WHERE id = 1")?
        .query_row([], |row| Ok((row.get(0)?, Link(row.get(1)?))))?;
    let newest = db
        .prepare_cached("SELECT seq, link FROM audit ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, Link(row.get(1)?))))
        .optional()?;
    let (head, link) = newest.unwrap_or((trimmed, anchor));
    Ok(AuditEnds { trimmed, anchor, head, link })
}

pub(super) fn read(db: &Connection, query: &AuditQuery) -> Result<Vec<AuditRecord>, StoreError> {
    let mut conditions = vec!["seq > ?"];
    let mut values = vec![Value::Integer(query.after)];
    let mut also = |condition, value| {
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
        also("action || '.' GLOB ? || '.*'", Value::Text(action.clone()));
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
    Ok(())
}

pub(super) fn checkpoints(db: &Connection) -> Result<Vec<Checkpoint>, StoreError> {
    let mut statement = db.prepare_cached("SELECT seq, mac FROM audit_checkpoints ORDER BY seq")?;
    let rows = statement.query_map([], |row| Ok(Checkpoint { seq: row.get(0)?, mac: row.get(1)? }))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord { seq: row.get(0)?, link: Link(row.get(1)?), text: row.get(2)? })
}
