//! Recognising a message in doubt by what it says, where no id leads to it.

use jiff::SignedDuration;
use rusqlite::{Connection, OptionalExtension};

use super::{super::StoreError, rows, writer::Writing};
use crate::{
    domain::{ids::MessageId, merge::Fact, message::Message, secret::Likeness, status::Status},
    store::Sighting,
};

/// By so much the clocks of both sides may differ.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// What a message may be recognised by.
pub(super) fn of(db: &Connection, id: MessageId) -> Result<Option<Likeness>, StoreError> {
    let sql = "SELECT likeness FROM messages WHERE message_id = ?1 AND likeness IS NOT NULL";
    let found: Option<[u8; 16]> = db.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(Likeness::from_bytes))
}

/// The one message in doubt that a sighting is about, if it tells of a likeness and no other unsettled message has the same
/// one: that one's answer may be on its way.
pub(super) fn doubtful(db: &Connection, sighting: &Sighting) -> Result<Option<(i64, Message)>, StoreError> {
    let Some(likeness) = &sighting.likeness else { return Ok(None) };
    let Some(seq) = only_unsettled(db, likeness)? else { return Ok(None) };
    let found = rows::select(db, "SELECT seq, record FROM messages WHERE seq = ?1 AND in_doubt", [seq])?;
    Ok(found.filter(|(_, message)| message.ids.upstream.is_none() && is_later(message, &sighting.fact)))
}

/// Gives a message that has come to be in doubt the early fact that tells of it, if there is exactly one message that it can
/// be about.
pub(super) fn recognise_early(writing: &mut Writing<'_>, seq: i64, message: &mut Message) -> Result<(), StoreError> {
    if message.status != Status::InDoubt || message.ids.upstream.is_some() {
        return Ok(());
    }
    let Some(likeness) = of(writing.db, message.origins.message_id)? else { return Ok(()) };
    if only_unsettled(writing.db, &likeness)? != Some(seq) {
        return Ok(());
    }
    let early: Vec<(i64, String)> = writing
        .db
        .prepare_cached("SELECT seq, fact FROM orphans WHERE likeness = ?1 ORDER BY seq")?
        .query_map([likeness.as_bytes()], rows::stored)?
        .collect::<rusqlite::Result<_>>()?;
    let early: Vec<(i64, Fact)> = early
        .into_iter()
        .map(|(seq, fact)| Ok((seq, serde_json::from_str(&fact)?)))
        .collect::<Result<_, StoreError>>()?;
    let later: Vec<_> = early.into_iter().filter(|(_, fact)| is_later(message, fact)).collect();
    // Facts of two messages of the past: which of them is this one is not told.
    let one =
        later.first().is_some_and(|(_, first)| later.iter().all(|(_, fact)| fact.ids.upstream == first.ids.upstream));
    for (orphan, fact) in later.into_iter().filter(|_| one) {
        rows::fold(writing, message, &fact)?;
        writing.db.prepare_cached("DELETE FROM orphans WHERE seq = ?1")?.execute([orphan])?;
    }
    Ok(())
}

/// The only message with this likeness that is not settled: pending, in doubt, or waiting in the outbox.
fn only_unsettled(db: &Connection, likeness: &Likeness) -> Result<Option<i64>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT seq FROM messages WHERE in_doubt AND likeness = ?1
         UNION SELECT seq FROM messages WHERE pending AND likeness = ?1
         UNION SELECT seq FROM outbox JOIN messages USING (seq) WHERE outbox.leased AND likeness = ?1
         LIMIT 2",
    )?;
    let found: Vec<i64> =
        statement.query_map([likeness.as_bytes()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(if let [seq] = found[..] { Some(seq) } else { None })
}

fn is_later(message: &Message, fact: &Fact) -> bool {
    fact.at >= message.origins.create_time.saturating_sub(CLOCKS).unwrap_or(jiff::Timestamp::MIN)
}
