//! Limits: counted in the commit that records a message, exactly, and never for what was not recorded.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use jiff::Timestamp;
use pilotgate::{
    domain::quota::{Exceeded, Limit, Subject, Window},
    store::{Accepted, Draft, Settlement, Store, retention::Trim},
};

use super::Backend;
use crate::fixtures::{at, claim, draft, failed, id, queued, settled};

fn of_caller(window: Window, most: u64) -> Limit {
    Limit { subject: Subject::Caller("orders".to_owned().try_into().unwrap()), window, most }
}

fn of_number(window: Window, most: u64) -> Limit {
    Limit { subject: Subject::Number(crate::fixtures::main()), window, most }
}

/// The draft with these limits, asked for at that time.
fn limited(draft: Draft, time: Timestamp, limits: &[Limit]) -> Draft {
    let mut draft = Draft { limits: limits.to_vec(), ..draft };
    draft.origins.create_time = time;
    draft
}

/// The first second of a minute and an hour of some day.
fn noon() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    noon() + jiff::SignedDuration::from_secs(seconds)
}

async fn accepted(store: &dyn Store, n: u128, time: Timestamp, limits: &[Limit]) -> bool {
    match store.accept(limited(draft(n), time, limits)).await.unwrap() {
        Accepted::New(_) => true,
        Accepted::OverQuota(_) => false,
        other => panic!("{other:?}"),
    }
}

pub async fn a_limit_holds_until_its_window_ends(store: Arc<dyn Store>) {
    let limits = [of_caller(Window::Minute, 2), of_number(Window::Day, 3)];
    assert!(accepted(&*store, 1, later(0), &limits).await);
    assert!(accepted(&*store, 2, later(59), &limits).await);
    let refused = store.accept(limited(draft(3), later(59), &limits)).await.unwrap();
    assert_eq!(refused, Accepted::OverQuota(Exceeded { limit: limits[0].clone(), resets: later(60) }));
    assert_eq!(store.message(id(3)).await, Ok(None));
    assert_eq!(store.used(limits.to_vec(), later(59)).await, Ok(vec![2, 2]), "a refusal counts nowhere");
    assert_eq!(store.used(limits.to_vec(), later(60)).await, Ok(vec![0, 2]));
    assert!(accepted(&*store, 3, later(60), &limits).await);
    let refused = store.accept(limited(draft(4), later(61), &limits)).await.unwrap();
    let midnight: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
    assert_eq!(refused, Accepted::OverQuota(Exceeded { limit: limits[1].clone(), resets: midnight }));
    assert_eq!(store.used(limits.to_vec(), later(61)).await, Ok(vec![1, 3]), "also not in the limits looked at before");
    assert!(accepted(&*store, 4, midnight, &limits).await);
    assert_eq!(store.used(limits.to_vec(), midnight).await, Ok(vec![1, 1]));
}

pub async fn what_is_not_recorded_counts_nowhere(store: Arc<dyn Store>) {
    let limits = [of_caller(Window::Minute, 2)];
    let first = || limited(claim(1, "orders", "r"), noon(), &limits);
    assert!(matches!(store.accept(first()).await, Ok(Accepted::New(_))));
    assert!(matches!(store.accept(first()).await, Ok(Accepted::Before(_))));
    let other = Draft { fingerprint: [2; 32], ..first() };
    assert_eq!(store.accept(other).await, Ok(Accepted::Reused(id(1))));
    assert_eq!(store.used(limits.to_vec(), noon()).await, Ok(vec![1]));
    // A repeated request is answered, however much is used.
    assert!(accepted(&*store, 2, noon(), &limits).await);
    assert!(matches!(store.accept(first()).await, Ok(Accepted::Before(_))));
    // What was sent in vain has counted: the limit is on what is accepted here.
    let failed = Settlement { claim: pilotgate::store::Claim::Released, ..settled(failed("NOT_SENT", 1)) };
    store.settle(id(1), failed).await.unwrap();
    assert_eq!(store.used(limits.to_vec(), noon()).await, Ok(vec![2]));
    assert!(matches!(store.accept(first()).await, Ok(Accepted::OverQuota(_))));
}

pub async fn what_the_outbox_does_not_take_counts_nowhere(backend: impl Fn() -> crate::Sqlite) {
    let mut place = backend();
    place.options.outbox.messages = 1;
    let store = place.open().await;
    let limits = [of_caller(Window::Minute, 5)];
    let queue = |n| limited(queued(n, "+5511999990001", 500), noon(), &limits);
    assert!(matches!(store.accept(queue(1)).await, Ok(Accepted::New(_))));
    assert_eq!(store.accept(queue(2)).await, Ok(Accepted::Full));
    assert_eq!(store.used(limits.to_vec(), noon()).await, Ok(vec![1]));
    store.close().await;
}

pub async fn limits_are_exact_among_concurrent_writers(store: Arc<dyn Store>) {
    let limits = [of_caller(Window::Minute, 40), of_number(Window::Minute, 1_000)];
    let send = |n: u128| {
        let (store, limits) = (Arc::clone(&store), limits.clone());
        async move { accepted(&*store, n, noon(), &limits).await }
    };
    let taken = join_all((1..=256).map(send)).await.into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, 40);
    assert_eq!(store.used(limits.to_vec(), noon()).await, Ok(vec![40, 40]));
    assert_eq!(store.messages((1..=256).map(id).collect()).await.unwrap().len(), 40);
}

pub async fn a_clock_that_is_put_back_gives_nothing_anew(store: Arc<dyn Store>) {
    let limits = [of_caller(Window::Minute, 1)];
    assert!(accepted(&*store, 1, later(0), &limits).await);
    assert!(accepted(&*store, 2, later(60), &limits).await);
    assert!(!accepted(&*store, 3, later(59), &limits).await, "the minute before is used up still");
    assert!(!accepted(&*store, 3, later(61), &limits).await, "and that behind it, too");
    assert_eq!(store.used(limits.to_vec(), later(30)).await, Ok(vec![1]));
    // Also after the windows that are over were trimmed.
    store.trim(Trim::Quotas { at: later(120) }).await.unwrap();
    assert!(!accepted(&*store, 3, later(59), &limits).await);
    // A clock that was far ahead keeps nobody from sending once it is right again.
    assert!(accepted(&*store, 3, later(100_000_000), &limits).await);
    assert!(accepted(&*store, 4, later(180), &limits).await);
}

pub async fn windows_that_are_over_go(store: Arc<dyn Store>) {
    let limits = [of_caller(Window::Minute, 10_000), of_caller(Window::Day, 10_000)];
    join_all((0..600_u32).map(|n| {
        let draft = limited(draft(u128::from(n)), later(i64::from(n) * 60), &limits);
        store.accept(draft)
    }))
    .await;
    let gone = async |at: Timestamp| {
        let (mut next, mut deleted) = (Some(Trim::Quotas { at }), Vec::new());
        while let Some(step) = next {
            let trimmed = store.trim(step).await.unwrap();
            next = trimmed.next;
            deleted.push(trimmed.deleted);
        }
        deleted
    };
    assert_eq!(gone(later(0)).await, [0]);
    // Ten hours later the minutes of the first eight have been over for two hours.
    assert_eq!(gone(later(600 * 60)).await, [479]);
    assert_eq!(store.used(limits.to_vec(), later(479 * 60)).await.unwrap()[0], 1);
    assert_eq!(gone(later(10 * 24 * 3600)).await, [121 + 1]);
    assert_eq!(store.used(limits.to_vec(), later(0)).await, Ok(vec![0, 0]));
}

pub async fn what_was_used_outlives_the_process(backend: impl Fn() -> crate::Sqlite) {
    let place = backend();
    let limits = [of_caller(Window::Day, 3)];
    for n in 1..=3 {
        let store = place.open().await;
        assert!(accepted(&*store, n, later(i64::try_from(n).unwrap()), &limits).await);
        store.close().await;
    }
    let store = place.open().await;
    assert!(!accepted(&*store, 4, later(9), &limits).await);
    store.close().await;
}

/// Against a model, over random histories: what is refused and what is used are those of the counts of each window.
pub async fn limits_are_those_of_a_count(store: Arc<dyn Store>) {
    let mut counts: BTreeMap<(Arc<str>, &str, Timestamp), u64> = BTreeMap::new();
    for n in 1..=400_u128 {
        let time = later(rand::random_range(0..600));
        let mut limits = vec![of_number(Window::Day, 250), of_caller(Window::Minute, rand::random_range(1..30))];
        if rand::random() {
            limits.reverse();
        }
        let key = |limit: &Limit| (limit.subject.to_text(), limit.window.word(), limit.window.start(time));
        let used: Vec<_> = limits.iter().map(|limit| counts.get(&key(limit)).copied().unwrap_or_default()).collect();
        assert_eq!(store.used(limits.clone(), time).await.unwrap(), used);
        let over = limits.iter().zip(&used).find(|(limit, used)| **used >= limit.most).map(|(limit, _)| limit.clone());
        let told = store.accept(limited(draft(n), time, &limits)).await.unwrap();
        match over {
            Some(limit) => {
                let resets = limit.window.end(time);
                assert_eq!(told, Accepted::OverQuota(Exceeded { limit, resets }));
            }
            None => {
                assert!(matches!(told, Accepted::New(_)), "{told:?}");
                for limit in &limits {
                    *counts.entry(key(limit)).or_default() += 1;
                }
            }
        }
    }
    assert_eq!(store.used(vec![of_caller(Window::Minute, 1)], at(0)).await, Ok(vec![0]), "another day");
}
