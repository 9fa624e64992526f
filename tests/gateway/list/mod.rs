//! Listing the caller's own messages.

mod bounds;
mod refusals;

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
};

use jiff::Timestamp;
use pilotgate::{
    config::{
        self,
        settings::{CallerSettings, GrantSettings, Settings},
    },
    domain::{principal::Permission, secret::TokenHash, sources::Sources},
    proto::v1::{
        self, ListMessagesRequest, ListMessagesResponse,
        MessageStatus::{self, Failed, Queued},
    },
    server::{self, Gateway},
};
use tonic::Code;

use crate::support::{
    AUDITOR_TOKEN, Client, NUMBER, OTHER_TOKEN, STUCK, World, client, client_as, error_of, get, metadata,
    second_number, send, text, two_numbers,
};

/// The first instant of a millisecond.
const NOON: i64 = 1_800_000_000_000_000;

/// A gateway on two numbers whose clock stands still; ids made at one instant sort as they were made.
struct Listing {
    world: World,
    gateway: Gateway,
    clock: Arc<AtomicI64>,
}

impl Listing {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let world = World::with(two_numbers()).await;
        let mut settings = world.settings();
        settings.numbers.push(second_number(&world));
        change(&mut settings);
        let clock = Arc::new(AtomicI64::new(NOON));
        let (now, made) = (Arc::clone(&clock), AtomicU64::new(0));
        let sources = Sources::new(
            move || Timestamp::from_microsecond(now.load(SeqCst)).unwrap(),
            move |bytes| {
                let count = made.fetch_add(1, SeqCst).to_be_bytes();
                bytes.fill(0);
                // The last six: they stand behind all bits that tell a version or variant.
                let length = bytes.len().min(6);
                let place = bytes.len() - length;
                bytes[place..].copy_from_slice(&count[8 - length..]);
            },
        );
        let gateway = server::start(config::check_in_memory(settings).unwrap(), sources).await.unwrap();
        Self { world, gateway, clock }
    }

    /// Sends so many microseconds after noon; tells our id.
    async fn send_at(&self, client: &mut Client, micros: i64, request: v1::SendMessageRequest) -> String {
        self.clock.store(NOON + micros, SeqCst);
        send(client, request).await
    }

    async fn end<C>(self, clients: C) {
        self.world.end(clients, self.gateway).await;
    }
}

fn noon_and(nanos: i64) -> Option<prost_types::Timestamp> {
    let nanos = i128::from(NOON) * 1000 + i128::from(nanos);
    let (seconds, nanos) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    Some(prost_types::Timestamp { seconds: seconds.try_into().unwrap(), nanos: nanos.try_into().unwrap() })
}

fn labelled(labels: &[&str]) -> v1::SendMessageRequest {
    v1::SendMessageRequest { labels: labels.iter().map(ToString::to_string).collect(), ..text(STUCK, "x") }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn in_statuses(statuses: &[MessageStatus]) -> ListMessagesRequest {
    ListMessagesRequest { statuses: statuses.iter().map(|status| (*status).into()).collect(), ..Default::default() }
}

fn on_numbers(numbers: &[&str]) -> ListMessagesRequest {
    ListMessagesRequest { numbers: words(numbers), ..Default::default() }
}

async fn list(client: &mut Client, request: ListMessagesRequest) -> ListMessagesResponse {
    client.list_messages(request).await.unwrap().into_inner()
}

fn ids(page: &ListMessagesResponse) -> Vec<&str> {
    page.messages.iter().map(|message| message.message_id.as_str()).collect()
}

/// The ids of a list that fits on one page.
async fn all(client: &mut Client, request: ListMessagesRequest) -> Vec<String> {
    let page = list(client, request).await;
    assert_eq!(page.next_page_token, "");
    page.messages.into_iter().map(|message| message.message_id).collect()
}

/// The page behind this one.
fn then(request: &ListMessagesRequest, page: &ListMessagesResponse) -> ListMessagesRequest {
    ListMessagesRequest { page_token: page.next_page_token.clone(), ..request.clone() }
}

#[tokio::test]
async fn pages_follow_each_other_whatever_comes_meanwhile() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let mut sent = Vec::new();
    for n in 0..12 {
        // Some at the same instant, some in the same millisecond, some later.
        sent.insert(
            0,
            listing.send_at(&mut orders, [0, 0, 500, 2_000][n % 4] + 10_000 * (n as i64 / 4), text(STUCK, "x")).await,
        );
    }
    let request = ListMessagesRequest { page_size: 5, ..Default::default() };
    let first = list(&mut orders, request.clone()).await;
    let mut newer = vec![listing.send_at(&mut orders, 1_000_000, text(STUCK, "x")).await];
    let second = list(&mut orders, then(&request, &first)).await;
    newer.insert(0, listing.send_at(&mut orders, 2_000_000, text(STUCK, "x")).await);
    let third = list(&mut orders, then(&request, &second)).await;
    assert_eq!(ids(&first), sent[..5]);
    assert_eq!(ids(&second), sent[5..10]);
    assert_eq!(ids(&third), sent[10..]);
    assert_eq!(third.next_page_token, "");
    // The same page comes again for the same token, also in another size.
    assert_eq!(list(&mut orders, then(&request, &first)).await, second);
    let longer = ListMessagesRequest { page_size: 7, ..then(&request, &first) };
    let rest = list(&mut orders, longer).await;
    assert_eq!((ids(&rest), rest.next_page_token.as_str()), (sent[5..].iter().map(String::as_str).collect(), ""));
    assert_eq!(all(&mut orders, ListMessagesRequest::default()).await, [newer, sent].concat());
    listing.end(orders).await;
}

#[tokio::test]
async fn a_listed_message_is_the_one_that_is_told_by_its_id() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let request = v1::SendMessageRequest {
        labels: words(&["vip"]),
        metadata: metadata([("order", "7")]),
        request_id: "r-1".to_owned(),
        ..text(STUCK, "x")
    };
    let id = send(&mut orders, request).await;
    let message = get(&mut orders, &id).await;
    assert_eq!((message.status(), message.caller.as_str(), message.create_time), (Queued, "orders", noon_and(0)));
    let expected = ListMessagesResponse { messages: vec![message], next_page_token: String::new() };
    assert_eq!(list(&mut orders, ListMessagesRequest::default()).await, expected);
    // Exactly full, and nothing behind it.
    let one = ListMessagesRequest { page_size: 1, ..Default::default() };
    assert_eq!(list(&mut orders, one).await, expected);
    listing.end(orders).await;
}

#[tokio::test]
async fn numbers_statuses_and_labels_are_combined() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let refused =
        |labels| v1::SendMessageRequest { recipient: crate::support::to_phone("+5511987650017"), ..labelled(labels) };
    let plain = send(&mut orders, labelled(&[])).await;
    let vip = send(&mut orders, labelled(&["vip", "new"])).await;
    let told = error_of(orders.send_message(refused(&["vip"])).await);
    let failed = told.metadata["message_id"].clone();
    let second = v1::SendMessageRequest { number: "wn_second".to_owned(), ..labelled(&["new"]) };
    let second = send(&mut orders, second).await;
    let labels = |labels: &[&str]| ListMessagesRequest { labels: words(labels), ..Default::default() };
    let cases: [(ListMessagesRequest, &[&String]); 15] = [
        (ListMessagesRequest::default(), &[&second, &failed, &vip, &plain]),
        (on_numbers(&[NUMBER]), &[&failed, &vip, &plain]),
        (on_numbers(&["wn_upstream_id"]), &[&failed, &vip, &plain]),
        (on_numbers(&["+5511900000000"]), &[&failed, &vip, &plain]),
        (on_numbers(&["+5511900000001"]), &[&second]),
        (on_numbers(&["wn_second", NUMBER, NUMBER]), &[&second, &failed, &vip, &plain]),
        (in_statuses(&[Failed]), &[&failed]),
        (in_statuses(&[Queued]), &[&second, &vip, &plain]),
        (in_statuses(&[Failed, Queued]), &[&second, &failed, &vip, &plain]),
        (in_statuses(&[MessageStatus::Read]), &[]),
        (labels(&["vip"]), &[&failed, &vip]),
        (labels(&["new", "vip", "other"]), &[&second, &failed, &vip]),
        (labels(&["vi", "VIP"]), &[]),
        (ListMessagesRequest { labels: words(&["vip"]), ..in_statuses(&[Queued]) }, &[&vip]),
        (ListMessagesRequest { labels: words(&["new"]), numbers: words(&[NUMBER]), ..in_statuses(&[Failed]) }, &[]),
    ];
    for (request, expected) in cases {
        let found = all(&mut orders, request.clone()).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{request:?}");
    }
    listing.end(orders).await;
}

#[tokio::test]
async fn times_count_to_the_microsecond() {
    let listing = Listing::new(|_| {}).await;
    let mut orders = client(&listing.gateway).await;
    let mut sent = Vec::new();
    // Two in the last millisecond before noon, three in the first one behind, one in the next.
    for micros in [-1_000, -1, 0, 1, 999, 1_000] {
        sent.push(listing.send_at(&mut orders, micros, text(STUCK, "x")).await);
    }
    let cases = [
        (None, None, 0..6),
        (noon_and(0), None, 2..6),
        (noon_and(1), None, 3..6),
        (noon_and(1_000), None, 3..6),
        (noon_and(999_001), None, 5..6),
        (noon_and(1_000_001), None, 6..6),
        (None, noon_and(0), 0..2),
        (None, noon_and(1), 0..3),
        (None, noon_and(1_000), 0..3),
        (None, noon_and(999_000), 0..4),
        (None, noon_and(1_000_000), 0..5),
        (None, noon_and(1_000_001), 0..6),
        (noon_and(-1_000), noon_and(999_000), 1..4),
        (noon_and(1_000), noon_and(1_001), 3..4),
        (noon_and(2_000), noon_and(3_000), 0..0),
        (Some(prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 }), noon_and(0), 0..2),
        (None, Some(prost_types::Timestamp { seconds: -1, nanos: 0 }), 0..0),
        (noon_and(0), Some(prost_types::Timestamp { seconds: 253_402_207_199, nanos: 999_999_999 }), 2..6),
    ];
    for (start_time, end_time, expected) in cases {
        let request = ListMessagesRequest { start_time, end_time, ..Default::default() };
        let mut found = all(&mut orders, request.clone()).await;
        found.reverse();
        assert_eq!(found, sent[expected], "{request:?}");
    }
    // A page goes on within the times as well.
    let request = ListMessagesRequest {
        start_time: noon_and(-1_000),
        end_time: noon_and(999_000),
        page_size: 2,
        ..Default::default()
    };
    let first = list(&mut orders, request.clone()).await;
    assert_eq!(ids(&first), [&sent[3], &sent[2]]);
    let second = list(&mut orders, then(&request, &first)).await;
    assert_eq!((ids(&second), second.next_page_token.as_str()), (vec![sent[1].as_str()], ""));
    listing.end(orders).await;
}

#[tokio::test]
async fn everyone_lists_their_own_messages_where_they_may_read() {
    let sender = "pgt_sender-token-for-tests";
    let narrow = "pgt_narrow-token-for-tests";
    let caller = |name: &str, token: &str, grants: Vec<GrantSettings>| CallerSettings {
        name: name.to_owned(),
        token_hashes: vec![TokenHash::of(token).to_hex()],
        grants,
        ..Default::default()
    };
    let on = |number: &str, permissions: &[Permission]| GrantSettings {
        number: number.to_owned(),
        permissions: permissions.to_vec(),
        ..Default::default()
    };
    use Permission::{Observe, Read, Send};
    let listing = Listing::new(|settings| {
        settings.callers.push(caller("sender", sender, vec![on("*", &[Send])]));
        let grants = vec![on("*", &[Send]), on("wn_second", &[Read]), on("wn_second", &[Observe])];
        settings.callers.push(caller("narrow", narrow, grants));
    })
    .await;
    let [mut orders, mut billing, mut auditor, mut sender, mut narrow] = [
        client(&listing.gateway).await,
        client_as(&listing.gateway, Some(OTHER_TOKEN)).await,
        client_as(&listing.gateway, Some(AUDITOR_TOKEN)).await,
        client_as(&listing.gateway, Some(sender)).await,
        client_as(&listing.gateway, Some(narrow)).await,
    ];
    let on_second = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(STUCK, "x") };
    let ours = send(&mut orders, on_second.clone()).await;
    let theirs = send(&mut billing, on_second.clone()).await;
    send(&mut sender, on_second.clone()).await;
    let seen = send(&mut narrow, on_second).await;
    // It may send there, but not read what it sent.
    send(&mut narrow, text(STUCK, "x")).await;
    assert_eq!(all(&mut orders, ListMessagesRequest::default()).await, [ours]);
    assert_eq!(all(&mut billing, ListMessagesRequest::default()).await, [theirs]);
    assert_eq!(all(&mut auditor, ListMessagesRequest::default()).await, Vec::<String>::new());
    assert_eq!(all(&mut narrow, ListMessagesRequest::default()).await, [seen]);
    let refused = [
        error_of(sender.list_messages(ListMessagesRequest::default()).await),
        error_of(narrow.list_messages(on_numbers(&["wn_second", NUMBER])).await),
        error_of(narrow.list_messages(on_numbers(&["wn_nowhere"])).await),
        // What else is wrong with the request is not told either.
        error_of(narrow.list_messages(ListMessagesRequest { page_size: -1, ..on_numbers(&[NUMBER]) }).await),
    ];
    for told in &refused {
        assert_eq!(told, &refused[0]);
    }
    assert_eq!((refused[0].code, refused[0].reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    listing.end((orders, billing, auditor, sender, narrow)).await;
}
