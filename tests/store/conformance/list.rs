//! Listing a caller's messages.

use std::{ops::Range, sync::Arc};

use pilotgate::{
    domain::{ids::MessageId, message::Message, status::Status::Delivered},
    store::{Listing, Store},
};

use crate::fixtures::{claim, draft, draft_on, id, ids, reached, send};

const ALL: Range<MessageId> = MessageId::LEAST..MessageId::GREATEST;

async fn listed(store: &dyn Store, caller: &str, ids: Range<MessageId>, limit: usize) -> Vec<Message> {
    store.list(Listing { caller: caller.to_owned().try_into().unwrap(), ids, limit }).await.unwrap()
}

async fn ids_listed(store: &dyn Store, ids: Range<MessageId>, limit: usize) -> Vec<MessageId> {
    listed(store, "orders", ids, limit).await.into_iter().map(|message| message.origins.message_id).collect()
}

pub async fn a_callers_messages_are_listed_as_they_stand(store: Arc<dyn Store>) {
    // Accepted in this order, which is not the order of their ids.
    let second = send(&*store, draft(2), ids("u2", "-", "-")).await;
    let third = Message::accepted(draft_on(3, "other").origins);
    store.accept(draft_on(3, "other")).await.unwrap();
    store.accept(draft(1)).await.unwrap();
    let first = store.merge(id(1), vec![reached(Delivered, 1)]).await.unwrap();
    let theirs = claim(4, "billing", "r-1");
    store.accept(theirs.clone()).await.unwrap();
    assert_eq!(listed(&*store, "orders", ALL, 10).await, [third, second, first]);
    assert_eq!(listed(&*store, "billing", ALL, 10).await, [Message::accepted(theirs.origins)]);
    assert_eq!(listed(&*store, "nobody", ALL, 10).await, []);
}

pub async fn a_list_keeps_to_its_range_and_limit(store: Arc<dyn Store>) {
    // Ids are compared as they sort, whatever bytes they have.
    let numbers = [1, 0xff, 0x100, 1 << 80, u128::MAX - 1];
    for n in numbers {
        store.accept(draft(n)).await.unwrap();
    }
    let [a, b, c, d, e] = numbers.map(id);
    assert_eq!(ids_listed(&*store, ALL, 10).await, [e, d, c, b, a]);
    assert_eq!(ids_listed(&*store, b..d, 10).await, [c, b]);
    assert_eq!(ids_listed(&*store, id(0x80)..id(0x81), 10).await, []);
    assert_eq!(ids_listed(&*store, c..c, 10).await, []);
    assert_eq!(ids_listed(&*store, d..b, 10).await, []);
    assert_eq!(ids_listed(&*store, ALL, 2).await, [e, d]);
    assert_eq!(ids_listed(&*store, MessageId::LEAST..d, 2).await, [c, b]);
    assert_eq!(ids_listed(&*store, ALL, 0).await, []);
}
