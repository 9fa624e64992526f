//! Statuses of sent messages, in both schemas.

use serde_json::json;

use super::{KEY, NOW, as_it_came, event, ids, time, told};
use crate::{
    domain::{
        failure::Failure,
        merge::{Fact, Observed},
        message::ForeignIds,
        status::{Origin, Status},
    },
    upstream::webhook::Told,
};

fn fact(status: Status, at: &str, ids: ForeignIds) -> Fact {
    Fact { status: Observed::Reached(status), at: time(at), observed_at: time(NOW), origin: Origin::Webhook, ids }
}

fn failed(code: &str, message: &str, at: &str, ids: ForeignIds) -> Fact {
    Fact { status: Observed::Failed(Failure::reported(code, message)), ..fact(Status::Failed, at, ids) }
}

#[test]
fn every_status_of_the_newer_schema() {
    let data = json!({
        "numberId": "wn_88aa", "messageId": "wamid.A", "id": "cm_1", "type": "text", "fromMe": true,
        "createdAt": "2027-01-12T14:00:02.500Z", "from": "+552133334444", "to": "+5521987650001",
        "content": "Rita, saiu.", "correlationId": "b1c6d1f0",
    });
    let said = Some(("+5521987650001".to_owned(), "Rita, saiu.".to_owned()));
    for (name, status) in [
        ("message.queued", Status::Queued),
        ("message.sent", Status::Sent),
        ("message.delivered", Status::Delivered),
        ("message.read", Status::Read),
        ("message.canceled", Status::Canceled),
        ("message.cancelled", Status::Canceled),
    ] {
        let fact = fact(status, "2027-01-12T14:00:02.500Z", ids("cm_1", "b1c6d1f0", "wamid.A"));
        assert_eq!(told(&json!({ "event": name, "data": data })), Told { fact, said: said.clone() }, "{name}");
    }
}

#[test]
fn every_status_of_the_older_schema() {
    for (name, status, field) in [
        ("message.sent", Status::Sent, "sentAt"),
        ("message.delivered", Status::Delivered, "deliveredAt"),
        ("message.read", Status::Read, "readAt"),
    ] {
        let body = json!({ "event": name, "data": {
            "messageId": "3EB0OLD0001", "internalMessageId": "msg_old_1", "environment": "LIVE",
            "destinationNumber": "+5521987650001", "content": "Oi", "status": "SENT", field: "2026-03-01T12:00:00.000Z",
        } });
        let fact = fact(status, "2026-03-01T12:00:00Z", ids("msg_old_1", "-", "3EB0OLD0001"));
        let said = Some(("+5521987650001".to_owned(), "Oi".to_owned()));
        assert_eq!(told(&body), Told { fact, said }, "{name}");
    }
    let body = json!({ "event": "message.failed", "data": {
        "internalMessageId": "msg_old_1", "failedAt": "2026-03-01T12:00:00.000Z", "errorMessage": "window closed",
    } });
    let fact = failed("", "window closed", "2026-03-01T12:00:00Z", ids("msg_old_1", "-", "-"));
    assert_eq!(told(&body), Told { fact, said: None });
}

#[test]
fn a_failure_and_why() {
    let body = json!({ "event": "message.failed", "data": {
        "numberId": "wn_88aa", "messageId": null, "id": "cm_3", "createdAt": "2027-01-12T13:25:03.300Z",
        "to": "+5531987650002", "error": format!("closed\nfor {KEY}"), "errorCode": "META_OUTSIDE_24H_WINDOW",
    } });
    let fact = failed("META_OUTSIDE_24H_WINDOW", "closed for [key]", "2027-01-12T13:25:03.300Z", ids("cm_3", "-", "-"));
    assert_eq!(told(&body), Told { fact, said: None });
}

#[test]
fn whatever_can_be_read_of_a_status_is() {
    let body = json!({ "event": "message.sent", "createdAt": 1_799_762_404, "data": {
        "id": 4711, "messageId": "", "correlationId": { "odd": true }, "createdAt": "yesterday", "to": null, "content": 1,
    } });
    // Its own time is none, so that the envelope's counts.
    assert_eq!(
        told(&body),
        Told { fact: fact(Status::Sent, "2027-01-12T14:00:04Z", ids("4711", "-", "-")), said: None }
    );
    let body = json!({ "event": "message.sent", "data": { "messageId": "w", "sentAt": "1970-01-01T00:00:00Z" } });
    assert_eq!(told(&body).fact, fact(Status::Sent, NOW, ids("-", "-", "w")), "a time that cannot be true is none");
}

#[test]
fn a_status_of_no_message_is_kept_as_it_came() {
    for data in [json!(null), json!("odd"), json!([1]), json!({ "numberId": "wn_88aa", "id": "", "messageId": null })] {
        let body = json!({ "event": "message.sent", "data": data });
        assert_eq!(event(&body), as_it_came("message.sent", NOW, &body));
    }
    let body = json!({ "event": "message.sent", "data": { "id": KEY } });
    let blotted = json!({ "event": "message.sent", "data": { "id": "[key]" } });
    assert_eq!(event(&body), as_it_came("message.sent", NOW, &blotted), "no id is a key");
}
