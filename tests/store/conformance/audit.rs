//! The audit log: chained, appended with its cause or not at all, found by what it says, trimmed from its start.

use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;
use pilotgate::{
    domain::{
        audit::{Act, Chain, Link},
        status::Status::{InDoubt, Queued},
    },
    store::{
        AuditEnds, AuditQuery, AuditRecord, Checkpoint, Expiry, Settlement, Store,
        retention::{Trim, Trimmed},
    },
};

use super::Backend;
use crate::fixtures::{REPLAY, at, draft, failed, gone, id, lease, queued, reached, settled};

/// An act of this second.
pub fn act(seconds: i64, actor: &str, action: &str, subject: &str) -> Act {
    let mut act = Act::trimming(at(seconds), 0, Link::START);
    act.detail.clear();
    Act { actor: actor.to_owned(), action: action.to_owned(), subject: subject.to_owned(), ..act }
}

/// The whole log. Every link must follow from the one before.
pub async fn entries(store: &dyn Store) -> Vec<AuditRecord> {
    let ends = store.audit_ends().await.unwrap();
    let records = store.audited(AuditQuery { limit: usize::MAX, ..AuditQuery::default() }).await.unwrap();
    let mut chain = Chain::behind(ends.trimmed, ends.anchor);
    for record in &records {
        assert_eq!(chain.take(record.seq, record.link, &record.text).1, []);
    }
    let last = records.last().map_or((ends.trimmed, ends.anchor), |record| (record.seq, record.link));
    assert_eq!(last, (ends.head, ends.link));
    records
}

async fn acts(store: &dyn Store) -> Vec<Act> {
    entries(store).await.iter().map(|record| record.act().unwrap()).collect()
}

fn numbers(records: &[AuditRecord]) -> Vec<i64> {
    records.iter().map(|record| record.seq).collect()
}

pub async fn entries_are_numbered_and_chained(store: Arc<dyn Store>) {
    let empty = AuditEnds { trimmed: 0, anchor: Link::START, head: 0, link: Link::START };
    assert_eq!(store.audit_ends().await, Ok(empty));
    let told = [act(5, "root", "number.register", "number/a"), act(3, "root", "number.delete", "number/a")];
    store.audit(told.to_vec()).await.unwrap();
    store.audit(Vec::new()).await.unwrap();
    let records = entries(&*store).await;
    assert_eq!(numbers(&records), [1, 2]);
    assert_eq!(records[0].link, Link::START.then(1, &serde_json::to_string(&told[0]).unwrap()));
    assert_eq!(acts(&*store).await, told);
}

pub async fn of_concurrent_writers_each_gets_a_number_of_its_own(store: Arc<dyn Store>) {
    let write = |n: i64| {
        let store = Arc::clone(&store);
        async move { store.audit(vec![act(n, "root", "a.b", "c/d"), act(n, "root", "a.c", "c/d")]).await }
    };
    for written in join_all((0..64).map(write)).await {
        written.unwrap();
    }
    let acts = acts(&*store).await;
    assert_eq!(acts.len(), 128);
    // What is written together stands together.
    assert!(acts.chunks(2).all(|pair| pair[0].at == pair[1].at && pair[0].action == "a.b" && pair[1].action == "a.c"));
}

pub async fn entries_are_found_by_what_they_say(store: Arc<dyn Store>) {
    let told = [
        act(1, "root", "number.register", "number/a"),
        act(2, "orders", "message.attempt", "message/1"),
        act(3, "root", "number", "number/b"),
        act(4, "root", "numbers.view", "number/a"),
        act(5, "pilotgate", "number.key.rotate", "number/a"),
        act(6, "o*", "num*", "number/[ab]"),
        act(7, "ördérs", "nümber.x", "number/%"),
    ];
    store.audit(told.to_vec()).await.unwrap();
    let all = AuditQuery { limit: 100, ..AuditQuery::default() };
    let word = |text: &str| Some(text.to_owned());
    let action = |text: &str| AuditQuery { action: word(text), ..all.clone() };
    let actor = |text: &str| AuditQuery { actor: word(text), ..all.clone() };
    let subject = |text: &str| AuditQuery { subject: word(text), ..all.clone() };
    let expected: [(AuditQuery, &[i64]); 22] = [
        (all.clone(), &[1, 2, 3, 4, 5, 6, 7]),
        (AuditQuery { limit: 2, ..all.clone() }, &[1, 2]),
        (AuditQuery { limit: 2, backwards: true, ..all.clone() }, &[7, 6]),
        (AuditQuery { after: 2, before: Some(5), ..all.clone() }, &[3, 4]),
        (AuditQuery { after: 2, before: Some(5), backwards: true, ..all.clone() }, &[4, 3]),
        (AuditQuery { since: Some(at(3)), until: Some(at(5)), ..all.clone() }, &[3, 4]),
        (AuditQuery { actor: word("root"), subject: word("number/a"), ..all.clone() }, &[1, 4]),
        (action("number"), &[1, 3, 5]),
        (action("number.key"), &[5]),
        (action("number."), &[]),
        // Each is what it is, and stands for nothing else.
        (action("num*"), &[6]),
        (action("*"), &[]),
        (action("n[u]mber"), &[]),
        (action("n_mber"), &[]),
        (action("nümber"), &[7]),
        (action(""), &[]),
        (actor("o*"), &[6]),
        (actor("ördérs"), &[7]),
        (subject("number/[ab]"), &[6]),
        (subject("number/%"), &[7]),
        (subject("number/*"), &[]),
        (subject("' OR 1 --"), &[]),
    ];
    for (query, found) in expected {
        assert_eq!(numbers(&store.audited(query.clone()).await.unwrap()), found, "{query:?}");
    }
}

pub async fn an_attempt_and_its_entry_are_one_commit(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let told = act(1, "orders", "message.attempt", "message/1");
    let settlement = |audit| Settlement { audit, ..settled(reached(Queued, 1)) };
    store.settle(id(1), settlement(Some(told.clone()))).await.unwrap();
    store.settle(id(1), settlement(None)).await.unwrap();
    assert_eq!(acts(&*store).await, std::slice::from_ref(&told));
    // There is no such message, so that nothing happened.
    store.settle(id(2), settlement(Some(told.clone()))).await.unwrap_err();
    assert_eq!(acts(&*store).await, [told]);
}

pub async fn a_leased_attempt_and_its_entry_are_one_commit(store: Arc<dyn Store>) {
    store.accept(queued(1, "+5511999990001", 500)).await.unwrap();
    let leased = lease(&*store, 1, 10, 10).await.leased.remove(0);
    let told = act(1, "orders", "message.attempt", "message/1");
    let end = || {
        let mut end = gone(reached(Queued, 1));
        end.settlement.audit = Some(told.clone());
        end
    };
    assert!(store.settle_lease(leased.lease, end()).await.unwrap().is_some());
    // The row is gone, so that nothing happens.
    assert_eq!(store.settle_lease(leased.lease, end()).await, Ok(None));
    assert_eq!(acts(&*store).await, [told]);
}

pub async fn an_attempt_that_left_no_answer_is_told(store: Arc<dyn Store>) {
    let message = store.accept(queued(1, "+5511999990001", 50)).await.unwrap();
    let pilotgate::store::Accepted::New(message) = message else { panic!("{message:?}") };
    lease(&*store, 1, 10, 10).await;
    assert_eq!(acts(&*store).await, []);
    // Its lease is over, and it is leased again.
    assert_eq!(lease(&*store, 10, 20, 10).await.leased[0].message.status, InDoubt);
    let lost = |seconds| Act::lost_attempt(&message, at(seconds));
    assert_eq!(acts(&*store).await, [lost(10)]);
    let expiry = Expiry {
        at: at(11) + REPLAY,
        forsaken: Timestamp::MAX,
        failure: pilotgate::domain::failure::Failure::reported("QUEUE_EXPIRED", "too old"),
        limit: 10,
    };
    assert_eq!(store.expire(expiry).await.unwrap().messages.len(), 1);
    assert_eq!(acts(&*store).await, [lost(10), Act::lost_attempt(&message, at(11) + REPLAY)]);
    let told = serde_json::to_value(lost(10)).unwrap();
    let expected = serde_json::json!({
        "at": at(10).as_microsecond(), "actor": "orders", "action": "message.attempt",
        "subject": format!("message/{}", id(1)), "outcome": "unknown",
        "detail": { "number": "main", "handoff": "queued", "cause": "interrupted" },
    });
    assert_eq!(told, expected);
}

async fn trim(store: &dyn Store, now: i64, before: i64) -> Vec<Trimmed> {
    let (mut next, mut taken) = (Some(Trim::Audit { at: at(now), before: at(before) }), Vec::new());
    while let Some(step) = next {
        let trimmed = store.trim(step).await.unwrap();
        next = trimmed.next;
        taken.push(trimmed);
    }
    taken
}

fn checkpoint(seq: i64) -> Checkpoint {
    Checkpoint { seq, mac: [u8::try_from(seq % 256).unwrap(); 32] }
}

pub async fn the_oldest_entries_go_and_the_rest_hangs_on_their_last_link(store: Arc<dyn Store>) {
    store.audit((0..1_200).map(|n| act(n, "root", "a.b", "c/d")).collect()).await.unwrap();
    for seq in [1, 999, 1_000, 1_001, 1_200] {
        store.keep_checkpoint(checkpoint(seq)).await.unwrap();
    }
    let whole = entries(&*store).await;
    // Entries 1001 to 1150 are too few for a step, and not old enough to go nevertheless.
    let day = 24 * 3600;
    let taken = trim(&*store, 2_000 + day, 1_150).await;
    assert_eq!(taken.iter().map(|trimmed| trimmed.deleted).collect::<Vec<_>>(), [500, 500, 0]);
    let ends = store.audit_ends().await.unwrap();
    assert_eq!((ends.trimmed, ends.anchor, ends.head), (1_000, whole[999].link, 1_202));
    let kept = entries(&*store).await;
    assert_eq!(kept[..200], whole[1_000..]);
    let said = [(500, whole[499].link), (1_000, whole[999].link)];
    assert_eq!(kept[200..].iter().map(|record| record.act().unwrap().trimmed().unwrap()).collect::<Vec<_>>(), said);
    assert_eq!(store.checkpoints().await, Ok([1_000, 1_001, 1_200].map(checkpoint).to_vec()));
    // A day later they go.
    assert_eq!(trim(&*store, 2_000 + 2 * day, 1_150 + day).await[0].deleted, 200);
    let ends = store.audit_ends().await.unwrap();
    assert_eq!((ends.trimmed, ends.anchor, ends.head), (1_200, whole[1_199].link, 1_203));
    assert_eq!(numbers(&entries(&*store).await), [1_201, 1_202, 1_203]);
    assert_eq!(store.checkpoints().await, Ok(vec![checkpoint(1_200)]));
}

pub async fn what_is_young_keeps_what_is_behind_it(store: Arc<dyn Store>) {
    store
        .audit(vec![act(5, "root", "a.b", "c/d"), act(200_000, "root", "a.b", "c/d"), act(6, "root", "a.b", "c/d")])
        .await
        .unwrap();
    let day = 24 * 3600;
    assert_eq!(trim(&*store, 10_000 + day, 9_000).await[0].deleted, 0, "not yet a day beyond");
    assert_eq!(trim(&*store, 10_000 + day, 6 + day).await[0].deleted, 1);
    assert_eq!(numbers(&entries(&*store).await), [2, 3, 4]);
}

pub async fn checkpoints_stay_bounded_and_reach_back(store: Arc<dyn Store>) {
    join_all((1..=3_000).map(|seq| store.keep_checkpoint(checkpoint(seq)))).await;
    let mut kept = Vec::new();
    for checkpoint in store.checkpoints().await.unwrap() {
        kept.push(checkpoint.seq);
    }
    assert_eq!(kept.len(), 1_024);
    assert_eq!((kept[0], kept[kept.len() - 1]), (1, 3_000));
    assert!(kept[kept.len() - 256..].windows(2).all(|pair| pair[1] == pair[0] + 1), "the newest are all there");
    let is_narrow = |pair: &[i64]| pair[1] - pair[0] <= 2 + (3_000 - pair[0]) / 100;
    assert!(kept.windows(2).all(is_narrow), "no gap is wide for its age: {kept:?}");
    // One that was made stays as it was made.
    store.keep_checkpoint(Checkpoint { seq: 3_000, mac: [7; 32] }).await.unwrap();
    assert_eq!(store.checkpoints().await.unwrap().last(), Some(&checkpoint(3_000)));
}

pub async fn the_log_goes_on_after_reopening(backend: impl Fn() -> crate::Sqlite) {
    let place = backend();
    let store = place.open().await;
    store.audit(vec![act(1, "root", "a.b", "c/d")]).await.unwrap();
    store.keep_checkpoint(checkpoint(1)).await.unwrap();
    let (before, ends) = (entries(&*store).await, store.audit_ends().await.unwrap());
    store.close().await;
    let store = place.open().await;
    assert_eq!((entries(&*store).await, store.audit_ends().await), (before, Ok(ends)));
    assert_eq!(store.checkpoints().await, Ok(vec![checkpoint(1)]));
    store.audit(vec![act(2, "root", "a.b", "c/d")]).await.unwrap();
    let day = 24 * 3600;
    // All of it may go, also when nothing else is left: the numbers go on.
    trim(&*store, 3, 3 + day).await;
    assert_eq!(numbers(&entries(&*store).await), [3]);
    store.close().await;
    let store = place.open().await;
    store.audit(vec![act(4, "root", "a.b", "c/d")]).await.unwrap();
    assert_eq!(numbers(&entries(&*store).await), [3, 4]);
    store.close().await;
}

pub async fn a_failed_attempt_is_told_with_its_message(store: Arc<dyn Store>) {
    store.accept(draft(1)).await.unwrap();
    let told = act(2, "orders", "message.attempt", "message/1");
    let settlement = Settlement { audit: Some(told.clone()), ..settled(failed("NOT_SENT", 2)) };
    assert_eq!(store.settle(id(1), settlement).await.unwrap().attempts, 1);
    assert_eq!(acts(&*store).await, [told]);
}
