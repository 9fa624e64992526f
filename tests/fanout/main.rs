//! What followers cost one another, and that none of them misses anything or sees it twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod promises;
mod support;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::future::{Either, join_all, select};
use pilotgate::{
    domain::position::Position,
    fanout::{Follow, FollowError, Frame, Notice, Options, Start},
    store::StoreError,
};

use crate::support::World;

/// Counts how often it is woken.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn an_entry_is_encoded_once_whoever_gets_it() {
    let world = World::new(4096, 0, Options::default()).await;
    let mut followers = Vec::new();
    for labels in [&["red"][..], &[], &["red", "blue"], &["green"]] {
        for _ in 0..25 {
            followers.push((labels, world.follow(Start::Latest, labels).await));
        }
    }
    for _ in 0..40 {
        world.append("red").await;
        world.append("blue").await;
        world.append("nobody's").await;
    }
    for (labels, follow) in &mut followers {
        let wanted = |at: &i64| match at % 3 {
            1 => labels.is_empty() || labels.contains(&"red"),
            2 => labels.is_empty() || labels.contains(&"blue"),
            _ => labels.is_empty(),
        };
        let expected: Vec<i64> = (1..=120).filter(wanted).collect();
        assert_eq!(world.next(follow, expected.len()).await, expected);
    }
    assert_eq!(world.wire.bodies.load(Ordering::Relaxed), 120);
    // Once for each filter: red, everything, and red with blue.
    assert_eq!(world.wire.frames.load(Ordering::Relaxed), 40 + 120 + 80);
    world.store.close().await;
}

#[tokio::test]
async fn nobody_is_woken_for_what_the_filter_leaves_out() {
    let world = World::new(4096, 0, Options::default()).await;
    let mut all = world.follow(Start::Latest, &[]).await;
    let mut red = world.follow(Start::Latest, &["red"]).await;
    let counted = Arc::new(Counted::default());
    let waker = Waker::from(Arc::clone(&counted));
    {
        let mut next = pin!(red.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for _ in 0..50 {
            world.append("blue").await;
        }
        assert_eq!(world.next(&mut all, 50).await.len(), 50);
        assert_eq!(counted.0.load(Ordering::Relaxed), 0);
        world.append("red").await;
        assert_eq!(world.next(&mut all, 1).await, [51]);
        // Those who wait are woken in no particular order.
        let woken = async {
            while counted.0.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), woken).await.expect("not woken");
    }
    assert_eq!(counted.0.load(Ordering::Relaxed), 1);
    assert_eq!(world.next(&mut red, 1).await, [51]);
    world.store.close().await;
}

/// Every wish, and the last entry that fulfils it.
const WISHES: [(&[&str], i64); 4] =
    [(&["red"], WRITTEN + 1), (&[], WRITTEN + 2), (&["blue"], WRITTEN + 2), (&["red", "blue"], WRITTEN + 2)];
const WRITERS: i64 = 15;
const EACH: i64 = 20;
const WRITTEN: i64 = WRITERS * EACH;

/// Follows up to this entry, at a pace of its own, and gives up many a wait halfway.
async fn follow_to(world: &World, mut follow: Follow, last: i64, pace: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    let mut turn = 0;
    while seen.last().copied().unwrap_or(follow.position().0) < last {
        turn += 1;
        yields((turn * pace) % 7).await;
        let given = match select(pin!(follow.next()), pin!(yields(turn % 5))).await {
            Either::Left((given, _)) => given,
            Either::Right(_) => continue,
        };
        match given {
            Some(Ok(Frame::Events(frames))) => seen.extend(world.positions(&frames)),
            Some(Ok(Frame::Notice(Notice::Heartbeat { .. }))) => {}
            other => panic!("{other:?}"),
        }
    }
    seen
}

async fn yields(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_log_to_the_ring_and_back_nothing_is_lost_or_repeated() {
    for round in 0..6 {
        // A ring of a few frames and a window of a few entries, so that everyone goes over and back all the time.
        let options = Options { page: 1 + round * 3, live_bytes: 600 + round * 400, ..Options::default() };
        let world = Arc::new(World::new(8, 40, options).await);
        let followers: Vec<_> = (0..16)
            .map(|index| {
                let (labels, last) = WISHES[index % 4];
                let start = if index % 8 < 4 { Start::Earliest } else { Start::Latest };
                let world = Arc::clone(&world);
                tokio::spawn(async move {
                    // They come one after the other.
                    while world.store.head().borrow().0 < (index * 20) as i64 {
                        tokio::task::yield_now().await;
                    }
                    let follow = world.follow(start, labels).await;
                    let after = follow.position();
                    (labels, after, follow_to(&world, follow, last, index).await)
                })
            })
            .collect();
        let writers = (0..WRITERS).map(|writer| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for index in 0..EACH {
                    world.append(["red", "blue", "green"][((writer + index) % 3) as usize]).await;
                }
            })
        });
        join_all(writers).await.into_iter().for_each(|ended| ended.unwrap());
        world.append("red").await;
        world.append("blue").await;
        let log = world.store.events(Position::START, 10_000).await.unwrap().events;
        let all = tokio::time::timeout(Duration::from_secs(60), join_all(followers)).await.expect("some wait for ever");
        for ended in all {
            let (labels, after, seen) = ended.unwrap();
            let wanted = log.iter().filter(|event| {
                let label = event.update().unwrap().origins.labels[0].as_str();
                event.position > after && (labels.is_empty() || labels.contains(&label))
            });
            assert_eq!(seen, wanted.map(|event| event.position.0).collect::<Vec<_>>(), "{labels:?} behind {after:?}");
        }
        world.store.close().await;
    }
}

#[tokio::test]
async fn whoever_is_stuck_is_given_up_and_misses_nothing() {
    const FRAME: usize = 4096;
    const ENTRIES: usize = 600;
    let world = World::new(64, FRAME - 8, Options::default()).await;
    let mut stuck = world.follow(Start::Latest, &["red", "blue"]).await;
    let mut quick = world.follow(Start::Latest, &["red"]).await;
    for at in 1..=ENTRIES as i64 {
        world.append("red").await;
        assert_eq!(world.next(&mut quick, 1).await, [at]);
    }
    // A mebibyte is made for it, and no more.
    let for_stuck = world.wire.frames.load(Ordering::Relaxed) - ENTRIES;
    assert!((200..=256).contains(&for_stuck), "{for_stuck}");
    let all: Vec<i64> = (1..=ENTRIES as i64).collect();
    assert_eq!(world.next(&mut stuck, ENTRIES).await, all);
    world.append("blue").await;
    assert_eq!(world.next(&mut stuck, 1).await, [ENTRIES as i64 + 1]);
    world.store.close().await;
}

/// Only by being woken: at the end of a timeout alone, the future would be polled once more and find out by itself.
async fn soon<F: Future>(future: F) -> F::Output {
    let asked = Instant::now();
    let told = tokio::time::timeout(Duration::from_secs(20), future).await.expect("not told");
    assert!(asked.elapsed() < Duration::from_secs(15), "not woken");
    told
}

#[tokio::test]
async fn those_who_wait_are_told_of_the_end() {
    let world = World::new(64, 0, Options::default()).await;
    let mut waiting = world.follow(Start::Latest, &["red"]).await;
    {
        let mut next = pin!(waiting.next());
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        world.draining.cancel();
        let drain = soon(next).await;
        assert!(matches!(drain, Some(Ok(Frame::Notice(Notice::Drain { .. })))), "{drain:?}");
    }
    assert_eq!(waiting.next().await.unwrap().unwrap_err(), FollowError::Draining);
    assert!(waiting.next().await.is_none());
    world.store.close().await;

    let world = World::new(64, 0, Options::default()).await;
    let mut waiting = world.follow(Start::Latest, &["red"]).await;
    let mut next = pin!(waiting.next());
    assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    world.store.close().await;
    let failed = soon(next).await;
    assert_eq!(failed.unwrap().unwrap_err(), FollowError::Store(StoreError::Unknown));
}
