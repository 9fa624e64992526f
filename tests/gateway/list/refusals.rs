//! Lists that are refused: by their page token, or for what they ask.

use pilotgate::proto::v1::{
    ListMessagesRequest, ListMessagesResponse,
    MessageStatus::{Failed, Queued},
};
use tonic::Code;

use super::{Listing, labelled, list, noon_and, then, words};
use crate::support::{
    Client, NUMBER, OTHER_TOKEN, Told, client, client_as, error_of, follow, from_cursor, from_earliest, metadata, send,
    started,
};

#[tokio::test]
async fn a_page_token_counts_for_its_caller_and_filter_alone() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let mut billing = client_as(&listing.gateway, Some(OTHER_TOKEN)).await;
    for _ in 0..3 {
        send(&mut orders, labelled(&["vip", "new"])).await;
    }
    let request = ListMessagesRequest {
        numbers: words(&[NUMBER, "wn_second"]),
        statuses: vec![Queued.into(), Failed.into()],
        labels: words(&["vip", "new"]),
        start_time: noon_and(0),
        end_time: noon_and(5_000),
        page_size: 1,
        ..Default::default()
    };
    let page = list(&mut orders, request.clone()).await;
    let request = then(&request, &page);
    let token = &page.next_page_token;
    assert!((1..=128).contains(&token.len()), "{token}");
    let behind = list(&mut orders, request.clone()).await;
    assert_eq!(behind.messages.len(), 1);
    // The same filter in other words.
    let same = ListMessagesRequest {
        numbers: words(&["+5511900000001", "wn_upstream_id", NUMBER]),
        statuses: vec![Failed.into(), Queued.into(), Queued.into()],
        labels: words(&["new", "vip", "vip"]),
        ..request.clone()
    };
    assert_eq!(list(&mut orders, same).await, behind);
    let others = [
        ListMessagesRequest { numbers: words(&[NUMBER]), ..request.clone() },
        ListMessagesRequest { statuses: vec![Queued.into()], ..request.clone() },
        ListMessagesRequest { labels: words(&["vip"]), ..request.clone() },
        ListMessagesRequest { start_time: noon_and(-1), ..request.clone() },
        ListMessagesRequest { start_time: None, ..request.clone() },
        ListMessagesRequest { end_time: noon_and(5_001), ..request.clone() },
        ListMessagesRequest { start_time: None, end_time: noon_and(0), ..request.clone() },
        ListMessagesRequest { page_token: token.clone(), ..Default::default() },
    ];
    let refused = |told: Told, cause: &str| {
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "PAGE_TOKEN_INVALID"));
        assert_eq!((told.metadata, told.retry_after), (metadata([("cause", cause)]), None));
    };
    for other in others {
        refused(error_of(orders.list_messages(other).await), "other_filter");
    }
    refused(error_of(billing.list_messages(request.clone()).await), "other_filter");
    let mut changed = token.clone().into_bytes();
    changed[9] = if changed[9] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).unwrap();
    // A cursor is signed with the same key.
    let mut frames = follow(&mut orders, from_earliest()).await;
    let cursor = started(&mut frames).await.1;
    drop(frames);
    for page_token in [changed, format!("{token}A"), token[1..].to_owned(), "x".to_owned(), "ã".to_owned(), cursor] {
        let request = ListMessagesRequest { page_token, ..request.clone() };
        refused(error_of(orders.list_messages(request).await), "not_ours");
    }
    let as_cursor = error_of(orders.stream_status_updates(from_cursor(token)).await);
    assert_eq!(as_cursor.metadata, metadata([("cause", "not_ours")]));
    // The gateway of another store signs with another key.
    let other = Listing::new(|_| {}).await;
    let mut elsewhere = client(&other.gateway).await;
    refused(error_of(elsewhere.list_messages(request).await), "not_ours");
    other.end(elsewhere).await;
    listing.end((orders, billing)).await;
}

#[tokio::test]
async fn everything_wrong_with_a_list_is_told_at_once() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let violations = async |orders: &mut Client, request| {
        let told = error_of(orders.list_messages(request).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
        told.violations
    };
    let told = |violations: &[(&str, &str)]| -> Vec<(String, String)> {
        violations.iter().map(|(field, text)| ((*field).to_owned(), (*text).to_owned())).collect()
    };
    let many = ListMessagesRequest {
        numbers: vec![NUMBER.to_owned(); 101],
        statuses: vec![99; 17],
        labels: vec!["x".to_owned(); 101],
        start_time: noon_and(1),
        end_time: noon_and(1),
        page_size: -1,
        page_token: "x".to_owned(),
    };
    let expected = told(&[
        ("numbers", "must have 0 to 100 entries"),
        ("statuses", "must have 0 to 16 entries"),
        ("labels", "must have 0 to 100 entries"),
        ("end_time", "must lie after start_time"),
        ("page_size", "must not be negative"),
    ]);
    assert_eq!(violations(&mut orders, many).await, expected);
    let wrong = ListMessagesRequest {
        statuses: vec![Queued.into(), 0, 99],
        start_time: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        end_time: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        ..Default::default()
    };
    let expected = told(&[
        ("statuses[1]", "must be a known status"),
        ("statuses[2]", "must be a known status"),
        ("start_time", "must be a valid time"),
        ("end_time", "must be a valid time"),
    ]);
    assert_eq!(violations(&mut orders, wrong).await, expected);
    // As many as may be.
    let most = ListMessagesRequest {
        numbers: vec![NUMBER.to_owned(); 100],
        statuses: vec![Queued.into(); 16],
        labels: vec!["x".to_owned(); 100],
        page_size: i32::MAX,
        ..Default::default()
    };
    assert_eq!(list(&mut orders, most).await, ListMessagesResponse::default());
    listing.end(orders).await;
}
