//! Cursors that do not lie, entries encoded once, refusals that change nothing.

use std::{collections::HashSet, sync::atomic::Ordering};

use futures_util::future::join_all;
use jiff::Timestamp;
use pilotgate::{
    domain::{
        caller::Caller,
        ids::{CallerName, SubscriptionName},
        position::Position,
        principal::{Grant, NumberScope, Permission, Principal},
        sources::Sources,
    },
    fanout::{Filter, FollowError, FollowRequest, Frame, Notice, OnExpired, Options, Start},
    identity::Identity,
    store::retention::Trim,
};

use crate::support::{World, request};

#[tokio::test]
async fn the_cursor_of_the_first_heartbeat_does_not_lie_behind_a_gap_that_was_not_told_yet() {
    let world = World::new(4096, 0, Options::default()).await;
    for _ in 0..4 {
        world.append("red").await;
    }
    let filter = request(Start::Latest, &["red"]).filter;
    let seen = world.fanout.cursors().encode(Position(1), filter.fingerprint());
    world.store.trim(Trim::Events { before: Timestamp::MAX }).await.unwrap();
    world.append("red").await;

    let resume = |cursor: &str| FollowRequest {
        on_expired: OnExpired::Earliest,
        ..request(Start::Cursor(cursor.to_owned()), &["red"])
    };
    let mut broken_off = world.fanout.follow(resume(&seen)).await.unwrap();
    let first = broken_off.next().await;
    assert!(matches!(first, Some(Ok(Frame::Notice(Notice::Heartbeat { .. })))), "{first:?}");
    // The connection ends here. The subscriber goes on behind the last cursor that it has received.
    let received = world.fanout.cursors().encode(broken_off.position(), filter.fingerprint());
    drop(broken_off);
    let mut told = Vec::new();
    let mut resumed = world.fanout.follow(resume(&received)).await.unwrap();
    for _ in 0..2 {
        told.push(resumed.next().await);
    }
    let gap = told.iter().any(|frame| matches!(frame, Some(Ok(Frame::Notice(Notice::Gap { .. })))));
    assert!(gap, "entries 2 to 4 were skipped, and nothing ever told of it: {told:?}");
    let strict = world.fanout.follow(request(Start::Cursor(received), &["red"])).await;
    assert!(matches!(strict, Err(FollowError::Expired { .. })));
    world.store.close().await;
}

#[tokio::test]
async fn a_new_subscription_does_not_acknowledge_a_gap_that_was_not_told_yet() {
    let world = World::new(4096, 0, Options::default()).await;
    for _ in 0..4 {
        world.append("red").await;
    }
    let named = |start| FollowRequest {
        subscription: Some("s".to_owned().try_into().unwrap()),
        on_expired: OnExpired::Earliest,
        ..request(start, &["red"])
    };
    let filter = named(Start::Latest).filter.fingerprint();
    let seen = world.fanout.cursors().encode(Position(1), filter);
    world.store.trim(Trim::Events { before: Timestamp::MAX }).await.unwrap();
    world.append("red").await;
    let mut broken_off = world.fanout.follow(named(Start::Cursor(seen))).await.unwrap();
    let first = broken_off.next().await;
    assert!(matches!(first, Some(Ok(Frame::Notice(Notice::Heartbeat { .. })))), "{first:?}");
    drop(broken_off);

    let mut resumed = world.fanout.follow(named(Start::Committed)).await.unwrap();
    resumed.next().await.unwrap().unwrap();
    let gap = resumed.next().await;
    let expected = Position(1);
    assert!(matches!(gap, Some(Ok(Frame::Notice(Notice::Gap { from }))) if from == expected), "{gap:?}");
    world.store.close().await;
}

#[tokio::test]
async fn a_large_entry_is_encoded_once_for_those_who_wait_for_it() {
    // Such as an inbound event of 1 MiB, which a webhook may have.
    let world = World::new(4096, 1100 * 1024, Options::default()).await;
    let mut followers = Vec::new();
    for _ in 0..50 {
        followers.push(world.follow(Start::Latest, &["red"]).await);
    }
    world.append("red").await;
    for follow in &mut followers {
        assert_eq!(world.next(follow, 1).await, [1]);
    }
    assert_eq!(world.wire.bodies.load(Ordering::Relaxed), 1);
    world.store.close().await;
}

#[tokio::test]
async fn a_burst_is_encoded_once_for_those_who_wait_for_it() {
    let world = World::new(4096, 4096, Options::default()).await;
    let mut followers = Vec::new();
    for _ in 0..50 {
        followers.push(world.follow(Start::Latest, &["red"]).await);
    }
    // They look between two parts of the burst: for who does not for 1 MiB, it is not made.
    let burst = join_all((0..500).map(|_| world.append("red")));
    let told = join_all(followers.iter_mut().map(|follow| world.next(follow, 500)));
    let (_, told) = tokio::join!(burst, told);
    assert!(told.iter().all(|told| told.len() == 500));
    let bodies = world.wire.bodies.load(Ordering::Relaxed);
    assert!(bodies <= 1000, "{bodies} bodies for 500 entries");
    world.store.close().await;
}

#[tokio::test]
async fn a_refused_stream_leaves_the_subscription_as_it_was() {
    let world = World::new(4096, 0, Options::default()).await;
    let name: SubscriptionName = "s".to_owned().try_into().unwrap();
    let named = |request: FollowRequest| FollowRequest { subscription: Some(name.clone()), ..request };
    let carried = named(request(Start::Latest, &["red"]));
    let filter = carried.filter.fingerprint();
    let mut follow = world.fanout.follow(carried).await.unwrap();
    follow.next().await.unwrap().unwrap();
    world.append("red").await;
    assert_eq!(world.next(&mut follow, 1).await, [1]);

    let orders: CallerName = "orders".to_owned().try_into().unwrap();
    let grants = vec![Grant::of(NumberScope::All, vec![Permission::Read])];
    let identity = Identity::of(vec![Caller { grants, ..Caller::named(orders.clone()) }]);
    let sight = identity.visibility(&Principal { caller: orders.clone(), credential: "test".into(), expires: None });
    let nobodys = HashSet::from([Sources::system().message_id(Timestamp::now())]);
    let other = Filter::updates(sight, HashSet::new(), nobodys, HashSet::new(), HashSet::new());
    let refused = FollowRequest { filter: other, until_final: true, ..named(request(Start::Latest, &[])) };
    assert_eq!(world.fanout.follow(refused).await.err(), Some(FollowError::UnknownMessage));

    // The stream goes on, and what it gives has to be acknowledged.
    let seen = world.fanout.cursors().encode(Position(1), filter);
    let acknowledged = world.fanout.commit(&orders, name, &seen).await;
    assert_eq!(acknowledged.map(|acknowledged| acknowledged.cursor), Ok(seen));
    world.store.close().await;
}
