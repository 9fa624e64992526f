//! When messages are to be read back, what reading brings, and claims that wait for it.

use std::sync::Arc;

use jiff::Timestamp;
use pilotgate::{
    domain::{
        ids::MessageId,
        inbound::Trust,
        merge::Fact,
        secret::Likeness,
        status::Status::{self, Canceled, Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
    },
    store::{
        Checked, Draft,
        Recorded::{self, Appended, Early, Known},
        Sighting, Store,
    },
};

use crate::fixtures::{
    at, draft, draft_on, failed, id, ids, main, number_named, of, reached, send, settled, sightings, trail,
};

/// How long after its last news an open message is due, and one that is delivered: what stores open with by default.
const OPEN: i64 = 5;
const DELIVERED: i64 = 60;

/// A message that is due: which, since which second, how often it was read, what is claimed.
type Due = (MessageId, i64, u32, Option<Status>);

/// What is due at this second, and when the next one is.
async fn due(store: &dyn Store, second: i64, limit: usize) -> (Vec<Due>, Option<i64>) {
    let seconds = |time: Timestamp| time.duration_since(at(0)).as_secs();
    let checks = store.checks(&main(), at(second), limit).await.unwrap();
    let mut due = Vec::new();
    for check in checks.due {
        let id = check.message.origins.message_id;
        assert_eq!(store.message(id).await, Ok(Some(check.message)), "told as it stands");
        due.push((id, seconds(check.due), check.checks, check.claimed));
    }
    (due, checks.next.map(seconds))
}

/// When a message is due; `None` if it is not.
async fn due_of(store: &dyn Store, n: u128) -> Option<i64> {
    let (due, _) = due(store, 1_000_000, usize::MAX).await;
    due.into_iter().find(|due| due.0 == id(n)).map(|due| due.1)
}

async fn record(store: &dyn Store, fact: Fact) -> Recorded {
    store.record(&main(), sightings([fact])).await.unwrap()[0]
}

async fn claim(store: &dyn Store, upstream: &str, fact: Fact) -> Recorded {
    let fact = of(ids(upstream, "-", "-"), fact);
    let sighting = Sighting { fact, likeness: None, trust: Trust::Claimed };
    store.record(&main(), vec![sighting.into()]).await.unwrap()[0]
}

/// What was read of a message that was due since this second, and what follows if it is nothing new.
async fn read(store: &dyn Store, n: u128, since: i64, facts: Vec<Fact>, then: (u32, Option<i64>)) -> usize {
    let then = (then.0, then.1.map(at));
    store.checked(vec![Checked { id: id(n), due: at(since), facts, then }]).await.unwrap()[0]
}

pub async fn an_open_message_is_due_a_while_after_its_last_news(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(draft(1)).await.unwrap();
    assert_eq!(due(store, 1_000, 10).await, (vec![], None), "not handed over");
    store.settle(id(1), settled(reached(InDoubt, 10))).await.unwrap();
    assert_eq!(due(store, 10 + OPEN - 1, 10).await, (vec![], Some(10 + OPEN)));
    assert_eq!(due(store, 10 + OPEN, 10).await, (vec![(id(1), 10 + OPEN, 0, None)], None));
    let known = ids("u1", "-", "-");
    for (fact, expected) in [
        (reached(Queued, 20), Some(20 + OPEN)),
        (reached(Sent, 30), Some(30 + OPEN)),
        // Nothing new.
        (reached(Sent, 35), Some(30 + OPEN)),
        (failed("DELIVERED_NOT_CONFIRMED", 40), Some(40 + DELIVERED)),
        (reached(Delivered, 50), Some(50 + DELIVERED)),
        (reached(Read, 60), None),
    ] {
        store.settle(id(1), settled(of(known.clone(), fact))).await.unwrap();
        assert_eq!(due_of(store, 1).await, expected);
    }
    for (n, end) in [(2, reached(Canceled, 30)), (3, failed("WHATSAPP_NOT_EXIST", 30))] {
        send(store, draft(n), ids(&format!("u{n}"), "-", "-")).await;
        assert_eq!(due_of(store, n).await, Some(1 + OPEN));
        record(store, of(ids(&format!("u{n}"), "-", "-"), end)).await;
        assert_eq!(due_of(store, n).await, None, "it has ended");
    }
}

pub async fn a_message_that_leaves_later_is_due_after_that(store: Arc<dyn Store>) {
    let store = &*store;
    let mut scheduled = draft(1);
    scheduled.origins.deliver_at = Some(at(500));
    send(store, scheduled, ids("u1", "-", "-")).await;
    assert_eq!(due_of(store, 1).await, Some(500 + OPEN));
    record(store, of(ids("u1", "-", "-"), reached(Sent, 700))).await;
    assert_eq!(due_of(store, 1).await, Some(700 + OPEN));
}

pub async fn the_longest_due_come_first_and_keep_to_their_number(store: Arc<dyn Store>) {
    let store = &*store;
    for (n, second) in [(1, 30), (2, 10), (3, 20)] {
        let upstream = format!("u{n}");
        send(store, draft(n), ids(&upstream, "-", "-")).await;
        record(store, of(ids(&upstream, "-", "-"), reached(Sent, second))).await;
    }
    send(store, draft_on(4, "other"), ids("u4", "-", "-")).await;
    let all = [(id(2), 10 + OPEN, 0, None), (id(3), 20 + OPEN, 0, None), (id(1), 30 + OPEN, 0, None)];
    assert_eq!(due(store, 1_000, 10).await, (all.to_vec(), None));
    assert_eq!(due(store, 10 + OPEN, 10).await, (all[..1].to_vec(), Some(20 + OPEN)));
    assert_eq!(due(store, 1_000, 1).await, (all[..1].to_vec(), Some(20 + OPEN)), "the limit leaves the rest");
    let other = store.checks(&number_named("other"), at(1_000), 10).await.unwrap();
    assert_eq!(other.due.iter().map(|due| due.message.origins.message_id).collect::<Vec<_>>(), [id(4)]);
}

pub async fn what_was_read_is_folded_in_and_what_brought_nothing_is_put_off(store: Arc<dyn Store>) {
    let store = &*store;
    let known = ids("u1", "-", "-");
    send(store, draft(1), known.clone()).await;
    // Nothing new: as often and as late as was said.
    assert_eq!(read(store, 1, 1 + OPEN, vec![of(known.clone(), reached(Queued, 1))], (1, Some(90))).await, 0);
    assert_eq!(due(store, 90, 10).await, (vec![(id(1), 90, 1, None)], None));
    // News: due anew, and counted from the start.
    let facts = [(Queued, 1), (Sent, 95), (Delivered, 96)];
    let facts = facts.map(|(status, second)| of(ids("u1", "-", "e1"), reached(status, second))).to_vec();
    assert_eq!(read(store, 1, 90, facts, (2, Some(500))).await, 2);
    assert_eq!(due(store, 96 + DELIVERED, 10).await, (vec![(id(1), 96 + DELIVERED, 0, None)], None));
    // An id that came with it leads to what was waiting.
    send(store, draft(2), ids("u2", "-", "-")).await;
    assert_eq!(record(store, of(ids("-", "-", "e2"), reached(Read, 70))).await, Early);
    assert_eq!(read(store, 2, 1 + OPEN, vec![of(ids("u2", "-", "e2"), reached(Queued, 1))], (1, Some(90))).await, 1);
    assert_eq!(store.message(id(2)).await.unwrap().unwrap().status, Read);
    assert_eq!(due_of(store, 2).await, None);
    // Not before there are news.
    assert_eq!(read(store, 1, 96 + DELIVERED, vec![], (7, None)).await, 0);
    assert_eq!(due(store, 1_000_000, 10).await, (vec![], None));
    let failure = of(known, failed("X", 200));
    assert_eq!(record(store, failure).await, Appended);
    assert_eq!(due(store, 1_000, 10).await, (vec![(id(1), 200 + DELIVERED, 0, None)], None));
    // What is gone is not read.
    let gone = Checked { id: id(77), due: at(1), facts: vec![reached(Sent, 1)], then: (1, Some(at(2))) };
    assert_eq!(store.checked(vec![gone]).await, Ok(vec![0]));
}

pub async fn news_that_come_while_it_is_read_are_not_put_off(store: Arc<dyn Store>) {
    let store = &*store;
    send(store, draft(1), ids("u1", "-", "-")).await;
    record(store, of(ids("u1", "-", "-"), reached(Sent, 10))).await;
    assert_eq!(read(store, 1, 1 + OPEN, vec![], (1, Some(900))).await, 0);
    assert_eq!(due_of(store, 1).await, Some(10 + OPEN));
    claim(store, "u1", reached(Read, 12)).await;
    assert_eq!(read(store, 1, 10 + OPEN, vec![], (1, None)).await, 0);
    assert_eq!(due(store, 12, 10).await.0, [(id(1), 12, 0, Some(Read))]);
}

pub async fn a_claim_is_told_by_nobody_and_due_at_once(store: Arc<dyn Store>) {
    let store = &*store;
    send(store, draft(1), ids("u1", "-", "-")).await;
    send(store, draft(2), ids("u2", "-", "-")).await;
    assert_eq!(claim(store, "u2", reached(Queued, 50)).await, Known, "it is known");
    assert_eq!(claim(store, "u2", reached(Delivered, 70)).await, Recorded::Claimed);
    assert_eq!(claim(store, "u2", reached(Sent, 60)).await, Recorded::Claimed);
    let unmoved = store.message(id(2)).await.unwrap().unwrap();
    assert_eq!((unmoved.status, unmoved.times.get(Delivered)), (Queued, None));
    assert_eq!(trail(store).await.len(), 4);
    // Before what is due for longer, with the furthest status claimed.
    let both = vec![(id(2), 60, 0, Some(Delivered)), (id(1), 1 + OPEN, 0, None)];
    assert_eq!(due(store, 100, 10).await, (both.clone(), None));
    assert_eq!(due(store, 100, 1).await.0, both[..1]);
    // What is not confirmed is put off although the reading brought something.
    let sent = of(ids("u2", "-", "-"), reached(Sent, 60));
    assert_eq!(read(store, 2, 60, vec![sent], (1, Some(80))).await, 1);
    assert_eq!(due(store, 100, 1).await.0, [(id(2), 80, 1, Some(Delivered))]);
    assert_eq!(read(store, 2, 80, vec![], (2, Some(90))).await, 0);
    assert_eq!(due(store, 100, 1).await.0, [(id(2), 90, 2, Some(Delivered))]);
    // What is confirmed is not claimed any more.
    let delivered = of(ids("u2", "-", "-"), reached(Delivered, 91));
    assert_eq!(read(store, 2, 90, vec![delivered], (3, Some(900))).await, 1);
    assert_eq!(due(store, 1_000, 10).await.0[1], (id(2), 91 + DELIVERED, 0, None));
}

pub async fn other_news_leave_a_claim_and_do_not_put_it_off(store: Arc<dyn Store>) {
    let store = &*store;
    send(store, draft(1), ids("u1", "-", "-")).await;
    claim(store, "u1", reached(Delivered, 10)).await;
    assert_eq!(read(store, 1, 10, vec![], (1, Some(12))).await, 0);
    record(store, of(ids("u1", "-", "-"), reached(Sent, 11))).await;
    assert_eq!(due(store, 100, 10).await.0, [(id(1), 12, 1, Some(Delivered))]);
    // Nor does it keep news from being read back in time.
    assert_eq!(read(store, 1, 12, vec![], (2, Some(900))).await, 0);
    record(store, of(ids("u1", "-", "-"), failed("X", 20))).await;
    assert_eq!(due(store, 1_000, 10).await.0, [(id(1), 900, 2, Some(Delivered))], "which has ended");
    // Given up, it is forgotten.
    assert_eq!(read(store, 1, 900, vec![], (3, None)).await, 0);
    assert_eq!(due(store, 1_000_000, 10).await, (vec![], None));
    record(store, of(ids("u1", "-", "-"), reached(Read, 1_000))).await;
    assert_eq!(due(store, 1_000_000, 10).await, (vec![], None));

    send(store, draft(2), ids("u2", "-", "-")).await;
    claim(store, "u2", reached(Delivered, 10)).await;
    assert_eq!(read(store, 2, 10, vec![], (9, Some(900))).await, 0);
    record(store, of(ids("u2", "-", "-"), reached(Sent, 20))).await;
    assert_eq!(due(store, 1_000, 10).await.0, [(id(2), 20 + OPEN, 9, Some(Delivered))]);
    // A webhook that is believed confirms it as well, and a further claim makes it due at once.
    claim(store, "u2", reached(Read, 30)).await;
    assert_eq!(due(store, 1_000, 10).await.0, [(id(2), 30, 0, Some(Read))]);
    record(store, of(ids("u2", "-", "-"), reached(Read, 31))).await;
    assert_eq!(due(store, 1_000, 10).await.0, []);
}

pub async fn a_claim_that_is_repeated_keeps_its_turn_and_its_count(store: Arc<dyn Store>) {
    let store = &*store;
    send(store, draft(1), ids("u1", "-", "-")).await;
    for second in [10, 20, 30] {
        claim(store, "u1", reached(Delivered, second)).await;
    }
    assert_eq!(due(store, 100, 10).await.0, [(id(1), 10, 0, Some(Delivered))]);
    assert_eq!(read(store, 1, 10, vec![], (1, Some(900))).await, 0);
    // Due at once, once more or for less, and yet no claim that was never read.
    claim(store, "u1", reached(Sent, 40)).await;
    claim(store, "u1", reached(Delivered, 41)).await;
    assert_eq!(due(store, 100, 10).await.0, [(id(1), 40, 1, Some(Delivered))]);
    // A further one is.
    claim(store, "u1", reached(Read, 50)).await;
    assert_eq!(due(store, 100, 10).await.0, [(id(1), 50, 0, Some(Read))]);
}

pub async fn claims_are_half_of_what_is_due_at_most(store: Arc<dyn Store>) {
    let store = &*store;
    for n in 1..=3 {
        send(store, draft(n), ids(&format!("u{n}"), "-", "-")).await;
        claim(store, &format!("u{n}"), reached(Delivered, 1)).await;
    }
    send(store, draft(4), ids("u4", "-", "-")).await;
    let (due, next) = due(store, 100, 4).await;
    assert_eq!(
        due.into_iter().map(|due| (due.0, due.3.is_some())).collect::<Vec<_>>(),
        [(id(1), true), (id(2), true), (id(4), false)]
    );
    assert!(next.is_some_and(|next| next <= 100), "one is left out");
}

pub async fn a_claim_waits_for_its_message_and_is_due_when_that_is_known(store: Arc<dyn Store>) {
    let store = &*store;
    assert_eq!(claim(store, "u1", reached(Delivered, 3)).await, Early);
    assert_eq!(claim(store, "u1", reached(Delivered, 4)).await, Known);
    let joined = send(store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!((joined.status, joined.times.get(Delivered)), (Queued, None));
    assert_eq!(due(store, 3, 10).await.0, [(id(1), 3, 0, Some(Delivered))]);
    assert_eq!(trail(store).await, [Pending, Queued].map(|status| (id(1), Some(status), status)));
    // What is proven later is proven.
    assert_eq!(claim(store, "u2", reached(Sent, 3)).await, Early);
    assert_eq!(record(store, of(ids("u2", "-", "-"), reached(Sent, 3))).await, Known);
    let joined = send(store, draft(2), ids("u2", "-", "-")).await;
    assert_eq!(joined.status, Sent);
    // A claim of what is known when it joins has nothing to be read for.
    assert_eq!(claim(store, "u3", reached(Queued, 3)).await, Early);
    send(store, draft(3), ids("u3", "-", "-")).await;
    assert_eq!(due_of(store, 3).await, Some(1 + OPEN));
}

pub async fn the_time_of_a_claim_is_not_that_of_the_fact_that_proves_it(store: Arc<dyn Store>) {
    let store = &*store;
    let sight = async |upstream, seconds, trust| {
        let sighting = Sighting { fact: of(ids(upstream, "-", "-"), reached(Sent, seconds)), likeness: None, trust };
        store.record(&main(), vec![sighting.into()]).await.unwrap()[0]
    };
    // Made up, with a time of its maker's choice, before and after what is proven.
    for (upstream, seen) in [
        ("u1", [(-900_000_000, Trust::Claimed), (3, Trust::Proven), (4, Trust::Proven)]),
        ("u2", [(3, Trust::Proven), (-900_000_000, Trust::Named), (-900_000_000, Trust::Claimed)]),
        ("u3", [(5, Trust::Named), (3, Trust::Named), (-900_000_000, Trust::Claimed)]),
    ] {
        let [first, others @ ..] = seen;
        assert_eq!(sight(upstream, first.0, first.1).await, Early);
        for (seconds, trust) in others {
            assert_eq!(sight(upstream, seconds, trust).await, Known);
        }
    }
    for n in 1..=3 {
        let message = send(store, draft(n), ids(&format!("u{n}"), "-", "-")).await;
        assert_eq!(message.times.get(Sent), Some(at(3)), "u{n}");
    }
}

pub async fn a_claim_about_a_doubt_settles_it_by_its_reading_alone(store: Arc<dyn Store>) {
    let store = &*store;
    let like = |draft: Draft| Draft { likeness: Some(Likeness::from_bytes([7; 16])), ..draft };
    let sight = async |fact: Fact, trust| {
        let sighting = Sighting { fact, likeness: Some(Likeness::from_bytes([7; 16])), trust };
        store.record(&main(), vec![sighting.into()]).await.unwrap()[0]
    };
    store.accept(like(draft(1))).await.unwrap();
    store.settle(id(1), settled(reached(InDoubt, 1))).await.unwrap();
    let delivered = of(ids("u1", "-", "-"), reached(Delivered, 3));
    assert_eq!(sight(delivered.clone(), Trust::Claimed).await, Early, "its id is claimed as well");
    let doubtful = store.message(id(1)).await.unwrap().unwrap();
    assert_eq!((doubtful.status, doubtful.ids.upstream), (InDoubt, None));
    assert_eq!(due(store, 3, 10).await.0, [(id(1), 3, 0, Some(Delivered))]);
    // Found by reading.
    assert_eq!(sight(of(ids("u1", "-", "-"), reached(Sent, 2)), Trust::Proven).await, Appended);
    assert_eq!(due(store, 10, 10).await.0, [(id(1), 3, 0, Some(Delivered))], "which does not tell all of it");
    assert_eq!(sight(delivered, Trust::Proven).await, Appended);
    assert_eq!(due(store, 1_000, 10).await.0, [(id(1), 3 + DELIVERED, 0, None)]);

    // The same if the claim was there before the doubt.
    assert_eq!(sight(of(ids("u2", "-", "-"), reached(Failed, 5)), Trust::Claimed).await, Early);
    store.accept(like(draft(2))).await.unwrap();
    store.settle(id(2), settled(reached(InDoubt, 9))).await.unwrap();
    assert_eq!(store.message(id(2)).await.unwrap().unwrap().status, InDoubt);
    assert_eq!(due(store, 9, 10).await.0[0], (id(2), 5, 0, Some(Failed)));
}
