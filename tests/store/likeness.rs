//! What it costs that a message in doubt may be recognised by what it says.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use pilotgate::{
    domain::{
        inbound::Trust,
        secret::Likeness,
        status::Status::{InDoubt, Sent},
    },
    store::{Draft, Entry, Sighting},
};

use crate::{
    Sqlite,
    conformance::Backend,
    fixtures::{draft, id, ids, main, of, reached, settled},
};

const IN_DOUBT: Likeness = Likeness::from_bytes([7; 16]);

#[tokio::test]
async fn what_looks_like_a_doubt_costs_little_more_than_anything_else() {
    let place = Sqlite::new();
    let store = place.open().await;
    join_all((2..=1_500).map(|n| store.accept(draft(n)))).await;
    // Each sighting is of another message, from before the doubt or as if it was after it.
    let mut messages = 0;
    let mut sightings = |count: usize, likeness: Option<Likeness>| -> Vec<Entry> {
        let one = |n: usize| {
            let seconds = if n.is_multiple_of(2) { -86_400 } else { 2 };
            let fact = of(ids(&format!("x{}", messages + n), "-", "-"), reached(Sent, seconds));
            Sighting { fact, likeness, trust: Trust::Proven }.into()
        };
        let sightings = (0..count).map(one).collect();
        messages += count;
        sightings
    };
    // Several wait that may be about the doubt, so that none of them settles it.
    store.record(&main(), sightings(10, Some(IN_DOUBT))).await.unwrap();
    store.accept(Draft { likeness: Some(IN_DOUBT), ..draft(1) }).await.unwrap();
    store.settle(id(1), settled(reached(InDoubt, 1))).await.unwrap();
    let (mut doubtful, mut other) = (Duration::MAX, Duration::MAX);
    for _ in 0..8 {
        for (likeness, shortest) in [(Some(IN_DOUBT), &mut doubtful), (None, &mut other)] {
            let entries = sightings(200, likeness);
            let began = Instant::now();
            store.record(&main(), entries).await.unwrap();
            *shortest = began.elapsed().min(*shortest);
        }
    }
    assert_eq!(store.message(id(1)).await.unwrap().unwrap().status, InDoubt);
    store.close().await;
    assert!(doubtful < 6 * other, "200 sightings of a doubt's likeness: {doubtful:?}; of none: {other:?}");
}
