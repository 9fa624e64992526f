//! The log of updates: appending inside a transaction, reading in pages, finding a place by time.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::{
    super::{Page, StoreError},
    writer::Writing,
};
use crate::domain::{
    event::{Event, Payload, Update},
    inbound::{EventIdentity, Inbound},
    position::{Epoch, Position},
};

/// What entries are, in their column `kind`.
const UPDATE: i64 = 0;
const INBOUND: i64 = 1;

/// A page ends with the entry that makes it longer than this.
const PAGE_BYTES: usize = 1 << 20;

/// What makes this log itself.
pub(super) struct Identity {
    pub(super) epoch: Epoch,
    pub(super) cursor_key: [u8; 32],
}

/// Reads the log's identity.
pub(super) fn identity(db: &Connection) -> rusqlite::Result<Identity> {
    db.query_row("SELECT epoch, cursor_key FROM log WHERE id = 1", [], |row| {
        Ok(Identity { epoch: Epoch(u64::from_be_bytes(row.get(0)?)), cursor_key: row.get(1)? })
    })
}

/// The end of the log: the last position given, and the time noted with it.
///
/// A transaction works on a copy, which takes the original's place when the transaction is committed.
#[derive(Clone)]
pub(super) struct Tail {
    head: Position,
    logged_at: i64,
    /// Entries up to here were trimmed.
    pub(super) trimmed: Position,
    /// What the transaction has appended.
    pub(super) appended: Vec<Arc<Event>>,
}

impl Tail {
    pub(super) fn load(db: &mut Connection) -> rusqlite::Result<Self> {
        let trimmed = trimmed(db)?;
        let last = db
            .query_row("SELECT position, logged_at FROM events ORDER BY position DESC LIMIT 1", [], |row| {
                Ok((Position(row.get(0)?), row.get(1)?))
            })
            .optional()?;
        let (head, logged_at) = last.unwrap_or((trimmed, 0));
        Ok(Self { head, logged_at, trimmed, appended: Vec::new() })
    }

    pub(super) const fn head(&self) -> Position {
        self.head
    }
}

/// Appends an update behind everything appended before.
pub(super) fn append(writing: &mut Writing<'_>, update: Update) -> Result<(), StoreError> {
    let text = serde_json::to_string(&update)?;
    append_row(writing, Payload::Update(update), &text, None).map(drop)
}

/// Appends an inbound event, unless one with this identity is there. True if it was appended.
pub(super) fn append_inbound(
    writing: &mut Writing<'_>,
    inbound: Inbound,
    identity: Option<&EventIdentity>,
) -> Result<bool, StoreError> {
    let text = serde_json::to_string(&inbound)?;
    append_row(writing, Payload::Inbound(inbound), &text, identity)
}

fn append_row(
    writing: &mut Writing<'_>,
    payload: Payload,
    text: &str,
    identity: Option<&EventIdentity>,
) -> Result<bool, StoreError> {
    let event = Event { position: writing.tail.head.next(), payload };
    // Facts are observed on many threads; the time in the log never falls all the same.
    let logged_at = event.observed_at().as_microsecond().max(writing.tail.logged_at);
    let kind = match event.payload {
        Payload::Update(_) => UPDATE,
        Payload::Inbound(_) => INBOUND,
    };
    let appended = writing
        .db
        .prepare_cached(
            "INSERT INTO events (position, logged_at, payload, kind, identity) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (identity) WHERE identity IS NOT NULL DO NOTHING",
        )?
        .execute((event.position.0, logged_at, text, kind, identity.map(|identity| identity.as_bytes())))?;
    if appended > 0 {
        writing.tail.head = event.position;
        writing.tail.logged_at = logged_at;
        writing.tail.appended.push(Arc::new(event));
    }
    Ok(appended > 0)
}

/// A page behind `after`. What is left of the last trimmed entry is no part of it.
pub(super) fn page(db: &Connection, after: Position, limit: usize) -> Result<Page, StoreError> {
    let (head, after) = (head(db)?, after.max(trimmed(db)?));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        db.prepare_cached("SELECT position, payload, kind FROM events WHERE position > ?1 ORDER BY position LIMIT ?2")?;
    let mut rows = statement.query((after.0, limit))?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while bytes < PAGE_BYTES
        && let Some(row) = rows.next()?
    {
        let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        bytes += text.len();
        let payload = match row.get(2)? {
            INBOUND => Payload::Inbound(serde_json::from_str(text)?),
            _ => Payload::Update(serde_json::from_str(text)?),
        };
        events.push(Arc::new(Event { position: Position(row.get(0)?), payload }));
    }
    Ok(Page { events, head })
}

/// The position before the first entry logged at or after `time`, found by halving: positions have no holes behind the
/// trimmed part, and their times never fall. The start if the trimmed part has such entries.
pub(super) fn position_before(db: &Connection, time: Timestamp) -> Result<Position, StoreError> {
    let time = time.as_microsecond();
    let trimmed = trimmed(db)?;
    // The last trimmed entry has left its time.
    let gone: Option<i64> = db
        .prepare_cached("SELECT logged_at FROM events WHERE position >= ?1 ORDER BY position LIMIT 1")?
        .query_row([trimmed.0], |row| row.get(0))
        .optional()?;
    if trimmed > Position::START && gone.is_none_or(|gone| gone >= time) {
        return Ok(Position::START);
    }
    let mut logged_at = db.prepare_cached("SELECT logged_at FROM events WHERE position = ?1")?;
    let (mut before, mut upto) = (trimmed.0, head(db)?.0);
    while before < upto {
        let middle = before + (upto - before + 1) / 2;
        let at: i64 = logged_at.query_row([middle], |row| row.get(0))?;
        if at < time {
            before = middle;
        } else {
            upto = middle - 1;
        }
    }
    Ok(Position(before))
}

/// The position before the oldest entry, and when that entry was logged.
pub(super) fn oldest(db: &Connection) -> Result<(Position, Option<Timestamp>), StoreError> {
    let trimmed = trimmed(db)?;
    let at: Option<i64> = db
        .prepare_cached("SELECT logged_at FROM events WHERE position > ?1 ORDER BY position LIMIT 1")?
        .query_row([trimmed.0], |row| row.get(0))
        .optional()?;
    Ok((trimmed, at.and_then(|micros| Timestamp::from_microsecond(micros).ok())))
}

fn head(db: &Connection) -> rusqlite::Result<Position> {
    let last: Option<i64> = db.prepare_cached("SELECT max(position) FROM events")?.query_row([], |row| row.get(0))?;
    last.map_or_else(|| trimmed(db), |position| Ok(Position(position)))
}

/// Entries up to here were trimmed.
pub(super) fn trimmed(db: &Connection) -> rusqlite::Result<Position> {
    db.prepare_cached("SELECT trimmed FROM log WHERE id = 1")?.query_row([], |row| row.get(0)).map(Position)
}
