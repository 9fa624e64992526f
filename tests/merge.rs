//! Folding facts into a message: whatever the order and however often, the same end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use pilotgate::domain::{
    failure::Failure,
    ids::MessageId,
    merge::{Fact, Merged, Observed},
    message::{ForeignIds, Handoff, Message, Origins, StatusTimes},
    recipient::Recipient,
    status::{
        Origin,
        Status::{self, Canceled, Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
    },
};
use proptest::prelude::*;
use uuid::Uuid;

proptest! {
    #[test]
    fn every_order_and_every_repetition_ends_the_same((history, again) in reordered()) {
        prop_assert_eq!(end(&fold(&history)), end(&fold(&again)));
    }

    #[test]
    fn keeping_a_message_as_text_between_facts_changes_nothing(history in history()) {
        let mut kept = accepted();
        for fact in &history {
            kept.merge(fact);
            kept = serde_json::from_str(&serde_json::to_string(&kept).unwrap()).unwrap();
        }
        prop_assert_eq!(kept, fold(&history));
    }

    #[test]
    fn lost_facts_change_no_status_as_long_as_the_greatest_is_kept(
        (history, kept) in history().prop_flat_map(|facts| {
            let most = facts.len();
            (Just(facts.clone()), prop::sample::subsequence(facts, 0..=most))
        }),
    ) {
        let greatest = history.iter().max_by_key(|fact| fact.status.status());
        let kept: Vec<_> = kept.iter().chain(greatest).cloned().collect();
        prop_assert_eq!(fold(&kept).status, fold(&history).status);
    }

    #[test]
    fn each_distinct_fact_is_told_once((history, again) in reordered()) {
        let mut message = accepted();
        let told: Vec<_> =
            again.iter().filter(|fact| message.merge(fact) != Merged::Known).map(|fact| name(&fact.status)).collect();
        let distinct: BTreeSet<_> = told.iter().cloned().collect();
        // That it is pending was told when it was accepted.
        let expected: BTreeSet<_> =
            history.iter().map(|fact| name(&fact.status)).filter(|name| name != "PENDING").collect();
        prop_assert_eq!(told.len(), distinct.len(), "told twice: {:?}", told);
        prop_assert_eq!(distinct, expected);
    }

    #[test]
    fn a_repeated_fact_is_known_and_changes_nothing(history in history(), which in any::<prop::sample::Index>()) {
        prop_assume!(!history.is_empty());
        let mut message = fold(&history);
        let before = message.clone();
        prop_assert_eq!(message.merge(which.get(&history)), Merged::Known);
        prop_assert_eq!(message, before);
    }

    #[test]
    fn a_failure_never_hides_a_delivery(
        history in history(),
        delivery in prop::sample::select(vec![Delivered, Read]),
        failure in failure(),
    ) {
        let mut message = fold(&history);
        message.merge(&fact(Observed::Reached(delivery), 3));
        let before = message.status;
        message.merge(&fact(Observed::Failed(failure), 4));
        prop_assert_eq!(message.status, before);
        prop_assert!(before >= delivery);
    }

    #[test]
    fn only_a_delivery_after_a_failure_or_a_cancellation_is_a_correction(history in history()) {
        let mut message = accepted();
        for fact in &history {
            let before = message.status;
            let contradicts =
                matches!(before, Failed | Canceled) && matches!(fact.status.status(), Some(Delivered | Read));
            prop_assert_eq!(message.merge(fact) == Merged::Correction, contradicts);
        }
    }
}

#[test]
fn a_late_delivery_corrects_a_failure_and_keeps_it() {
    let unconfirmed = Failure::reported("DELIVERED_NOT_CONFIRMED", "no report in time");
    let mut message = accepted();
    let told = [
        fact(Observed::Reached(Queued), 1),
        fact(Observed::Reached(Sent), 2),
        fact(Observed::Failed(unconfirmed.clone()), 60),
        fact(Observed::Reached(Delivered), 30),
        fact(Observed::Reached(Read), 90),
    ]
    .map(|fact| (message.merge(&fact), message.status));
    assert_eq!(
        told,
        [
            (Merged::New, Queued),
            (Merged::New, Sent),
            (Merged::New, Failed),
            (Merged::Correction, Delivered),
            (Merged::New, Read)
        ]
    );
    assert_eq!(
        message,
        Message {
            status: Read,
            times: times(&[(Pending, 0), (Queued, 1), (Sent, 2), (Failed, 60), (Delivered, 30), (Read, 90)]),
            failure: Some(unconfirmed),
            failure_codes: vec!["DELIVERED_NOT_CONFIRMED".to_owned()],
            ..accepted()
        }
    );
}

#[test]
fn of_two_failures_the_earlier_is_shown_and_both_are_told() {
    let (late, early) = (Failure::reported("MESSAGE_EXPIRED", "late"), Failure::reported("NOT_SENT", "early"));
    let mut message = accepted();
    assert_eq!(message.merge(&fact(Observed::Failed(late), 9)), Merged::New);
    assert_eq!(message.merge(&fact(Observed::Failed(early.clone()), 5)), Merged::New);
    let codes = ["MESSAGE_EXPIRED", "NOT_SENT"].map(String::from).to_vec();
    assert_eq!(
        message,
        Message {
            status: Failed,
            times: times(&[(Pending, 0), (Failed, 5)]),
            failure: Some(early),
            failure_codes: codes,
            ..accepted()
        }
    );
}

#[test]
fn a_delivery_corrects_a_cancellation() {
    for delivery in [Delivered, Read] {
        let mut message = accepted();
        message.merge(&fact(Observed::Reached(Canceled), 1));
        assert_eq!(message.merge(&fact(Observed::Reached(delivery), 2)), Merged::Correction);
        assert_eq!(message.status, delivery);
    }
}

#[test]
fn what_comes_after_its_successor_is_told_and_leaves_the_status() {
    let mut message = accepted();
    message.merge(&fact(Observed::Reached(Delivered), 5));
    assert_eq!(message.merge(&fact(Observed::Reached(Sent), 4)), Merged::New);
    let expected =
        Message { status: Delivered, times: times(&[(Pending, 0), (Sent, 4), (Delivered, 5)]), ..accepted() };
    assert_eq!(message, expected);
}

#[test]
fn an_unknown_word_is_told_and_leaves_the_status() {
    let mut message = accepted();
    message.merge(&fact(Observed::Reached(Sent), 1));
    assert_eq!(message.merge(&fact(Observed::Unknown("PLAYED".to_owned()), 2)), Merged::New);
    assert_eq!(message.merge(&fact(Observed::Unknown("PLAYED".to_owned()), 3)), Merged::Known);
    let expected = Message {
        status: Sent,
        times: times(&[(Pending, 0), (Sent, 1)]),
        unknown_words: vec!["PLAYED".to_owned()],
        ..accepted()
    };
    assert_eq!(message, expected);
}

#[test]
fn a_repeated_fact_with_an_earlier_time_moves_the_time_alone() {
    let mut message = accepted();
    message.merge(&fact(Observed::Reached(Sent), 7));
    assert_eq!(message.merge(&fact(Observed::Reached(Sent), 6)), Merged::Known);
    assert_eq!(message, Message { status: Sent, times: times(&[(Pending, 0), (Sent, 6)]), ..accepted() });
}

/// A history, and the same one in another order, with some of it repeated.
fn reordered() -> impl Strategy<Value = (Vec<Fact>, Vec<Fact>)> {
    history().prop_flat_map(|facts| {
        let most = facts.len();
        let repeated = prop::sample::subsequence(facts.clone(), 0..=most);
        let again = repeated.prop_map({
            let facts = facts.clone();
            move |repeated| [facts.clone(), repeated].concat()
        });
        (Just(facts), again.prop_shuffle())
    })
}

fn history() -> impl Strategy<Value = Vec<Fact>> {
    // Times collide, and some differ only in what is not stored.
    let fact = (observed(), 0..5_i64, 0..3_i32).prop_map(|(status, seconds, nanos)| {
        let mut fact = fact(status, seconds);
        fact.at = Timestamp::new(fact.at.as_second(), nanos * 400).unwrap();
        fact
    });
    prop::collection::vec(fact, 0..12)
}

fn observed() -> impl Strategy<Value = Observed> {
    let reached = vec![Pending, InDoubt, Queued, Sent, Canceled, Delivered, Read];
    prop_oneof![
        4 => prop::sample::select(reached).prop_map(Observed::Reached),
        2 => failure().prop_map(Observed::Failed),
        1 => prop::sample::select(vec!["PLAYED", "HELD"]).prop_map(|word| Observed::Unknown(word.to_owned())),
    ]
}

fn failure() -> impl Strategy<Value = Failure> {
    let codes = vec!["", "DELIVERED_NOT_CONFIRMED", "NOT_SENT"];
    let texts = vec!["why", "why not"];
    (prop::sample::select(codes), prop::sample::select(texts), any::<bool>()).prop_map(|(code, text, never_left)| {
        Failure { raw_code: code.to_owned(), message: text.to_owned(), never_left }
    })
}

/// What must not depend on the order: the lists of words are compared as sets.
fn end(message: &Message) -> (Status, StatusTimes, Option<Failure>, BTreeSet<String>, BTreeSet<String>) {
    let Message { status, times, failure, unknown_words, failure_codes, .. } = message.clone();
    (status, times, failure, unknown_words.into_iter().collect(), failure_codes.into_iter().collect())
}

/// What makes two facts the same.
fn name(observed: &Observed) -> String {
    match observed {
        Observed::Reached(status) => status.as_str().to_owned(),
        Observed::Failed(failure) => format!("FAILED {}", failure.raw_code),
        Observed::Unknown(word) => format!("unknown {word}"),
    }
}

fn fold(history: &[Fact]) -> Message {
    let mut message = accepted();
    for fact in history {
        message.merge(fact);
    }
    message
}

fn accepted() -> Message {
    Message::accepted(Origins {
        message_id: MessageId::from_uuid(Uuid::from_u128(1)),
        caller: "orders".to_owned().try_into().unwrap(),
        number: "main".to_owned().try_into().unwrap(),
        recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
        request_id: None,
        handoff: Handoff::Direct,
        labels: Vec::new(),
        metadata: BTreeMap::new(),
        create_time: at(0),
        deliver_at: None,
    })
}

fn fact(status: Observed, seconds: i64) -> Fact {
    let at = at(seconds);
    Fact { status, at, observed_at: at, origin: Origin::Webhook, ids: ForeignIds::default() }
}

fn times(observed: &[(Status, i64)]) -> StatusTimes {
    let mut times = StatusTimes::default();
    for (status, seconds) in observed {
        times.observe(*status, at(*seconds));
    }
    times
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}
