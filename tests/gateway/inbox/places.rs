//! Where streams of inbound events start, resume and end.

use jiff::{SignedDuration, Timestamp};
use pilotgate::{
    proto::v1::{self, InboundFilter, stream_inbound_events_response::Frame},
    store::retention::Trim,
};
use tonic::Code;

use super::{
    DESK, InboxRequest, NUMBER, Place, SHOP_DESK, Start, events, filtered, follow, from_cursor, from_earliest,
    next_event, next_frame, next_texts, of_numbers, says, started,
};
use crate::support::{self, STUCK, client_as, error_of, metadata, send, text};

const TEXTS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test]
async fn every_cursor_resumes_with_exactly_the_rest() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut orders = client_as(&place.gateway, Some(DESK)).await;
    for text in TEXTS {
        place.happens(says(text)).await;
        // Status updates stand in the same log.
        send(&mut orders, support::text(STUCK, "x")).await;
    }
    let mut frames = follow(&mut client, from_earliest()).await;
    let mut cursors = vec![started(&mut frames).await.1];
    for _ in TEXTS {
        cursors.push(next_event(&mut frames).await.1);
    }
    for (seen, cursor) in cursors.iter().enumerate() {
        let mut resumed = follow(&mut client, from_cursor(cursor)).await;
        assert_eq!(started(&mut resumed).await.1, *cursor);
        assert_eq!(next_texts(&mut resumed, TEXTS.len() - seen).await, TEXTS[seen..], "after {seen}");
    }
    place.end((frames, orders, client)).await;
}

#[tokio::test]
async fn a_stream_starts_at_an_end_or_at_a_time() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let at = |seconds: i64| {
        let time: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        time + SignedDuration::from_secs(seconds)
    };
    for (seconds, text) in (0..).zip(TEXTS) {
        let mut event = events::inbound("message.received", says(text));
        (event.at, event.observed_at) = (at(0), at(seconds));
        place.record(event).await;
    }
    let noon = at(0).as_second();
    for (seconds, seen) in [(noon - 1, 0), (noon, 0), (noon + 3, 3), (noon + 4, 4)] {
        let start = Some(Start::StartTime(prost_types::Timestamp { seconds, nanos: 0 }));
        let mut frames = follow(&mut client, InboxRequest { start, ..Default::default() }).await;
        assert_eq!(next_texts(&mut frames, TEXTS.len() - seen).await, TEXTS[seen..]);
    }
    let position = |position: v1::Position| Some(Start::Position(position.into()));
    let mut latest = Vec::new();
    for start in [position(v1::Position::Unspecified), position(v1::Position::Latest), None] {
        let mut frames = follow(&mut client, InboxRequest { start, ..Default::default() }).await;
        started(&mut frames).await;
        latest.push(frames);
    }
    place.happens(says("new")).await;
    for frames in &mut latest {
        assert_eq!(next_texts(frames, 1).await, ["new"]);
    }
    place.end((latest, client)).await;
}

#[tokio::test]
async fn a_cursor_belongs_to_one_caller_filter_and_kind_of_stream() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut statuses = client_as(&place.gateway, Some(DESK)).await;
    place.happens(says("a")).await;
    send(&mut statuses, text(STUCK, "x")).await;
    let (_, cursor) = started(&mut follow(&mut client, from_earliest()).await).await;
    let mut updates = support::follow(&mut statuses, support::from_earliest()).await;
    let (_, status_cursor) = support::started(&mut updates).await;
    let refused = |told: support::Told, cause: &str| {
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "CURSOR_INVALID"), "{cause}");
        assert_eq!(told.metadata, metadata([("cause", cause)]));
    };
    refused(error_of(client.stream_inbound_events(from_cursor(&status_cursor)).await), "other_filter");
    refused(error_of(statuses.stream_status_updates(support::from_cursor(&cursor)).await), "other_filter");
    let narrow = |filter| InboxRequest { filter: Some(filter), ..from_cursor(&cursor) };
    refused(error_of(client.stream_inbound_events(narrow(of_numbers(&[NUMBER]))).await), "other_filter");
    let kinds = InboundFilter { kinds: vec![v1::InboundKind::Message.into()], ..Default::default() };
    refused(error_of(client.stream_inbound_events(narrow(kinds)).await), "other_filter");
    let mut other = place.client_as(Some(SHOP_DESK)).await;
    refused(error_of(other.stream_inbound_events(from_cursor(&cursor)).await), "other_filter");
    refused(error_of(client.stream_inbound_events(from_cursor("x")).await), "not_ours");
    // Another order is the same filter.
    let two = |kinds: [v1::InboundKind; 2]| InboundFilter { kinds: kinds.map(i32::from).into(), ..Default::default() };
    let (message, lead) = (v1::InboundKind::Message, v1::InboundKind::Lead);
    let (_, cursor) = started(&mut follow(&mut client, filtered(two([message, lead]))).await).await;
    let again = InboxRequest { filter: Some(two([lead, message])), ..from_cursor(&cursor) };
    assert_eq!(next_texts(&mut follow(&mut client, again).await, 1).await, ["a"]);
    place.end((updates, statuses, other, client)).await;
}

#[tokio::test]
async fn what_was_trimmed_is_told_of() {
    let place = Place::new().await;
    let mut client = place.client().await;
    place.happens(says("old")).await;
    place.happens(says("older than the cut")).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    started(&mut frames).await;
    let (_, cursor) = next_event(&mut frames).await;
    let (_, last) = next_event(&mut frames).await;
    place.store.trim(Trim::Events { before: Timestamp::now() }).await.unwrap();
    place.happens(says("young")).await;

    let told = error_of(client.stream_inbound_events(from_cursor(&cursor)).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::OutOfRange, "CURSOR_EXPIRED"));
    assert_eq!(told.metadata["oldest_cursor"], last);
    let mut resumed = follow(&mut client, from_cursor(&last)).await;
    assert_eq!(next_texts(&mut resumed, 1).await, ["young"]);

    let anyway = InboxRequest { on_expired: v1::OnExpired::Earliest.into(), ..from_cursor(&cursor) };
    let mut anyway = follow(&mut client, anyway).await;
    started(&mut anyway).await;
    let gap = v1::Gap { from: cursor, to: last.clone(), reason: v1::GapReason::Retention.into() };
    assert_eq!(next_frame(&mut anyway).await, (Frame::Gap(gap), last));
    assert_eq!(next_texts(&mut anyway, 1).await, ["young"]);
    place.end((frames, resumed, anyway, client)).await;
}

#[tokio::test]
async fn a_drained_stream_goes_on_after_the_restart() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut frames = follow(&mut client, from_earliest()).await;
    place.happens(says("before")).await;
    assert_eq!(next_texts(&mut frames, 1).await, ["before"]);
    let Place { world, gateway, store } = place;
    drop(store);
    let ending = tokio::spawn(gateway.shutdown());
    let (drain, cursor) = next_frame(&mut frames).await;
    let Frame::Drain(drain) = drain else { panic!("no farewell but {drain:?}") };
    assert!((0..=5).contains(&drain.reconnect_after.unwrap().seconds), "{drain:?}");
    let told = error_of(frames.message().await);
    assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "DRAINING"));
    drop((frames, client));
    ending.await.unwrap();

    let place = Place::over(world).await;
    let mut client = place.client().await;
    place.happens(says("after")).await;
    let mut frames = follow(&mut client, from_cursor(&cursor)).await;
    assert_eq!(next_texts(&mut frames, 1).await, ["after"]);
    place.end((frames, client)).await;
}

#[tokio::test]
async fn a_subscription_resumes_behind_what_was_acknowledged_and_is_of_one_kind_of_stream() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let mut orders = client_as(&place.gateway, Some(DESK)).await;
    let named = || InboxRequest { subscription: "desk".to_owned(), ..Default::default() };
    let mut frames = follow(&mut client, named()).await;
    started(&mut frames).await;
    for text in TEXTS {
        place.happens(says(text)).await;
    }
    let mut cursors = Vec::new();
    for _ in TEXTS {
        cursors.push(next_event(&mut frames).await.1);
    }
    let commit = v1::CommitCursorRequest { subscription: "desk".to_owned(), cursor: cursors[1].clone() };
    let acknowledged = orders.commit_cursor(commit).await.unwrap().into_inner();
    assert_eq!(acknowledged, v1::CommitCursorResponse { cursor: cursors[1].clone(), backlog: 3 });
    let mut resumed = follow(&mut client, named()).await;
    assert_eq!(next_texts(&mut resumed, 3).await, TEXTS[2..]);
    assert_eq!(error_of(frames.message().await).reason, "SUBSCRIPTION_TAKEN_OVER");
    // Both kinds of streams share the names.
    let statuses = v1::StreamStatusUpdatesRequest { subscription: "desk".to_owned(), ..Default::default() };
    let told = error_of(orders.stream_status_updates(statuses).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::FailedPrecondition, "SUBSCRIPTION_FILTER_CHANGED"));
    place.end((resumed, orders, client)).await;
}
