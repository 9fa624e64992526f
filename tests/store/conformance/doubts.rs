//! Facts without a known id, and the messages in doubt that they are about.

use std::sync::Arc;

use pilotgate::{
    domain::{
        failure::{Failure, FailureCode},
        inbound::Trust,
        merge::Fact,
        message::Message,
        secret::Likeness,
        status::Status::{Delivered, InDoubt, Pending, Queued, Sent},
    },
    store::{Draft, Expiry, Recorded, Sighting, Store},
};

use crate::fixtures::{at, draft, failed, id, ids, lease, main, of, queued, reached, settled, sightings};

fn like(draft: Draft, byte: u8) -> Draft {
    Draft { likeness: Some(Likeness::from_bytes([byte; 16])), ..draft }
}

async fn see(store: &dyn Store, byte: u8, upstream: &str, seconds: i64) -> Recorded {
    let fact = of(ids(upstream, "-", "-"), reached(Sent, seconds));
    let sighting = Sighting { fact, likeness: Some(Likeness::from_bytes([byte; 16])), trust: Trust::Proven };
    store.record(&main(), vec![sighting.into()]).await.unwrap()[0]
}

async fn doubt(store: &dyn Store, n: u128) -> Message {
    store.settle(id(n), settled(reached(InDoubt, 1))).await.unwrap()
}

async fn status(store: &dyn Store, n: u128) -> (pilotgate::domain::status::Status, Option<String>) {
    let message = store.message(id(n)).await.unwrap().unwrap();
    (message.status, message.ids.upstream.map(String::from))
}

pub async fn a_doubt_is_settled_by_what_looks_like_it(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(like(draft(1), 7)).await.unwrap();
    doubt(store, 1).await;
    let delivered: Fact = of(ids("u1", "-", "-"), reached(Delivered, 3));
    // It tells of no likeness, so that it waits until the id is known.
    let early = store.record(&main(), sightings([delivered])).await.unwrap();
    assert_eq!(early, [Recorded::Early]);
    assert_eq!(see(store, 8, "u8", 2).await, Recorded::Early, "another one");
    assert_eq!(see(store, 7, "u1", 2).await, Recorded::Appended);
    assert_eq!(status(store, 1).await, (Delivered, Some("u1".to_owned())));
    assert_eq!(see(store, 7, "u2", 4).await, Recorded::Early, "it is in doubt no more");
}

pub async fn a_doubt_that_comes_later_finds_what_looks_like_it(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(like(draft(1), 7)).await.unwrap();
    assert_eq!(see(store, 7, "u1", 2).await, Recorded::Early, "its answer may be on its way");
    assert_eq!(doubt(store, 1).await.status, Sent);
    // The same for one whose lease ended without an answer.
    store.accept(like(queued(2, "+5511999990001", 900), 9)).await.unwrap();
    lease(store, 10, 20, 10).await;
    assert_eq!(see(store, 9, "u2", 12).await, Recorded::Early);
    let leased = &lease(store, 30, 40, 10).await.leased[0];
    assert_eq!((leased.message.status, leased.message.ids.upstream.is_some()), (Sent, true));
}

pub async fn what_may_be_about_two_settles_none(store: Arc<dyn Store>) {
    let store = &*store;
    for n in 1..=2 {
        store.accept(like(draft(n), 7)).await.unwrap();
    }
    doubt(store, 1).await;
    assert_eq!(see(store, 7, "u1", 2).await, Recorded::Early, "the other one is pending");
    doubt(store, 2).await;
    assert_eq!(see(store, 7, "u2", 2).await, Recorded::Early, "both are in doubt");
    assert_eq!([status(store, 1).await.0, status(store, 2).await.0], [InDoubt, InDoubt]);

    // Nor do two facts about different messages settle one doubt.
    store.accept(like(draft(3), 8)).await.unwrap();
    for upstream in ["u3", "u4"] {
        assert_eq!(see(store, 8, upstream, 2).await, Recorded::Early);
    }
    assert_eq!(doubt(store, 3).await.status, InDoubt);
    assert_eq!(see(store, 8, "u5", 3).await, Recorded::Early, "nor does a third one, or more of the same");
    assert_eq!(status(store, 3).await, (InDoubt, None));
    // The answer tells which one it is.
    let answered = store.settle(id(3), settled(of(ids("u4", "-", "-"), reached(Queued, 5)))).await.unwrap();
    assert_eq!(answered.status, Sent);
}

pub async fn what_was_before_the_message_is_not_about_it(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(like(draft(1), 7)).await.unwrap();
    doubt(store, 1).await;
    assert_eq!(see(store, 7, "u1", -3600).await, Recorded::Early);
    assert_eq!(status(store, 1).await, (InDoubt, None));
    // One that waits in the outbox and was never tried is no candidate, and keeps nobody from being one.
    store.accept(like(queued(2, "+5511999990001", 900), 7)).await.unwrap();
    assert_eq!(see(store, 7, "u2", 2).await, Recorded::Appended);
    assert_eq!((status(store, 1).await.0, status(store, 2).await.0), (Sent, Pending));
    // One that waited for long is not what was sent before its first attempt.
    store.accept(like(queued(3, "+5511999990003", 9_000), 9)).await.unwrap();
    assert_eq!(see(store, 9, "u3", 600).await, Recorded::Early);
    lease(store, 5_000, 5_010, 10).await;
    let leased = &lease(store, 5_020, 5_030, 10).await.leased;
    let third = leased.iter().find(|leased| leased.lease.id == id(3)).unwrap();
    assert_eq!(third.message.status, InDoubt);
    // Nor if nobody comes back for it, and not later either, when its row is gone.
    store.accept(like(queued(4, "+5511999990004", 6_000), 10)).await.unwrap();
    assert_eq!(see(store, 10, "u4", 600).await, Recorded::Early);
    store.accept(like(queued(5, "+5511999990005", 6_000), 11)).await.unwrap();
    lease(store, 5_040, 5_050, 10).await;
    assert_eq!(see(store, 11, "u5", 5_045).await, Recorded::Early, "its answer may be on its way");
    let failure = Failure::of_handoff(FailureCode::QueueExpired, "too late");
    store.expire(Expiry { at: at(7_000), forsaken: at(6_900), failure, limit: 10 }).await.unwrap();
    assert_eq!(see(store, 10, "u4", 650).await, Recorded::Known);
    assert_eq!(status(store, 4).await, (InDoubt, None));
    assert_eq!(status(store, 5).await, (Sent, Some("u5".to_owned())), "told after its first attempt");
}

pub async fn one_reading_of_a_message_from_before_is_not_about_it(store: Arc<dyn Store>) {
    let store = &*store;
    // It waited in the outbox for over an hour; the same text left past the gateway long before, and failed.
    store.accept(like(queued(1, "+5511999990001", 9_000), 7)).await.unwrap();
    lease(store, 5_000, 5_010, 10).await;
    let doubt = &lease(store, 5_020, 5_030, 10).await.leased[0];
    assert_eq!(doubt.message.status, InDoubt);
    // What reading that one back brings: its time of acceptance, and a failure for which no time is ever told, so that the
    // time of reading stands in.
    let reading = [reached(Queued, 600), failed("OUTSIDE_24H_WINDOW", 5_060)];
    let likeness = Some(Likeness::from_bytes([7; 16]));
    let sighting = |fact| {
        let fact = of(ids("past", "-", "e-past"), fact);
        Sighting { fact, likeness, trust: Trust::Proven }.into()
    };
    store.record(&main(), reading.map(sighting).to_vec()).await.unwrap();
    assert_eq!(status(store, 1).await, (InDoubt, None), "it is told as what became of another one");
}

pub async fn what_is_only_claimed_keeps_no_proven_fact_from_its_doubt(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(like(draft(1), 7)).await.unwrap();
    doubt(store, 1).await;
    // Made up by somebody who knows the path and the text.
    let made_up = of(ids("made-up", "-", "-"), reached(Sent, 2));
    let likeness = Some(Likeness::from_bytes([7; 16]));
    let claim = Sighting { fact: made_up, likeness, trust: Trust::Claimed };
    store.record(&main(), vec![claim.into()]).await.unwrap();
    // What reading the history back proves.
    assert_eq!(see(store, 7, "u1", 3).await, Recorded::Appended);
    assert_eq!(status(store, 1).await, (Sent, Some("u1".to_owned())));
}

pub async fn what_only_its_likeness_names_brings_no_id_unless_it_is_proven(store: Arc<dyn Store>) {
    let store = &*store;
    store.accept(like(draft(1), 7)).await.unwrap();
    doubt(store, 1).await;
    store.accept(like(draft(2), 8)).await.unwrap();
    for (byte, upstream) in [(7, "made-up"), (8, "known")] {
        let fact = of(ids(upstream, "-", "-"), reached(Sent, 2));
        let likeness = Some(Likeness::from_bytes([byte; 16]));
        let sighting = Sighting { fact, likeness, trust: Trust::Named };
        assert_eq!(store.record(&main(), vec![sighting.into()]).await, Ok(vec![Recorded::Early]));
    }
    doubt(store, 2).await;
    // Whether the doubt was there before it or after: it is looked for.
    for n in 1..=2 {
        assert_eq!(status(store, n).await, (InDoubt, None));
    }
    let due = store.checks(&main(), at(2), 10).await.unwrap().due;
    assert_eq!(due.iter().map(|due| due.claimed).collect::<Vec<_>>(), [Some(Sent); 2]);
    // Reading back proves which they are, and what was told of it counts.
    assert_eq!(see(store, 7, "u1", 3).await, Recorded::Appended);
    assert_eq!(status(store, 1).await, (Sent, Some("u1".to_owned())));
    let reading = of(ids("known", "-", "-"), reached(Queued, 1));
    let found = Sighting { fact: reading, likeness: Some(Likeness::from_bytes([8; 16])), trust: Trust::Proven };
    assert_eq!(store.record(&main(), vec![found.into()]).await, Ok(vec![Recorded::Appended]));
    assert_eq!(status(store, 2).await, (Sent, Some("known".to_owned())));
}
