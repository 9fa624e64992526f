//! A caller's messages by age, inside a read.

use rusqlite::{Connection, params};

use super::super::{Listing, StoreError};
use crate::domain::message::Message;

/// The caller's messages in a range of ids, greatest id first.
pub(super) fn list(db: &Connection, listing: &Listing) -> Result<Vec<Message>, StoreError> {
    let Listing { caller, ids, limit } = listing;
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let mut statement = db.prepare_cached(
        "SELECT record FROM messages WHERE caller = ?1 AND message_id >= ?2 AND message_id < ?3
         ORDER BY message_id DESC LIMIT ?4",
    )?;
    let parameters = params![caller.as_str(), ids.start.as_bytes(), ids.end.as_bytes(), limit];
    let rows = statement.query_map(parameters, |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}
