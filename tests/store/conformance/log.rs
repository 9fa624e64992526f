//! The log: order, pages, times and waking.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join_all;
use pilotgate::{
    domain::{
        position::Position,
        status::Status::{InDoubt, Pending, Queued},
    },
    store::{Accepted, Page, Store},
};

use crate::fixtures::{at, draft, id, ids, log, of, reached, send, settled, trail};

pub async fn pages_follow_each_other_without_holes(store: Arc<dyn Store>) {
    let empty = Page { events: Vec::new(), head: Position::START };
    assert_eq!(store.events(Position::START, 10).await, Ok(empty));
    for n in 1..=7 {
        store.accept(draft(n)).await.unwrap();
    }
    let whole = log(&*store).await;
    let positions = async |after, limit| -> Vec<i64> {
        let page = store.events(Position(after), limit).await.unwrap();
        assert_eq!(page.head, Position(7));
        for event in &page.events {
            assert_eq!(**event, whole[usize::try_from(event.position.0).unwrap() - 1]);
        }
        page.events.iter().map(|event| event.position.0).collect()
    };
    assert_eq!(positions(0, 3).await, [1, 2, 3]);
    assert_eq!(positions(3, 3).await, [4, 5, 6]);
    assert_eq!(positions(6, 3).await, [7]);
    assert_eq!(positions(7, 3).await, [] as [i64; 0]);
    assert_eq!(positions(100, 3).await, [] as [i64; 0]);
    assert_eq!(trail(&*store).await, (1..=7).map(|n| (id(n), Some(Pending), Pending)).collect::<Vec<_>>());
}

pub async fn a_time_leads_to_the_entry_before(store: Arc<dyn Store>) {
    assert_eq!(store.position_before(at(0)).await, Ok(Position::START));
    // The observing threads do not wait for each other, so the third entry is older than the second.
    for (n, seconds) in [(1, 10), (2, 20), (3, 15), (4, 20), (5, 30)] {
        let mut draft = draft(n);
        draft.origins.create_time = at(seconds);
        store.accept(draft).await.unwrap();
    }
    let table = [(9, 0), (10, 0), (11, 1), (15, 1), (16, 1), (20, 1), (21, 4), (30, 4), (31, 5), (1000, 5)];
    for (seconds, before) in table {
        assert_eq!(store.position_before(at(seconds)).await, Ok(Position(before)), "second {seconds}");
    }
}

pub async fn the_oldest_entry_is_known(store: Arc<dyn Store>) {
    assert_eq!(store.oldest().await, Ok((Position::START, None)));
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!(store.oldest().await, Ok((Position::START, Some(at(0)))));
}

pub async fn the_head_never_runs_ahead_of_what_can_be_read(store: Arc<dyn Store>) {
    const MESSAGES: u128 = 100;
    let writers = (0..4).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 1..=MESSAGES / 4 {
                store.accept(draft(writer * MESSAGES + n)).await.unwrap();
            }
        })
    });
    let writing = tokio::spawn(join_all(writers));
    let mut head = store.head();
    let mut after = Position::START;
    while after < Position(100) {
        head.changed().await.unwrap();
        let shown = *head.borrow_and_update();
        assert!(shown > after, "the head went back from {after:?} to {shown:?}");
        let page = store.events(after, usize::MAX).await.unwrap();
        assert!(page.head >= shown, "{shown:?} was shown, {:?} can be read", page.head);
        // Going on from what was shown, not from what was read, every entry makes the head move once more.
        let read = page.events.iter().take_while(|event| event.position <= shown).count();
        assert_eq!(i64::try_from(read).unwrap(), shown.0 - after.0);
        after = shown;
    }
    writing.await.unwrap();
}

pub async fn concurrent_writers_all_get_a_place_of_their_own(store: Arc<dyn Store>) {
    let writers = (1..=200).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            assert!(matches!(store.accept(draft(n)).await, Ok(Accepted::New(_))));
            let status = if n % 2 == 0 { InDoubt } else { Queued };
            let fact = of(ids(&format!("u{n}"), "-", "-"), reached(status, 1));
            assert_eq!(store.settle(id(n), settled(fact)).await.unwrap().status, status);
        })
    });
    for written in join_all(writers).await {
        written.unwrap();
    }
    let told = trail(&*store).await;
    let distinct: BTreeSet<_> = told.iter().map(|(id, observed, _)| (*id, *observed)).collect();
    let expected: BTreeSet<_> = (1..=200)
        .flat_map(|n| [(id(n), Some(Pending)), (id(n), Some(if n % 2 == 0 { InDoubt } else { Queued }))])
        .collect();
    assert_eq!(told.len(), 400);
    assert_eq!(distinct, expected);
}
