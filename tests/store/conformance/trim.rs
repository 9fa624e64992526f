//! Trimming: what goes, what stays, and what the rest looks like afterwards.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use pilotgate::{
    domain::{
        event::Payload,
        inbound::Trust,
        position::Position,
        status::Status::{Canceled, Delivered, InDoubt, Pending, Queued, Read, Sent},
    },
    store::{
        Accepted, Draft, Key, Recorded, Sighting, Store,
        retention::{Trim, Trimmed},
    },
};

use super::Backend;
use crate::fixtures::{
    accepted_at, altered, at, claim, draft, failed, id, ids, log, main, of, reached, send, settled, sightings,
};

fn accepted_in(seconds: i64, draft: Draft) -> Draft {
    let mut draft = draft;
    draft.origins.create_time = at(seconds);
    draft
}

fn events(before: Timestamp) -> Trim {
    Trim::Events { before }
}

/// Messages that ended before the one second, or are open since before the other.
fn early(before: i64) -> Trim {
    Trim::Early { at: at(1_000), before: at(before) }
}

fn messages(ended: i64, open: i64) -> Trim {
    Trim::Messages { after: 0, ended: at(ended), open: at(open) }
}

/// Every step from this one on; what each deleted.
async fn steps(store: &dyn Store, first: Trim) -> Vec<Trimmed> {
    let (mut next, mut taken) = (Some(first), Vec::new());
    while let Some(step) = next {
        let trimmed = store.trim(step).await.unwrap();
        next = trimmed.next;
        taken.push(trimmed);
    }
    taken
}

async fn deleted(store: &dyn Store, first: Trim) -> u64 {
    steps(store, first).await.iter().map(|trimmed| trimmed.deleted).sum()
}

/// Which of the messages from 1 on are kept.
async fn kept(store: &dyn Store, up_to: u128) -> Vec<u128> {
    let kept = store.messages((1..=up_to).map(id).collect()).await.unwrap();
    let kept: Vec<_> = kept.iter().map(|message| message.origins.message_id).collect();
    (1..=up_to).filter(|n| kept.contains(&id(*n))).collect()
}

pub async fn entries_go_oldest_first_up_to_a_time(store: Arc<dyn Store>) {
    let drafts = [10, 20, 15, 20, 30].iter().zip(1..).map(|(seconds, n)| accepted_in(*seconds, draft(n)));
    let drafts: Vec<_> = drafts.collect();
    for draft in &drafts {
        store.accept(draft.clone()).await.unwrap();
    }
    assert_eq!(store.trim(events(at(10))).await, Ok(Trimmed { deleted: 0, in_doubt: 0, next: None }));
    assert_eq!(store.oldest().await, Ok((Position::START, Some(at(10)))));
    // The third was observed before the second and logged after it.
    assert_eq!(store.trim(events(at(20))).await, Ok(Trimmed { deleted: 1, in_doubt: 0, next: None }));
    assert_eq!(store.oldest().await, Ok((Position(1), Some(at(20)))));
    assert_eq!(store.trim(events(at(21))).await, Ok(Trimmed { deleted: 3, in_doubt: 0, next: None }));
    assert_eq!(store.oldest().await, Ok((Position(4), Some(at(30)))));
    let last = store.events(Position(4), 10).await.unwrap();
    assert_eq!((last.head, last.events[0].position, last.events.len()), (Position(5), Position(5), 1));
    for after in 0..4 {
        assert_eq!(store.events(Position(after), 10).await, Ok(last.clone()), "behind {after}");
    }
    // Up to second 20 there were entries that are gone. Between that and second 30 there were none.
    for (seconds, before) in [(0, 0), (10, 0), (20, 0), (21, 4), (30, 4), (31, 5)] {
        assert_eq!(store.position_before(at(seconds)).await, Ok(Position(before)), "second {seconds}");
    }
    assert_eq!(kept(&*store, 5).await, [1, 2, 3, 4, 5]);
    assert_eq!(*store.head().borrow(), Position(5));
}

pub async fn a_long_log_goes_in_steps(store: Arc<dyn Store>) {
    join_all((1..=1_200).map(|n| store.accept(draft(n)))).await;
    let whole = log(&*store).await;
    let taken = steps(&*store, events(Timestamp::MAX)).await;
    assert!(taken.iter().all(|trimmed| trimmed.deleted <= 500), "{taken:?}");
    assert_eq!(taken.iter().map(|trimmed| trimmed.deleted).sum::<u64>(), 1_200);
    assert_eq!(store.oldest().await, Ok((Position(1_200), None)));
    let empty = store.events(Position::START, 10).await.unwrap();
    assert_eq!((empty.head, empty.events.len()), (Position(1_200), 0));
    assert_eq!(store.position_before(whole[0].observed_at()).await, Ok(Position::START));
    assert_eq!(store.position_before(at(1)).await, Ok(Position(1_200)));
    store.accept(draft(1_201)).await.unwrap();
    assert_eq!(log(&*store).await, [accepted_at(1_201, &draft(1_201))]);
}

pub async fn writes_come_in_between_the_steps(store: Arc<dyn Store>) {
    join_all((1..=1_000).map(|n| store.accept(draft(n)))).await;
    let writing = join_all((1_001..=1_200).map(|n| store.accept(accepted_in(9, draft(n)))));
    let (trimmed, written) = tokio::join!(deleted(&*store, events(at(5))), writing);
    assert_eq!(trimmed, 1_000);
    assert!(written.iter().all(|accepted| matches!(accepted, Ok(Accepted::New(_)))));
    assert_eq!(log(&*store).await.len(), 200);
    assert_eq!(store.oldest().await, Ok((Position(1_000), Some(at(9)))));
}

pub async fn messages_go_by_their_standing_and_age(store: Arc<dyn Store>) {
    let standings = [
        None,
        Some(reached(Pending, 1)),
        Some(reached(InDoubt, 1)),
        Some(reached(Queued, 1)),
        Some(reached(Sent, 1)),
        Some(reached(Canceled, 1)),
        Some(failed("NOT_SENT", 1)),
        Some(reached(Delivered, 1)),
        Some(reached(Read, 1)),
    ];
    // Three ages: messages 1 to 9 of second 10, 10 to 18 of second 20, 19 to 27 of second 30.
    for (n, (seconds, standing)) in (1..).zip([10, 20, 30].iter().flat_map(|s| standings.iter().map(move |f| (s, f)))) {
        store.accept(accepted_in(*seconds, draft(n))).await.unwrap();
        if let Some(fact) = standing {
            store.settle(id(n), settled(fact.clone())).await.unwrap();
        }
    }
    let entries = log(&*store).await.len();
    assert_eq!(deleted(&*store, messages(10, 10)).await, 0);
    assert_eq!(deleted(&*store, messages(30, 11)).await, 2 + 5 + 5);
    let left = [1, 2, 10, 11, 12, 13, 19, 20, 21, 22, 23, 24, 25, 26, 27];
    assert_eq!(kept(&*store, 27).await, left);
    let taken = steps(&*store, messages(30, 30)).await;
    assert_eq!(taken.iter().map(|trimmed| (trimmed.deleted, trimmed.in_doubt)).collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(deleted(&*store, messages(1000, 1000)).await, 7);
    assert_eq!(kept(&*store, 27).await, [1, 2, 10, 11, 19, 20]);
    let statuses = store.messages((1..=27).map(id).collect()).await.unwrap();
    assert!(statuses.iter().all(|message| message.status == Pending));
    // Their entries are another matter.
    assert_eq!(log(&*store).await.len(), entries);
}

pub async fn messages_accepted_out_of_order_go_all_the_same(store: Arc<dyn Store>) {
    const MESSAGES: i64 = 700;
    let numbered = || (1..=MESSAGES).zip(1_u128..);
    let drafts = numbered().map(|(second, n)| accepted_in(second - second % 10 - second % 7, draft(n)));
    // In order: more at once would be queued as it comes.
    for some in drafts.collect::<Vec<_>>().chunks(30) {
        join_all(some.iter().map(|draft| store.accept(draft.clone()))).await;
    }
    join_all(numbered().map(|(_, n)| store.settle(id(n), settled(reached(Sent, 1))))).await;
    let taken = steps(&*store, messages(400, 0)).await;
    assert!(taken.iter().all(|trimmed| trimmed.deleted <= 500), "{taken:?}");
    let young = numbered().filter(|(second, _)| second - second % 10 - second % 7 >= 400);
    let expected: Vec<_> = young.map(|(_, n)| n).collect();
    assert_eq!(kept(&*store, 700).await, expected);
    assert_eq!(deleted(&*store, messages(400, 0)).await, 0);
}

pub async fn a_message_that_is_gone_is_not_found_and_its_request_id_is_free(store: Arc<dyn Store>) {
    let known = ids("u1", "c1", "w1");
    send(&*store, claim(1, "orders", "r1"), known.clone()).await;
    send(&*store, claim(2, "orders", "r2"), ids("u2", "-", "-")).await;
    store.record(&main(), sightings([of(known.clone(), reached(Sent, 2))])).await.unwrap();
    assert_eq!(deleted(&*store, messages(1, 0)).await, 1);
    assert_eq!(store.message(id(1)).await, Ok(None));
    let caller = "orders".to_owned().try_into().unwrap();
    assert_eq!(store.claimed(&caller, &"r1".to_owned().try_into().unwrap()).await, Ok(None));
    for key in [
        Key::Upstream(known.upstream.clone().unwrap()),
        Key::Correlation(known.correlation.clone().unwrap()),
        Key::External(known.external.clone().unwrap()),
    ] {
        assert_eq!(store.find(&main(), key).await, Ok(None));
    }
    let late = sightings([of(known, reached(Delivered, 3))]);
    assert_eq!(store.record(&main(), late).await, Ok(vec![Recorded::Early]));
    let again = store.accept(Draft { fingerprint: [2; 32], ..claim(3, "orders", "r1") }).await;
    assert!(matches!(again, Ok(Accepted::New(_))), "{again:?}");
    assert!(matches!(store.accept(claim(4, "orders", "r2")).await, Ok(Accepted::Before(_))));
}

pub async fn early_facts_go_oldest_first(store: Arc<dyn Store>) {
    let facts = (1..=450).map(|n| of(ids(&format!("u{n}"), "-", "-"), reached(Sent, n)));
    store.record(&main(), sightings(facts)).await.unwrap();
    assert_eq!(deleted(&*store, early(1)).await, 0);
    let taken = steps(&*store, early(430)).await;
    assert!(taken.iter().all(|trimmed| trimmed.deleted <= 200), "{taken:?}");
    assert_eq!(taken.iter().map(|trimmed| trimmed.deleted).sum::<u64>(), 429);
    assert_eq!(send(&*store, draft(1), ids("u429", "-", "-")).await.status, Queued);
    assert_eq!(send(&*store, draft(2), ids("u430", "-", "-")).await.status, Sent);
}

pub async fn early_facts_that_go_were_told(store: Arc<dyn Store>) {
    let facts = [1, 2, 3].map(|n| of(ids(&format!("u{n}"), "-", "-"), reached(Sent, n)));
    store.record(&main(), sightings(facts)).await.unwrap();
    assert_eq!(store.tell_unattributed(at(900), at(2), 10).await, Ok(1));
    assert_eq!(deleted(&*store, early(3)).await, 2);
    assert_eq!(store.tell_unattributed(at(2_000), at(4), 10).await, Ok(1));
    let told = log(&*store).await;
    let told = told.iter().map(|event| match &event.payload {
        Payload::Inbound(inbound) => (inbound.at, inbound.observed_at),
        Payload::Update(update) => panic!("{update:?}"),
    });
    let expected = [(1, 900), (2, 1_000), (3, 2_000)].map(|(happened, observed)| (at(happened), at(observed)));
    assert_eq!(told.collect::<Vec<_>>(), expected, "each once");
}

pub async fn a_message_that_is_to_be_read_back_for_a_claim_stays(store: Arc<dyn Store>) {
    for n in 1..=2 {
        send(&*store, draft(n), ids(&format!("u{n}"), "-", "-")).await;
    }
    let delivered = of(ids("u2", "-", "-"), reached(Delivered, 3));
    let claim = Sighting { fact: delivered.clone(), likeness: None, trust: Trust::Claimed };
    assert_eq!(store.record(&main(), vec![claim.into()]).await, Ok(vec![Recorded::Claimed]));
    assert_eq!(deleted(&*store, messages(10, 10)).await, 1);
    assert_eq!(kept(&*store, 2).await, [2]);
    // Until it was.
    store.merge(id(2), vec![delivered]).await.unwrap();
    assert_eq!(deleted(&*store, messages(10, 10)).await, 1);
}

pub async fn what_is_gone_takes_no_room(store: Arc<dyn Store>) {
    let empty = store.used_bytes().await.unwrap();
    join_all((1..=1_000).map(|n| store.accept(draft(n)))).await;
    join_all((1..=1_000).map(|n| store.settle(id(n), settled(reached(Sent, 1))))).await;
    let full = store.used_bytes().await.unwrap();
    assert!(full > empty + 1_000_000, "{empty} to {full}");
    deleted(&*store, events(Timestamp::MAX)).await;
    let without_events = store.used_bytes().await.unwrap();
    assert!(without_events < empty + (full - empty) / 2, "{empty}, {full}, {without_events}");
    deleted(&*store, messages(1, 1)).await;
    let without_all = store.used_bytes().await.unwrap();
    assert!(without_all <= empty + 50_000, "{empty}, {full}, {without_all}");
}

pub async fn positions_and_times_go_on_where_everything_was_trimmed<B: Backend>(place: impl Fn() -> B) {
    let place = place();
    let store = place.open().await;
    for n in 1..=3 {
        store.accept(accepted_in(50, draft(n))).await.unwrap();
    }
    assert_eq!(deleted(&*store, events(at(51))).await, 3);
    store.close().await;

    let store = place.open().await;
    assert_eq!((*store.head().borrow(), store.oldest().await), (Position(3), Ok((Position(3), None))));
    for (seconds, before) in [(0, 0), (50, 0), (51, 3)] {
        assert_eq!(store.position_before(at(seconds)).await, Ok(Position(before)), "second {seconds}");
    }
    // A clock that was put back does not put back the log.
    let behind = accepted_in(20, draft(4));
    store.accept(behind.clone()).await.unwrap();
    let accepted = altered(accepted_at(4, &behind), |update| (update.at, update.observed_at) = (at(20), at(20)));
    assert_eq!(log(&*store).await, [accepted]);
    assert_eq!(store.oldest().await, Ok((Position(3), Some(at(50)))));
    assert_eq!(store.position_before(at(51)).await, Ok(Position(4)));
    store.close().await;
}
