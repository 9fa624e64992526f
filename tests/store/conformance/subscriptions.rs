//! Acknowledged places of named subscriptions.

use std::sync::Arc;

use pilotgate::{
    domain::{position::Position, signed::Fingerprint},
    store::{
        Begin, Commit, Committed, Store, Subscribe, Subscribed, SubscriptionKey,
        retention::{Trim, Trimmed},
    },
};

use crate::fixtures::at;

const FILTER: Fingerprint = Fingerprint([1; 8]);
const OTHER: Fingerprint = Fingerprint([2; 8]);

fn key(caller: &str, name: &str) -> SubscriptionKey {
    SubscriptionKey { caller: caller.to_owned().try_into().unwrap(), name: name.to_owned().try_into().unwrap() }
}

async fn open(store: &dyn Store, key: SubscriptionKey, filter: Fingerprint, begin: Begin) -> Subscribed {
    store.subscribe(Subscribe { key, filter, begin, at: at(10), most: 2 }).await.unwrap()
}

async fn commit(store: &dyn Store, key: SubscriptionKey, filter: Fingerprint, position: i64, second: i64) -> Committed {
    let position = Position(position);
    store.commit(Commit { key, filter, position, at: at(second) }).await.unwrap()
}

pub async fn an_acknowledged_place_never_goes_back(store: Arc<dyn Store>) {
    let store = &*store;
    assert_eq!(commit(store, key("a", "s"), FILTER, 1, 10).await, Committed::Unknown);
    let latest = Begin::Resume(Position(5));
    assert_eq!(open(store, key("a", "s"), FILTER, latest).await, Subscribed::Committed(Position(5)));
    assert_eq!(commit(store, key("a", "s"), FILTER, 3, 10).await, Committed::UpTo(Position(5)));
    assert_eq!(commit(store, key("a", "s"), FILTER, 9, 10).await, Committed::UpTo(Position(9)));
    for begin in [Begin::Resume(Position(20)), Begin::At(Position(2))] {
        assert_eq!(open(store, key("a", "s"), FILTER, begin).await, Subscribed::Committed(Position(9)), "{begin:?}");
    }
    assert_eq!(
        open(store, key("b", "s"), FILTER, latest).await,
        Subscribed::Committed(Position(5)),
        "another caller's"
    );
}

pub async fn a_subscription_with_another_filter_is_changed_by_a_start_only(store: Arc<dyn Store>) {
    let store = &*store;
    open(store, key("a", "s"), FILTER, Begin::At(Position(4))).await;
    assert_eq!(open(store, key("a", "s"), OTHER, Begin::Resume(Position(7))).await, Subscribed::OtherFilter);
    assert_eq!(commit(store, key("a", "s"), OTHER, 8, 10).await, Committed::OtherFilter);
    assert_eq!(commit(store, key("a", "s"), FILTER, 6, 10).await, Committed::UpTo(Position(6)));
    assert_eq!(open(store, key("a", "s"), OTHER, Begin::At(Position(2))).await, Subscribed::Committed(Position(2)));
    assert_eq!(commit(store, key("a", "s"), FILTER, 8, 10).await, Committed::OtherFilter);
}

pub async fn a_caller_has_so_many_subscriptions_at_most(store: Arc<dyn Store>) {
    let store = &*store;
    for name in ["s", "t"] {
        open(store, key("a", name), FILTER, Begin::At(Position(1))).await;
    }
    let begin = Begin::At(Position(1));
    assert_eq!(open(store, key("a", "u"), FILTER, begin).await, Subscribed::TooMany);
    assert_eq!(open(store, key("b", "u"), FILTER, begin).await, Subscribed::Committed(Position(1)));
    assert_eq!(open(store, key("a", "t"), OTHER, begin).await, Subscribed::Committed(Position(1)), "it has its place");
}

pub async fn unused_subscriptions_are_trimmed(store: Arc<dyn Store>) {
    let store = &*store;
    open(store, key("a", "s"), FILTER, Begin::At(Position(1))).await;
    open(store, key("a", "t"), FILTER, Begin::At(Position(1))).await;
    commit(store, key("a", "t"), FILTER, 2, 30).await;
    let trim = |second| store.trim(Trim::Subscriptions { before: at(second) });
    let none = Trimmed { deleted: 0, in_doubt: 0, next: None };
    assert_eq!(trim(10).await, Ok(none));
    assert_eq!(trim(11).await, Ok(Trimmed { deleted: 1, ..none }));
    assert_eq!(commit(store, key("a", "s"), FILTER, 2, 30).await, Committed::Unknown);
    assert_eq!(commit(store, key("a", "t"), FILTER, 1, 30).await, Committed::UpTo(Position(2)));
}
