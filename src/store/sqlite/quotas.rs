//! What counts towards limits.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::StoreError;
use crate::domain::quota::{Exceeded, Limit};

/// Counts a message towards every limit, or tells the first one that is used up; then nothing may be kept of this
/// transaction's part.
pub(super) fn debit(db: &Connection, limits: &[Limit], at: Timestamp) -> Result<Option<Exceeded>, StoreError> {
    // All are looked at before any is changed, so that a refusal leaves no trace.
    for limit in limits {
        if used_of(db, limit, at)? >= limit.most {
            return Ok(Some(Exceeded { limit: limit.clone(), resets: limit.window.end(at) }));
        }
    }
    for limit in limits {
        db.prepare_cached(
            "INSERT INTO quota_use (subject, window, start, used) VALUES (?1, ?2, ?3, 1)
             ON CONFLICT (subject, window) DO UPDATE
             SET used = CASE WHEN start = ?3 THEN used + 1 ELSE 1 END, start = ?3",
        )?
        .execute(params![limit.subject.to_text(), limit.window.word(), limit.window.start(at).as_second()])?;
    }
    Ok(None)
}

pub(super) fn used(db: &Connection, limits: &[Limit], at: Timestamp) -> Result<Vec<u64>, StoreError> {
    limits.iter().map(|limit| used_of(db, limit, at)).collect()
}

fn used_of(db: &Connection, limit: &Limit, at: Timestamp) -> Result<u64, StoreError> {
    let used: Option<i64> = db
        .prepare_cached("SELECT used FROM quota_use WHERE subject = ?1 AND window = ?2 AND start = ?3")?
        .query_row(params![limit.subject.to_text(), limit.window.word(), limit.window.start(at).as_second()], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(used.map_or(0, |used| u64::try_from(used).unwrap_or_default()))
}
