//! Writes that share a commit: what fails, fails alone.

use std::pin::pin;

use futures_util::{
    future::{join_all, maybe_done},
    poll,
};
use pilotgate::{
    domain::{
        message::Message,
        status::Status::{InDoubt, Pending, Queued, Sent},
    },
    store::StoreError,
};
use rusqlite::Connection;

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{draft, failed, id, ids, main, of, reached, send, settled, sightings, times, trail},
};

#[tokio::test]
async fn a_write_on_a_damaged_row_spoils_no_other() {
    let place = Sqlite::new();
    let store = place.open().await;
    for n in 1..=15 {
        store.accept(draft(n)).await.unwrap();
    }
    store.close().await;
    spoil(&place, 8);
    let store = place.open().await;

    // As long as somebody else holds the file, the thread waits with the first writes and the others queue behind them.
    // Wherever the line between the two lies, the spoiled write shares its commit with others.
    let held = Connection::open(place.place.path().join("pilotgate.db")).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut writes = pin!(maybe_done(join_all((1..=15).map(|n| store.settle(id(n), settled(reached(InDoubt, 1)))))));
    let _ = poll!(writes.as_mut());
    held.execute_batch("ROLLBACK").unwrap();
    writes.as_mut().await;
    for (written, n) in writes.take_output().unwrap().into_iter().zip(1..) {
        if n == 8 {
            let StoreError::Failed(text) = written.unwrap_err() else { panic!("not known whether it happened") };
            assert!(text.starts_with("a stored record cannot be read: "), "{text}");
        } else {
            let expected = Message {
                status: InDoubt,
                times: times(&[(Pending, 0), (InDoubt, 1)]),
                attempts: 1,
                ..Message::accepted(draft(n).origins)
            };
            assert_eq!(written, Ok(expected));
        }
    }
    let told = trail(&*store).await;
    let expected: Vec<_> = (1..=15).filter(|n| *n != 8).map(|n| (id(n), Some(InDoubt), InDoubt)).collect();
    assert_eq!(told[15..], expected);
    store.close().await;
}

#[tokio::test]
async fn of_facts_recorded_together_one_that_fails_keeps_out_all() {
    let place = Sqlite::new();
    let store = place.open().await;
    let first = send(&*store, draft(1), ids("u1", "-", "-")).await;
    send(&*store, draft(2), ids("u2", "-", "-")).await;
    store.close().await;
    spoil(&place, 2);
    let store = place.open().await;
    let before = trail(&*store).await;
    let (good, early) = (of(ids("u1", "-", "-"), reached(Sent, 2)), of(ids("u3", "-", "-"), failed("NOT_SENT", 2)));
    let bad = of(ids("u2", "-", "-"), reached(Sent, 2));
    let told = store.record(&main(), sightings([good, early, bad])).await;
    assert!(matches!(told, Err(StoreError::Failed(_))), "{told:?}");
    assert_eq!(trail(&*store).await, before);
    assert_eq!(store.message(id(1)).await, Ok(Some(first)));
    // The early one was not kept either: it would be a failure now.
    assert_eq!(send(&*store, draft(3), ids("u3", "-", "-")).await.status, Queued);
    store.close().await;
}

fn spoil(place: &Sqlite, n: u128) {
    let db = Connection::open(place.place.path().join("pilotgate.db")).unwrap();
    let changed = db.execute("UPDATE messages SET record = '{' WHERE message_id = ?1", [id(n).as_bytes()]);
    assert_eq!(changed, Ok(1));
}
