//! The data directory: its permissions, its lock, and the look at the file before anything is changed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    super::OpenError,
    schema::{self, Found},
};

/// Files up to this size are checked page by page when opened; larger ones would delay the start too long.
const CHECKED_SIZE: u64 = 64 << 20;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A locked data directory.
pub(super) struct DataDirectory {
    database: PathBuf,
    lock: File,
}

impl Drop for DataDirectory {
    /// Closing the file would not do: a process that was forked meanwhile holds it open until it runs its own program.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

impl DataDirectory {
    /// Creates the directory if needed and takes its lock.
    pub(super) fn lock(directory: &Path) -> Result<Self, OpenError> {
        let io = |error: io::Error| OpenError::Io { path: directory.to_owned(), detail: error.to_string() };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
        let lock = private().truncate(false).open(directory.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { database: directory.join("pilotgate.db"), lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Opens for writing, after a look that changes nothing; creates or migrates the schema.
    pub(super) fn open_writer(&self) -> Result<Connection, OpenError> {
        self.look()?;
        // SQLite would create the file readable for everyone.
        private().truncate(false).open(&self.database).map_err(|error| self.io(error.to_string()))?;
        let damaged = |error: rusqlite::Error| self.damaged(error.to_string());
        let mut db =
            Connection::open_with_flags(&self.database, flags(OpenFlags::SQLITE_OPEN_READ_WRITE)).map_err(damaged)?;
        // Should the file be refused below, closing must not write to it either.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(damaged)?;
        let version = match schema::inspect(&db).map_err(damaged)? {
            Found::Empty => 0,
            Found::Version(version) => self.known(version)?,
            Found::Foreign => return Err(self.damaged("it belongs to another program".to_owned())),
        };
        self.check_pages(&db)?;
        // Bodies are erased when they are no longer needed, and so is what they leave behind in free pages.
        db.execute_batch(
            "PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 67108864;",
        )
        .map_err(damaged)?;
        if version < schema::VERSION {
            schema::migrate(&mut db, version).map_err(|error| self.io(error.to_string()))?;
            // The version in the file itself, not only in the WAL, is what a look can see.
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(damaged)?;
        }
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(damaged)?;
        prepare_once(&db).map_err(damaged)?;
        Ok(db)
    }

    /// Opens for reading.
    pub(super) fn open_reader(&self) -> Result<Connection, OpenError> {
        let open = || {
            let db = Connection::open_with_flags(&self.database, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
            db.busy_timeout(Duration::from_secs(5))?;
            prepare_once(&db)?;
            Ok(db)
        };
        open().map_err(|error: rusqlite::Error| self.damaged(error.to_string()))
    }

    /// Reads the header without SQLite, so that a file which is refused stays as it is to the byte.
    fn look(&self) -> Result<(), OpenError> {
        let mut header = Vec::with_capacity(100);
        let file = match File::open(&self.database) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.io(error.to_string())),
        };
        let length = file.metadata().map_err(|error| self.io(error.to_string()))?.len();
        file.take(100).read_to_end(&mut header).map_err(|error| self.io(error.to_string()))?;
        match header.as_slice() {
            [] => Ok(()),
            header if header.len() == 100 && header.starts_with(MAGIC) => {
                let field = |at: usize| {
                    i64::from(u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
                };
                let page = match u64::from(u16::from_be_bytes([header[16], header[17]])) {
                    1 => 1 << 16,
                    size => size,
                };
                // SQLite would read the missing end of the last page as zeros. Only a crash leaves it like that, and
                // then the whole page is in the WAL.
                if length.checked_rem(page) != Some(0) && !self.database.with_extension("db-wal").exists() {
                    return Err(self.damaged("it ends within a page".to_owned()));
                }
                // Another program counts versions of its own.
                if field(68) == schema::APPLICATION_ID { self.known(field(60)).map(|_| ()) } else { Ok(()) }
            }
            _ => Err(self.damaged("it does not start like a database".to_owned())),
        }
    }

    fn check_pages(&self, db: &Connection) -> Result<(), OpenError> {
        let size = fs::metadata(&self.database).map_or(0, |metadata| metadata.len());
        if size == 0 || size > CHECKED_SIZE {
            return Ok(());
        }
        let verdict: String = db
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| self.damaged(error.to_string()))?;
        if verdict == "ok" { Ok(()) } else { Err(self.damaged(verdict)) }
    }

    fn known(&self, version: i64) -> Result<i64, OpenError> {
        if version <= schema::VERSION {
            Ok(version)
        } else {
            Err(OpenError::Newer { path: self.database.clone(), found: version, known: schema::VERSION })
        }
    }

    pub(super) fn damaged(&self, detail: String) -> OpenError {
        OpenError::Damaged { path: self.database.clone(), detail }
    }

    pub(super) fn io(&self, detail: String) -> OpenError {
        OpenError::Io { path: self.database.clone(), detail }
    }
}

/// Keeps prepared statements. Without the planner's stability guarantee, SQLite plans a statement that could use a partial
/// index anew for each set of values.
fn prepare_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(128);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

fn flags(access: OpenFlags) -> OpenFlags {
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE
}
