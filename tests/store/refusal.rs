//! Files that are no store, or none for this version: refused, explained, and left as they are to the byte.

use std::{fs, path::PathBuf};

use pilotgate::store::{self, OpenError, Options};
use rusqlite::Connection;

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{draft, ids, log, send},
};

/// What SQLite takes when it is not told otherwise.
const PAGE: usize = 4096;

#[tokio::test]
async fn garbage() {
    let not_a_database = [b"x".to_vec(), b"to whom it may concern\n".repeat(500), b"SQLite format 3\0".to_vec()];
    for bytes in not_a_database {
        let place = Sqlite::new();
        fs::write(place.database(), bytes).unwrap();
        let error = refused(&place).await;
        assert_eq!(error.to_string(), place.damaged("it does not start like a database"));
        assert!(matches!(error, OpenError::Damaged { path, .. } if path == place.database()));
    }
    let place = Sqlite::new();
    fs::write(place.database(), [b"SQLite format 3\0".to_vec(), b"x".repeat(8000)].concat()).unwrap();
    assert_damaged(&place).await;
}

#[tokio::test]
async fn the_database_of_another_program() {
    let others = [
        "CREATE TABLE songs (title TEXT)",
        "CREATE TABLE songs (title TEXT); PRAGMA user_version = 40",
        "PRAGMA application_id = 7",
        "PRAGMA user_version = 1",
        "PRAGMA application_id = 7; PRAGMA user_version = 40",
    ];
    for other in others {
        let place = Sqlite::new();
        place.change(other);
        let error = refused(&place).await;
        assert_eq!(error.to_string(), place.damaged("it belongs to another program"), "{other}");
    }
}

#[tokio::test]
async fn a_truncated_database() {
    let whole = filled().await;
    let bytes = fs::read(whole.database()).unwrap();
    for length in [1, 50, 99, 100, 1000, PAGE, PAGE + 1, bytes.len() / 2, bytes.len() - PAGE, bytes.len() - 1] {
        let place = Sqlite::new();
        fs::write(place.database(), &bytes[..length]).unwrap();
        assert_damaged(&place).await;
    }
}

#[tokio::test]
async fn a_database_with_a_spoiled_page() {
    let whole = filled().await;
    let bytes = fs::read(whole.database()).unwrap();
    let pages = bytes.len() / PAGE;
    assert!(pages > 20, "only {pages} pages");
    for page in 0..pages {
        let place = Sqlite::new();
        let mut spoiled = bytes.clone();
        for byte in &mut spoiled[page * PAGE..(page + 1) * PAGE] {
            *byte = !*byte;
        }
        fs::write(place.database(), spoiled).unwrap();
        assert_damaged(&place).await;
    }
}

#[tokio::test]
async fn a_store_of_a_newer_version() {
    let place = filled().await;
    place.change("PRAGMA user_version = 7");
    let error = refused(&place).await;
    assert!(matches!(&error, OpenError::Newer { found: 7, known: 6, path } if *path == place.database()), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "the store {} has schema version 7, but this pilotgate knows up to 6; it was left untouched, start the \
             newer version instead",
            place.database().display()
        )
    );
}

#[tokio::test]
async fn a_store_whose_newer_version_is_not_in_the_file_yet() {
    let (source, place) = (filled().await, Sqlite::new());
    let newer = Connection::open(source.database()).unwrap();
    newer.pragma_update(None, "user_version", 7).unwrap();
    // As after a crash: the WAL still holds the change, and nobody has the file open.
    for file in ["pilotgate.db", "pilotgate.db-wal"] {
        fs::copy(source.place.path().join(file), place.place.path().join(file)).unwrap();
    }
    let error = refused(&place).await;
    assert!(matches!(error, OpenError::Newer { found: 7, known: 6, .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_refused_opens_again_once_it_is_restored() {
    let place = filled().await;
    let bytes = fs::read(place.database()).unwrap();
    fs::write(place.database(), &bytes[..PAGE]).unwrap();
    assert_damaged(&place).await;
    fs::write(place.database(), &bytes).unwrap();
    let store = place.open().await;
    assert_eq!(log(&*store).await.len(), 120);
    store.close().await;
}

impl Sqlite {
    fn database(&self) -> PathBuf {
        self.place.path().join("pilotgate.db")
    }

    /// Changes the file as somebody else would.
    fn change(&self, sql: &str) {
        Connection::open(self.database()).unwrap().execute_batch(sql).unwrap();
    }

    fn damaged(&self, detail: &str) -> String {
        format!(
            "the store {} is damaged or is not a pilotgate store ({detail}); it was left untouched, restore a backup",
            self.database().display()
        )
    }
}

async fn assert_damaged(place: &Sqlite) {
    let error = refused(place).await;
    let OpenError::Damaged { detail, .. } = &error else { panic!("{error:?}") };
    assert_eq!(error.to_string(), place.damaged(detail));
}

/// Why it was refused. The file is as it was.
async fn refused(place: &Sqlite) -> OpenError {
    let before = fs::read(place.database()).unwrap();
    let Err(error) = store::open(Options::at(place.place.path())).await else { panic!("opened") };
    assert!(fs::read(place.database()).unwrap() == before, "the file was changed");
    error
}

/// A store of sixty messages, closed.
async fn filled() -> Sqlite {
    let place = Sqlite::new();
    let store = place.open().await;
    for n in 1..=60 {
        send(&*store, draft(n), ids(&format!("u{n}"), &format!("c{n}"), &format!("e{n}"))).await;
    }
    store.close().await;
    place
}
