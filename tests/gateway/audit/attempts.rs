//! Every attempt to send is in the log, with how it ended and never with what was sent.

use std::{collections::BTreeMap, time::Duration};

use pilotgate::{
    config::{self, settings::Span},
    domain::{
        message::{Handoff, Origins},
        recipient::Recipient,
        secret::TokenHash,
        sources::Sources,
    },
    messaging::Recipients,
    proto::{admin::v1::AuditEntry, v1},
    store::{self, Draft},
};

use super::{REVIEWER, audit_client, config as world_config, verified, whole, with_administrators};
use crate::support::{
    NUMBER, OTHER_TOKEN, READER, STUCK, TOKEN, World, client, client_as, error_of, message_until, queued, send, text,
};

/// The double refuses with 400 `INVALID_DESTINATION`.
const REFUSED: &str = "+5511987650017";
/// The double accepts and closes the connection without an answer.
const DOUBTED: &str = "+5511987650012";
/// The double answers 500 at once.
const BROKEN: &str = "+5511987650011";

/// What an entry is about: the message, the outcome and the details.
fn short(entry: &AuditEntry) -> (String, String, BTreeMap<String, String>) {
    (entry.subject.clone(), entry.outcome.clone(), entry.details.clone())
}

fn attempt(
    id: &str,
    outcome: &str,
    recipient: &str,
    more: &[(&str, &str)],
) -> (String, String, BTreeMap<String, String>) {
    let details = [("number", NUMBER), ("generation", "1"), ("handoff", "direct"), ("recipient", recipient)];
    let details = details.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    (format!("message/{id}"), outcome.to_owned(), details.collect())
}

#[tokio::test]
async fn each_outcome_of_a_direct_send_is_told() {
    let world = World::new().await;
    let gateway = world.gateway_with(world_config(&world)).await;
    let mut sender = client(&gateway).await;
    let accepted = send(&mut sender, text(READER, "the body of it")).await;
    let id_of = |told: crate::support::Told| told.metadata["message_id"].clone();
    let refused = id_of(error_of(sender.send_message(text(REFUSED, "the body of it")).await));
    let doubted = id_of(error_of(sender.send_message(text(DOUBTED, "the body of it")).await));
    let broken = id_of(error_of(sender.send_message(text(BROKEN, "the body of it")).await));

    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    let expected = [
        attempt(&accepted, "accepted", "+55*******0101", &[]),
        attempt(
            &refused,
            "refused",
            "+55*******0017",
            &[("upstream_status", "400"), ("upstream_code", "INVALID_DESTINATION")],
        ),
        attempt(&doubted, "unknown", "+55*******0012", &[]),
        attempt(&broken, "unknown", "+55*******0011", &[("upstream_status", "500")]),
    ];
    let told: Vec<_> = entries.iter().map(short).collect();
    assert_eq!(told, expected);
    for (sequence, entry) in (1..).zip(&entries) {
        let head = (entry.sequence, entry.actor.as_str(), entry.action.as_str());
        assert_eq!(head, (sequence, "orders", "message.attempt"));
        let text = &entry.text;
        assert!(!text.contains("the body") && !text.contains(TOKEN) && !text.contains("98765"), "{text}");
        assert!(!text.contains(&TokenHash::of(TOKEN).to_hex()[..12]), "{text}");
        assert!(!text.contains(&world.double.account().numbers[0].key), "{text}");
    }
    assert_eq!(verified(&mut reviewer).await.faults, []);
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn a_send_that_never_arrived_is_told() {
    let world = World::new().await;
    let mut settings = world.settings();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    settings.upstream.base_url = format!("http://{closed}");
    settings.messaging.attempts = 3;
    settings.messaging.retry_first = Span(Duration::from_millis(1));
    let config = with_administrators(config::check_in_memory(settings).unwrap());
    let gateway = world.gateway_with(config).await;
    let mut sender = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let told = error_of(sender.send_message(text(READER, "x")).await);
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    // One entry for each attempt, and none for the end of them all.
    assert_eq!(told.reason, "UPSTREAM_UNAVAILABLE");
    let expected = attempt(&told.metadata["message_id"], "not_sent", "+55*******0101", &[]);
    assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), vec![expected; 3]);
    assert!(entries.iter().all(|entry| entry.actor == "billing"));
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn each_attempt_of_a_queued_message_is_told() {
    let world = World::new().await;
    let gateway = world.gateway_with(world_config(&world)).await;
    let mut sender = client(&gateway).await;
    let sent = send(&mut sender, queued(text(STUCK, "x"))).await;
    message_until(&mut sender, &sent, |message| message.status() == v1::MessageStatus::Queued).await;
    let refused = send(&mut sender, queued(text(REFUSED, "x"))).await;
    message_until(&mut sender, &refused, |message| message.status() == v1::MessageStatus::Failed).await;
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    let queue = |(subject, outcome, mut details): (String, String, BTreeMap<String, String>)| {
        details.insert("handoff".to_owned(), "queued".to_owned());
        (subject, outcome, details)
    };
    let why = [("upstream_status", "400"), ("upstream_code", "INVALID_DESTINATION")];
    let expected =
        [attempt(&sent, "accepted", "+55*******0006", &[]), attempt(&refused, "refused", "+55*******0017", &why)];
    assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), expected.map(queue));
    world.end((sender, reviewer), gateway).await;
}

#[tokio::test]
async fn recipients_are_named_as_the_configuration_says() {
    let world = World::new().await;
    let mut hashed = Vec::new();
    for (policy, phone) in [
        (Recipients::Full, READER),
        (Recipients::None, READER),
        (Recipients::Hashed, READER),
        (Recipients::Hashed, READER),
        (Recipients::Hashed, STUCK),
    ] {
        let mut config = world_config(&world);
        config.messaging.recipients = policy;
        let gateway = world.gateway_with(config).await;
        let mut sender = client(&gateway).await;
        send(&mut sender, text(phone, "x")).await;
        let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
        let last = whole(&mut reviewer).await.pop().unwrap();
        match policy {
            Recipients::Full => assert_eq!(last.details["recipient"], READER),
            Recipients::None => assert_eq!(last.details.get("recipient"), None),
            _ => hashed.push(last.details["recipient"].clone()),
        }
        drop((sender, reviewer));
        gateway.shutdown().await;
    }
    assert_eq!(hashed[0], hashed[1], "the same after a restart");
    assert_ne!(hashed[0], hashed[2]);
    assert!(hashed.iter().all(|text| text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())));
    world.double.shutdown().await;
}

#[tokio::test]
async fn an_attempt_that_the_end_of_the_process_cut_off_is_told() {
    let world = World::new().await;
    let config = world_config(&world);
    // What a process leaves behind that was killed between the record of a message and that of its answer.
    let sources = Sources::system();
    let message_id = sources.message_id(sources.now());
    let store = store::open(config.store.clone()).await.unwrap();
    let origins = Origins {
        message_id,
        caller: "orders".to_owned().try_into().unwrap(),
        number: NUMBER.to_owned().try_into().unwrap(),
        recipient: Recipient::Phone(READER.parse().unwrap()),
        request_id: None,
        handoff: Handoff::Direct,
        labels: Vec::new(),
        metadata: BTreeMap::new(),
        create_time: sources.now(),
        deliver_at: None,
    };
    let draft = Draft { origins, fingerprint: [1; 32], likeness: None, queued: None, limits: Vec::new() };
    store.accept(draft).await.unwrap();
    store.close().await;
    let gateway = world.gateway_with(config).await;
    let mut reviewer = audit_client(&gateway, Some(REVIEWER)).await;
    let entries = whole(&mut reviewer).await;
    let details = crate::support::metadata([("number", NUMBER), ("handoff", "direct"), ("cause", "interrupted")]);
    let expected = [(format!("message/{message_id}"), "unknown".to_owned(), details)];
    assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), expected);
    world.end(reviewer, gateway).await;
}
