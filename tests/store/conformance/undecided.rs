//! What is not decided yet, and moving subscriptions.

use std::sync::Arc;

use pilotgate::{
    domain::{
        audit::Act,
        position::Position,
        signed::Fingerprint,
        status::Status::{InDoubt, Queued, Sent},
    },
    store::{
        Begin, Commit, Committed, Hasten, Hastened, Seek, Store, Subscribe, Subscribed, SubscriptionKey,
        SubscriptionsQuery, UndecidedPage, UndecidedQuery,
    },
};

use crate::fixtures::{at, draft, id, lease, queued, reached, settled};

const FILTER: Fingerprint = Fingerprint([1; 8]);

fn act(action: &str) -> Act {
    Act {
        at: at(0),
        actor: "operator".to_owned(),
        credential: None,
        from: None,
        action: action.to_owned(),
        subject: "it".to_owned(),
        reason: None,
        outcome: "done".to_owned(),
        detail: std::collections::BTreeMap::new(),
    }
}

async fn actions(store: &dyn Store) -> Vec<String> {
    let query = pilotgate::store::AuditQuery { limit: 100, ..Default::default() };
    store.audited(query).await.unwrap().iter().map(|record| record.act().unwrap().action).collect()
}

/// The numbers of the messages in a page.
fn short(page: &UndecidedPage) -> Vec<u128> {
    page.found.iter().map(|one| u128::from_be_bytes(*one.message.origins.message_id.as_bytes())).collect()
}

pub async fn what_is_decided_is_not_listed(store: Arc<dyn Store>) {
    for n in [1, 2, 3] {
        store.accept(draft(n)).await.unwrap();
    }
    for n in [4, 5] {
        store.accept(queued(n, "+5511999990000", 100)).await.unwrap();
    }
    store.settle(id(1), settled(reached(Sent, 1))).await.unwrap();
    store.settle(id(2), settled(reached(InDoubt, 1))).await.unwrap();
    let all = UndecidedQuery { limit: 100, ..Default::default() };
    let page = store.undecided(all.clone()).await.unwrap();
    assert_eq!((short(&page), page.last), (vec![2, 3, 4, 5], None));
    let rows: Vec<_> = page.found.iter().map(|one| one.row.map(|row| (row.leased, row.first))).collect();
    assert_eq!(rows, [None, None, Some((false, true)), Some((false, false))]);

    let first = store.undecided(UndecidedQuery { limit: 2, ..all.clone() }).await.unwrap();
    assert_eq!(short(&first), [2, 3]);
    let rest = store.undecided(UndecidedQuery { after: first.last.unwrap(), ..all.clone() }).await.unwrap();
    assert_eq!((short(&rest), rest.last), (vec![4, 5], None));

    store.settle(id(2), settled(reached(Queued, 2))).await.unwrap();
    let doubts = UndecidedQuery { status: Some(InDoubt), ..all };
    assert_eq!(short(&store.undecided(doubts).await.unwrap()), [] as [u128; 0]);
}

pub async fn a_row_is_hastened_unless_somebody_works_on_it(store: Arc<dyn Store>) {
    store.accept(queued(1, "+5511999990000", 100)).await.unwrap();
    store.accept(draft(2)).await.unwrap();
    let hasten = |n, seconds| Hasten { id: id(n), at: at(seconds), act: act("outbox.retry") };
    assert_eq!(store.hasten(hasten(2, 0)).await, Ok(Hastened::Absent));
    assert_eq!(store.hasten(hasten(9, 0)).await, Ok(Hastened::Absent));
    assert_eq!(lease(&*store, 1, 50, 9).await.leased.len(), 1);
    assert_eq!(store.hasten(hasten(1, 2)).await, Ok(Hastened::Leased));
    assert_eq!(actions(&*store).await, [] as [&str; 0], "what was not done is not noted as done");
    let later = crate::fixtures::again(reached(pilotgate::domain::status::Status::Pending, 2), 40, 100, false);
    let held = pilotgate::store::Lease { id: id(1), generation: 1 };
    store.settle_lease(held, later).await.unwrap().unwrap();
    assert_eq!(lease(&*store, 3, 50, 9).await.leased, []);
    let Ok(Hastened::Due(due)) = store.hasten(hasten(1, 3)).await else { panic!("nobody works on it") };
    assert_eq!(due.row.map(|row| row.due), Some(at(3)));
    assert_eq!(actions(&*store).await, ["outbox.retry"]);
    assert_eq!(lease(&*store, 3, 50, 9).await.leased.len(), 1);
}

pub async fn a_moved_subscription_is_acknowledged_again_once_it_is_carried(store: Arc<dyn Store>) {
    let key = |name: &str| SubscriptionKey {
        caller: "orders".to_owned().try_into().unwrap(),
        name: name.to_owned().try_into().unwrap(),
    };
    let subscribe = |begin| Subscribe { key: key("a"), filter: FILTER, begin, at: at(0), most: 3 };
    let commit = |position| Commit { key: key("a"), filter: FILTER, position: Position(position), at: at(0) };
    let seek = |name: &str, to: Option<i64>| Seek { key: key(name), to: to.map(Position), act: act("seek") };
    store.subscribe(subscribe(Begin::Resume(Position(7)))).await.unwrap();
    assert_eq!(store.seek(seek("a", Some(3))).await, Ok(true));
    assert_eq!(store.seek(seek("b", Some(3))).await, Ok(false));
    assert_eq!(actions(&*store).await, ["seek"]);
    assert_eq!(store.commit(commit(9)).await, Ok(Committed::UpTo(Position(3))), "of what came before");
    let resumed = store.subscribe(subscribe(Begin::Resume(Position(20)))).await;
    assert_eq!(resumed, Ok(Subscribed::Committed(Position(3))));
    assert_eq!(store.commit(commit(9)).await, Ok(Committed::UpTo(Position(9))));
    let stored = store.subscription(&key("a")).await.unwrap().unwrap();
    assert_eq!((stored.position, stored.filter), (Position(9), FILTER));
    assert_eq!(store.seek(seek("a", None)).await, Ok(true));
    assert_eq!(store.subscription(&key("a")).await, Ok(None));
}

pub async fn subscriptions_are_read_in_order(store: Arc<dyn Store>) {
    let key = |caller: &str, name: &str| SubscriptionKey {
        caller: caller.to_owned().try_into().unwrap(),
        name: name.to_owned().try_into().unwrap(),
    };
    let keys = [key("b", "x"), key("a", "y"), key("a", "x"), key("ab", "a")];
    for key in &keys {
        let begin = Begin::Resume(Position(1));
        store.subscribe(Subscribe { key: key.clone(), filter: FILTER, begin, at: at(0), most: 3 }).await.unwrap();
    }
    let read = async |query| {
        let stored = store.subscriptions(query).await.unwrap();
        stored.into_iter().map(|stored| stored.key).collect::<Vec<_>>()
    };
    let all = SubscriptionsQuery { limit: 10, ..Default::default() };
    assert_eq!(read(all.clone()).await, [key("a", "x"), key("a", "y"), key("ab", "a"), key("b", "x")]);
    let behind = SubscriptionsQuery { after: Some(key("a", "y")), limit: 1, ..all.clone() };
    assert_eq!(read(behind).await, [key("ab", "a")]);
    let own = SubscriptionsQuery { caller: Some("a".to_owned().try_into().unwrap()), ..all };
    assert_eq!(read(own).await, [key("a", "x"), key("a", "y")]);
}
