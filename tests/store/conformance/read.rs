//! Reading messages.

use std::sync::Arc;

use pilotgate::{
    domain::{
        message::ForeignIds,
        status::Status::{InDoubt, Queued},
    },
    store::{Key, Store},
};

use crate::fixtures::{draft, draft_on, id, ids, main, number_named, of, reached, send, settled};

pub async fn a_message_is_found_by_each_of_its_ids(store: Arc<dyn Store>) {
    let known = ids("u1", "c1", "e1");
    let here = send(&*store, draft(1), known.clone()).await;
    let there = send(&*store, draft_on(2, "other"), known.clone()).await;
    for key in keys(&known) {
        assert_eq!(store.find(&main(), key.clone()).await, Ok(Some(here.clone())), "{key:?}");
        assert_eq!(store.find(&number_named("other"), key.clone()).await, Ok(Some(there.clone())), "{key:?}");
        assert_eq!(store.find(&number_named("third"), key.clone()).await, Ok(None), "{key:?}");
    }
    // No kind of id is taken for another.
    for key in keys(&ids("c1", "e1", "u1")) {
        assert_eq!(store.find(&main(), key.clone()).await, Ok(None), "{key:?}");
    }
}

pub async fn an_id_names_the_newest_message_of_its_number(store: Arc<dyn Store>) {
    let known = ids("u1", "c1", "e1");
    // Newest is who was accepted last, not who has the greatest id or was settled last.
    store.accept(draft(3)).await.unwrap();
    let newest = send(&*store, draft(2), known.clone()).await;
    let older = settled(of(known.clone(), reached(Queued, 1)));
    store.settle(id(3), older).await.unwrap();
    send(&*store, draft_on(4, "other"), known.clone()).await;
    for key in keys(&known) {
        assert_eq!(store.find(&main(), key.clone()).await, Ok(Some(newest.clone())), "{key:?}");
    }
}

pub async fn of_the_messages_asked_for_those_that_exist_are_given(store: Arc<dyn Store>) {
    let first = send(&*store, draft(1), ids("u1", "-", "-")).await;
    let second = send(&*store, draft(2), ids("u2", "-", "-")).await;
    let mut found = store.messages(vec![id(2), id(9), id(1)]).await.unwrap();
    found.sort_by_key(|message| message.origins.message_id);
    assert_eq!(found, [first, second]);
    assert_eq!(store.messages(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(store.message(id(9)).await, Ok(None));
}

pub async fn pending_messages_come_oldest_first(store: Arc<dyn Store>) {
    // Accepted in this order, which is not the order of their ids.
    for n in [5, 3, 4, 1] {
        store.accept(draft(n)).await.unwrap();
    }
    store.settle(id(3), settled(reached(InDoubt, 1))).await.unwrap();
    let pending = async |limit| -> Vec<_> {
        store.pending(limit).await.unwrap().into_iter().map(|message| message.origins.message_id).collect()
    };
    assert_eq!(pending(10).await, [id(5), id(4), id(1)]);
    assert_eq!(pending(2).await, [id(5), id(4)]);
}

fn keys(ids: &ForeignIds) -> [Key; 3] {
    let ForeignIds { upstream, correlation, external } = ids.clone();
    [Key::Upstream(upstream.unwrap()), Key::Correlation(correlation.unwrap()), Key::External(external.unwrap())]
}
