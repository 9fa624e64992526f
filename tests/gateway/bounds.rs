//! Peers and bodies that are odd, silent or endless.

use std::time::Duration;

use pilotgate::{config, proto::v1::MessageStatus::Sent};
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream};

use crate::support::{PATH_TOKEN, READER, World, client, get, text};

#[tokio::test]
async fn odd_ids_and_times_do_no_harm() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.numbers[0].webhook_secrets.clear();
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let stuck = client.send_message(text("+5511987650006", "x")).await.unwrap().into_inner().message.unwrap();
    // An id that cannot be one does not hide the older field, and a number stands for its text.
    let body = json!({ "event": "message.sent", "data": {
        "id": "x".repeat(600), "internalMessageId": stuck.upstream_id, "messageId": 42,
        "createdAt": "-005000-01-01T00:00:00Z", "errorCode": "E",
    } });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let door = format!("http://{}/webhooks/{PATH_TOKEN}", gateway.http());
    http.post(door).body(body.to_string()).send().await.unwrap().error_for_status().unwrap();
    let message = get(&mut client, &stuck.message_id).await;
    assert_eq!((message.status(), message.external_id.as_str()), (Sent, "42"));
    assert!(message.sent_time.unwrap().seconds > 1_700_000_000, "{:?}", message.sent_time);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.grpc.max_connections = 20;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(TcpStream::connect(gateway.grpc()).await.unwrap());
    }
    // One place is left, and the silent ones hold theirs only for a while.
    let mut client = client(&gateway).await;
    assert!(client.send_message(text(READER, "x")).await.is_ok());
    let mut one = silent.pop().unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(15), one.read(&mut [0; 1])).await;
    assert_eq!(closed.expect("closed after the time for an introduction").unwrap(), 0);
    world.end(client, gateway).await;
}
