//! How messages leave the outbox without being handed over.

use std::sync::Arc;

use jiff::SignedDuration;
use pilotgate::{
    domain::{
        failure::{Failure, FailureCode},
        merge::Fact,
        message::Message,
        status::{
            Origin,
            Status::{Canceled, Failed, InDoubt, Pending, Queued, Sent},
        },
    },
    store::{Expired, Expiry, Leases, Store, Withdrawn},
};

use crate::fixtures::{
    again, at, draft, gone, id, ids, lease, main, of, queued, reached, short, sightings, times, trail,
};

const ANA: &str = "+5511999990001";
const BEA: &str = "+5511999990002";

/// Rows whose lease ended longer ago than this are taken as forsaken.
const FORSAKEN: SignedDuration = SignedDuration::from_secs(100);

fn failure() -> Failure {
    Failure::of_handoff(FailureCode::QueueExpired, "too late")
}

async fn expire(store: &dyn Store, seconds: i64, limit: usize) -> Expired {
    let expiry = Expiry { at: at(seconds), forsaken: at(seconds) - FORSAKEN, failure: failure(), limit };
    store.expire(expiry).await.unwrap()
}

pub async fn a_row_that_nobody_works_on_is_withdrawn(store: Arc<dyn Store>) {
    for n in [1, 2] {
        store.accept(queued(n, ANA, 500)).await.unwrap();
    }
    store.accept(draft(3)).await.unwrap();
    let canceled = Fact { origin: Origin::Gateway, ..reached(Canceled, 10) };
    let withdraw = |n, expected| store.withdraw(id(n), expected, canceled.clone(), None);
    assert_eq!(withdraw(1, InDoubt).await, Ok(Withdrawn::Busy), "its status is another one");
    assert_eq!(withdraw(3, Pending).await, Ok(Withdrawn::Absent), "it was never queued");
    assert_eq!(short(&lease(&*store, 0, 100, 10).await), [(id(1), 1)]);
    assert_eq!(withdraw(1, Pending).await, Ok(Withdrawn::Busy), "somebody works on it");
    assert_eq!(trail(&*store).await.len(), 3, "nothing was changed so far");

    // One that is not the first goes from the middle of the line.
    let expected = |n| Message {
        status: Canceled,
        times: times(&[(Pending, 0), (Canceled, 10)]),
        ..Message::accepted(queued(n, ANA, 500).origins)
    };
    store.accept(queued(4, ANA, 500)).await.unwrap();
    assert_eq!(withdraw(2, Pending).await, Ok(Withdrawn::Done(Box::new(expected(2)))));
    assert_eq!(withdraw(2, Canceled).await, Ok(Withdrawn::Absent), "its row is gone");
    assert_eq!(lease(&*store, 50, 100, 10).await, Leases { leased: Vec::new(), next: Some(at(100)) });
    let leased = lease(&*store, 100, 200, 10).await.leased.remove(0).lease;
    store.settle_lease(leased, again(reached(InDoubt, 101), 150, 900, true)).await.unwrap().unwrap();
    let Ok(Withdrawn::Done(given_up)) = withdraw(1, InDoubt).await else { panic!("it was not under a lease") };
    assert_eq!((given_up.origins.message_id, given_up.status), (id(1), Canceled));
    assert_eq!(short(&lease(&*store, 102, 200, 10).await), [(id(4), 1)], "the next of the same recipient is due");
    assert_eq!(store.settle_lease(leased, gone(reached(Queued, 103))).await, Ok(None));
    assert_eq!(store.message(id(2)).await, Ok(Some(expected(2))));
    let none = store.withdraw(id(9), Pending, canceled.clone(), None).await.unwrap_err();
    assert_eq!(none.to_string(), format!("the store failed: there is no message {}", id(9)));
}

pub async fn a_withdrawn_message_joins_its_early_facts(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 500)).await.unwrap();
    let known = ids("u1", "-", "-");
    store.record(&main(), sightings([of(known.clone(), reached(Sent, 5))])).await.unwrap();
    let leased = lease(&*store, 0, 100, 10).await.leased.remove(0).lease;
    store.settle_lease(leased, again(reached(InDoubt, 1), 50, 900, true)).await.unwrap().unwrap();
    let found = of(known.clone(), reached(Queued, 10));
    let expected = Message {
        ids: known,
        status: Sent,
        times: times(&[(Pending, 0), (InDoubt, 1), (Sent, 5), (Queued, 10)]),
        attempts: 1,
        ..Message::accepted(queued(1, ANA, 500).origins)
    };
    assert_eq!(store.withdraw(id(1), InDoubt, found, None).await, Ok(Withdrawn::Done(Box::new(expected.clone()))));
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    let told = [(Pending, Pending), (InDoubt, InDoubt), (Queued, Queued), (Sent, Sent)];
    assert_eq!(trail(&*store).await, told.map(|(seen, current)| (id(1), Some(seen), current)));
}

pub async fn what_has_expired_fails_and_makes_way(store: Arc<dyn Store>) {
    assert_eq!(expire(&*store, 0, 10).await, Expired { messages: Vec::new(), next: None });
    for (n, recipient, expires) in [(1, ANA, 20), (2, ANA, 500), (3, BEA, 30)] {
        store.accept(queued(n, recipient, expires)).await.unwrap();
    }
    assert_eq!(expire(&*store, 19, 10).await, Expired { messages: Vec::new(), next: Some(at(20)) });
    let leases = lease(&*store, 20, 100, 10).await;
    assert_eq!((short(&leases), leases.next), (vec![(id(3), 1)], Some(at(100))), "what has expired is not attempted");
    let expected = Message {
        status: Failed,
        times: times(&[(Pending, 0), (Failed, 20)]),
        failure: Some(failure()),
        failure_codes: vec!["QUEUE_EXPIRED".to_owned()],
        ..Message::accepted(queued(1, ANA, 20).origins)
    };
    assert_eq!(expire(&*store, 20, 10).await, Expired { messages: vec![expected.clone()], next: Some(at(30)) });
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    assert_eq!(short(&lease(&*store, 20, 100, 10).await), [(id(2), 1)]);
    assert_eq!(trail(&*store).await[3..], [(id(1), Some(Failed), Failed)]);
}

pub async fn a_doubt_that_has_expired_stays_a_doubt(store: Arc<dyn Store>) {
    for n in [1, 2] {
        store.accept(queued(n, ANA, 500)).await.unwrap();
    }
    let leased = lease(&*store, 0, 100, 10).await.leased.remove(0).lease;
    let settled = store.settle_lease(leased, again(reached(InDoubt, 1), 50, 60, true)).await.unwrap().unwrap();
    assert_eq!(expire(&*store, 60, 10).await, Expired { messages: vec![settled.message], next: Some(at(500)) });
    assert_eq!(short(&lease(&*store, 60, 100, 10).await), [(id(2), 1)]);
    let told = [(id(1), Some(Pending), Pending), (id(2), Some(Pending), Pending), (id(1), Some(InDoubt), InDoubt)];
    assert_eq!(trail(&*store).await, told);
}

pub async fn a_lease_keeps_its_row_until_it_is_forsaken(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 20)).await.unwrap();
    let leased = lease(&*store, 0, 50, 10).await.leased.remove(0).lease;
    // A row under a lease is looked at again when it may be forsaken, and not before: there is nothing to do until then.
    let forsaken = at(150) + SignedDuration::from_micros(1);
    for seconds in [20, 49, 50, 150] {
        let expected = Expired { messages: Vec::new(), next: Some(forsaken) };
        assert_eq!(expire(&*store, seconds, 10).await, expected, "at {seconds}");
    }
    // Whether it was handed over nobody knows.
    let expected = Message {
        status: InDoubt,
        times: times(&[(Pending, 0), (InDoubt, 151)]),
        ..Message::accepted(queued(1, ANA, 20).origins)
    };
    assert_eq!(expire(&*store, 151, 10).await, Expired { messages: vec![expected.clone()], next: None });
    assert_eq!(store.settle_lease(leased, gone(reached(Queued, 152))).await, Ok(None));
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(InDoubt), InDoubt)]);
}

pub async fn a_message_that_has_moved_on_is_told_nothing_by_its_expiry(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 20)).await.unwrap();
    lease(&*store, 0, 50, 10).await;
    // Its holder was taken for lost, and came back with an answer all the same.
    let moved_on = store.merge(id(1), vec![of(ids("u1", "-", "-"), reached(Queued, 60))]).await.unwrap();
    assert_eq!(expire(&*store, 200, 10).await, Expired { messages: vec![moved_on.clone()], next: None });
    assert_eq!(store.message(id(1)).await, Ok(Some(moved_on)));
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(Queued), Queued)]);
}

pub async fn the_limit_leaves_the_rest_expired(store: Arc<dyn Store>) {
    for (n, expires) in [(1, 30), (2, 20), (3, 25)] {
        store.accept(queued(n, ANA, expires)).await.unwrap();
    }
    let told = |expired: Expired| -> (Vec<_>, _) {
        (expired.messages.iter().map(|message| message.origins.message_id).collect(), expired.next)
    };
    assert_eq!(told(expire(&*store, 40, 2).await), (vec![id(2), id(3)], Some(at(40))));
    assert_eq!(told(expire(&*store, 40, 2).await), (vec![id(1)], None));
}
