//! How far callers have acknowledged their named subscriptions.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{
    super::{
        Begin, Commit, Committed, Seek, StoreError, StoredSubscription, Subscribe, Subscribed, SubscriptionKey,
        SubscriptionsQuery,
        retention::{Trim, Trimmed},
    },
    audit,
};
use crate::domain::{
    Invalid,
    ids::{CallerName, SubscriptionName},
    position::Position,
    signed::Fingerprint,
};

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
         ON CONFLICT (caller, name) DO UPDATE SET filter = ?3, position = ?4, used_at = ?5, sought = 0",
    )?
    .execute((caller.as_str(), name.as_str(), subscribe.filter.0, position.0, subscribe.at.as_microsecond()))?;
    Ok(Subscribed::Committed(position))
}

/// Acknowledges everything up to a position; never less than before, and nothing from before it was moved.
pub(super) fn commit(db: &Connection, commit: &Commit) -> Result<Committed, StoreError> {
    let Some((filter, committed)) = find(db, &commit.key)? else { return Ok(Committed::Unknown) };
    if filter != commit.filter {
        return Ok(Committed::OtherFilter);
    }
    if is_sought(db, &commit.key)? {
        return Ok(Committed::UpTo(committed));
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

/// Subscriptions in the order of callers and names.
pub(super) fn read(db: &Connection, query: &SubscriptionsQuery) -> Result<Vec<StoredSubscription>, StoreError> {
    let (after_caller, after_name) = match &query.after {
        Some(SubscriptionKey { caller, name }) => (caller.as_str(), name.as_str()),
        None => ("", ""),
    };
    let caller = query.caller.as_ref().map(|caller| caller.as_str());
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT caller, name, filter, position, used_at FROM subscriptions
         WHERE (caller, name) > (?1, ?2) AND (?3 IS NULL OR caller = ?3) ORDER BY caller, name LIMIT ?4",
    )?;
    let rows = statement.query_map((after_caller, after_name, caller, limit), |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get::<_, i64>(4)?))
    })?;
    let stored = rows.map(|row| {
        let (caller, name, filter, position, used_at) = row?;
        let invalid = |error: Invalid| StoreError::Failed(error.0);
        Ok(StoredSubscription {
            key: SubscriptionKey {
                caller: CallerName::from_text(&caller).map_err(invalid)?,
                name: SubscriptionName::from_text(&name).map_err(invalid)?,
            },
            filter: Fingerprint(filter),
            position: Position(position),
            used_at: Timestamp::from_microsecond(used_at).unwrap_or(Timestamp::MIN),
        })
    });
    stored.collect()
}

/// The subscription of this key.
pub(super) fn one(db: &Connection, key: &SubscriptionKey) -> Result<Option<StoredSubscription>, StoreError> {
    let sql = "SELECT filter, position, used_at FROM subscriptions WHERE caller = ?1 AND name = ?2";
    let found = db.prepare_cached(sql)?.query_row((key.caller.as_str(), key.name.as_str()), |row| {
        Ok(StoredSubscription {
            key: key.clone(),
            filter: Fingerprint(row.get(0)?),
            position: Position(row.get(1)?),
            used_at: Timestamp::from_microsecond(row.get(2)?).unwrap_or(Timestamp::MIN),
        })
    });
    Ok(found.optional()?)
}

/// Moves or deletes a subscription.
pub(super) fn seek(db: &Connection, seek: &Seek) -> Result<bool, StoreError> {
    let SubscriptionKey { caller, name } = &seek.key;
    let (caller, name) = (caller.as_str(), name.as_str());
    let changed = match seek.to {
        Some(position) => db
            .prepare_cached("UPDATE subscriptions SET position = ?3, sought = 1 WHERE caller = ?1 AND name = ?2")?
            .execute((caller, name, position.0))?,
        None => {
            db.prepare_cached("DELETE FROM subscriptions WHERE caller = ?1 AND name = ?2")?.execute((caller, name))?
        }
    };
    if changed > 0 {
        audit::append(db, std::slice::from_ref(&seek.act))?;
    }
    Ok(changed > 0)
}

fn is_sought(db: &Connection, key: &SubscriptionKey) -> Result<bool, StoreError> {
    let sql = "SELECT 1 FROM subscriptions WHERE caller = ?1 AND name = ?2 AND sought";
    Ok(db.prepare_cached(sql)?.exists((key.caller.as_str(), key.name.as_str()))?)
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
