//! When messages are to be read back.

use std::mem;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    super::{Checked, DueCheck, DueChecks, FirstChecks, StoreError},
    rows,
    writer::Writing,
};
use crate::domain::{ids::NumberName, merge::Fact, message::Message, status::Status};

/// What was learned of a message since it was last saved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    /// When the last fact came that told something new.
    fact: Option<Timestamp>,
    /// When the last claim came that would, and the furthest status claimed.
    claim: Option<(Timestamp, Option<Status>)>,
}

impl News {
    /// A fact told something new.
    pub(super) fn fact(&mut self, fact: &Fact) {
        self.fact = self.fact.max(Some(fact.observed_at));
    }

    /// A claim would.
    pub(super) fn claim(&mut self, claim: &Fact) {
        let (at, status) = self.claim.unwrap_or_default();
        self.claim = Some((at.max(claim.observed_at), status.max(claim.status.status())));
    }
}

/// Notes with a message that is being saved when it is due, if there are news. A claim that is not confirmed by them goes on
/// being pursued; one that is repeated meanwhile is due at once, keeps its turn and its count, so that whoever makes claims
/// up has no more reads for it.
pub(super) fn note(writing: &mut Writing<'_>, seq: i64, message: &Message) -> Result<(), StoreError> {
    let News { fact, claim } = mem::take(&mut writing.news);
    if let Some((at, status)) = claim {
        let open = status.filter(|status| message.times.get(*status).is_none()).map(rank);
        writing
            .db
            .prepare_cached(
                "UPDATE messages SET
                    check_at = iif(claimed >= ?3, coalesce(min(check_at, ?2), ?2), ?2),
                    checks = iif(claimed >= ?3, checks, 0),
                    claimed = coalesce(max(claimed, ?3), claimed, ?3)
                 WHERE seq = ?1",
            )?
            .execute((seq, at.as_microsecond(), open))?;
    } else if let Some(at) = fact {
        let known = Status::ALL.into_iter().filter(|status| message.times.get(*status).is_some());
        let known = known.fold(0, |mask, status| mask | 1 << rank(status));
        writing
            .db
            .prepare_cached(
                "UPDATE messages SET
                    check_at = iif(claimed IS NULL OR ?3 >> claimed & 1, ?2, coalesce(min(check_at, ?2), check_at, ?2)),
                    checks = iif(check_at IS NULL OR claimed IS NULL OR ?3 >> claimed & 1, 0, checks),
                    claimed = iif(?3 >> claimed & 1, NULL, claimed)
                 WHERE seq = ?1 AND (claimed IS NOT NULL OR check_at IS NOT ?2)",
            )?
            .execute((seq, due_after(message, at, writing.first_checks), known))?;
    }
    Ok(())
}

/// When a message with news of this time is due next.
fn due_after(message: &Message, at: Timestamp, first: FirstChecks) -> Option<i64> {
    let wait = match message.status {
        Status::InDoubt | Status::Queued | Status::Sent => first.open,
        Status::Delivered => first.delivered,
        Status::Failed if message.may_be_contradicted() => first.delivered,
        Status::Pending | Status::Canceled | Status::Failed | Status::Read => return None,
    };
    let from = at.max(message.origins.deliver_at.unwrap_or(Timestamp::MIN));
    Some(from.saturating_add(wait).unwrap_or(Timestamp::MAX).as_microsecond())
}

/// The place in the order of statuses, by which a claimed status is kept.
fn rank(status: Status) -> i64 {
    Status::ALL.into_iter().take_while(|other| *other != status).count() as i64
}

/// Messages that are due.
pub(super) fn due(db: &Connection, number: &NumberName, at: Timestamp, limit: usize) -> Result<DueChecks, StoreError> {
    let claimed = "SELECT check_at, checks, claimed, record FROM messages
                   WHERE number = ?1 AND check_at <= ?2 AND claimed IS NOT NULL ORDER BY check_at LIMIT ?3";
    let others = "SELECT check_at, checks, claimed, record FROM messages
                  WHERE number = ?1 AND check_at <= ?2 AND claimed IS NULL ORDER BY check_at LIMIT ?3";
    let mut due = Vec::new();
    for (sql, up_to) in [(claimed, limit.div_ceil(2)), (others, limit)] {
        let left = i64::try_from(up_to - due.len()).unwrap_or(i64::MAX);
        let mut statement = db.prepare_cached(sql)?;
        let mut rows = statement.query((number.as_str(), at.as_microsecond(), left))?;
        while let Some(row) = rows.next()? {
            due.push(due_check(row)?);
        }
    }
    // Whatever is left out is due no later than the row that comes here.
    let next: Option<i64> = db
        .prepare_cached(
            "SELECT check_at FROM messages WHERE number = ?1 AND check_at IS NOT NULL ORDER BY check_at
             LIMIT 1 OFFSET ?2",
        )?
        .query_row((number.as_str(), i64::try_from(due.len()).unwrap_or(i64::MAX)), |row| row.get(0))
        .optional()?;
    Ok(DueChecks { due, next: next.and_then(|micros| Timestamp::from_microsecond(micros).ok()) })
}

fn due_check(row: &Row<'_>) -> Result<DueCheck, StoreError> {
    let claimed: Option<i64> = row.get(2)?;
    let record = row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(DueCheck {
        message: serde_json::from_str(record)?,
        due: Timestamp::from_microsecond(row.get(0)?).unwrap_or(Timestamp::MIN),
        checks: row.get(1)?,
        claimed: claimed.and_then(|claimed| Status::ALL.into_iter().find(|status| rank(*status) == claimed)),
    })
}

/// Folds in what was read and puts the message off if that was nothing new. Returns how many updates it appended.
pub(super) fn checked(writing: &mut Writing<'_>, checked: &Checked) -> Result<usize, StoreError> {
    // The message may have been trimmed in the meantime.
    let Some((seq, mut message)) = rows::by_id(writing.db, checked.id)? else { return Ok(0) };
    let was_due: Option<i64> = writing
        .db
        .prepare_cached("SELECT check_at FROM messages WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    let before = message.clone();
    let head = writing.tail.head();
    for fact in &checked.facts {
        rows::fold(writing, &mut message, fact)?;
    }
    rows::save_changed(writing, seq, &before, &mut message)?;
    let appended = usize::try_from(writing.tail.head().0 - head.0).unwrap_or_default();
    // A claim that came in the meantime stays due.
    if was_due == Some(checked.due.as_microsecond()) {
        let (checks, next) = checked.then;
        writing
            .db
            .prepare_cached(
                "UPDATE messages SET check_at = ?2, checks = ?3, claimed = iif(?2 IS NULL, NULL, claimed)
                 WHERE seq = ?1 AND (?4 = 0 OR claimed IS NOT NULL)",
            )?
            .execute((seq, next.map(Timestamp::as_microsecond), checks, appended as i64))?;
    }
    Ok(appended)
}
