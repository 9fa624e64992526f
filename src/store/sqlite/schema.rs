//! The tables, and how an older file becomes a current one.

use rusqlite::{Connection, OptionalExtension};

/// `PRAGMA application_id` of our files: the letters "PGAT".
pub(super) const APPLICATION_ID: i64 = 0x5047_4154;

/// Each entry takes the schema one version up. Entries are never changed once released, only added.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_messages_and_log.sql"),
    include_str!("0002_outbox.sql"),
    include_str!("0003_inbound_checks_subscriptions.sql"),
    include_str!("0004_claims.sql"),
    include_str!("0005_doubts.sql"),
    include_str!("0006_registry_audit_quotas.sql"),
];

/// The newest version that this build knows.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// What a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing yet.
    Empty,
    /// Ours, at this version.
    Version(i64),
    /// Somebody else's database.
    Foreign,
}

/// Looks without changing anything.
pub(super) fn inspect(db: &Connection) -> rusqlite::Result<Found> {
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match (application, tables) {
        (APPLICATION_ID, _) => Found::Version(version),
        (0, 0) if version == 0 => Found::Empty,
        _ => Found::Foreign,
    })
}

/// Brings the schema from `version` to the newest, in one transaction, and draws the log's identity if it has none.
pub(super) fn migrate(db: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let tx = db.transaction()?;
    for (step, sql) in MIGRATIONS.iter().enumerate().skip(usize::try_from(version).unwrap_or_default()) {
        tx.execute_batch(sql)?;
        tx.pragma_update(None, "user_version", step as i64 + 1)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    let identified = tx.query_row("SELECT 1 FROM log WHERE id = 1", [], |_| Ok(())).optional()?.is_some();
    if !identified {
        let mut identity = [0_u8; 40];
        getrandom::fill(&mut identity).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        tx.execute(
            "INSERT INTO log (id, epoch, cursor_key, trimmed) VALUES (1, ?1, ?2, 0)",
            (&identity[..8], &identity[8..]),
        )?;
    }
    tx.commit()
}
