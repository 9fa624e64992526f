//! Trimming a file: what else is in it, what changes meanwhile, and what is left on the disk.

use futures_util::future::join_all;
use pilotgate::{
    domain::status::Status::{InDoubt, Queued, Sent},
    store::{
        Store,
        retention::{Trim, Trimmed},
    },
};
use rusqlite::Connection;

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{at, draft, id, ids, main, of, reached, send, settled, sightings},
};

const ALL: Trim = Trim::Messages { after: 0, ended: jiff::Timestamp::MAX, open: jiff::Timestamp::MAX };

fn database(place: &Sqlite) -> Connection {
    Connection::open(place.place.path().join("pilotgate.db")).unwrap()
}

async fn exist<const N: usize>(store: &dyn Store, numbers: [u128; N]) -> [bool; N] {
    let kept = store.messages(numbers.map(id).to_vec()).await.unwrap();
    numbers.map(|n| kept.iter().any(|message| message.origins.message_id == id(n)))
}

#[tokio::test]
async fn a_message_on_its_way_out_stays() {
    let place = Sqlite::new();
    let store = place.open().await;
    for n in 1..=3 {
        store.accept(draft(n)).await.unwrap();
        store.settle(id(n), settled(reached(InDoubt, 1))).await.unwrap();
    }
    let outbox = "INSERT INTO outbox (seq, number, recipient, first, due, expires, generation, leased, body)
                  SELECT seq, number, '', 1, 0, 0, 0, 0, x'' FROM messages WHERE message_id = ?1";
    assert_eq!(database(&place).execute(outbox, [id(2).as_bytes()]), Ok(1));
    assert_eq!(store.trim(ALL).await, Ok(Trimmed { deleted: 2, in_doubt: 2, next: None }));
    assert_eq!(exist(&*store, [1, 2, 3]).await, [false, true, false]);
    assert_eq!(database(&place).execute("DELETE FROM outbox", []), Ok(1));
    assert_eq!(store.trim(ALL).await, Ok(Trimmed { deleted: 1, in_doubt: 1, next: None }));
    store.close().await;
}

#[tokio::test]
async fn a_message_that_changes_while_it_is_looked_at_stays() {
    let place = Sqlite::without_sharing();
    let store = place.open().await;
    for n in 1..=2 {
        send(&*store, draft(n), ids(&format!("u{n}"), "-", "-")).await;
    }
    // As long as somebody else holds the file, the fact waits to be written while the messages are looked at.
    let held = database(&place);
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    let open = Trim::Messages { after: 0, ended: at(0), open: at(1) };
    let fact = sightings([of(ids("u2", "-", "-"), reached(Sent, 2))]);
    let (number, looked) = (main(), async {
        // There is one place to read, so that this read comes after the look.
        store.pending(1).await.unwrap();
        held.execute_batch("ROLLBACK").unwrap();
    });
    let (recorded, trimmed, ()) = tokio::join!(biased; store.record(&number, fact), store.trim(open), looked);
    recorded.unwrap();
    assert_eq!(trimmed, Ok(Trimmed { deleted: 1, in_doubt: 0, next: None }));
    assert_eq!(exist(&*store, [1, 2]).await, [false, true]);
    assert_eq!(store.message(id(2)).await.unwrap().unwrap().status, Sent);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_message_holds_up_no_other() {
    let place = Sqlite::new();
    let store = place.open().await;
    join_all((1..=401).map(|n| store.accept(draft(n)))).await;
    join_all((1..=401).map(|n| store.settle(id(n), settled(reached(Queued, 1))))).await;
    store.close().await;
    let spoilt = database(&place).execute("UPDATE messages SET record = '{' WHERE message_id = ?1", [id(2).as_bytes()]);
    assert_eq!(spoilt, Ok(1));
    let store = place.open().await;
    let (mut next, mut deleted) = (Some(ALL), 0);
    while let Some(step) = next {
        let trimmed = store.trim(step).await.unwrap();
        (next, deleted) = (trimmed.next, deleted + trimmed.deleted);
    }
    assert_eq!(deleted, 400);
    store.close().await;
}

#[tokio::test]
async fn nothing_of_a_trimmed_update_can_be_read_any_more() {
    let place = Sqlite::new();
    let store = place.open().await;
    for n in 1..=3 {
        store.accept(draft(n)).await.unwrap();
    }
    store.trim(Trim::Events { before: jiff::Timestamp::MAX }).await.unwrap();
    let left = |sql: &str| -> (i64, String) {
        database(&place).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!(left("SELECT max(position), group_concat(payload) FROM events"), (3, String::new()));
    assert_eq!(left("SELECT count(*), '' FROM events").0, 1);
    store.close().await;
}
