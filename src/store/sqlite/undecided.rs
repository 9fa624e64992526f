//! Messages that are not decided yet.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    super::{Hasten, Hastened, StoreError, Undecided, UndecidedPage, UndecidedQuery, UndecidedRow},
    audit,
};
use crate::domain::message::Message;

/// What waits in the outbox, what is in doubt, and what is being handed over right now. Each part is cut before they are put
/// together, so that no more rows are read than are asked for.
const CANDIDATES: &str = "
    SELECT seq, record, due, expires, leased, first FROM (
        SELECT seq FROM (SELECT seq FROM outbox WHERE seq > ?1 ORDER BY seq LIMIT ?2)
        UNION SELECT seq FROM (SELECT seq FROM messages WHERE in_doubt AND seq > ?1 ORDER BY seq LIMIT ?2)
        UNION SELECT seq FROM (SELECT seq FROM messages WHERE pending AND seq > ?1 ORDER BY seq LIMIT ?2)
        ORDER BY seq LIMIT ?2
    ) JOIN messages USING (seq) LEFT JOIN outbox USING (seq) ORDER BY seq";

pub(super) fn page(db: &Connection, query: &UndecidedQuery) -> Result<UndecidedPage, StoreError> {
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(CANDIDATES)?;
    let rows = statement.query_map((query.after, limit), read)?;
    let (mut found, mut last, mut looked_at) = (Vec::new(), None, 0);
    for row in rows {
        let (seq, record, row) = row?;
        let message: Message = serde_json::from_str(&record)?;
        (last, looked_at) = (Some(seq), looked_at + 1);
        let origins = &message.origins;
        let wanted = message.status.is_unsettled()
            && query.number.as_ref().is_none_or(|number| *number == origins.number)
            && query.caller.as_ref().is_none_or(|caller| *caller == origins.caller)
            && query.status.is_none_or(|status| status == message.status);
        if wanted {
            found.push(Undecided { message, row });
        }
    }
    Ok(UndecidedPage { found, last: last.filter(|_| looked_at == query.limit) })
}

pub(super) fn hasten(db: &Connection, hasten: &Hasten) -> Result<Hastened, StoreError> {
    let found = db
        .prepare_cached(
            "SELECT seq, record, due, expires, leased, first FROM outbox JOIN messages USING (seq) WHERE message_id = ?1",
        )?
        .query_row([hasten.id.as_bytes()], read)
        .optional()?;
    let Some((seq, record, Some(row))) = found else { return Ok(Hastened::Absent) };
    if row.leased {
        return Ok(Hastened::Leased);
    }
    db.prepare_cached("UPDATE outbox SET due = min(due, ?2) WHERE seq = ?1")?
        .execute((seq, hasten.at.as_microsecond()))?;
    audit::append(db, std::slice::from_ref(&hasten.act))?;
    let row = UndecidedRow { due: row.due.min(hasten.at), ..row };
    Ok(Hastened::Due(Box::new(Undecided { message: serde_json::from_str(&record)?, row: Some(row) })))
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, String, Option<UndecidedRow>)> {
    let time = |micros| Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    let due: Option<i64> = row.get(2)?;
    let outbox = match due {
        None => None,
        Some(due) => {
            Some(UndecidedRow { due: time(due), expires: time(row.get(3)?), leased: row.get(4)?, first: row.get(5)? })
        }
    };
    Ok((row.get(0)?, row.get(1)?, outbox))
}
