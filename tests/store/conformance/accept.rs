//! Accepting: one message for each request, whoever asks again.

use std::sync::Arc;

use futures_util::future::join_all;
use pilotgate::{
    domain::{
        ids::{CallerName, RequestId},
        message::Message,
        position::Position,
        status::Status::{Failed, Pending, Queued},
    },
    store::{Accepted, Claim, Claimed, Draft, Settlement, Store},
};

use crate::fixtures::{accepted_at, claim, draft, failed, id, ids, log, send, settled, trail};

pub async fn a_new_message_is_pending_with_one_entry(store: Arc<dyn Store>) {
    let draft = claim(1, "orders", "r1");
    let expected = Message::accepted(draft.origins.clone());
    assert_eq!(store.accept(draft.clone()).await, Ok(Accepted::New(expected.clone())));
    assert_eq!(*store.head().borrow(), Position(1));
    assert_eq!(store.message(id(1)).await, Ok(Some(expected.clone())));
    assert_eq!(store.pending(10).await, Ok(vec![expected]));
    assert_eq!(log(&*store).await, [accepted_at(1, &draft)]);
}

pub async fn the_same_request_is_answered_with_its_message(store: Arc<dyn Store>) {
    let sent = send(&*store, claim(1, "orders", "r1"), ids("u1", "-", "-")).await;
    assert_eq!(store.accept(claim(2, "orders", "r1")).await, Ok(Accepted::Before(sent)));
    assert_eq!(store.message(id(2)).await, Ok(None));
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(Queued), Queued)]);
}

pub async fn another_request_under_a_used_id_is_told_whose_it_is(store: Arc<dyn Store>) {
    store.accept(claim(1, "orders", "r1")).await.unwrap();
    let other = Draft { fingerprint: [2; 32], ..claim(2, "orders", "r1") };
    assert_eq!(store.accept(other).await, Ok(Accepted::Reused(id(1))));
    assert_eq!(store.message(id(2)).await, Ok(None));
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending)]);
}

pub async fn a_request_id_counts_within_its_caller(store: Arc<dyn Store>) {
    for (n, caller, request_id) in [(1, "orders", "r1"), (2, "billing", "r1"), (3, "orders", "r2")] {
        let draft = claim(n, caller, request_id);
        let expected = Message::accepted(draft.origins.clone());
        assert_eq!(store.accept(draft).await, Ok(Accepted::New(expected)));
    }
}

pub async fn without_request_id_every_request_is_new(store: Arc<dyn Store>) {
    for n in [1, 2] {
        let expected = Message::accepted(draft(n).origins);
        assert_eq!(store.accept(draft(n)).await, Ok(Accepted::New(expected)));
    }
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(2), Some(Pending), Pending)]);
}

pub async fn a_released_request_id_stands_for_whatever_comes_next(store: Arc<dyn Store>) {
    store.accept(claim(1, "orders", "r1")).await.unwrap();
    let released = Settlement { claim: Claim::Released, ..settled(failed("NOT_SENT", 1)) };
    let settled = store.settle(id(1), released).await.unwrap();
    assert_eq!((settled.status, settled.origins), (Failed, claim(1, "orders", "r1").origins));

    let another = Draft { fingerprint: [2; 32], ..claim(2, "orders", "r1") };
    let expected = Message::accepted(another.origins.clone());
    assert_eq!(store.accept(another.clone()).await, Ok(Accepted::New(expected.clone())));
    let repeated = Draft { fingerprint: [2; 32], ..claim(3, "orders", "r1") };
    assert_eq!(store.accept(repeated).await, Ok(Accepted::Before(expected)));
    assert_eq!(store.accept(claim(4, "orders", "r1")).await, Ok(Accepted::Reused(id(2))));
}

pub async fn a_request_id_tells_what_it_stands_for(store: Arc<dyn Store>) {
    let (orders, billing) = (CallerName::from_text("orders").unwrap(), CallerName::from_text("billing").unwrap());
    let r1 = RequestId::from_text("r1").unwrap();
    assert_eq!(store.claimed(&orders, &r1).await, Ok(None));
    let draft = claim(1, "orders", "r1");
    store.accept(draft.clone()).await.unwrap();
    let expected = Claimed { fingerprint: draft.fingerprint, message: Message::accepted(draft.origins) };
    assert_eq!(store.claimed(&orders, &r1).await, Ok(Some(expected)));
    assert_eq!(store.claimed(&billing, &r1).await, Ok(None));
    let released = Settlement { claim: Claim::Released, ..settled(failed("NOT_SENT", 1)) };
    store.settle(id(1), released).await.unwrap();
    assert_eq!(store.claimed(&orders, &r1).await, Ok(None));
}

pub async fn of_concurrent_requests_under_one_id_one_is_new(store: Arc<dyn Store>) {
    let asking = (1..=64).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.accept(claim(n, "orders", "r1")).await.unwrap() })
    });
    let answers: Vec<_> = join_all(asking).await.into_iter().map(Result::unwrap).collect();
    let new: Vec<_> = answers
        .iter()
        .filter_map(|answer| if let Accepted::New(message) = answer { Some(message.clone()) } else { None })
        .collect();
    let [new] = new.as_slice() else { panic!("{} are new", new.len()) };
    let before = answers.iter().filter(|answer| **answer == Accepted::Before(new.clone())).count();
    assert_eq!(before, 63);
    assert_eq!(trail(&*store).await, [(new.origins.message_id, Some(Pending), Pending)]);
}
