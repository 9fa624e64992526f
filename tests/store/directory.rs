//! The data directory: closed to others, owned by one store, and whole after closing.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use pilotgate::{
    domain::{
        audit::Link,
        message::Message,
        quota::{Limit, Subject, Window},
        record::{RecordKey, RecordKind},
        secret::Sealed,
        status::Status,
    },
    store::{self, Accepted, Change, Draft, OpenError, Options, Record, Settlement},
};

use crate::{
    conformance::audit,
    fixtures::{at, draft, failed, id, ids, lease, log, main, of, queued, reached, send, settled, short},
};

#[tokio::test]
async fn is_made_for_its_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("var").join("data");
    let store = store::open(Options::at(&directory)).await.unwrap();
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!(mode(&directory), 0o700);
    let mut modes: Vec<_> = names(&directory).into_iter().map(|name| (mode(&directory.join(&name)), name)).collect();
    modes.sort();
    let expected = ["lock", "pilotgate.db", "pilotgate.db-shm", "pilotgate.db-wal"];
    assert_eq!(modes, expected.map(|name| (0o600, name.to_owned())));
    store.close().await;
}

#[tokio::test]
async fn belongs_to_one_store_at_a_time() {
    let place = tempfile::tempdir().unwrap();
    let first = store::open(Options::at(place.path())).await.unwrap();
    let Err(error) = store::open(Options::at(place.path())).await else { panic!("opened twice") };
    assert!(matches!(&error, OpenError::InUse(path) if path == place.path()), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "the data directory {} is in use by another pilotgate; stop that one or choose another directory",
            place.path().display()
        )
    );
    let expected = Accepted::New(Message::accepted(draft(1).origins));
    assert_eq!(first.accept(draft(1)).await, Ok(expected), "the first goes on");
    first.close().await;
    let second = store::open(Options::at(place.path())).await.unwrap();
    assert_eq!(second.message(id(1)).await, Ok(Some(Message::accepted(draft(1).origins))));
    second.close().await;
}

#[tokio::test]
async fn holds_everything_in_one_file_after_closing() {
    let (place, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store::open(Options::at(place.path())).await.unwrap();
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    let told = log(&*store).await;
    store.close().await;
    assert_eq!(names(place.path()), ["lock", "pilotgate.db"]);
    fs::copy(place.path().join("pilotgate.db"), copy.path().join("pilotgate.db")).unwrap();
    let restored = store::open(Options::at(copy.path())).await.unwrap();
    assert_eq!(log(&*restored).await, told);
    assert_eq!(restored.epoch(), store.epoch());
    restored.close().await;
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn of_the_first_version_is_brought_up_to_date_with_all_that_is_in_it() {
    let place = tempfile::tempdir().unwrap();
    let message = Message::accepted(draft(1).origins);
    {
        let older = rusqlite::Connection::open(place.path().join("pilotgate.db")).unwrap();
        older.execute_batch(include_str!("../../src/store/sqlite/0001_messages_and_log.sql")).unwrap();
        older.execute_batch("PRAGMA application_id = 0x50474154; PRAGMA user_version = 1").unwrap();
        older.execute("INSERT INTO log VALUES (1, ?1, ?2, 0)", ([7_u8; 8], [8_u8; 32])).unwrap();
        older
            .execute(
                "INSERT INTO messages (message_id, caller, number, fingerprint, pending, record)
                 VALUES (?1, 'orders', 'main', ?2, 1, ?3)",
                (id(1).as_bytes(), [1_u8; 32], serde_json::to_string(&message).unwrap()),
            )
            .unwrap();
    }
    let store = store::open(Options::at(place.path())).await.unwrap();
    assert_eq!(store.pending(10).await, Ok(vec![message]));
    assert_eq!((store.epoch().0, store.cursor_key()), (u64::from_be_bytes([7; 8]), [8; 32]));
    // What came with the newer version works on what was there before, too.
    let sent = store.settle(id(1), settled(of(ids("u1", "-", "-"), reached(Status::Queued, 1)))).await.unwrap();
    assert_eq!(sent.status, Status::Queued);
    store.accept(queued(2, "+5511999990001", 500)).await.unwrap();
    assert_eq!(short(&lease(&*store, 1, 10, 10).await), [(id(2), 1)]);
    store.close().await;
}

#[tokio::test]
async fn of_an_older_version_what_may_still_be_contradicted_is_read_back() {
    let place = tempfile::tempdir().unwrap();
    {
        let older = rusqlite::Connection::open(place.path().join("pilotgate.db")).unwrap();
        for sql in [
            include_str!("../../src/store/sqlite/0001_messages_and_log.sql"),
            include_str!("../../src/store/sqlite/0002_outbox.sql"),
            include_str!("../../src/store/sqlite/0003_inbound_checks_subscriptions.sql"),
            include_str!("../../src/store/sqlite/0004_claims.sql"),
            "PRAGMA application_id = 0x50474154; PRAGMA user_version = 4",
        ] {
            older.execute_batch(sql).unwrap();
        }
        for (n, code) in [(1, "DELIVERED_NOT_CONFIRMED"), (2, "WHATSAPP_NOT_EXIST")] {
            let mut message = Message::accepted(draft(n).origins);
            message.merge(&failed(code, 1));
            older
                .execute(
                    "INSERT INTO messages (message_id, caller, number, fingerprint, pending, record)
                     VALUES (?1, 'orders', 'main', ?2, 0, ?3)",
                    (id(n).as_bytes(), [1_u8; 32], serde_json::to_string(&message).unwrap()),
                )
                .unwrap();
        }
    }
    let store = store::open(Options::at(place.path())).await.unwrap();
    let due = store.checks(&main(), at(1), 10).await.unwrap().due;
    assert_eq!(due.iter().map(|due| due.message.origins.message_id).collect::<Vec<_>>(), [id(1)]);
    store.close().await;
}

#[tokio::test]
async fn of_the_fifth_version_keeps_no_records_and_takes_them() {
    let place = tempfile::tempdir().unwrap();
    let message = Message::accepted(draft(1).origins);
    {
        let older = rusqlite::Connection::open(place.path().join("pilotgate.db")).unwrap();
        for sql in [
            include_str!("../../src/store/sqlite/0001_messages_and_log.sql"),
            include_str!("../../src/store/sqlite/0002_outbox.sql"),
            include_str!("../../src/store/sqlite/0003_inbound_checks_subscriptions.sql"),
            include_str!("../../src/store/sqlite/0004_claims.sql"),
            include_str!("../../src/store/sqlite/0005_doubts.sql"),
            "PRAGMA application_id = 0x50474154; PRAGMA user_version = 5",
        ] {
            older.execute_batch(sql).unwrap();
        }
        older.execute("INSERT INTO log VALUES (1, ?1, ?2, 0)", ([7_u8; 8], [8_u8; 32])).unwrap();
        older
            .execute(
                "INSERT INTO messages (message_id, caller, number, fingerprint, pending, record)
                 VALUES (?1, 'orders', 'main', ?2, 1, ?3)",
                (id(1).as_bytes(), [1_u8; 32], serde_json::to_string(&message).unwrap()),
            )
            .unwrap();
    }
    let store = store::open(Options::at(place.path())).await.unwrap();
    assert_eq!((store.epoch().0, store.cursor_key()), (u64::from_be_bytes([7; 8]), [8; 32]));
    assert_eq!((store.records().await, store.checkpoints().await), (Ok(Vec::new()), Ok(Vec::new())));
    let ends = store.audit_ends().await.unwrap();
    assert_eq!((ends.trimmed, ends.anchor, ends.head), (0, Link::START, 0));
    let told = audit::act(1, "orders", "message.attempt", "message/1");
    let settlement = Settlement { audit: Some(told.clone()), ..settled(reached(Status::Queued, 1)) };
    store.settle(id(1), settlement).await.unwrap();
    let key = RecordKey::of(RecordKind::Caller, "orders");
    let record = Record { key, version: 1, sealed: Sealed::from_bytes(vec![1; 40]) };
    store.change(Change { puts: vec![(record.clone(), None)], ..Change::default() }).await.unwrap();
    let limits = vec![Limit { subject: Subject::Number(main()), window: Window::Day, most: 1 }];
    store.accept(Draft { limits: limits.clone(), ..draft(2) }).await.unwrap();
    store.close().await;
    let store = store::open(Options::at(place.path())).await.unwrap();
    assert_eq!(audit::entries(&*store).await[0].act().unwrap(), told);
    assert_eq!(store.records().await, Ok(vec![record]));
    assert_eq!(store.used(limits, at(0)).await, Ok(vec![1]));
    store.close().await;
}
