//! Recording facts whose message is named by ids of others, known already or not yet.

use std::sync::Arc;

use jiff::SignedDuration;
use pilotgate::{
    domain::{
        merge::Fact,
        message::Message,
        position::Position,
        status::Status::{Delivered, Failed, Pending, Queued, Read, Sent},
    },
    store::{
        Recorded::{Appended, Early, Known},
        Store,
    },
};

use crate::fixtures::{
    altered, at, draft, draft_on, failed, id, ids, log, main, number_named, of, reached, send, settled, sightings,
    times, told_at, trail,
};

pub async fn a_fact_is_appended_once(store: Arc<dyn Store>) {
    let queued = send(&*store, draft(1), ids("u1", "-", "-")).await;
    let sent = of(ids("u1", "c1", "e1"), reached(Sent, 2));
    let told = store.record(&main(), sightings([sent.clone(), sent.clone()])).await;
    assert_eq!(told, Ok(vec![Appended, Known]));
    assert_eq!(store.record(&main(), sightings([sent.clone()])).await, Ok(vec![Known]));
    let expected = Message {
        ids: ids("u1", "c1", "e1"),
        status: Sent,
        times: times(&[(Pending, 0), (Queued, 1), (Sent, 2)]),
        ..queued
    };
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    let events = log(&*store).await;
    assert_eq!(events[2..], [told_at(3, &draft(1), &ids("u1", "c1", "e1"), &sent, Sent)]);
    assert_eq!(*store.head().borrow(), Position(3));
}

pub async fn an_early_fact_is_kept_once(store: Arc<dyn Store>) {
    let (sent, read) = (of(ids("u1", "-", "-"), reached(Sent, 2)), of(ids("u1", "-", "-"), reached(Read, 3)));
    let told = store.record(&main(), sightings([sent.clone(), read.clone(), sent.clone()])).await;
    assert_eq!(told, Ok(vec![Early, Early, Known]));
    assert_eq!(log(&*store).await, []);
    assert_eq!(*store.head().borrow(), Position::START);

    let joined = send(&*store, draft(1), ids("u1", "-", "-")).await;
    let expected = Message {
        ids: ids("u1", "-", "-"),
        status: Read,
        times: times(&[(Pending, 0), (Queued, 1), (Sent, 2), (Read, 3)]),
        attempts: 1,
        ..Message::accepted(draft(1).origins)
    };
    assert_eq!(joined, expected);
    let known = ids("u1", "-", "-");
    let events = log(&*store).await;
    assert_eq!(
        events[2..],
        [told_at(3, &draft(1), &known, &sent, Sent), told_at(4, &draft(1), &known, &read, Read)],
        "joined by the settlement, behind it"
    );
    assert_eq!(store.record(&main(), sightings([sent])).await, Ok(vec![Known]));
}

pub async fn early_facts_join_in_the_order_in_which_they_came(store: Arc<dyn Store>) {
    let waiting = [
        of(ids("-", "c1", "-"), reached(Sent, 2)),
        of(ids("u1", "-", "-"), reached(Delivered, 3)),
        of(ids("-", "-", "e1"), reached(Read, 4)),
    ];
    assert_eq!(store.record(&main(), sightings(waiting)).await, Ok(vec![Early; 3]));
    let joined = send(&*store, draft(1), ids("u1", "c1", "e1")).await;
    assert_eq!(joined.times, times(&[(Pending, 0), (Queued, 1), (Sent, 2), (Delivered, 3), (Read, 4)]));
    let whole = [Pending, Queued, Sent, Delivered, Read].map(|status| (id(1), Some(status), status));
    assert_eq!(trail(&*store).await, whole);
}

pub async fn an_early_fact_brings_ids_that_lead_to_further_ones(store: Arc<dyn Store>) {
    let waiting = [of(ids("-", "-", "e1"), reached(Delivered, 3)), of(ids("u1", "-", "e1"), reached(Sent, 2))];
    assert_eq!(store.record(&main(), sightings(waiting)).await, Ok(vec![Early; 2]));
    let joined = send(&*store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!((joined.ids, joined.status), (ids("u1", "-", "e1"), Delivered));
    let whole = [Pending, Queued, Sent, Delivered].map(|status| (id(1), Some(status), status));
    assert_eq!(trail(&*store).await, whole);
}

pub async fn a_recorded_fact_brings_ids_that_lead_to_early_ones(store: Arc<dyn Store>) {
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    let waiting = of(ids("-", "-", "e1"), reached(Delivered, 3));
    assert_eq!(store.record(&main(), sightings([waiting])).await, Ok(vec![Early]));
    // Known as a status, but not before under this id.
    let bringing = of(ids("u1", "-", "e1"), reached(Queued, 1));
    assert_eq!(store.record(&main(), sightings([bringing])).await, Ok(vec![Known]));
    let whole = [Pending, Queued, Delivered].map(|status| (id(1), Some(status), status));
    assert_eq!(trail(&*store).await, whole);
}

pub async fn an_upstream_id_is_never_overruled_by_other_ids(store: Arc<dyn Store>) {
    let stranger = of(ids("u9", "c1", "e1"), reached(Delivered, 2));
    assert_eq!(store.record(&main(), sightings([stranger])).await, Ok(vec![Early]));
    let named = send(&*store, draft(1), ids("u1", "c1", "e1")).await;
    let unnamed = send(&*store, draft(2), ids("-", "c1", "e1")).await;
    assert_eq!((named.status, unnamed.status), (Queued, Queued));
    let another = of(ids("u8", "c1", "e1"), reached(Read, 3));
    assert_eq!(store.record(&main(), sightings([another])).await, Ok(vec![Early]));
    assert_eq!(store.message(id(1)).await, Ok(Some(named)));
    assert_eq!(store.message(id(2)).await, Ok(Some(unnamed)));
    // They wait for the message that is theirs.
    assert_eq!(send(&*store, draft(3), ids("u9", "-", "-")).await.status, Delivered);
}

pub async fn early_facts_keep_to_their_number(store: Arc<dyn Store>) {
    let sent = of(ids("u1", "-", "-"), reached(Sent, 2));
    assert_eq!(store.record(&number_named("other"), sightings([sent.clone()])).await, Ok(vec![Early]));
    assert_eq!(send(&*store, draft(1), ids("u1", "-", "-")).await.status, Queued);
    assert_eq!(store.record(&number_named("other"), sightings([sent])).await, Ok(vec![Known]));
    assert_eq!(send(&*store, draft_on(2, "other"), ids("u1", "-", "-")).await.status, Sent);
}

pub async fn an_early_fact_that_is_repeated_keeps_the_earliest_time(store: Arc<dyn Store>) {
    let sent = |seconds| of(ids("u1", "-", "-"), reached(Sent, seconds));
    let told = store.record(&main(), sightings([sent(5), sent(3), sent(9)])).await;
    assert_eq!(told, Ok(vec![Early, Known, Known]));
    let joined = send(&*store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!(joined.times, times(&[(Pending, 0), (Queued, 1), (Sent, 3)]));
}

pub async fn a_delivery_after_a_failure_is_told_as_a_correction(store: Arc<dyn Store>) {
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    let known = ids("u1", "-", "-");
    let late = of(known.clone(), reached(Delivered, 3));
    let facts = [of(known.clone(), failed("DELIVERED_NOT_CONFIRMED", 2)), late.clone()];
    assert_eq!(store.record(&main(), sightings(facts)).await, Ok(vec![Appended, Appended]));
    let corrected = altered(told_at(4, &draft(1), &known, &late, Delivered), |update| update.correction = true);
    let events = log(&*store).await;
    assert_eq!(events[3..], [corrected]);
    let failure = events[2].update().unwrap();
    assert_eq!((failure.current, failure.correction), (Failed, false));
}

pub async fn a_message_known_by_our_id_takes_facts_and_ids(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let waiting = of(ids("-", "-", "e1"), reached(Delivered, 4));
    store.record(&main(), sightings([waiting])).await.unwrap();
    let facts = vec![of(ids("u1", "-", "-"), reached(Queued, 1)), of(ids("u1", "-", "e1"), reached(Sent, 2))];
    let expected = Message {
        ids: ids("u1", "-", "e1"),
        status: Delivered,
        times: times(&[(Pending, 0), (Queued, 1), (Sent, 2), (Delivered, 4)]),
        ..Message::accepted(draft(1).origins)
    };
    assert_eq!(store.merge(id(1), facts.clone()).await, Ok(expected.clone()));
    assert_eq!(store.merge(id(1), facts).await, Ok(expected.clone()), "the second time nothing is new");
    assert_eq!(store.message(id(1)).await, Ok(Some(expected)));
    let whole = [Pending, Queued, Sent, Delivered].map(|status| (id(1), Some(status), status));
    assert_eq!(trail(&*store).await, whole);
}

/// Closing compares what is told now with what is told then.
pub async fn times_are_told_as_they_are_stored(store: Arc<dyn Store>) {
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    let (known, fine) = (ids("u1", "-", "-"), at(2) + SignedDuration::from_nanos(1_999));
    let sent = Fact { at: fine, observed_at: fine, ..of(known.clone(), reached(Sent, 0)) };
    store.record(&main(), sightings([sent.clone()])).await.unwrap();
    let stored = at(2) + SignedDuration::from_micros(1);
    let cut = Fact { at: stored, observed_at: stored, ..sent };
    assert_eq!(log(&*store).await[2..], [told_at(3, &draft(1), &known, &cut, Sent)]);
}

/// Each reading must see a number of entries that is a whole number of records.
pub async fn facts_recorded_together_appear_together(store: Arc<dyn Store>) {
    let names: Vec<_> = (1..=40).map(|n| (n, ids(&format!("u{n}"), "-", "-"))).collect();
    for (n, ids) in &names {
        store.accept(draft(*n)).await.unwrap();
        store.settle(id(*n), settled(of(ids.clone(), reached(Queued, 1)))).await.unwrap();
    }
    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for (_, ids) in names {
                let told: [Fact; 3] = [Sent, Delivered, Read].map(|status| of(ids.clone(), reached(status, 2)));
                assert_eq!(store.record(&main(), sightings(told)).await, Ok(vec![Appended; 3]));
            }
        }
    });
    let mut seen = 0;
    while seen < 120 {
        let page = store.events(Position(80), usize::MAX).await.unwrap();
        seen = page.events.len();
        assert_eq!(seen % 3, 0, "part of a record was seen");
        assert_eq!(page.head, Position(80 + i64::try_from(seen).unwrap()));
    }
    writing.await.unwrap();
}
