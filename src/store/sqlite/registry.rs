//! The platform team's records.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    super::{Change, Changed, Record, Resealed, SealCount, StoreError},
    audit,
};
use crate::domain::{
    ids::MessageId,
    record::{Place, RecordKey, RecordKind},
    secret::Sealed,
};

pub(super) fn records(db: &Connection) -> Result<Vec<Record>, StoreError> {
    let mut statement = db.prepare_cached("SELECT kind, name, version, sealed FROM records ORDER BY kind, name")?;
    let rows = statement.query_map([], |row| {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((kind, name, row.get(2)?, row.get(3)?))
    })?;
    let mut records = Vec::new();
    for row in rows {
        let (kind, name, version, sealed) = row?;
        if let Some(kind) = known(&kind) {
            records.push(Record { key: RecordKey::of(kind, &name), version, sealed: Sealed::from_bytes(sealed) });
        }
    }
    Ok(records)
}

/// All of the change, or nothing.
pub(super) fn change(db: &Connection, change: &Change) -> Result<Changed, StoreError> {
    let expected = change.puts.iter().map(|(record, expected)| (&record.key, *expected));
    let expected = expected.chain(change.removals.iter().map(|(key, version)| (key, Some(*version))));
    for (key, expected) in expected {
        if version(db, key)? != expected {
            return Ok(Changed::Conflict(key.clone()));
        }
    }
    for (record, replaces) in &change.puts {
        if replaces.is_some_and(|replaces| record.version <= replaces) {
            return Err(StoreError::Failed(format!("{} needs a version greater than the one it replaces", record.key)));
        }
        db.prepare_cached(
            "INSERT INTO records (kind, name, version, sealed) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, name) DO UPDATE SET version = ?3, sealed = ?4",
        )?
        .execute(params![
            record.key.kind.word(),
            &*record.key.name,
            record.version,
            record.sealed.as_bytes()
        ])?;
    }
    for (key, _) in &change.removals {
        db.prepare_cached("DELETE FROM records WHERE kind = ?1 AND name = ?2")?
            .execute((key.kind.word(), &*key.name))?;
    }
    audit::append(db, &change.audit)?;
    Ok(Changed::Done)
}

pub(super) fn sealed_under(db: &Connection, key_id: [u8; 8], limit: usize) -> Result<Vec<(Place, Sealed)>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        db.prepare_cached("SELECT kind, name, version, sealed FROM records WHERE substr(sealed, 2, 8) = ?1 LIMIT ?2")?;
    let rows = statement.query_map(params![key_id, limit], |row| {
        let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((kind, name, row.get::<_, i64>(2)?, row.get(3)?))
    })?;
    let mut found = Vec::new();
    for row in rows {
        let (kind, name, version, sealed) = row?;
        if let Some(kind) = known(&kind) {
            found.push((Place::Record(RecordKey::of(kind, &name), version), Sealed::from_bytes(sealed)));
        }
    }
    let left = limit - i64::try_from(found.len()).unwrap_or(limit);
    let mut statement = db.prepare_cached(
        "SELECT message_id, body FROM outbox JOIN messages USING (seq) WHERE substr(body, 2, 8) = ?1 LIMIT ?2",
    )?;
    let rows = statement.query_map(params![key_id, left], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?)))?;
    for row in rows {
        let (id, body) = row?;
        let id = MessageId::from_slice(&id).map_err(|error| StoreError::Failed(error.to_string()))?;
        found.push((Place::Outbox(id), Sealed::from_bytes(body)));
    }
    Ok(found)
}

pub(super) fn reseal(db: &Connection, resealed: &[Resealed]) -> Result<usize, StoreError> {
    let mut replaced = 0;
    for Resealed { place, before, after } in resealed {
        replaced += match place {
            Place::Record(key, version) => db
                .prepare_cached(
                    "UPDATE records SET sealed = ?5 WHERE kind = ?1 AND name = ?2 AND version = ?3 AND sealed = ?4",
                )?
                .execute(params![key.kind.word(), &*key.name, version, before.as_bytes(), after.as_bytes()])?,
            Place::Outbox(id) => db
                .prepare_cached(
                    "UPDATE outbox SET body = ?3
                     WHERE seq = (SELECT seq FROM messages WHERE message_id = ?1) AND body = ?2",
                )?
                .execute(params![id.as_bytes(), before.as_bytes(), after.as_bytes()])?,
        };
    }
    Ok(replaced)
}

pub(super) fn seal_counts(db: &Connection) -> Result<Vec<SealCount>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT key_id, sum(record), sum(1 - record) FROM (
             SELECT CASE WHEN length(sealed) > 8 THEN substr(sealed, 2, 8) ELSE zeroblob(8) END AS key_id, 1 AS record
             FROM records
             UNION ALL SELECT CASE WHEN length(body) > 8 THEN substr(body, 2, 8) ELSE zeroblob(8) END, 0 FROM outbox
         ) GROUP BY key_id ORDER BY key_id",
    )?;
    let rows = statement.query_map([], |row| {
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        Ok(SealCount { key_id: row.get(0)?, records: count(row.get(1)?), bodies: count(row.get(2)?) })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn version(db: &Connection, key: &RecordKey) -> Result<Option<i64>, StoreError> {
    let mut statement = db.prepare_cached("SELECT version FROM records WHERE kind = ?1 AND name = ?2")?;
    Ok(statement.query_row((key.kind.word(), &*key.name), |row| row.get(0)).optional()?)
}

/// The kind; a record of one that is not known is passed over, so that it does not hide the others.
fn known(kind: &str) -> Option<RecordKind> {
    let known = RecordKind::from_word(kind);
    if known.is_none() {
        tracing::error!(kind, "a stored record is of a kind that is not known");
    }
    known
}
