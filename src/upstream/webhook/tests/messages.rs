//! Messages that come in, and changes of the number, in both schemas.

use serde_json::json;

use super::{KEY, NOW, at, event, ids};
use crate::domain::inbound::{Happening, InboundMedia, InboundMessage, MessageSource, NumberChange, Quoted, Room};

fn message(message: InboundMessage) -> Happening {
    Happening::Message(Box::new(message))
}

#[test]
fn received_with_media() {
    let body = json!({ "event": "message.received", "data": {
        "numberId": "wn_88aa", "messageId": "wamid.IN1", "id": "cm_77ab01", "type": "image", "fromMe": false,
        "createdAt": "2027-01-12T14:05:00.000Z", "from": "+5521987650001", "to": "+552133334444",
        "participantName": "Rita", "content": "Chegou\nassim", "mediaLink": "https://media.example.test/x1.jpg",
        "mediaType": "image", "mediaCaption": "Chegou\nassim", "mediaFilename": "x1.jpg", "mediaId": "5588",
        "phoneNumberId": "334455", "correlationId": "c-1", "referral": { "adId": "9" }, "nothing": null,
    } });
    let expected = InboundMessage {
        source: MessageSource::Received,
        ids: ids("cm_77ab01", "c-1", "wamid.IN1"),
        from_me: false,
        kind: "image".to_owned(),
        from: "+5521987650001".to_owned(),
        to: "+552133334444".to_owned(),
        participant: "Rita".to_owned(),
        text: "Chegou\nassim".to_owned(),
        media: Some(InboundMedia {
            url: "https://media.example.test/x1.jpg".to_owned(),
            id: "5588".to_owned(),
            kind: "image".to_owned(),
            caption: "Chegou\nassim".to_owned(),
            file_name: "x1.jpg".to_owned(),
        }),
        quoted: None,
        room: None,
        button: String::new(),
        extra: r#"{"phoneNumberId":"334455","referral":{"adId":"9"}}"#.to_owned(),
    };
    assert_eq!(event(&body), at("message.received", "2027-01-12T14:05:00Z", message(expected)));
}

#[test]
fn a_reply_of_the_newer_schema_says_what_is_new_in_its_content() {
    let body = json!({ "event": "message.reply", "data": {
        "numberId": "wn_88aa", "messageId": "wamid.RE1", "id": "cm_77ab02", "type": "text", "fromMe": false,
        "createdAt": "2027-01-12T14:07:10.000Z", "from": "+5521987650001", "to": "+552133334444", "participantName": null,
        "content": "Obrigada!", "contentReplied": "Rita, saiu.", "quotedMessageId": "wamid.A", "correlationId": "b1c6",
    } });
    let expected = InboundMessage {
        source: MessageSource::Reply,
        ids: ids("cm_77ab02", "-", "wamid.RE1"),
        kind: "text".to_owned(),
        from: "+5521987650001".to_owned(),
        to: "+552133334444".to_owned(),
        text: "Obrigada!".to_owned(),
        quoted: Some(Quoted { ids: ids("-", "b1c6", "wamid.A"), text: "Rita, saiu.".to_owned(), message_id: None }),
        ..InboundMessage::default()
    };
    assert_eq!(event(&body), at("message.reply", "2027-01-12T14:07:10Z", message(expected)));
}

#[test]
fn a_reply_of_the_older_schema_says_what_is_old_in_its_content() {
    let data = json!({
        "from": "+5521987650001", "destinationNumber": "+552133334444", "content": "Rita, saiu.",
        "replyContent": "Obrigada!", "receivedAt": "2026-03-01T12:00:00Z", "messageId": "3EB0RE", "buttonId": "b-2",
        "quotedMessageId": "3EB0A", "messageRepliedId": "msg_old_1", "environment": "LIVE", "correlationId": "b1c6",
    });
    let expected = InboundMessage {
        source: MessageSource::Reply,
        ids: ids("-", "-", "3EB0RE"),
        from: "+5521987650001".to_owned(),
        to: "+552133334444".to_owned(),
        text: "Obrigada!".to_owned(),
        quoted: Some(Quoted {
            ids: ids("msg_old_1", "b1c6", "3EB0A"),
            text: "Rita, saiu.".to_owned(),
            message_id: None,
        }),
        button: "b-2".to_owned(),
        extra: r#"{"environment":"LIVE"}"#.to_owned(),
        ..InboundMessage::default()
    };
    let told = at("message.reply", "2026-03-01T12:00:00Z", message(expected.clone()));
    assert_eq!(event(&json!({ "event": "message.reply", "data": data })), told);
    // It is the older one even if nothing new was written.
    let mut silent = data;
    silent.as_object_mut().unwrap().remove("replyContent");
    let told = at("message.reply", "2026-03-01T12:00:00Z", message(InboundMessage { text: String::new(), ..expected }));
    assert_eq!(event(&json!({ "event": "message.reply", "data": silent })), told);
}

#[test]
fn received_in_the_older_schema() {
    let body = json!({ "event": "message.received", "data": {
        "fromMe": "true", "from": 5_521_987_650_001_u64, "fromName": "Rita", "destinationNumber": "+552133334444",
        "content": "Oi", "receivedAt": "2026-03-01T12:00:00.000Z", "messageId": "3EB0IN", "environment": "LIVE",
        "whatsappInstanceName": "PS-loja",
    } });
    let expected = InboundMessage {
        ids: ids("-", "-", "3EB0IN"),
        from_me: true,
        from: "5521987650001".to_owned(),
        to: "+552133334444".to_owned(),
        participant: "Rita".to_owned(),
        text: "Oi".to_owned(),
        extra: r#"{"environment":"LIVE","whatsappInstanceName":"PS-loja"}"#.to_owned(),
        ..InboundMessage::default()
    };
    assert_eq!(event(&body), at("message.received", "2026-03-01T12:00:00Z", message(expected)));
}

#[test]
fn groups_and_newsletters_of_both_schemas() {
    let newer = json!({ "event": "message.group", "data": {
        "numberId": "wn_88aa", "messageId": "3EB0AA", "id": "cm_77ab03", "type": "text", "fromMe": false,
        "createdAt": "2027-01-12T15:00:00.000Z", "from": "+5521987650007", "to": "+552133334444", "participantName": "Bia",
        "content": "ok", "groupId": "1203@g.us", "groupName": "Entregas",
    } });
    let expected = InboundMessage {
        source: MessageSource::Group,
        ids: ids("cm_77ab03", "-", "3EB0AA"),
        kind: "text".to_owned(),
        from: "+5521987650007".to_owned(),
        to: "+552133334444".to_owned(),
        participant: "Bia".to_owned(),
        text: "ok".to_owned(),
        room: Some(Room { id: "1203@g.us".to_owned(), name: "Entregas".to_owned() }),
        ..InboundMessage::default()
    };
    assert_eq!(event(&newer), at("message.group", "2027-01-12T15:00:00Z", message(expected.clone())));

    let older = json!({ "event": "message.group", "data": {
        "fromNumber": "+5521987650007", "fromName": "Bia", "fromMe": false, "groupId": "1203@g.us",
        "groupName": "Entregas", "content": "ok", "messageId": "3EB0AA", "happenedAt": "2026-03-01T12:00:00Z",
    } });
    let expected = InboundMessage { ids: ids("-", "-", "3EB0AA"), kind: String::new(), to: String::new(), ..expected };
    assert_eq!(event(&older), at("message.group", "2026-03-01T12:00:00Z", message(expected)));

    let newsletter = json!({ "event": "message.newsletter", "data": {
        "numberId": "wn_88aa", "messageId": "3EB0CC", "createdAt": "2027-01-12T16:00:00Z", "content": "Edicao 12",
        "newsletterId": "1203@newsletter", "newsletterName": null,
    } });
    let expected = InboundMessage {
        source: MessageSource::Newsletter,
        ids: ids("-", "-", "3EB0CC"),
        text: "Edicao 12".to_owned(),
        room: Some(Room { id: "1203@newsletter".to_owned(), name: String::new() }),
        ..InboundMessage::default()
    };
    assert_eq!(event(&newsletter), at("message.newsletter", "2027-01-12T16:00:00Z", message(expected)));
}

#[test]
fn what_cannot_be_read_stays_among_the_unknown_fields() {
    let body = json!({ "event": "message.received", "tenantId": "ten_01", "data": {
        "numberId": "wn_other", "id": { "odd": 1 }, "messageId": "x".repeat(513), "from": ["a"], "fromMe": 7, "type": null,
        "content": false, "createdAt": "soon", "mediaLink": "l".repeat(9000), KEY: format!("mine is {KEY}"),
    } });
    let extra = json!({
        "numberId": "wn_other", "id": { "odd": 1 }, "messageId": "x".repeat(513), "from": ["a"], "fromMe": 7,
        "content": false, "createdAt": "soon", "mediaLink": "l".repeat(9000), "[key]": "mine is [key]",
        "envelope": { "tenantId": "ten_01" },
    });
    let expected = InboundMessage { extra: extra.to_string(), ..InboundMessage::default() };
    assert_eq!(event(&body), at("message.received", NOW, message(expected)));
}

#[test]
fn what_is_too_long_is_cut() {
    let (long, longer) = ("é".repeat(60_000), "y".repeat(300_000));
    let body = json!({ "event": "message.received", "data": { "content": long, "from": long, "more": longer } });
    let Happening::Message(message) = event(&body).what else { panic!("not a message") };
    assert_eq!((message.text, message.from), ("é".repeat(32 * 1024), "é".repeat(512)));
    let extra: serde_json::Value = serde_json::from_str(&message.extra).unwrap();
    let cut = extra["cut"].as_str().unwrap();
    assert_eq!((cut.len(), &cut[..10]), (256 * 1024, r#"{"more":"y"#));
}

#[test]
fn the_life_and_the_health_of_the_number() {
    let body = json!({ "event": "number.disconnected", "data": {
        "numberId": "wn_88aa", "phone": "+552133334444", "displayName": "Loja Centro",
        "createdAt": "2027-01-13T03:00:00.000Z", "error": "session closed", "errorCode": "CLOSED", "profileName": "Loja",
    } });
    let expected = NumberChange {
        phone: "+552133334444".to_owned(),
        display_name: "Loja Centro".to_owned(),
        error: "session closed".to_owned(),
        error_code: "CLOSED".to_owned(),
        extra: r#"{"profileName":"Loja"}"#.to_owned(),
    };
    assert_eq!(event(&body), at("number.disconnected", "2027-01-13T03:00:00Z", Happening::Number(expected)));
    for name in ["number.health_blocked", "number.health_degraded", "number.health_shadowban", "number.recovered"] {
        let body = json!({ "event": name, "data": { "numberId": "wn_88aa", "score": 3, "why": { "spam": true } } });
        let extra = r#"{"score":3,"why":{"spam":true}}"#.to_owned();
        let expected = NumberChange { extra, ..NumberChange::default() };
        assert_eq!(event(&body), at(name, NOW, Happening::Number(expected)));
    }
    let bare = event(&json!({ "event": "number.restored" }));
    assert_eq!(bare, at("number.restored", NOW, Happening::Number(NumberChange::default())));
}
