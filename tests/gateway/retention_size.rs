//! Retention of much: sends that go on meanwhile, and a bound on the size.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::SignedDuration;
use pilotgate::{
    config::{
        self,
        settings::{Settings, Span},
    },
    domain::{
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Origins},
        recipient::Recipient,
        sources::Sources,
        status::{Origin, Status},
    },
    proto::v1,
    store::{self, Claim, Draft, Settlement},
};

use crate::{
    retention::{Clock, gateway, is_gone, requested, short, until, until_log_has},
    support::{NUMBER, READER, STUCK, World, client, get, log_length, send, sends},
};

/// Fills the store before a gateway opens it: messages accepted an hour apart, the last of them `youngest` hours ago, each
/// with two entries. The first of each ten is QUEUED, the others are SENT.
async fn fill(settings: &Settings, messages: i64, youngest: i64) -> Vec<String> {
    let store = store::open(store::Options::at(&settings.store.directory)).await.unwrap();
    let sources = Sources::system();
    let drafts: Vec<_> = (0..messages)
        .map(|n| {
            let create_time = sources.now() - SignedDuration::from_hours(youngest + messages - 1 - n);
            let origins = Origins {
                message_id: sources.message_id(create_time),
                caller: "orders".to_owned().try_into().unwrap(),
                number: NUMBER.to_owned().try_into().unwrap(),
                recipient: Recipient::Phone(READER.parse().unwrap()),
                request_id: None,
                handoff: Handoff::Direct,
                labels: Vec::new(),
                metadata: [("filling".to_owned(), "x".repeat(500))].into(),
                create_time,
                deliver_at: None,
            };
            Draft { origins, fingerprint: [0; 32], likeness: None, queued: None, limits: Vec::new() }
        })
        .collect();
    // In order: more at once would be queued as it comes.
    for some in drafts.chunks(30) {
        join_all(some.iter().map(|draft| store.accept(draft.clone()))).await;
    }
    join_all(drafts.iter().enumerate().map(|(n, draft)| {
        let origins = &draft.origins;
        let status = Observed::Reached(if n % 10 == 0 { Status::Queued } else { Status::Sent });
        let ids = ForeignIds::default();
        let (at, origin) = (origins.create_time, Origin::SendReply);
        let fact = Fact { status, at, observed_at: at, origin, ids };
        store.settle(
            origins.message_id,
            Settlement { fact, attempts: 1, flow_token: None, claim: Claim::Kept, audit: None },
        )
    }))
    .await;
    store.close().await;
    drafts.iter().map(|draft| draft.origins.message_id.to_string()).collect()
}

/// The bytes in use, asked of the file itself.
fn used(settings: &Settings) -> u64 {
    let database = rusqlite::Connection::open(settings.store.directory.join("pilotgate.db")).unwrap();
    let pragma = |name: &str| database.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0)).unwrap();
    u64::try_from((pragma("page_count") - pragma("freelist_count")) * pragma("page_size")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_go_on_while_much_is_trimmed() {
    let (world, clock) = (World::new().await, Clock::default());
    let settings = short(&world);
    let filled = fill(&settings, 4_000, 3).await;
    let gateway = gateway(&world, settings, &clock).await;
    let client = client(&gateway).await;
    let new: Vec<_> = (0..50).map(|n| requested(STUCK, &n.to_string())).collect();
    let sent = join_all(new.iter().map(|request| async { send(&mut client.clone(), request.clone()).await })).await;
    until_log_has(&client, 100).await;
    until(async || is_gone(&client, &filled[3_999]).await).await;
    let again = join_all(new.iter().map(|request| async { send(&mut client.clone(), request.clone()).await })).await;
    assert_eq!(again, sent);
    assert_eq!(sends(&world).len(), 50);
    assert!(is_gone(&client, &filled[0]).await);
    world.end(client, gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_its_size_the_store_lets_go_of_the_oldest() {
    let (world, clock) = (World::new().await, Clock::default());
    let mut settings = short(&world);
    for age in [&mut settings.retention.events, &mut settings.retention.messages, &mut settings.retention.open] {
        *age = Span(Duration::from_secs(10_000 * 3600));
    }
    let filled = fill(&settings, 3_000, 2).await;
    let before = used(&settings);
    settings.retention.max_bytes = before / 4;
    let gateway = gateway(&world, settings.clone(), &clock).await;
    let mut client = client(&gateway).await;
    until(async || used(&settings) <= before / 4).await;
    let left = log_length(&mut client).await;
    assert!((1..6_000).contains(&left), "{left} entries: neither is emptied for the other");
    let kept = join_all(filled.iter().map(|id| async { !is_gone(&client, id).await })).await;
    let ended: Vec<_> = kept.iter().enumerate().filter(|(n, _)| n % 10 != 0).map(|(_, kept)| *kept).collect();
    let gone = ended.iter().take_while(|kept| !**kept).count();
    assert!(gone > 100, "{gone} of 2700 gone");
    assert!(ended[gone..].iter().all(|kept| *kept), "the oldest first");
    assert!(kept.iter().step_by(10).all(|kept| *kept), "open ones stay");
    world.end(client, gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn even_a_store_that_is_too_large_keeps_what_a_call_may_repeat() {
    let (world, clock) = (World::new().await, Clock::default());
    let mut settings = short(&world);
    settings.retention.max_bytes = 1;
    let filled = fill(&settings, 100, 2).await;
    let gateway = gateway(&world, settings, &clock).await;
    let mut client = client(&gateway).await;
    let read = send(&mut client, requested(READER, "read")).await;
    until(async || get(&mut client.clone(), &read).await.status() == v1::MessageStatus::Read).await;
    until(async || is_gone(&client, &filled[99]).await).await;
    until_log_has(&client, 0).await;
    let again = client.send_message(requested(READER, "read")).await.unwrap().into_inner();
    assert_eq!((again.replayed, again.message.unwrap().message_id), (true, read));
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn what_a_call_may_repeat_cannot_be_set_to_go() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.messaging.replay_window = Span(Duration::from_secs(3600));
    settings.retention.messages = Span(Duration::from_secs(3600 + 31));
    settings.retention.open = Span(Duration::from_secs(3600 + 32));
    settings.retention.interval = Span(Duration::ZERO);
    let config::ConfigError(wrong) = config::check_in_memory(settings).unwrap_err();
    let together = "messaging.replay_window, messaging.slot_wait and upstream.timeout together";
    let expected = [
        "retention.interval: must be 1ms to 86400s".to_owned(),
        format!("retention.messages: must be at least 3632s: {together}"),
    ];
    assert_eq!(wrong, expected);
}
