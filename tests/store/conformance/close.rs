//! Closing, and what makes a log itself.

use std::pin::pin;

use futures_util::{
    future::{join_all, maybe_done},
    poll,
};
use pilotgate::{
    domain::position::Position,
    store::{Accepted, StoreError},
};

use super::Backend;
use crate::fixtures::{draft, id, main, trail};

pub async fn writes_in_the_queue_are_finished<B: Backend>(place: impl Fn() -> B) {
    let place = place();
    let store = place.open().await;
    let mut writes = pin!(maybe_done(join_all((1..=30).map(|n| store.accept(draft(n))))));
    // Once polled, each is in the queue.
    let _ = poll!(writes.as_mut());
    store.close().await;
    writes.as_mut().await;
    for written in writes.take_output().unwrap() {
        assert!(matches!(written, Ok(Accepted::New(_))), "{written:?}");
    }
    let reopened = place.open().await;
    assert_eq!(trail(&*reopened).await.len(), 30);
    reopened.close().await;
}

pub async fn later_calls_fail<B: Backend>(place: impl Fn() -> B) {
    let store = place().open().await;
    store.close().await;
    let closed = || StoreError::Failed("the store is closed".to_owned());
    assert_eq!(store.accept(draft(1)).await, Err(closed()));
    assert_eq!(store.record(&main(), Vec::new()).await, Err(closed()));
    assert_eq!(store.message(id(1)).await, Err(closed()));
    assert_eq!(store.events(Position::START, 1).await, Err(closed()));
    store.close().await;
}

pub async fn each_log_has_an_identity_of_its_own<B: Backend>(place: impl Fn() -> B) {
    let (here, there) = (place(), place());
    let (one, other) = (here.open().await, there.open().await);
    assert_ne!(one.epoch(), other.epoch());
    assert_ne!(one.cursor_key(), other.cursor_key());
    assert_ne!(one.cursor_key(), [0; 32]);
    one.close().await;
    other.close().await;
    let again = here.open().await;
    assert_eq!((again.epoch(), again.cursor_key()), (one.epoch(), one.cursor_key()));
    again.close().await;
}
