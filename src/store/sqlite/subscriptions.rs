//! How far callers have acknowledged their named subscriptions.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::super::{
    Begin, Commit, Committed, StoreError, Subscribe, Subscribed, SubscriptionKey,
    retention::{Trim, Trimmed},
};
use crate::domain::{position::Position, signed::Fingerprint};

/// How many a step of trimming deletes at most.
const TRIMMED: usize = 200;

/// Opens a subscription, making it if it is new.
pub(super) fn subscribe(db: &Connection, subscribe: &Subscribe) -> Result<Subscribed, StoreError> {
    let known = find(db, &subscribe.key)?;
    let position = match (known, subscribe.begin) {
        (Some((filter, committed)), _) if filter == subscribe.filter => committed,
        (Some(_), Begin::Resume(_)) => return Ok(Subscribed::OtherFilter),
        (None, _) if count(db, &subscribe.key)? >= subscribe.most => return Ok(Subscribed::TooMany),
        (Some(_), Begin::At(position)) | (None, Begin::At(position) | Begin::Resume(position)) => position,
    };
    let SubscriptionKey { caller, name } = &subscribe.key;
    db.prepare_cached(
        "INSERT INTO subscriptions (caller, name, filter, position, used_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (caller, name) DO UPDATE SET filter = ?3, position = ?4, used_at = ?5",
    )?
    .execute((caller.as_str(), name.as_str(), subscribe.filter.0, position.0, subscribe.at.as_microsecond()))?;
    Ok(Subscribed::Committed(position))
}

/// Acknowledges everything up to a position; never less than before.
pub(super) fn commit(db: &Connection, commit: &Commit) -> Result<Committed, StoreError> {
    let Some((filter, committed)) = find(db, &commit.key)? else { return Ok(Committed::Unknown) };
    if filter != commit.filter {
        return Ok(Committed::OtherFilter);
    }
    let position = committed.max(commit.position);
    let SubscriptionKey { caller, name } = &commit.key;
    db.prepare_cached("UPDATE subscriptions SET position = ?3, used_at = ?4 WHERE caller = ?1 AND name = ?2")?
        .execute((caller.as_str(), name.as_str(), position.0, commit.at.as_microsecond()))?;
    Ok(Committed::UpTo(position))
}

/// Deletes some of those that were last used before this time.
pub(super) fn trim(db: &Connection, before: Timestamp) -> Result<Trimmed, StoreError> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM subscriptions WHERE (caller, name) IN
             (SELECT caller, name FROM subscriptions WHERE used_at < ?1 ORDER BY used_at LIMIT ?2)",
        )?
        .execute((before.as_microsecond(), TRIMMED as i64))?;
    let next = (deleted == TRIMMED).then_some(Trim::Subscriptions { before });
    Ok(Trimmed { deleted: deleted as u64, in_doubt: 0, next })
}

fn find(db: &Connection, key: &SubscriptionKey) -> Result<Option<(Fingerprint, Position)>, StoreError> {
    let sql = "SELECT filter, position FROM subscriptions WHERE caller = ?1 AND name = ?2";
    let found = db
        .prepare_cached(sql)?
        .query_row((key.caller.as_str(), key.name.as_str()), |row| {
            Ok((Fingerprint(row.get(0)?), Position(row.get(1)?)))
        })
        .optional()?;
    Ok(found)
}

fn count(db: &Connection, key: &SubscriptionKey) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM subscriptions WHERE caller = ?1";
    let count: i64 = db.prepare_cached(sql)?.query_row([key.caller.as_str()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}
