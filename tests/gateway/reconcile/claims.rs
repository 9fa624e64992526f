//! What webhooks claim, where they are not taken at their word.

use pilotgate::{
    config::{self, Settings},
    domain::read_back::ReadBack,
    proto::v1::{
        MessageStatus::{Delivered, Failed, InDoubt, Pending, Queued, Read, Sent},
        Origin::{Gateway as Ours, Poll, SendReply, Webhook},
    },
    sandbox::{Fault, FaultKind, On},
    server::Gateway,
};

use super::{millis, reads, soon, told};
use crate::support::{
    PATH_TOKEN, READER, STUCK, World, client, error_of, follow, from_earliest, get, message_until, next_updates, send,
    text, until,
};

/// Webhooks come in unsigned and are read back under this policy. Nothing else is read back for an hour.
fn policy(world: &World, read_back: ReadBack) -> Settings {
    let mut settings = soon(world);
    let hour = millis(3_600_000);
    (settings.reconcile.first, settings.reconcile.read_first, settings.reconcile.silence) = (hour, hour, hour);
    settings.reconcile.longest = hour;
    settings.numbers[0].webhook_secrets.clear();
    settings.numbers[0].read_back = Some(read_back);
    settings
}

async fn gateway(world: &World, read_back: ReadBack) -> Gateway {
    world.gateway_with(config::check_in_memory(policy(world, read_back)).unwrap()).await
}

/// An event that somebody makes up who knows the path.
async fn forge(gateway: &Gateway, event: &str, upstream_id: &str) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = serde_json::json!({ "event": event, "data": {
        "id": upstream_id, "createdAt": "2026-01-01T00:00:00.000Z", "errorCode": "WHATSAPP_NOT_EXIST",
    }});
    let url = format!("http://{}/webhooks/{PATH_TOKEN}", gateway.http());
    http.post(url).json(&body).send().await.unwrap().error_for_status().unwrap();
}

#[tokio::test]
async fn under_terminal_no_forged_end_appears_and_every_genuine_one_does() {
    let world = World::new().await;
    let gateway = gateway(&world, ReadBack::Terminal).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let id = send(&mut client, text(STUCK, "x")).await;
    let upstream_id = get(&mut client, &id).await.upstream_id;
    next_updates(&mut frames, 2).await;
    for (n, event) in ["message.delivered", "message.failed", "message.read"].into_iter().enumerate() {
        let before = reads(&world).len();
        forge(&gateway, event, &upstream_id).await;
        until(|| reads(&world).len() > before).await;
        assert!(gateway.reconciled().polls > n as u64);
    }
    let genuine = send(&mut client, text(READER, "y")).await;
    let expected = [(Pending, Ours), (Queued, SendReply), (Sent, Webhook), (Delivered, Poll), (Read, Poll)];
    assert_eq!(
        next_updates(&mut frames, 5).await.iter().map(|seen| &seen.message_id).collect::<Vec<_>>(),
        [&genuine; 5],
        "nothing is told of the forged ones"
    );
    let mut again = follow(&mut client, from_earliest()).await;
    assert_eq!(told(&mut again, &genuine, 5).await, expected);
    let failing = send(&mut client, text("+5511987650001", "z")).await;
    assert_eq!(told(&mut frames, &failing, 3).await, [(Pending, Ours), (Queued, SendReply), (Failed, Poll)]);
    assert_eq!(get(&mut client, &id).await.status(), Queued);
    world.end((frames, again, client), gateway).await;
}

#[tokio::test]
async fn under_never_whoever_knows_the_path_is_believed() {
    let world = World::new().await;
    let gateway = gateway(&world, ReadBack::Never).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let id = send(&mut client, text(STUCK, "x")).await;
    let upstream_id = get(&mut client, &id).await.upstream_id;
    forge(&gateway, "message.delivered", &upstream_id).await;
    assert_eq!(told(&mut frames, &id, 3).await, [(Pending, Ours), (Queued, SendReply), (Delivered, Webhook)]);
    assert_eq!(reads(&world).len(), 0);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn under_always_sent_is_read_back_too_also_if_it_comes_before_the_reply() {
    let world = World::new().await;
    // Every number's policy, where it has none of its own.
    let mut settings = policy(&world, ReadBack::Always);
    (settings.tracking.read_back, settings.numbers[0].read_back) = (ReadBack::Always, None);
    // A claim that joins its message by the reply is found at the next look.
    settings.reconcile.first = millis(50);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let first_event_before_the_reply = "+5511987650009";
    for recipient in [READER, first_event_before_the_reply] {
        let id = send(&mut client, text(recipient, "x")).await;
        let expected = [(Pending, Ours), (Queued, SendReply), (Sent, Poll), (Delivered, Poll), (Read, Poll)];
        assert_eq!(told(&mut frames, &id, 5).await, expected);
    }
    let upstream_id = {
        let id = send(&mut client, text(STUCK, "x")).await;
        assert_eq!(told(&mut frames, &id, 2).await, [(Pending, Ours), (Queued, SendReply)]);
        get(&mut client, &id).await.upstream_id
    };
    forge(&gateway, "message.sent", &upstream_id).await;
    let marker = send(&mut client, text(STUCK, "y")).await;
    let next: Vec<_> = next_updates(&mut frames, 2).await.into_iter().map(|update| update.message_id).collect();
    assert_eq!(next, [marker.clone(), marker]);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn a_reading_that_lags_behind_is_repeated_soon() {
    let world = World::new().await;
    let gateway = gateway(&world, ReadBack::Terminal).await;
    let lagging = Fault {
        times: Some(3),
        status: Some(200),
        body: Some(serde_json::json!({ "status": "SENT" })),
        ..Fault::new(On::Status, FaultKind::Http)
    };
    world.double.control().add_fault(lagging).unwrap();
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let never_read = "+5511987650008";
    let id = send(&mut client, text(never_read, "x")).await;
    let expected = [(Pending, Ours), (Queued, SendReply), (Sent, Webhook), (Delivered, Poll)];
    assert_eq!(told(&mut frames, &id, 4).await, expected);
    assert_eq!(reads(&world).len(), 4);
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn reads_without_an_answer_use_up_no_claim() {
    let world = World::new().await;
    let mut settings = policy(&world, ReadBack::Terminal);
    // As for a message that was delivered longer ago than this.
    settings.reconcile.read_horizon = millis(0);
    let later = serde_json::json!({ "read_after": 400 });
    world.double.control().patch_switches(later.as_object().unwrap()).unwrap();
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    let mut frames = follow(&mut client, from_earliest()).await;
    let id = send(&mut client, text(READER, "x")).await;
    let expected = [(Pending, Ours), (Queued, SendReply), (Sent, Webhook), (Delivered, Poll)];
    assert_eq!(told(&mut frames, &id, 4).await, expected);
    // No answer once, and then as many that lag behind as a claim outlives. Each read counts for both faults.
    let outage = Fault { times: Some(1), status: Some(503), ..Fault::new(On::Status, FaultKind::Http) };
    let lagging = Fault {
        times: Some(5),
        status: Some(200),
        body: Some(serde_json::json!({ "status": "DELIVERED" })),
        ..Fault::new(On::Status, FaultKind::Http)
    };
    let before = reads(&world).len();
    for fault in [outage, lagging] {
        world.double.control().add_fault(fault).unwrap();
    }
    assert_eq!(told(&mut frames, &id, 1).await, [(Read, Poll)]);
    assert_eq!((reads(&world).len() - before, gateway.reconciled().unanswered), (6, 1));
    world.end((frames, client), gateway).await;
}

#[tokio::test]
async fn made_up_claims_do_not_take_every_poll_from_the_others() {
    let world = World::new().await;
    let mut settings = policy(&world, ReadBack::Terminal);
    (settings.reconcile.first, settings.reconcile.read_first) = (millis(40), millis(40));
    (settings.reconcile.per_second, settings.reconcile.longest) = (5.0, millis(100));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    world.double.control().add_fault(Fault::new(On::Webhook, FaultKind::WebhookDrop)).unwrap();
    let mut made_up = Vec::new();
    for n in 0..12 {
        let id = send(&mut client, text(STUCK, &format!("{n}"))).await;
        made_up.push(get(&mut client, &id).await.upstream_id);
    }
    let flood = async {
        loop {
            for upstream_id in &made_up {
                forge(&gateway, "message.read", upstream_id).await;
            }
        }
    };
    let other = async {
        let id = send(&mut client, text(READER, "nobody tells of it by webhook")).await;
        message_until(&mut client, &id, |message| message.read_time.is_some()).await;
    };
    tokio::select! {
        () = flood => {}
        () = other => {}
    }
    world.end(client, gateway).await;
}

#[tokio::test]
async fn under_terminal_a_forged_sent_gives_a_doubt_no_message_of_others() {
    let world = World::new().await;
    let mut settings = policy(&world, ReadBack::Terminal);
    (settings.reconcile.first, settings.reconcile.longest) = (millis(50), millis(50));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut client = client(&gateway).await;
    // Sent past the gateway, to somebody else, and read there.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let key = &world.double.account().numbers[0].key;
    let url = format!("{}/v1/messages/send", world.double.base_url());
    let body = serde_json::json!({ "destinationNumber": READER, "text": "something else" });
    let answer = http.post(url).header("x-api-key", key).json(&body).send().await.unwrap();
    let answer: serde_json::Value = answer.json().await.unwrap();
    let foreign = answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    until(|| world.double.control().stats().webhooks_delivered == 3).await;
    // Nothing of this one arrives.
    world.double.control().add_fault(Fault { times: Some(1), ..Fault::new(On::Send, FaultKind::Reset) }).unwrap();
    let doubtful = error_of(client.send_message(text(STUCK, "x")).await);
    assert_eq!(doubtful.reason, "SEND_IN_DOUBT");
    let body = serde_json::json!({ "event": "message.sent", "data": {
        "id": foreign, "to": STUCK, "content": "x", "createdAt": "2030-01-01T00:00:00.000Z",
    }});
    let url = format!("http://{}/webhooks/{PATH_TOKEN}", gateway.http());
    http.post(url).json(&body).send().await.unwrap().error_for_status().unwrap();
    // One look may have been under way.
    let before = gateway.reconciled().doubts;
    until(|| gateway.reconciled().doubts > before + 2).await;
    let message = get(&mut client, &doubtful.metadata["message_id"]).await;
    assert_eq!((message.status(), message.upstream_id.as_str()), (InDoubt, ""), "it never left");
    world.end(client, gateway).await;
}
