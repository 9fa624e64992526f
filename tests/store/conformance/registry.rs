//! The platform team's records: versions, changes of several at once, sealing anew.

use std::sync::Arc;

use futures_util::future::join_all;
use pilotgate::{
    domain::{
        audit::Act,
        record::{Place, RecordKey, RecordKind},
        secret::Sealed,
    },
    store::{Change, Changed, Record, Resealed, SealCount, Store},
};

use super::{Backend, audit};
use crate::fixtures::{id, queued};

fn number(name: &str) -> RecordKey {
    RecordKey::of(RecordKind::Number, name)
}

/// Sealed under the key of this byte.
fn sealed(key: u8, text: &str) -> Sealed {
    Sealed::from_bytes([&[1], &[key; 8][..], text.as_bytes()].concat())
}

fn record(key: RecordKey, version: i64) -> Record {
    let sealed = sealed(1, &format!("{key} {version}"));
    Record { key, version, sealed }
}

fn put(key: RecordKey, version: i64, replaces: Option<i64>) -> (Record, Option<i64>) {
    (record(key, version), replaces)
}

fn told(what: &str) -> Vec<Act> {
    vec![audit::act(1, "root", what, "number/a")]
}

async fn actions(store: &dyn Store) -> Vec<String> {
    audit::entries(store).await.iter().map(|entry| entry.act().unwrap().action).collect()
}

pub async fn a_record_changes_only_from_the_version_that_was_seen(store: Arc<dyn Store>) {
    let conflict = Ok(Changed::Conflict(number("a")));
    let change = |replaces, version| Change { puts: vec![put(number("a"), version, replaces)], ..Change::default() };
    assert_eq!(store.change(change(Some(1), 2)).await, conflict, "there is none");
    assert_eq!(store.change(change(None, 5)).await, Ok(Changed::Done));
    assert_eq!(store.change(change(None, 6)).await, conflict, "there is one");
    assert_eq!(store.change(change(Some(4), 6)).await, conflict);
    assert_eq!(store.records().await, Ok(vec![record(number("a"), 5)]));
    assert_eq!(store.change(change(Some(5), 6)).await, Ok(Changed::Done));
    store.change(change(Some(6), 6)).await.unwrap_err();
    store.change(change(Some(6), 3)).await.unwrap_err();
    assert_eq!(store.records().await, Ok(vec![record(number("a"), 6)]), "a version is greater than the one before");
    let remove = |version| Change { removals: vec![(number("a"), version)], ..Change::default() };
    assert_eq!(store.change(remove(5)).await, conflict);
    assert_eq!(store.change(remove(6)).await, Ok(Changed::Done));
    assert_eq!(store.change(remove(6)).await, conflict);
    assert_eq!(store.records().await, Ok(Vec::new()));
}

pub async fn a_change_of_several_happens_to_all_or_none(store: Arc<dyn Store>) {
    let caller = RecordKey::of(RecordKind::Caller, "a");
    let first = Change {
        puts: vec![put(number("a"), 1, None), put(caller.clone(), 1, None), put(number("b"), 1, None)],
        removals: Vec::new(),
        audit: told("first"),
    };
    assert_eq!(store.change(first).await, Ok(Changed::Done));
    let all = [record(caller.clone(), 1), record(number("a"), 1), record(number("b"), 1)];
    assert_eq!(store.records().await, Ok(all.to_vec()), "by kind and name; a number and a caller of one name are two");
    let half = |version| Change {
        puts: vec![put(number("a"), 2, Some(1)), put(number("c"), 1, None)],
        removals: vec![(caller.clone(), 1), (number("b"), version)],
        audit: told("second"),
    };
    assert_eq!(store.change(half(7)).await, Ok(Changed::Conflict(number("b"))));
    assert_eq!(store.records().await, Ok(all.to_vec()));
    assert_eq!(actions(&*store).await, ["first"], "what was not done is not told");
    assert_eq!(store.change(half(1)).await, Ok(Changed::Done));
    assert_eq!(store.records().await, Ok(vec![record(number("a"), 2), record(number("c"), 1)]));
    assert_eq!(actions(&*store).await, ["first", "second"]);
}

pub async fn of_concurrent_changes_from_one_version_one_is_done(store: Arc<dyn Store>) {
    store.change(Change { puts: vec![put(number("a"), 1, None)], ..Change::default() }).await.unwrap();
    let change = |n: i64| {
        let store = Arc::clone(&store);
        async move {
            let puts = vec![put(number("a"), 1 + n, Some(1))];
            store.change(Change { puts, audit: told(&format!("by {n}")), ..Change::default() }).await
        }
    };
    let ended = join_all((1..=64).map(change)).await;
    let done: Vec<_> = (1..).zip(&ended).filter(|(_, ended)| **ended == Ok(Changed::Done)).map(|(n, _)| n).collect();
    let [winner] = done[..] else { panic!("{done:?}") };
    assert_eq!(store.records().await, Ok(vec![record(number("a"), 1 + winner)]));
    assert_eq!(actions(&*store).await, [format!("by {winner}")]);
}

pub async fn bytes_are_sealed_anew_only_where_they_are_what_was_read(store: Arc<dyn Store>) {
    let puts = vec![put(number("a"), 1, None), put(number("b"), 1, None)];
    store.change(Change { puts, ..Change::default() }).await.unwrap();
    for (n, phone) in [(1, "+5511999990001"), (2, "+5511999990002")] {
        let mut draft = queued(n, phone, 500);
        draft.queued.as_mut().unwrap().body = sealed(1, "a body");
        store.accept(draft).await.unwrap();
    }
    let count = |key: u8, records, bodies| SealCount { key_id: [key; 8], records, bodies };
    assert_eq!(store.seal_counts().await, Ok(vec![count(1, 2, 2)]));
    let old = store.sealed_under([1; 8], 10).await.unwrap();
    assert_eq!(old.len(), 4);
    assert_eq!(store.sealed_under([1; 8], 3).await.unwrap(), old[..3]);
    let anew = |(place, before): &(Place, Sealed)| {
        let after = sealed(2, &place.to_string());
        Resealed { place: place.clone(), before: before.clone(), after }
    };
    let resealed: Vec<_> = old.iter().map(anew).collect();
    // One has changed meanwhile, and one is gone.
    store
        .change(Change {
            puts: vec![put(number("a"), 2, Some(1))],
            removals: vec![(number("b"), 1)],
            ..Change::default()
        })
        .await
        .unwrap();
    assert_eq!(store.reseal(resealed.clone()).await, Ok(2));
    assert_eq!(store.reseal(resealed.clone()).await, Ok(0), "not twice");
    let left = store.sealed_under([1; 8], 10).await.unwrap();
    assert_eq!(left, [(Place::Record(number("a"), 2), record(number("a"), 2).sealed)]);
    assert_eq!(store.seal_counts().await, Ok(vec![count(1, 1, 0), count(2, 0, 2)]));
    // The same version with other bytes is not what was read, either.
    let other = Resealed { place: left[0].0.clone(), before: sealed(1, "other"), after: sealed(2, "x") };
    assert_eq!(store.reseal(vec![other]).await, Ok(0));
    assert_eq!(store.reseal(left.iter().map(anew).collect()).await, Ok(1));
    assert_eq!(store.seal_counts().await, Ok(vec![count(2, 1, 2)]));
    assert_eq!(store.oldest_body().await.unwrap().unwrap(), (id(1), sealed(2, &Place::Outbox(id(1)).to_string())));
}

pub async fn records_are_there_after_reopening(backend: impl Fn() -> crate::Sqlite) {
    let place = backend();
    let store = place.open().await;
    store
        .change(Change { puts: vec![put(number("a"), 3, None)], audit: told("it"), ..Change::default() })
        .await
        .unwrap();
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.records().await, Ok(vec![record(number("a"), 3)]));
    assert_eq!(actions(&*store).await, ["it"]);
    store.close().await;
}
