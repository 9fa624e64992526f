//! When messages are to be read back.

use std::mem;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    super::{Checked, DueCheck, DueChecks, FirstChecks, StoreError},
    orphans, rows,
    writer::Writing,
};
use crate::domain::{failure::FailureCode, ids::NumberName, message::Message, status::Status};

/// What was learned of a message since it was last saved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// When the last fact came that told something new.
    pub(super) fact: Option<Timestamp>,
    /// When a claim came that would.
    pub(super) claim: Option<Timestamp>,
}

impl News {
    /// When a message with these news is due; `None` if they change nothing about that.
    pub(super) fn due(&mut self, message: &Message, first: FirstChecks) -> Option<Option<i64>> {
        let News { fact, claim } = mem::take(self);
        if claim.is_some() {
            return Some(claim.map(Timestamp::as_microsecond));
        }
        let wait = match message.status {
            Status::InDoubt | Status::Queued | Status::Sent => Some(first.open),
            Status::Delivered => Some(first.delivered),
            Status::Failed if may_be_contradicted(message) => Some(first.delivered),
            Status::Pending | Status::Canceled | Status::Failed | Status::Read => None,
        };
        let from = fact?.max(message.origins.deliver_at.unwrap_or(Timestamp::MIN));
        Some(wait.map(|wait| from.saturating_add(wait).unwrap_or(Timestamp::MAX).as_microsecond()))
    }
}

/// Sent without a delivery report, which may still come.
fn may_be_contradicted(message: &Message) -> bool {
    let code = message.failure.as_ref().and_then(|failure| failure.code());
    code == Some(FailureCode::DeliveredNotConfirmed)
}

/// Messages that are due.
pub(super) fn due(db: &Connection, number: &NumberName, at: Timestamp, limit: usize) -> Result<DueChecks, StoreError> {
    let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get::<_, String>(2)?));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT check_at, checks, record FROM messages WHERE number = ?1 AND check_at <= ?2 ORDER BY check_at LIMIT ?3",
    )?;
    let mut due = Vec::new();
    for row in statement.query_map((number.as_str(), at.as_microsecond(), limit), read)? {
        let (since, checks, record) = row?;
        let since = Timestamp::from_microsecond(since).unwrap_or(Timestamp::MIN);
        due.push(DueCheck { message: serde_json::from_str(&record)?, due: since, checks });
    }
    let sql = "SELECT check_at FROM messages WHERE number = ?1 AND check_at IS NOT NULL ORDER BY check_at
               LIMIT 1 OFFSET ?2";
    let next: Option<i64> = db
        .prepare_cached(sql)?
        .query_row((number.as_str(), i64::try_from(due.len()).unwrap_or(i64::MAX)), |row| row.get(0))
        .optional()?;
    Ok(DueChecks { due, next: next.and_then(|micros| Timestamp::from_microsecond(micros).ok()) })
}

/// Folds in what was read and puts the message off if that was nothing new. Returns how many updates it appended.
pub(super) fn checked(writing: &mut Writing<'_>, checked: &Checked) -> Result<usize, StoreError> {
    // The message may have been trimmed in the meantime.
    let Some((seq, mut message)) = rows::by_id(writing.db, checked.id)? else { return Ok(0) };
    let before = message.clone();
    let head = writing.tail.head();
    for fact in &checked.facts {
        rows::fold(writing, &mut message, fact)?;
    }
    if message != before {
        orphans::join_early(writing, &mut message)?;
        rows::save(writing, seq, &message)?;
    }
    let appended = usize::try_from(writing.tail.head().0 - head.0).unwrap_or_default();
    if appended == 0 {
        let (checks, next) = checked.then;
        writing
            .db
            .prepare_cached("UPDATE messages SET check_at = ?2, checks = ?3 WHERE seq = ?1 AND check_at = ?4")?
            .execute((seq, next.map(Timestamp::as_microsecond), checks, checked.due.as_microsecond()))?;
    }
    Ok(appended)
}
