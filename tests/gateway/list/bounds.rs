//! How much one page of a list looks at and returns.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use pilotgate::{
    domain::{
        failure::Failure,
        ids::MessageId,
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Origins},
        recipient::Recipient,
        status::Origin,
    },
    proto::v1::{ListMessagesRequest, ListMessagesResponse},
    store::{self, Claim, Draft, Settlement, Store},
};
use prost::Message;
use uuid::Uuid;

use crate::support::{NUMBER, World, client};

/// When the message with this number was accepted.
fn time(n: u32) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + i64::from(n)).unwrap()
}

/// The number of a message by its id.
fn number(id: &str) -> u32 {
    let millis = id.parse::<Uuid>().unwrap().as_u128() >> 80;
    u32::try_from(millis - 1_800_000_000_000).unwrap()
}

/// Stores failed messages of `orders` with these numbers, later ones under greater ids; only the first has a label.
async fn stored(store: &dyn Store, count: u32, metadata: &BTreeMap<String, String>) {
    let message = |n| async move {
        let origins = Origins {
            message_id: MessageId::least_at(time(n)),
            caller: "orders".to_owned().try_into().unwrap(),
            number: NUMBER.to_owned().try_into().unwrap(),
            recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
            request_id: None,
            handoff: Handoff::Direct,
            labels: if n == 0 { vec!["first".to_owned()] } else { Vec::new() },
            metadata: metadata.clone(),
            create_time: time(n),
            deliver_at: None,
        };
        store.accept(Draft { origins, fingerprint: [0; 32], likeness: None, queued: None, limits: Vec::new() }).await?;
        let fact = Fact {
            status: Observed::Failed(Failure::reported("X", "x")),
            at: time(n),
            observed_at: time(n),
            origin: Origin::SendReply,
            ids: ForeignIds::default(),
        };
        store
            .settle(
                MessageId::least_at(time(n)),
                Settlement { fact, attempts: 1, flow_token: None, claim: Claim::Kept, audit: None },
            )
            .await
    };
    try_join_all((0..count).map(message)).await.unwrap();
}

/// The numbers of the messages of every page.
async fn pages(world: World, mut request: ListMessagesRequest) -> Vec<(Vec<u32>, usize)> {
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await.max_decoding_message_size(usize::MAX);
    let mut pages = Vec::new();
    loop {
        let page: ListMessagesResponse = client.list_messages(request.clone()).await.unwrap().into_inner();
        let size = page.encoded_len();
        pages.push((page.messages.iter().map(|message| number(&message.message_id)).collect(), size));
        if page.next_page_token.is_empty() {
            world.end(client, gateway).await;
            return pages;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_looks_at_a_bounded_number_of_messages() {
    let world = World::new().await;
    let store = store::open(world.config().store).await.unwrap();
    stored(&*store, 20_001, &BTreeMap::new()).await;
    store.close().await;
    let request = ListMessagesRequest { labels: vec!["first".to_owned()], ..Default::default() };
    let found: Vec<_> = pages(world, request).await.into_iter().map(|(messages, _)| messages).collect();
    assert_eq!(found, [vec![], vec![0]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_fits_into_what_clients_accept() {
    let world = World::new().await;
    let store = store::open(world.config().store).await.unwrap();
    let most: BTreeMap<_, _> = (10..26).map(|key| (format!("{key:064}"), "v".repeat(256))).collect();
    stored(&*store, 1_100, &most).await;
    store.close().await;
    let found = pages(world, ListMessagesRequest { page_size: 1_000, ..Default::default() }).await;
    let sizes: Vec<_> = found.iter().map(|(messages, size)| (messages.len(), *size)).collect();
    assert!(sizes.iter().all(|(_, size)| *size < 4_000_000), "{sizes:?}");
    assert_eq!(sizes.len(), 2, "{sizes:?}");
    let numbers: Vec<_> = found.into_iter().flat_map(|(messages, _)| messages).collect();
    assert_eq!(numbers, (0..1_100).rev().collect::<Vec<_>>());
}
