//! What SQLite promises of the outbox besides: its bounds, what is left on disk, and that nothing is forgotten.

use std::{fs, path::Path};

use pilotgate::{
    domain::{
        failure::{Failure, FailureCode},
        message::Message,
        secret::Sealed,
        status::Status::{Canceled, InDoubt, Pending, Queued},
    },
    store::{self, Accepted, Expiry, Leases, Options, OutboxBounds, Store, Withdrawn},
};
use rusqlite::Connection;

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{REPLAY, again, at, body, claim, draft, gone, id, lease, queued, reached, short},
};

const ANA: &str = "+5511999990001";
const BEA: &str = "+5511999990002";

/// Rows, and what the store believes of them: how many, and how many bytes.
fn size(directory: &Path) -> [(i64, i64); 2] {
    let db = Connection::open(directory.join("pilotgate.db")).unwrap();
    let pair = |sql| db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    [
        pair("SELECT count(*), coalesce(sum(length(body)), 0) FROM outbox"),
        pair("SELECT messages, bytes FROM outbox_size"),
    ]
}

/// Whether any file of the directory holds these bytes.
fn holds(directory: &Path, text: &str) -> bool {
    let files = fs::read_dir(directory).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

async fn bounded(place: &Sqlite, messages: u64, bytes: u64) -> std::sync::Arc<dyn Store> {
    let outbox = OutboxBounds { messages, bytes };
    store::open(Options { outbox, ..place.options.clone() }).await.unwrap()
}

#[tokio::test]
async fn holds_so_many_messages_and_has_room_again_when_one_goes() {
    let place = Sqlite::new();
    let store = bounded(&place, 2, 1000).await;
    let request = |n, key: &str| {
        let mut draft = queued(n, ANA, 500);
        draft.origins.request_id = claim(n, "orders", key).origins.request_id;
        draft
    };
    for n in [1, 2] {
        assert!(matches!(store.accept(request(n, &format!("r{n}"))).await, Ok(Accepted::New(_))));
    }
    assert_eq!(store.accept(request(3, "r3")).await, Ok(Accepted::Full));
    assert_eq!(store.message(id(3)).await, Ok(None), "nothing was recorded");
    // What was accepted before is answered, and what needs no place is taken.
    let before = Message::accepted(request(1, "r1").origins);
    assert_eq!(store.accept(request(4, "r1")).await, Ok(Accepted::Before(before)));
    assert!(matches!(store.accept(draft(5)).await, Ok(Accepted::New(_))));

    let leased = lease(&*store, 0, 100, 1).await.leased.remove(0).lease;
    store.settle_lease(leased, again(reached(Pending, 1), 2, 500, false)).await.unwrap().unwrap();
    assert_eq!(store.accept(request(6, "r3")).await, Ok(Accepted::Full), "one that is put off keeps its place");
    let leased = lease(&*store, 2, 100, 1).await.leased.remove(0).lease;
    store.settle_lease(leased, gone(reached(Queued, 3))).await.unwrap().unwrap();
    assert!(matches!(store.accept(request(7, "r3")).await, Ok(Accepted::New(_))));
    assert_eq!(store.accept(request(8, "r4")).await, Ok(Accepted::Full));
    assert_eq!(size(place.place.path()), [(2, 12); 2]);
    store.close().await;
}

#[tokio::test]
async fn holds_so_many_bytes() {
    let place = Sqlite::new();
    let store = bounded(&place, 100, 20).await;
    let long = |n, length| {
        let mut draft = queued(n, ANA, 500);
        draft.queued.as_mut().unwrap().body = Sealed::from_bytes(vec![7; length]);
        draft
    };
    assert_eq!(store.accept(long(1, 21)).await, Ok(Accepted::Full), "however empty it is");
    assert!(matches!(store.accept(long(2, 12)).await, Ok(Accepted::New(_))));
    assert_eq!(store.accept(long(3, 9)).await, Ok(Accepted::Full));
    assert!(matches!(store.accept(long(4, 8)).await, Ok(Accepted::New(_))), "to the byte");
    assert_eq!(store.accept(long(5, 1)).await, Ok(Accepted::Full));
    assert!(matches!(store.withdraw(id(2), Pending, reached(Canceled, 1), None).await, Ok(Withdrawn::Done(_))));
    assert!(matches!(store.accept(long(6, 12)).await, Ok(Accepted::New(_))));
    assert_eq!(size(place.place.path()), [(2, 20); 2]);
    store.close().await;
}

#[tokio::test]
async fn a_body_goes_with_its_row_however_that_ends() {
    let place = Sqlite::new();
    let store = place.open().await;
    for (n, recipient, expires) in [(1, ANA, 500), (2, ANA, 500), (3, BEA, 10), (4, BEA, 500)] {
        store.accept(queued(n, recipient, expires)).await.unwrap();
    }
    // Longer than a page.
    let mut long = queued(5, ANA, 500);
    long.queued.as_mut().unwrap().body = Sealed::from_bytes(b"body 5".repeat(2000));
    store.accept(long).await.unwrap();
    assert!(matches!(store.withdraw(id(5), Pending, reached(Canceled, 1), None).await, Ok(Withdrawn::Done(_))));
    assert_eq!(size(place.place.path()), [(4, 24); 2]);
    let leased = lease(&*store, 0, 100, 1).await.leased.remove(0).lease;
    store.settle_lease(leased, gone(reached(Queued, 1))).await.unwrap().unwrap();
    assert_eq!(size(place.place.path()), [(3, 18); 2]);
    assert!(matches!(store.withdraw(id(2), Pending, reached(Canceled, 1), None).await, Ok(Withdrawn::Done(_))));
    assert_eq!(size(place.place.path()), [(2, 12); 2]);
    let failure = Failure::of_handoff(FailureCode::QueueExpired, "too late");
    let expiry = Expiry { at: at(20), forsaken: at(0), failure, limit: 10 };
    assert_eq!(store.expire(expiry).await.unwrap().messages.len(), 1);
    assert_eq!(size(place.place.path()), [(1, 6); 2]);
    store.close().await;
    assert_eq!(size(place.place.path()), [(1, 6); 2]);
    let left: Vec<_> = (1..=5).filter(|n| holds(place.place.path(), &format!("body {n}"))).collect();
    assert_eq!(left, [4], "deleted bodies are overwritten");
}

#[tokio::test]
async fn every_row_is_there_after_reopening() {
    let place = Sqlite::new();
    let store = place.open().await;
    for (n, recipient) in [(1, ANA), (2, ANA), (3, BEA)] {
        store.accept(queued(n, recipient, 500)).await.unwrap();
    }
    let held = lease(&*store, 0, 100, 10).await;
    assert_eq!(short(&held), [(id(1), 1), (id(3), 1)]);
    store.settle_lease(held.leased[1].lease, again(reached(InDoubt, 1), 50, 700, true)).await.unwrap().unwrap();
    store.close().await;

    let store = place.open().await;
    // A lease outlives its owner, unless the new one says otherwise.
    assert_eq!(lease(&*store, 40, 200, 10).await, Leases { leased: Vec::new(), next: Some(at(50)) });
    let leases = lease(&*store, 50, 200, 10).await;
    let doubtful = &leases.leased[0];
    assert_eq!((short(&leases), &doubtful.body), (vec![(id(3), 2)], &body(3)));
    assert_eq!((doubtful.since, doubtful.expires, doubtful.message.status), (at(0), at(700), InDoubt));
    store.end_leases(at(60)).await.unwrap();
    let mut again = lease(&*store, 60, 200, 10).await;
    again.leased.sort_by_key(|leased| leased.lease.id);
    assert_eq!(short(&again), [(id(1), 2), (id(3), 3)]);
    assert_eq!(again.leased[0].expires, at(0) + REPLAY);
    // The lease of before the restart counts no more.
    assert_eq!(store.settle_lease(held.leased[0].lease, gone(reached(Queued, 61))).await, Ok(None));
    let settled = store.settle_lease(again.leased[0].lease, gone(reached(Queued, 61))).await.unwrap().unwrap();
    assert!(settled.followed);
    assert_eq!(short(&lease(&*store, 61, 200, 10).await), [(id(2), 1)]);
    store.close().await;
}
