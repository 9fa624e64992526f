//! What counts towards limits.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::super::{
    StoreError,
    retention::{Trim, Trimmed},
};
use crate::domain::quota::{Exceeded, Limit, Window};

/// How long windows are kept after their end, for a clock that is put back: what was counted in them counts again then.
const MINUTES: SignedDuration = SignedDuration::from_hours(2);
const DAYS: SignedDuration = SignedDuration::from_hours(48);

/// How many windows a step of trimming deletes at most.
const TRIMMED: usize = 500;

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
             ON CONFLICT (subject, window, start) DO UPDATE SET used = used + 1",
        )?
        .execute(params![limit.subject.to_text(), limit.window.word(), limit.window.start(at).as_second()])?;
    }
    Ok(None)
}

pub(super) fn used(db: &Connection, limits: &[Limit], at: Timestamp) -> Result<Vec<u64>, StoreError> {
    limits.iter().map(|limit| used_of(db, limit, at)).collect()
}

/// Deletes windows that have been over for a while.
pub(super) fn trim(db: &Connection, at: Timestamp) -> Result<Trimmed, StoreError> {
    let before = |window: Window, kept: SignedDuration| {
        let over = window.length().saturating_add(kept);
        at.saturating_sub(over).unwrap_or(Timestamp::MIN).as_second()
    };
    let deleted = db
        .prepare_cached(
            "DELETE FROM quota_use WHERE (subject, window, start) IN (
                 SELECT subject, window, start FROM quota_use
                 WHERE (window = ?1 AND start < ?2) OR (window = ?3 AND start < ?4) LIMIT ?5
             )",
        )?
        .execute(params![
            Window::Minute.word(),
            before(Window::Minute, MINUTES),
            Window::Day.word(),
            before(Window::Day, DAYS),
            TRIMMED as i64,
        ])?;
    let next = (deleted == TRIMMED).then_some(Trim::Quotas { at });
    Ok(Trimmed { deleted: deleted as u64, in_doubt: 0, next })
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
