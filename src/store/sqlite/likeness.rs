//! Recognising a message in doubt by what it says, where no id leads to it.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{
    super::StoreError,
    orphans::{self, Orphan},
    rows,
    writer::Writing,
};
use crate::{
    domain::{
        ids::{ExternalId, MessageId, UpstreamId},
        inbound::Trust,
        merge::Fact,
        message::{Handoff, Message},
        secret::Likeness,
        status::Status,
    },
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

/// The one message in doubt that a sighting is about, if it tells of a likeness, no other unsettled message has the same
/// one (that one's answer may be on its way), and no other fact waits that may be about it as well.
pub(super) fn doubtful(db: &Connection, sighting: &Sighting) -> Result<Option<(i64, Message)>, StoreError> {
    let Some(likeness) = &sighting.likeness else { return Ok(None) };
    let Some(seq) = only_unsettled(db, likeness)? else { return Ok(None) };
    let found = rows::select(db, "SELECT seq, record FROM messages WHERE seq = ?1 AND in_doubt", [seq])?;
    let Some((seq, message)) = found.filter(|(_, message)| message.ids.upstream.is_none()) else { return Ok(None) };
    let tried = first_tried(db, seq, &message)?;
    let early = early(db, likeness, tried)?;
    let alone = early.iter().all(|orphan| subject(&orphan.fact) == subject(&sighting.fact));
    Ok((alone && sighting.fact.at >= tried).then_some((seq, message)))
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
    let early = early(writing.db, &likeness, first_tried(writing.db, seq, message)?)?;
    // Facts of two messages of the past: which of them is this one is not told.
    let about = |orphan: &Orphan, first: &Orphan| subject(&orphan.fact) == subject(&first.fact);
    let one = early.first().is_some_and(|first| early.iter().all(|orphan| about(orphan, first)));
    for orphan in early.into_iter().filter(|_| one) {
        if orphan.trust == Trust::Claimed {
            // Reading back tells whether the claim is true, and brings the ids for which it waits.
            writing.news.claim(&orphan.fact);
            continue;
        }
        rows::fold(writing, message, &orphan.fact)?;
        writing.db.prepare_cached("DELETE FROM orphans WHERE seq = ?1")?.execute([orphan.seq])?;
    }
    Ok(())
}

/// Facts with this likeness that wait for their message and are not from before this time.
fn early(db: &Connection, likeness: &Likeness, from: Timestamp) -> Result<Vec<Orphan>, StoreError> {
    let sql = "SELECT seq, fact, proven FROM orphans WHERE likeness = ?1 ORDER BY seq";
    let mut early = orphans::select(db, sql, [likeness.as_bytes()])?;
    early.retain(|orphan| orphan.fact.at >= from);
    Ok(early)
}

/// Which message of the other side a fact is about.
fn subject(fact: &Fact) -> (Option<&UpstreamId>, Option<&ExternalId>) {
    // The provider's id comes later than the other one, and only one of them has to be there.
    let upstream = fact.ids.upstream.as_ref();
    (upstream, if upstream.is_some() { None } else { fact.ids.external.as_ref() })
}

/// Nothing from before this time can be about the message.
fn first_tried(db: &Connection, seq: i64, message: &Message) -> Result<Timestamp, StoreError> {
    let sql = "SELECT first_attempt FROM outbox WHERE seq = ?1 AND first_attempt IS NOT NULL";
    let micros: Option<i64> = db.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?;
    let tried = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
    // Of a queued message whose row is gone only the doubt is known, which came later: rather too little than too much.
    let tried = tried.or_else(|| match message.origins.handoff {
        Handoff::Queued => message.times.get(Status::InDoubt),
        Handoff::Direct => None,
    });
    Ok(tried.unwrap_or(message.origins.create_time).saturating_sub(CLOCKS).unwrap_or(Timestamp::MIN))
}

/// The only message with this likeness that is not settled: pending, in doubt, or waiting in the outbox.
fn only_unsettled(db: &Connection, likeness: &Likeness) -> Result<Option<i64>, StoreError> {
    let mut statement = db.prepare_cached(
        "SELECT seq FROM messages WHERE in_doubt AND likeness = ?1
         UNION SELECT seq FROM messages WHERE pending AND likeness = ?1
         UNION SELECT seq FROM outbox CROSS JOIN messages USING (seq) WHERE outbox.leased AND likeness = ?1
         LIMIT 2",
    )?;
    let found: Vec<i64> =
        statement.query_map([likeness.as_bytes()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(if let [seq] = found[..] { Some(seq) } else { None })
}
