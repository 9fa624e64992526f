//! What frames hold.

use std::time::Duration;

use pilotgate::{
    domain::inbound::{Happening, InboundMessage, Quoted},
    proto::v1::{self, InboundKind, stream_inbound_events_response::Frame},
};

use super::{
    NUMBER, Place, SECOND, events, every_second, filtered, follow, from_earliest, next_event, next_texts, nothing_more,
    of_numbers, says, started,
};
use crate::support::{READER, client_as, message_until, send, text};

#[tokio::test]
async fn every_kind_of_event_is_told_whole() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut live = follow(&mut client, from_earliest()).await;
    started(&mut live).await;
    let kinds = [
        (InboundKind::Message, events::messages()),
        (InboundKind::Number, events::numbers_and_calls()[..2].to_vec()),
        (InboundKind::Call, events::numbers_and_calls()[2..].to_vec()),
        (InboundKind::Lead, events::leads()),
        (InboundKind::Unattributed, events::unattributed()),
        (InboundKind::Unrecognized, events::unrecognized()),
    ];
    for (_, events) in &kinds {
        for (event, frame) in events {
            place.record(event.clone()).await;
            assert_eq!(next_event(&mut live).await.0, *frame);
        }
    }
    // Each kind alone, from the disk or from memory all the same.
    for (kind, events) in &kinds {
        let filter = v1::InboundFilter { kinds: vec![(*kind).into()], ..Default::default() };
        let mut frames = follow(&mut client, every_second(filtered(filter))).await;
        started(&mut frames).await;
        for (_, frame) in events {
            assert_eq!(next_event(&mut frames).await.0, *frame);
        }
        nothing_more(&mut frames).await;
    }
    place.end((live, client)).await;
}

#[tokio::test]
async fn filters_choose_by_number_and_by_kind() {
    let place = Place::new().await;
    let client = place.client().await;
    let odd = || Happening::Unrecognized("{}".to_owned());
    place.happens(says("first")).await;
    place.happens_at(SECOND, says("second")).await;
    place.happens(odd()).await;
    place.happens_at(SECOND, odd()).await;
    let kinds = |kinds: &[InboundKind]| kinds.iter().map(|kind| (*kind).into()).collect::<Vec<i32>>();
    let (message, other) = (InboundKind::Message, InboundKind::Unrecognized);
    let any = v1::InboundFilter::default;
    let cases = [
        (any(), &["first", "second", "", ""][..]),
        (of_numbers(&[NUMBER]), &["first", ""]),
        (of_numbers(&["wn_upstream_id"]), &["first", ""]),
        (of_numbers(&["+5511900000001"]), &["second", ""]),
        (of_numbers(&[SECOND, NUMBER]), &["first", "second", "", ""]),
        (v1::InboundFilter { kinds: kinds(&[message]), ..any() }, &["first", "second"]),
        (v1::InboundFilter { kinds: kinds(&[message, other]), ..any() }, &["first", "second", "", ""]),
        (v1::InboundFilter { kinds: kinds(&[message]), ..of_numbers(&[SECOND]) }, &["second"]),
        (v1::InboundFilter { kinds: kinds(&[InboundKind::Call]), ..any() }, &[]),
    ];
    let followed = cases.map(async |(filter, expected)| {
        let mut frames = follow(&mut client.clone(), every_second(filtered(filter.clone()))).await;
        started(&mut frames).await;
        for text in expected {
            match next_event(&mut frames).await.0 {
                Frame::Message(message) => assert_eq!(message.text, *text, "{filter:?}"),
                Frame::Unrecognized(_) => assert_eq!("", *text, "{filter:?}"),
                other => panic!("{filter:?} let pass {other:?}"),
            }
        }
        nothing_more(&mut frames).await;
    });
    futures_util::future::join_all(followed).await;
    place.end(client).await;
}

#[tokio::test]
async fn an_answer_names_our_message() {
    let place = Place::new().await;
    let mut orders = client_as(&place.gateway, Some(super::DESK)).await;
    let id = send(&mut orders, text(READER, "Any pets?")).await;
    let asked = message_until(&mut orders, &id, |message| !message.external_id.is_empty()).await;
    let mut quoted = Quoted { text: "Any pets?".to_owned(), ..Default::default() };
    quoted.ids.external = Some(asked.external_id.clone().try_into().unwrap());
    place.happens(Happening::Message(Box::new(InboundMessage { quoted: Some(quoted), ..Default::default() }))).await;
    let mut client = place.client().await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let Frame::Message(message) = next_event(&mut frames).await.0 else { panic!("no message") };
    let expected = v1::QuotedMessage {
        message_id: id,
        upstream_id: message.quoted.as_ref().unwrap().upstream_id.clone(),
        external_id: asked.external_id,
        text: "Any pets?".to_owned(),
    };
    assert_eq!(message.quoted, Some(expected));
    place.end((frames, orders, client)).await;
}

#[tokio::test]
async fn an_event_that_no_client_could_take_as_a_struct_holds_nobody_up() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let zeros = format!("[{}0]", "0,".repeat(500_000));
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    for json in [&zeros, &deep] {
        place.happens(Happening::Unrecognized(json.clone())).await;
    }
    place.happens(says("after it")).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let Frame::Unrecognized(long) = next_event(&mut frames).await.0 else { panic!("not told") };
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(zeros)) };
    assert_eq!(long.raw, Some(prost_types::Struct { fields: [("value".to_owned(), value)].into() }));
    let Frame::Unrecognized(_) = next_event(&mut frames).await.0 else { panic!("not told") };
    assert_eq!(next_texts(&mut frames, 1).await, ["after it"]);
    place.end((frames, client)).await;
}

#[tokio::test]
async fn what_happens_is_told_at_once_and_a_quiet_stream_gives_signs_of_life() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut frames = follow(&mut client, every_second(super::InboxRequest::default())).await;
    let (heartbeat, first) = started(&mut frames).await;
    assert_eq!(heartbeat.backlog, 0);
    place.happens(says("hello")).await;
    let told = tokio::time::timeout(Duration::from_millis(900), next_texts(&mut frames, 1));
    assert_eq!(told.await.expect("not before the next heartbeat"), ["hello"]);
    // What is no inbound event moves the cursor all the same.
    let mut orders = client_as(&place.gateway, Some(super::DESK)).await;
    let (_, before) = super::next_frame(&mut frames).await;
    send(&mut orders, text(crate::support::STUCK, "x")).await;
    let (alive, after) = super::next_frame(&mut frames).await;
    let caught_up = v1::Heartbeat {
        head_lag: Some(prost_types::Duration::default()),
        backlog: 0,
        idle_reason: v1::IdleReason::CaughtUp.into(),
        unacknowledged: 0,
    };
    assert_eq!(alive, Frame::Heartbeat(caught_up));
    assert!(first != before && before != after);
    place.end((frames, orders, client)).await;
}
