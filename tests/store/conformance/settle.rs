//! Settling: what an attempt led to, counted and told.

use std::sync::Arc;

use pilotgate::{
    domain::{
        merge::{Fact, Observed},
        message::Message,
        position::Position,
        status::{
            Origin,
            Status::{InDoubt, Pending, Queued},
        },
    },
    store::{Claim, Settlement, Store},
};

use crate::fixtures::{accepted_at, at, draft, id, ids, log, of, reached, settled, times, told_at, trail};

pub async fn an_attempt_is_counted_named_and_told(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let known = ids("u1", "c1", "e1");
    // Observed later than it happened; the answer has a time of its own.
    let queued = Fact { observed_at: at(3), origin: Origin::SendReply, ..of(known.clone(), reached(Queued, 2)) };
    let settlement = Settlement {
        fact: queued.clone(),
        attempts: 1,
        flow_token: Some("flow".to_owned()),
        claim: Claim::Kept,
        audit: None,
    };
    let expected = Message {
        ids: known.clone(),
        status: Queued,
        times: times(&[(Pending, 0), (Queued, 2)]),
        attempts: 1,
        flow_token: Some("flow".to_owned()),
        ..Message::accepted(draft(1).origins)
    };
    assert_eq!(store.settle(id(1), settlement).await, Ok(expected.clone()));
    assert_eq!(*store.head().borrow(), Position(2));
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    assert_eq!(store.pending(10).await, Ok(Vec::new()));
    assert_eq!(log(&*store).await, [accepted_at(1, &draft(1)), told_at(2, &draft(1), &known, &queued, Queued)]);
}

pub async fn a_further_attempt_keeps_what_the_first_brought(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let doubt = of(ids("u1", "-", "-"), reached(InDoubt, 1));
    let first = Settlement { flow_token: Some("first".to_owned()), ..settled(doubt.clone()) };
    store.settle(id(1), first).await.unwrap();
    let queued = of(ids("u2", "c2", "-"), reached(Queued, 2));
    let second = Settlement { flow_token: Some("second".to_owned()), ..settled(queued.clone()) };
    let expected = Message {
        ids: ids("u1", "c2", "-"),
        status: Queued,
        times: times(&[(Pending, 0), (InDoubt, 1), (Queued, 2)]),
        attempts: 2,
        flow_token: Some("first".to_owned()),
        ..Message::accepted(draft(1).origins)
    };
    assert_eq!(store.settle(id(1), second).await, Ok(expected.clone()));
    let without = store.settle(id(1), settled(reached(Queued, 3))).await;
    assert_eq!(without, Ok(Message { attempts: 3, ..expected }));
    assert_eq!(
        log(&*store).await,
        [
            accepted_at(1, &draft(1)),
            told_at(2, &draft(1), &ids("u1", "-", "-"), &doubt, InDoubt),
            told_at(3, &draft(1), &ids("u1", "c2", "-"), &queued, Queued),
        ]
    );
}

pub async fn a_known_outcome_is_counted_and_not_told(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    for attempts in 1..=2 {
        let expected = Message {
            status: InDoubt,
            times: times(&[(Pending, 0), (InDoubt, 1)]),
            attempts,
            ..Message::accepted(draft(1).origins)
        };
        assert_eq!(store.settle(id(1), settled(reached(InDoubt, 1))).await, Ok(expected));
    }
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(InDoubt), InDoubt)]);
}

pub async fn an_unknown_word_settles_too(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let held = Fact { status: Observed::Unknown("HELD".to_owned()), ..reached(Queued, 1) };
    let expected = Message {
        ids: ids("u1", "-", "-"),
        attempts: 1,
        unknown_words: vec!["HELD".to_owned()],
        ..Message::accepted(draft(1).origins)
    };
    assert_eq!(store.settle(id(1), settled(of(ids("u1", "-", "-"), held))).await, Ok(expected));
    assert_eq!(store.pending(10).await, Ok(Vec::new()));
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), None, Pending)]);
}

pub async fn what_does_not_exist_is_not_settled(store: Arc<dyn Store>) {
    let error = store.settle(id(1), settled(reached(Queued, 1))).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the store failed: there is no message {}", id(1)));
    store.merge(id(1), vec![reached(Queued, 1)]).await.unwrap_err();
    assert_eq!(store.message(id(1)).await, Ok(None));
    assert_eq!(log(&*store).await, []);
    // A place in the log is not lost by it.
    store.accept(draft(2)).await.unwrap();
    assert_eq!(log(&*store).await, [accepted_at(1, &draft(2))]);
}
