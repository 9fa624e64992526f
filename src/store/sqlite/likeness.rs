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
        ids::MessageId,
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

/// More facts than this that look the same are not looked through: they may be about more than one message.
const MOST_ALIKE: usize = 32;

/// What a message may be recognised by.
pub(super) fn of(db: &Connection, id: MessageId) -> Result<Option<Likeness>, StoreError> {
    let sql = "SELECT likeness FROM messages WHERE message_id = ?1 AND likeness IS NOT NULL";
    let found: Option<[u8; 16]> = db.prepare_cached(sql)?.query_row([id.as_bytes()], |row| row.get(0)).optional()?;
    Ok(found.map(Likeness::from_bytes))
}

/// The one message in doubt that a sighting is about, if it tells of a likeness, no other unsettled message has the same
/// one (that one's answer may be on its way), nothing of the same subject was before it, and no other fact waits that may be
/// about it as well. Of what is proven no claim makes a doubt.
pub(super) fn doubtful(db: &Connection, sighting: &Sighting) -> Result<Option<(i64, Message)>, StoreError> {
    let Some(likeness) = &sighting.likeness else { return Ok(None) };
    let Some(seq) = only_unsettled(db, likeness)? else { return Ok(None) };
    let found = rows::select(db, "SELECT seq, record FROM messages WHERE seq = ?1 AND in_doubt", [seq])?;
    let Some((seq, message)) = found.filter(|(_, message)| message.ids.upstream.is_none()) else { return Ok(None) };
    let tried = first_tried(db, seq, &message)?;
    let about = subject(&sighting.fact);
    if sighting.fact.at < tried || is_from_before(db, likeness, &about, sighting.trust, tried)? {
        return Ok(None);
    }
    let alone = match told_of(db, likeness, sighting.trust, tried)? {
        Told::Nothing => true,
        Told::Of(subject) => subject == about,
        Told::OfSeveral => false,
    };
    Ok(alone.then_some((seq, message)))
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
    let tried = first_tried(writing.db, seq, message)?;
    let proven = told_of(writing.db, &likeness, Trust::Proven, tried)?;
    let (trust, told) = match proven {
        Told::Nothing => (Trust::Claimed, told_of(writing.db, &likeness, Trust::Claimed, tried)?),
        told => (Trust::Proven, told),
    };
    // Facts of two messages of the past: which of them is this one is not told.
    let Told::Of(subject) = told else { return Ok(()) };
    for orphan in early(writing.db, &likeness, &subject, trust)? {
        if orphan.trust != Trust::Proven {
            // Reading back tells whether the claim is true, and brings the ids for which it waits.
            writing.news.claim(&orphan.fact);
            continue;
        }
        rows::fold(writing, message, &orphan.fact)?;
        writing.db.prepare_cached("DELETE FROM orphans WHERE seq = ?1")?.execute([orphan.seq])?;
    }
    Ok(())
}

/// What the facts that look the same are about.
enum Told {
    Nothing,
    Of(String),
    OfSeveral,
}

/// What facts with this likeness are about that wait and whose subject is not from before this time; for what is proven
/// only those that are proven as well.
fn told_of(db: &Connection, likeness: &Likeness, trust: Trust, from: Timestamp) -> Result<Told, StoreError> {
    let sql = match trust {
        Trust::Proven => {
            "SELECT subject FROM orphans
             WHERE likeness = ?1 AND proven = 2 AND at >= ?2 LIMIT ?3"
        }
        Trust::Named | Trust::Claimed => {
            "SELECT subject FROM orphans
             WHERE likeness = ?1 AND proven IN (0, 1, 2) AND at >= ?2 LIMIT ?3"
        }
    };
    let mut statement = db.prepare_cached(sql)?;
    let most = MOST_ALIKE as i64 + 1;
    let mut rows = statement.query((likeness.as_bytes(), from.as_microsecond(), most))?;
    let (mut told, mut looked_at) = (Told::Nothing, 0);
    while let Some(row) = rows.next()? {
        let subject: String = row.get(0)?;
        looked_at += 1;
        match &told {
            Told::Of(known) if *known == subject => {}
            _ if is_from_before(db, likeness, &subject, trust, from)? => {}
            Told::Nothing => told = Told::Of(subject),
            Told::Of(_) | Told::OfSeveral => return Ok(Told::OfSeveral),
        }
    }
    Ok(if looked_at > MOST_ALIKE { Told::OfSeveral } else { told })
}

/// Facts with this likeness and subject that wait, in the order in which they came; for what is proven only those that are
/// proven as well.
fn early(db: &Connection, likeness: &Likeness, subject: &str, trust: Trust) -> Result<Vec<Orphan>, StoreError> {
    let sql = match trust {
        Trust::Proven => {
            "SELECT seq, fact, proven FROM orphans
             WHERE likeness = ?1 AND subject = ?2 AND proven = 2 ORDER BY seq"
        }
        Trust::Named | Trust::Claimed => {
            "SELECT seq, fact, proven FROM orphans
             WHERE likeness = ?1 AND subject = ?2 AND proven IN (0, 1, 2) ORDER BY seq"
        }
    };
    orphans::select(db, sql, (likeness.as_bytes(), subject))
}

/// Whether a fact with this likeness and subject waits that is from before this time. A fact for which no time is told has
/// that at which it was learned, which tells nothing; the others of its subject do.
fn is_from_before(
    db: &Connection,
    likeness: &Likeness,
    subject: &str,
    trust: Trust,
    time: Timestamp,
) -> Result<bool, StoreError> {
    let sql = match trust {
        Trust::Proven => {
            "SELECT EXISTS (SELECT 1 FROM orphans
                            WHERE likeness = ?1 AND subject = ?2 AND proven = 2 AND at < ?3)"
        }
        Trust::Named | Trust::Claimed => {
            "SELECT EXISTS (SELECT 1 FROM orphans
                            WHERE likeness = ?1 AND subject = ?2 AND proven IN (0, 1, 2) AND at < ?3)"
        }
    };
    let params = (likeness.as_bytes(), subject, time.as_microsecond());
    Ok(db.prepare_cached(sql)?.query_row(params, |row| row.get(0))?)
}

/// Which message of the other side a fact is about, as the column of that name has it.
fn subject(fact: &Fact) -> String {
    // The provider's id comes later than the other one, and only one of them has to be there.
    match (&fact.ids.upstream, &fact.ids.external) {
        (Some(upstream), _) => format!("u{}", upstream.as_str()),
        (None, Some(external)) => format!("e{}", external.as_str()),
        (None, None) => String::new(),
    }
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
         UNION SELECT seq FROM messages INDEXED BY messages_pending_alike WHERE pending AND likeness = ?1
         UNION SELECT seq FROM outbox CROSS JOIN messages USING (seq) WHERE outbox.leased AND likeness = ?1
         LIMIT 2",
    )?;
    let found: Vec<i64> =
        statement.query_map([likeness.as_bytes()], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(if let [seq] = found[..] { Some(seq) } else { None })
}
