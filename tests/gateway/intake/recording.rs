//! What is recorded, once, together, and for good.

use pilotgate::{
    domain::inbound::{Happening, InboundKind, InboundMessage, Quoted},
    store,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Open, inbound, received, recorded};
use crate::support::{
    READER, STUCK, World, client, follow, from_earliest, get, log_length, message_until, next_updates, text,
};

fn message_of(happening: &Happening) -> &InboundMessage {
    let Happening::Message(message) = happening else { panic!("{happening:?}") };
    message
}

#[tokio::test]
async fn a_bad_event_in_a_batch_takes_no_other_with_it() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let mut client = client(&open.gateway).await;
    let stuck = client.send_message(text(STUCK, "x")).await.unwrap().into_inner().message.unwrap();
    let sent = json!({ "event": "message.sent", "data": { "id": stuck.upstream_id, "messageId": "wamid.1" } });
    let bad = json!({ "event": "message.read", "data": [null] });
    let statuses = json!([{ "id": "wamid.1", "status": "delivered", "timestamp": "1799762404" }, { "id": 7 }]);
    let changes = json!([{ "field": "messages", "value": { "statuses": statuses } }]);
    let meta = json!({ "object": "whatsapp_business_account", "entry": [{ "id": "901", "changes": changes }] });
    let batch = json!([bad, sent, received("cm_1", "Oi"), "odd", meta]);
    assert_eq!(open.post(&batch.to_string()).await, recorded());

    let message = get(&mut client, &stuck.message_id).await;
    assert_eq!((message.status().as_str_name(), &*message.external_id), ("MESSAGE_STATUS_DELIVERED", "wamid.1"));
    let delivered = message.delivered_time.unwrap();
    assert_eq!((delivered.seconds, delivered.nanos), (1_799_762_404, 0));
    let events = inbound(&*open.store).await;
    let kinds: Vec<_> = events.iter().map(|event| event.what.kind()).collect();
    use InboundKind::{Message, Unrecognized};
    assert_eq!(kinds, [Unrecognized, Message, Unrecognized, Unrecognized]);
    assert_eq!(events[0].what, Happening::Unrecognized(bad.to_string()));
    assert_eq!(message_of(&events[1].what).text, "Oi");
    assert_eq!(events[2].what, Happening::Unrecognized("\"odd\"".to_owned()));
    let Happening::Unrecognized(left) = &events[3].what else { panic!("{events:?}") };
    let left: Value = serde_json::from_str(left).unwrap();
    assert_eq!(left["entry"][0]["changes"][0]["value"], json!({ "statuses": [{ "id": 7 }] }));

    // Status streams go past what is none.
    let mut frames = follow(&mut client, from_earliest()).await;
    let trail: Vec<_> = next_updates(&mut frames, 4).await.iter().map(|update| update.status().as_str_name()).collect();
    assert_eq!(trail, ["PENDING", "QUEUED", "SENT", "DELIVERED"].map(|word| format!("MESSAGE_STATUS_{word}")));
    assert_eq!(log_length(&mut client).await, 8);
    world.end((frames, client, open.store), open.gateway).await;
}

#[tokio::test]
async fn a_long_body_is_recorded_in_steps_and_once_even_if_one_of_them_fails() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let batch: Vec<_> = (0..450).map(|n| received(&format!("cm_{n}"), &format!("{n}"))).collect();
    let batch = json!(batch).to_string();
    let database = rusqlite::Connection::open(world.settings().store.directory.join("pilotgate.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON events WHEN (SELECT count(*) FROM events) >= 300 \
                BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
    database.execute_batch(full).unwrap();
    assert_eq!(open.post(&batch).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let texts = async || {
        let events = inbound(&*open.store).await;
        events.iter().map(|event| message_of(&event.what).text.clone()).collect::<Vec<_>>()
    };
    let expected: Vec<_> = (0..450).map(|n| n.to_string()).collect();
    assert_eq!(texts().await, expected[..200]);
    database.execute_batch("DROP TRIGGER full").unwrap();
    drop(database);
    assert_eq!(open.post(&batch).await, recorded());
    assert_eq!(texts().await, expected);
    world.end(open.store, open.gateway).await;
}

#[tokio::test]
async fn a_redelivery_is_recorded_once_also_after_a_restart() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let batch =
        json!([received("cm_1", "Oi"), { "event": "number.connected", "data": { "createdAt": 1_799_762_404 } }]);
    for _ in 0..3 {
        assert_eq!(open.post(&batch.to_string()).await, recorded());
    }
    assert_eq!(open.post(&received("cm_2", "Oi").to_string()).await, recorded(), "the same text is another message");
    let before = inbound(&*open.store).await;
    let names: Vec<_> = before.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["message.received", "number.connected", "message.received"]);
    open.gateway.shutdown().await;

    // What was acknowledged is on disk.
    let options = pilotgate::config::check_in_memory(world.settings()).unwrap().store;
    let reopened = store::open(options).await.unwrap();
    assert_eq!(inbound(&*reopened).await, before);
    reopened.close().await;

    let open = Open::new(&world).await;
    assert_eq!(open.post(&batch.to_string()).await, recorded());
    assert_eq!(inbound(&*open.store).await, before);
    let verdicts = open.gateway.verdicts();
    assert_eq!((verdicts.recorded, verdicts.known), (0, 2));
    world.end(open.store, open.gateway).await;
}

#[tokio::test]
async fn a_reply_names_our_message() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let mut client = client(&open.gateway).await;
    let sent = client.send_message(text(READER, "saiu")).await.unwrap().into_inner().message.unwrap();
    let sent = message_until(&mut client, &sent.message_id, |message| !message.external_id.is_empty()).await;
    let newer = json!({ "event": "message.reply", "data": {
        "id": "cm_1", "messageId": "wamid.RE1", "content": "Obrigada!", "contentReplied": "saiu",
        "quotedMessageId": sent.external_id,
    } });
    let older = json!({ "event": "message.reply", "data": {
        "messageId": "wamid.RE2", "content": "saiu", "replyContent": "Obrigada!", "messageRepliedId": sent.upstream_id,
    } });
    let messages =
        json!([{ "id": "wamid.RE3", "text": { "body": "Obrigada!" }, "context": { "id": sent.external_id } }]);
    let changes = json!([{ "field": "messages", "value": { "messages": messages } }]);
    let meta = json!({ "object": "whatsapp_business_account", "entry": [{ "changes": changes }] });
    let foreign =
        json!({ "event": "message.reply", "data": { "messageId": "wamid.RE4", "quotedMessageId": "wamid.X" } });
    for body in [newer, older, meta, foreign] {
        assert_eq!(open.post(&body.to_string()).await, recorded());
    }
    let ours = Some(sent.message_id.parse().unwrap());
    let events = inbound(&*open.store).await;
    let answers: Vec<_> = events.iter().map(|event| message_of(&event.what)).collect();
    let whose = |answer: &&InboundMessage| answer.quoted.as_ref().and_then(|quoted: &Quoted| quoted.message_id);
    assert_eq!(answers.iter().map(whose).collect::<Vec<_>>(), [ours, ours, ours, None]);
    let texts = ["Obrigada!", "Obrigada!", "Obrigada!", ""];
    assert_eq!(answers.iter().map(|answer| answer.text.as_str()).collect::<Vec<_>>(), texts);
    world.end((client, open.store), open.gateway).await;
}

#[tokio::test]
async fn what_names_another_number_is_recorded_where_it_came_in() {
    let world = World::new().await;
    let open = Open::new(&world).await;
    let body =
        json!({ "event": "number.disconnected", "data": { "numberId": "wn_elsewhere", "createdAt": 1_799_762_404 } });
    assert_eq!(open.post(&body.to_string()).await, recorded());
    let own =
        json!({ "event": "number.connected", "data": { "numberId": "wn_upstream_id", "createdAt": 1_799_762_404 } });
    assert_eq!(open.post(&own.to_string()).await, recorded());
    let told: Vec<_> = inbound(&*open.store)
        .await
        .into_iter()
        .map(|event| match event.what {
            Happening::Number(change) => (event.number.as_str().to_owned(), change.extra),
            other => panic!("{other:?}"),
        })
        .collect();
    let number = crate::support::NUMBER.to_owned();
    assert_eq!(told, [(number.clone(), r#"{"numberId":"wn_elsewhere"}"#.to_owned()), (number, String::new())]);
    world.end(open.store, open.gateway).await;
}
