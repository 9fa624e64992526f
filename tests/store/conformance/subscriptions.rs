//! Named subscriptions: where they begin, what is acknowledged, and when they go.

use std::sync::Arc;

use futures_util::future::join_all;
use pilotgate::{
    domain::{position::Position, signed::Fingerprint},
    store::{
        Begin, Commit, Committed, Store, Subscribe, Subscribed, SubscriptionKey,
        retention::{Trim, Trimmed},
    },
};

use super::Backend;
use crate::fixtures::at;

const FILTER: Fingerprint = Fingerprint([1; 8]);
const OTHER: Fingerprint = Fingerprint([2; 8]);

fn key(caller: &str, name: &str) -> SubscriptionKey {
    SubscriptionKey { caller: caller.to_owned().try_into().unwrap(), name: name.to_owned().try_into().unwrap() }
}

/// Of `orders`, at second 0.
fn subscribe(name: &str, filter: Fingerprint, begin: Begin) -> Subscribe {
    Subscribe { key: key("orders", name), filter, begin, at: at(0), most: 3 }
}

fn resume(head: i64) -> Begin {
    Begin::Resume(Position(head))
}

async fn commit(store: &dyn Store, name: &str, filter: Fingerprint, position: i64) -> Committed {
    let commit = Commit { key: key("orders", name), filter, position: Position(position), at: at(0) };
    store.commit(commit).await.unwrap()
}

fn up_to(position: i64) -> Committed {
    Committed::UpTo(Position(position))
}

fn from(position: i64) -> Subscribed {
    Subscribed::Committed(Position(position))
}

pub async fn a_subscription_resumes_behind_what_was_acknowledged(store: Arc<dyn Store>) {
    assert_eq!(store.subscribe(subscribe("a", FILTER, resume(5))).await, Ok(from(5)));
    // Stored at once: what came since is not skipped by a second begin.
    assert_eq!(store.subscribe(subscribe("a", FILTER, resume(9))).await, Ok(from(5)));
    assert_eq!(commit(&*store, "a", FILTER, 7).await, up_to(7));
    assert_eq!(commit(&*store, "a", FILTER, 6).await, up_to(7));
    assert_eq!(store.subscribe(subscribe("a", FILTER, resume(9))).await, Ok(from(7)));
    // A start moves the stream and not what is acknowledged.
    assert_eq!(store.subscribe(subscribe("a", FILTER, Begin::At(Position(2)))).await, Ok(from(7)));
    assert_eq!(store.subscribe(subscribe("b", FILTER, Begin::At(Position(2)))).await, Ok(from(2)));
}

pub async fn a_subscription_belongs_to_one_filter(store: Arc<dyn Store>) {
    store.subscribe(subscribe("a", FILTER, resume(5))).await.unwrap();
    assert_eq!(store.subscribe(subscribe("a", OTHER, resume(9))).await, Ok(Subscribed::OtherFilter));
    assert_eq!(commit(&*store, "a", OTHER, 6).await, Committed::OtherFilter);
    assert_eq!(commit(&*store, "a", FILTER, 5).await, up_to(5));
    // With a start it is made anew, also at an earlier place.
    assert_eq!(store.subscribe(subscribe("a", OTHER, Begin::At(Position(3)))).await, Ok(from(3)));
    assert_eq!(commit(&*store, "a", FILTER, 8).await, Committed::OtherFilter);
    assert_eq!(commit(&*store, "a", OTHER, 4).await, up_to(4));
}

pub async fn callers_have_so_many_subscriptions_each(store: Arc<dyn Store>) {
    for name in ["a", "b", "c"] {
        assert_eq!(store.subscribe(subscribe(name, FILTER, resume(1))).await, Ok(from(1)));
    }
    assert_eq!(store.subscribe(subscribe("d", FILTER, resume(1))).await, Ok(Subscribed::TooMany));
    assert_eq!(commit(&*store, "d", FILTER, 1).await, Committed::Unknown);
    // Those that exist can still be opened, and another caller has names of its own.
    assert_eq!(store.subscribe(subscribe("a", FILTER, resume(4))).await, Ok(from(1)));
    let theirs = Subscribe { key: key("billing", "a"), ..subscribe("a", OTHER, resume(8)) };
    assert_eq!(store.subscribe(theirs).await, Ok(from(8)));
    assert_eq!(commit(&*store, "a", FILTER, 2).await, up_to(2));
}

pub async fn concurrent_acknowledgements_end_at_the_latest(store: Arc<dyn Store>) {
    store.subscribe(subscribe("a", FILTER, resume(0))).await.unwrap();
    let commits = (1..=64).map(|n| (n * 37) % 65).map(|position| {
        let store = Arc::clone(&store);
        async move { (position, commit(&*store, "a", FILTER, position).await) }
    });
    for (position, committed) in join_all(commits).await {
        let Committed::UpTo(told) = committed else { panic!("{committed:?}") };
        assert!(told.0 >= position, "{told:?} is before {position}");
    }
    assert_eq!(commit(&*store, "a", FILTER, 0).await, up_to(64));
}

pub async fn unused_subscriptions_go(store: Arc<dyn Store>) {
    let opened = |name, seconds| Subscribe { at: at(seconds), ..subscribe(name, FILTER, resume(1)) };
    for (name, seconds) in [("a", 10), ("b", 20), ("c", 10)] {
        store.subscribe(opened(name, seconds)).await.unwrap();
    }
    // Both opening and acknowledging is use, also if nothing is new.
    let used = Commit { key: key("orders", "c"), filter: FILTER, position: Position(1), at: at(30) };
    store.commit(used).await.unwrap();
    let trim = |seconds| store.trim(Trim::Subscriptions { before: at(seconds) });
    assert_eq!(trim(10).await, Ok(Trimmed { deleted: 0, in_doubt: 0, next: None }));
    assert_eq!(trim(20).await, Ok(Trimmed { deleted: 1, in_doubt: 0, next: None }));
    assert_eq!(commit(&*store, "a", FILTER, 1).await, Committed::Unknown);
    store.subscribe(opened("b", 40)).await.unwrap();
    assert_eq!(trim(31).await, Ok(Trimmed { deleted: 1, in_doubt: 0, next: None }));
    assert_eq!(commit(&*store, "c", FILTER, 1).await, Committed::Unknown);
    assert_eq!(commit(&*store, "b", FILTER, 1).await, up_to(1));
}

pub async fn many_unused_subscriptions_go_in_steps(store: Arc<dyn Store>) {
    for n in 0..450 {
        let opened = Subscribe { most: 450, ..subscribe(&format!("s{n}"), FILTER, resume(1)) };
        assert_eq!(store.subscribe(opened).await, Ok(from(1)));
    }
    let (mut next, mut deleted) = (Some(Trim::Subscriptions { before: at(1) }), Vec::new());
    while let Some(step) = next {
        let trimmed = store.trim(step).await.unwrap();
        deleted.push(trimmed.deleted);
        next = trimmed.next;
    }
    assert_eq!(deleted.iter().sum::<u64>(), 450);
    assert!(deleted.len() > 1 && deleted.iter().all(|deleted| *deleted < 450), "{deleted:?}");
}

pub async fn acknowledgements_are_there_after_reopening<B: Backend>(place: impl Fn() -> B) {
    let place = place();
    let store = place.open().await;
    store.subscribe(subscribe("a", FILTER, resume(3))).await.unwrap();
    store.subscribe(subscribe("b", OTHER, resume(3))).await.unwrap();
    commit(&*store, "a", FILTER, 9).await;
    store.close().await;
    let store = place.open().await;
    assert_eq!(store.subscribe(subscribe("a", FILTER, resume(20))).await, Ok(from(9)));
    assert_eq!(store.subscribe(subscribe("b", OTHER, resume(20))).await, Ok(from(3)));
    assert_eq!(store.subscribe(subscribe("b", FILTER, resume(20))).await, Ok(Subscribed::OtherFilter));
    store.close().await;
}
