//! Who may see what comes in.

use pilotgate::proto::v1::InboundFilter;
use tonic::Code;

use super::{
    DESK, Frames, InboxRequest, NUMBER, Place, SECOND, SHOP_DESK, Start, every_second, filtered, follow, from_earliest,
    next_texts, nothing_more, of_numbers, says, started,
};
use crate::support::{AUDITOR_TOKEN, TOKEN, Told, error_of};

fn refused(result: Result<tonic::Response<Frames>, tonic::Status>) -> Told {
    error_of(result)
}

#[tokio::test]
async fn everyone_sees_what_they_were_granted() {
    let place = Place::new().await;
    place.happens(says("first")).await;
    place.happens_at(SECOND, says("second")).await;
    for (token, seen) in [(DESK, &["first", "second"][..]), (SHOP_DESK, &["first"])] {
        let mut client = place.client_as(Some(token)).await;
        let mut frames = follow(&mut client, every_second(from_earliest())).await;
        started(&mut frames).await;
        assert_eq!(next_texts(&mut frames, seen.len()).await, seen);
        nothing_more(&mut frames).await;
    }
    let mut shop_desk = place.client_as(Some(SHOP_DESK)).await;
    let mut own = follow(&mut shop_desk, filtered(of_numbers(&[NUMBER]))).await;
    assert_eq!(next_texts(&mut own, 1).await, ["first"]);
    // To observe a number's messages is another right, and a number that does not exist is refused the same way.
    let hidden = refused(shop_desk.stream_inbound_events(filtered(of_numbers(&[NUMBER, SECOND]))).await);
    assert_eq!((hidden.code, hidden.reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    for number in [SECOND, "wn_nowhere", ""] {
        assert_eq!(refused(shop_desk.stream_inbound_events(filtered(of_numbers(&[number]))).await), hidden, "{number}");
    }
    // Those who may send, read and observe on every number see nothing of it.
    for token in [TOKEN, AUDITOR_TOKEN] {
        let mut other = place.client_as(Some(token)).await;
        for request in [from_earliest(), filtered(of_numbers(&[NUMBER]))] {
            assert_eq!(refused(other.stream_inbound_events(request).await), hidden);
        }
    }
    place.end((own, shop_desk)).await;
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential() {
    let place = Place::new().await;
    for (token, reason) in [(None, "CREDENTIAL_MISSING"), (Some("pgt_nobody"), "CREDENTIAL_INVALID")] {
        let mut client = place.client_as(token).await;
        let told = refused(client.stream_inbound_events(from_earliest()).await);
        assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, reason));
    }
    place.end(()).await;
}

#[tokio::test]
async fn a_request_is_checked_whole() {
    let place = Place::new().await;
    let mut client = place.client().await;
    let request = InboxRequest {
        filter: Some(InboundFilter { kinds: vec![1, 0, 7], ..Default::default() }),
        start: Some(Start::Position(9)),
        on_expired: 9,
        heartbeat_interval: Some(prost_types::Duration { seconds: 301, nanos: 0 }),
        ..Default::default()
    };
    let told = refused(client.stream_inbound_events(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let violations = [
        ("filter.kinds[1]", "must be a known kind"),
        ("filter.kinds[2]", "must be a known kind"),
        ("on_expired", "must be a known value"),
        ("heartbeat_interval", "must be 1 s to 5 min"),
        ("position", "must be a known position"),
    ];
    assert_eq!(told.violations, violations.map(|(field, text)| (field.to_owned(), text.to_owned())));
    let many = InboundFilter { kinds: vec![1; 17], ..of_numbers(&[NUMBER; 101]) };
    let time = prost_types::Timestamp { seconds: 0, nanos: -1 };
    let request = InboxRequest { start: Some(Start::StartTime(time)), ..filtered(many) };
    let told = refused(client.stream_inbound_events(request).await);
    let fields: Vec<_> = told.violations.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["filter.numbers", "filter.kinds", "start_time"]);
    place.end(client).await;
}
