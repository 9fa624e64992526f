//! The outbox: leases, their generations, and the order within a recipient.

use std::sync::Arc;

use pilotgate::{
    domain::{
        merge::Fact,
        message::Message,
        status::{
            Origin,
            Status::{InDoubt, Pending, Queued, Sent},
        },
    },
    store::{Accepted, Draft, Lease, LeaseSettled, Leased, Leases, Store, Terms},
};

use crate::fixtures::{
    REPLAY, accepted_at, again, at, body, claim, gone, id, ids, lease, log, number_named, of, queued, reached, short,
    sightings, times, trail,
};

const ANA: &str = "+5511999990001";
const BEA: &str = "+5511999990002";

pub async fn a_queued_message_is_due_at_once(store: Arc<dyn Store>) {
    let draft = queued(1, ANA, 500);
    let expected = Message::accepted(draft.origins.clone());
    assert_eq!(store.accept(draft.clone()).await, Ok(Accepted::New(expected.clone())));
    // What the queue hands over is no hand-over that was broken off.
    assert_eq!(store.pending(10).await, Ok(Vec::new()));
    assert_eq!(lease(&*store, -1, 100, 10).await, Leases { leased: Vec::new(), next: Some(at(0)) });
    let leased = Leased {
        lease: Lease { id: id(1), generation: 1 },
        message: expected,
        body: body(1),
        since: at(0),
        expires: at(500),
    };
    assert_eq!(lease(&*store, 0, 100, 10).await, Leases { leased: vec![leased], next: Some(at(100)) });
    assert_eq!(log(&*store).await, [accepted_at(1, &draft)]);
}

pub async fn a_queued_request_is_answered_with_its_message(store: Arc<dyn Store>) {
    let request = |n| {
        let mut draft = queued(n, ANA, 500);
        draft.origins.request_id = claim(n, "orders", "r1").origins.request_id;
        draft
    };
    let expected = Message::accepted(request(1).origins);
    assert_eq!(store.accept(request(1)).await, Ok(Accepted::New(expected.clone())));
    assert_eq!(store.accept(request(2)).await, Ok(Accepted::Before(expected)));
    let other = Draft { fingerprint: [2; 32], ..request(3) };
    assert_eq!(store.accept(other.clone()).await, Ok(Accepted::Reused(id(1))));

    let leases = lease(&*store, 0, 100, 10).await;
    assert_eq!(short(&leases), [(id(1), 1)], "no row came of the others");
    let settled = store.settle_lease(leases.leased[0].lease, gone(reached(Queued, 1))).await.unwrap().unwrap();
    assert_eq!(store.accept(request(4)).await, Ok(Accepted::Before(settled.message)));
    assert_eq!(store.accept(other).await, Ok(Accepted::Reused(id(1))));
    assert_eq!(lease(&*store, 200, 300, 10).await, Leases { leased: Vec::new(), next: None });
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(Queued), Queued)]);
}

pub async fn of_each_number_and_recipient_only_the_oldest_is_due(store: Arc<dyn Store>) {
    for (n, recipient) in [(1, ANA), (2, BEA), (3, ANA), (4, ANA)] {
        store.accept(queued(n, recipient, 500)).await.unwrap();
    }
    let mut elsewhere = queued(5, ANA, 500);
    elsewhere.origins.number = number_named("second");
    store.accept(elsewhere).await.unwrap();

    let first = lease(&*store, 0, 100, 10).await;
    assert_eq!(short(&first), [(id(1), 1), (id(2), 1)]);
    let terms = Terms { number: number_named("second"), at: at(0), until: at(100), replay: REPLAY, limit: 10 };
    assert_eq!(short(&store.lease(terms).await.unwrap()), [(id(5), 1)]);

    let put_off = store.settle_lease(first.leased[0].lease, again(reached(Pending, 1), 10, 500, false)).await;
    assert!(!put_off.unwrap().unwrap().followed, "it keeps its place");
    assert_eq!(lease(&*store, 9, 100, 10).await, Leases { leased: Vec::new(), next: Some(at(10)) });
    let second = lease(&*store, 10, 100, 10).await;
    assert_eq!(short(&second), [(id(1), 2)]);
    for (leased, followed) in [(&first.leased[1], false), (&second.leased[0], true)] {
        let settled = store.settle_lease(leased.lease, gone(reached(Queued, 11))).await.unwrap().unwrap();
        assert_eq!(settled.followed, followed, "{}", leased.lease.id);
    }
    let third = lease(&*store, 10, 100, 10).await;
    assert_eq!(short(&third), [(id(3), 1)]);
    store.settle_lease(third.leased[0].lease, gone(reached(Queued, 12))).await.unwrap();
    assert_eq!(short(&lease(&*store, 10, 100, 10).await), [(id(4), 1)]);
}

pub async fn a_lease_puts_its_row_off(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 500)).await.unwrap();
    assert_eq!(short(&lease(&*store, 0, 100, 10).await), [(id(1), 1)]);
    assert_eq!(lease(&*store, 99, 300, 10).await, Leases { leased: Vec::new(), next: Some(at(100)) });
    let next = lease(&*store, 100, 300, 10).await;
    assert_eq!((short(&next), next.next), (vec![(id(1), 2)], Some(at(300))));
}

pub async fn a_limit_leaves_the_rest_due(store: Arc<dyn Store>) {
    for (n, recipient) in [(1, ANA), (2, BEA), (3, "+5511999990003")] {
        store.accept(queued(n, recipient, 500)).await.unwrap();
    }
    let two = lease(&*store, 5, 100, 2).await;
    assert_eq!((short(&two).len(), two.next), (2, Some(at(0))));
    let rest = lease(&*store, 5, 100, 2).await;
    assert_eq!((short(&rest).len(), rest.next), (1, Some(at(100))));
}

pub async fn a_lease_without_an_answer_leaves_a_question(store: Arc<dyn Store>) {
    let draft = queued(1, ANA, 500);
    store.accept(draft.clone()).await.unwrap();
    lease(&*store, 3, 100, 10).await;
    // Nobody has come back, not even in time: that it has expired meanwhile no longer matters.
    for (generation, seconds) in [(2, 600), (3, 700)] {
        let expected = Leased {
            lease: Lease { id: id(1), generation },
            message: Message {
                status: InDoubt,
                times: times(&[(Pending, 0), (InDoubt, 600)]),
                ..Message::accepted(draft.origins.clone())
            },
            body: body(1),
            since: at(3),
            expires: at(3) + REPLAY,
        };
        let leases = lease(&*store, seconds, seconds + 100, 10).await;
        assert_eq!(leases, Leases { leased: vec![expected.clone()], next: Some(at(seconds + 100)) });
        assert_eq!(store.message(id(1)).await, Ok(Some(expected.message)));
        assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(InDoubt), InDoubt)]);
    }
}

pub async fn whoever_was_overtaken_changes_nothing(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 500)).await.unwrap();
    let stalled = lease(&*store, 0, 100, 10).await.leased.remove(0).lease;
    let newest = lease(&*store, 100, 200, 10).await.leased.remove(0);
    let before = log(&*store).await;
    for end in [gone(reached(Queued, 101)), again(reached(Pending, 101), 102, 500, false)] {
        assert_eq!(store.settle_lease(stalled, end).await, Ok(None));
    }
    let never = Lease { generation: 3, ..stalled };
    assert_eq!(store.settle_lease(never, gone(reached(Queued, 101))).await, Ok(None));
    assert_eq!(store.message(id(1)).await, Ok(Some(newest.message.clone())));
    assert_eq!(log(&*store).await, before);

    let expected = Message {
        status: Queued,
        times: times(&[(Pending, 0), (InDoubt, 100), (Queued, 102)]),
        attempts: 1,
        ..newest.message
    };
    let settled = LeaseSettled { message: expected.clone(), followed: false };
    assert_eq!(store.settle_lease(newest.lease, gone(reached(Queued, 102))).await, Ok(Some(settled)));
    // Its row is gone, so nobody settles it any more.
    assert_eq!(store.settle_lease(newest.lease, gone(reached(Sent, 103))).await, Ok(None));
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    assert_eq!(log(&*store).await.len(), before.len() + 1);
}

pub async fn an_attempt_that_did_not_arrive_leaves_no_trace(store: Arc<dyn Store>) {
    let draft = queued(1, ANA, 500);
    store.accept(draft.clone()).await.unwrap();
    let first = lease(&*store, 0, 100, 10).await.leased.remove(0).lease;
    let end = again(reached(Pending, 1), 50, 400, false);
    let expected = Message { attempts: 1, ..Message::accepted(draft.origins.clone()) };
    let settled = LeaseSettled { message: expected.clone(), followed: false };
    assert_eq!(store.settle_lease(first, end.clone()).await, Ok(Some(settled)));
    assert_eq!(store.settle_lease(first, end).await, Ok(None), "a lease is settled once");
    assert_eq!(lease(&*store, 49, 100, 10).await, Leases { leased: Vec::new(), next: Some(at(50)) });
    let leased = Leased {
        lease: Lease { id: id(1), generation: 2 },
        message: expected,
        body: body(1),
        since: at(60),
        expires: at(400),
    };
    assert_eq!(lease(&*store, 60, 100, 10).await, Leases { leased: vec![leased], next: Some(at(100)) });
    assert_eq!(log(&*store).await, [accepted_at(1, &draft)]);
}

pub async fn an_attempt_that_may_have_arrived_stays_the_first_one(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 500)).await.unwrap();
    for (attempt, seconds) in [(1, 10), (2, 60), (3, 110)] {
        let leased = lease(&*store, seconds, seconds + 40, 10).await.leased.remove(0);
        assert_eq!((leased.lease.generation, leased.since), (attempt, at(10)));
        let doubt = Fact { origin: Origin::Gateway, ..reached(InDoubt, seconds + 1) };
        store.settle_lease(leased.lease, again(doubt, seconds + 50, 1010, true)).await.unwrap().unwrap();
    }
    assert_eq!(trail(&*store).await, [(id(1), Some(Pending), Pending), (id(1), Some(InDoubt), InDoubt)]);
    let last = lease(&*store, 160, 200, 10).await.leased.remove(0);
    assert_eq!((last.message.attempts, last.expires), (3, at(1010)));
}

pub async fn an_accepted_message_joins_its_early_facts(store: Arc<dyn Store>) {
    store.accept(queued(1, ANA, 500)).await.unwrap();
    let known = ids("u1", "-", "-");
    store.record(&crate::fixtures::main(), sightings([of(known.clone(), reached(Sent, 2))])).await.unwrap();
    let leased = lease(&*store, 0, 100, 10).await.leased.remove(0).lease;
    let settled = store.settle_lease(leased, gone(of(known.clone(), reached(Queued, 1)))).await.unwrap().unwrap();
    assert_eq!((settled.message.status, &settled.message.ids), (Sent, &known));
    let expected = [(Pending, Pending), (Queued, Queued), (Sent, Sent)];
    assert_eq!(trail(&*store).await, expected.map(|(seen, current)| (id(1), Some(seen), current)));
}

pub async fn ended_leases_are_due_at_once(store: Arc<dyn Store>) {
    for (n, recipient) in [(1, ANA), (2, BEA)] {
        store.accept(queued(n, recipient, 500)).await.unwrap();
    }
    let first = lease(&*store, 0, 100, 1).await.leased.remove(0).lease;
    assert_eq!(lease(&*store, 0, 100, 1).await.leased.remove(0).lease.generation, 1);
    store.settle_lease(first, again(reached(Pending, 1), 60, 500, false)).await.unwrap().unwrap();
    store.end_leases(at(20)).await.unwrap();
    // The one that was settled still waits for its time; the other one leaves a question.
    let leases = lease(&*store, 20, 100, 10).await;
    let told: Vec<_> = leases.leased.iter().map(|leased| (leased.lease.generation, leased.message.status)).collect();
    assert_eq!((told, leases.next), (vec![(2, InDoubt)], Some(at(60))));
    assert_ne!(leases.leased[0].lease.id, first.id);
}

pub async fn the_oldest_body_is_told(store: Arc<dyn Store>) {
    assert_eq!(store.oldest_body().await, Ok(None));
    for n in [1, 2] {
        store.accept(queued(n, ANA, 500)).await.unwrap();
    }
    for n in [1, 2] {
        assert_eq!(store.oldest_body().await, Ok(Some((id(n), body(n)))));
        let leased = lease(&*store, 0, 100, 1).await.leased.remove(0).lease;
        store.settle_lease(leased, gone(reached(Queued, 1))).await.unwrap().unwrap();
    }
    assert_eq!(store.oldest_body().await, Ok(None));
}
