//! Events that come in, and facts that are told though nobody knows their message.

use std::sync::Arc;

use jiff::Timestamp;
use pilotgate::{
    domain::{
        event::{Event, Payload},
        ids::{MessageId, NumberName},
        inbound::{EventIdentity, Happening, Inbound, InboundMessage, Quoted, Trust, Unattributed},
        merge::Fact,
        message::ForeignIds,
        position::Position,
        status::Status::{Delivered, Pending, Queued, Read, Sent},
    },
    store::{
        Entry,
        Recorded::{Appended, Early, Known},
        Sighting, Store,
        retention::Trim,
    },
};

use crate::fixtures::{at, draft, id, ids, log, main, number_named, of, reached, send, sightings, told_at, trail};

/// What happened at this second, at `main`.
fn happened(seconds: i64, what: Happening) -> Inbound {
    Inbound { number: main(), name: "x.y".to_owned(), at: at(seconds), observed_at: at(seconds + 1), what }
}

fn news(text: &str, seconds: i64) -> Inbound {
    happened(seconds, Happening::Unrecognized(format!("{text:?}")))
}

fn known_as(number: &NumberName, identity: &str, inbound: Inbound) -> Entry {
    Entry::Inbound(Box::new(inbound), EventIdentity::of(number, [identity.as_bytes()]))
}

fn entry(identity: &str, inbound: Inbound) -> Entry {
    known_as(&main(), identity, inbound)
}

fn logged(position: i64, inbound: Inbound) -> Event {
    Event { position: Position(position), payload: Payload::Inbound(inbound) }
}

pub async fn an_event_is_told_once(store: Arc<dyn Store>) {
    let first = vec![entry("a", news("a", 1)), entry("b", news("b", 2)), entry("a", news("again", 3))];
    assert_eq!(store.record(&main(), first).await, Ok(vec![Appended, Appended, Known]));
    // What came first stays, whatever else comes under its identity.
    assert_eq!(store.record(&main(), vec![entry("b", news("other", 4))]).await, Ok(vec![Known]));
    assert_eq!(log(&*store).await, [logged(1, news("a", 1)), logged(2, news("b", 2))]);
    assert_eq!(*store.head().borrow(), Position(2));
}

pub async fn events_and_updates_stand_in_the_order_in_which_they_came(store: Arc<dyn Store>) {
    send(&*store, draft(1), ids("u1", "-", "-")).await;
    let sent = of(ids("u1", "-", "-"), reached(Sent, 2));
    let mut together = vec![entry("a", news("a", 9))];
    together.extend(sightings([sent.clone()]));
    together.push(entry("b", news("b", 1)));
    assert_eq!(store.record(&main(), together).await, Ok(vec![Appended; 3]));
    let expected =
        [logged(3, news("a", 9)), told_at(4, &draft(1), &ids("u1", "-", "-"), &sent, Sent), logged(5, news("b", 1))];
    assert_eq!(log(&*store).await[2..], expected);
    let page = store.events(Position(2), 1).await.unwrap();
    assert_eq!((page.events.len(), &*page.events[0]), (1, &expected[0]));
    // Times in the log never fall, so that a time leads to one place.
    assert_eq!(store.position_before(at(10)).await, Ok(Position(2)));
    assert_eq!(store.position_before(at(11)).await, Ok(Position(5)));
}

pub async fn what_is_told_at_two_numbers_is_two_events(store: Arc<dyn Store>) {
    let other = number_named("other");
    let elsewhere = Inbound { number: other.clone(), ..news("a", 1) };
    assert_eq!(store.record(&main(), vec![entry("a", news("a", 1))]).await, Ok(vec![Appended]));
    assert_eq!(store.record(&other, vec![known_as(&other, "a", elsewhere.clone())]).await, Ok(vec![Appended]));
    assert_eq!(log(&*store).await, [logged(1, news("a", 1)), logged(2, elsewhere)]);
}

pub async fn an_answer_names_the_message_it_answers(store: Arc<dyn Store>) {
    send(&*store, draft(1), ids("u1", "c1", "e1")).await;
    send(&*store, draft(2), ids("u2", "c2", "e2")).await;
    let answer = |ids: ForeignIds, message_id: Option<MessageId>| {
        let quoted = Some(Quoted { ids, text: "you wrote".to_owned(), message_id });
        happened(5, Happening::Message(Box::new(InboundMessage { quoted, ..InboundMessage::default() })))
    };
    let answered = [
        (ids("-", "-", "e2"), Some(id(2))),
        (ids("u1", "-", "-"), Some(id(1))),
        (ids("-", "c1", "-"), Some(id(1))),
        // An id that leads nowhere does not keep another one from leading there.
        (ids("u9", "-", "e1"), Some(id(1))),
        (ids("-", "c1", "e2"), Some(id(2))),
        (ids("u9", "c9", "e9"), None),
        (ids("-", "-", "-"), None),
    ];
    let mut expected = Vec::new();
    for ((ids, whose), position) in answered.into_iter().zip(5..) {
        let entry = entry(&position.to_string(), answer(ids.clone(), None));
        assert_eq!(store.record(&main(), vec![entry]).await, Ok(vec![Appended]));
        expected.push(logged(position, answer(ids, whose)));
    }
    assert_eq!(log(&*store).await[4..], expected);
    // An id names messages of its own number.
    let other = number_named("other");
    let elsewhere = |whose| Inbound { number: other.clone(), ..answer(ids("-", "-", "e1"), whose) };
    store.record(&other, vec![known_as(&other, "z", elsewhere(None))]).await.unwrap();
    assert_eq!(log(&*store).await[11..], [logged(12, elsewhere(None))]);
}

pub async fn an_event_whose_entry_was_trimmed_is_news_again(store: Arc<dyn Store>) {
    let both = || vec![entry("a", news("a", 1)), entry("b", news("b", 5))];
    assert_eq!(store.record(&main(), both()).await, Ok(vec![Appended; 2]));
    assert_eq!(store.trim(Trim::Events { before: at(4) }).await.unwrap().deleted, 1);
    assert_eq!(store.record(&main(), both()).await, Ok(vec![Appended, Known]));
    assert_eq!(log(&*store).await, [logged(2, news("b", 5)), logged(3, news("a", 1))]);
    assert_eq!(store.trim(Trim::Events { before: Timestamp::MAX }).await.unwrap().deleted, 2);
    assert_eq!(store.record(&main(), both()).await, Ok(vec![Appended; 2]));
}

fn unattributed(fact: &Fact, trust: Trust) -> Inbound {
    Inbound {
        number: main(),
        name: String::new(),
        at: fact.at,
        observed_at: at(9),
        what: Happening::Unattributed(Unattributed { fact: fact.clone(), trust }),
    }
}

pub async fn what_waits_too_long_is_told_once_and_goes_on_waiting(store: Arc<dyn Store>) {
    let (sent, read) = (of(ids("u1", "-", "-"), reached(Sent, 2)), of(ids("u1", "-", "-"), reached(Read, 3)));
    store.record(&main(), sightings([sent.clone(), read.clone()])).await.unwrap();
    assert_eq!(store.tell_unattributed(at(9), at(2), 10).await, Ok(0), "not before that time");
    assert_eq!(store.tell_unattributed(at(9), at(3), 10).await, Ok(1));
    assert_eq!(store.tell_unattributed(at(9), at(3), 10).await, Ok(0), "told already");
    assert_eq!(log(&*store).await, [logged(1, unattributed(&sent, Trust::Proven))]);
    // Its repetition is known, and told no second time.
    assert_eq!(store.record(&main(), sightings([sent.clone()])).await, Ok(vec![Known]));
    assert_eq!(store.tell_unattributed(at(9), at(3), 10).await, Ok(0));

    let joined = send(&*store, draft(1), ids("u1", "-", "-")).await;
    assert_eq!(joined.status, Read);
    let whole = [Pending, Queued, Sent, Read].map(|status| (id(1), Some(status), status));
    assert_eq!(trail(&*store).await, whole);
    assert_eq!(
        store.tell_unattributed(at(9), at(1000), 10).await,
        Ok(0),
        "what has joined its message is told with it"
    );
    assert_eq!(log(&*store).await.len(), 5);
}

pub async fn what_is_told_as_unattributed_comes_oldest_first(store: Arc<dyn Store>) {
    let facts: Vec<_> = (1..=5).map(|n| of(ids(&format!("u{n}"), "-", "-"), reached(Delivered, n))).collect();
    store.record(&main(), sightings(facts.clone())).await.unwrap();
    assert_eq!(store.tell_unattributed(at(9), at(5), 3).await, Ok(3));
    assert_eq!(store.tell_unattributed(at(9), at(5), 3).await, Ok(1));
    let told = facts[..4].iter().zip(1..).map(|(fact, position)| logged(position, unattributed(fact, Trust::Proven)));
    assert_eq!(log(&*store).await, told.collect::<Vec<_>>());
}

pub async fn a_claim_is_told_as_one(store: Arc<dyn Store>) {
    let fact = of(ids("u1", "-", "-"), reached(Sent, 2));
    let claim = Sighting { fact: fact.clone(), likeness: None, trust: Trust::Claimed };
    assert_eq!(store.record(&main(), vec![claim.into()]).await, Ok(vec![Early]));
    assert_eq!(store.tell_unattributed(at(9), at(3), 10).await, Ok(1));
    assert_eq!(log(&*store).await, [logged(1, unattributed(&fact, Trust::Claimed))]);
    // A claim is not folded in when its message becomes known.
    assert_eq!(send(&*store, draft(1), ids("u1", "-", "-")).await.status, Queued);
}
