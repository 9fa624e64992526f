//! Bulk sends: every item is answered once, by its key, and its trouble is its own.

mod bounds;
mod ends;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures_util::stream;
use pilotgate::{
    proto::v1::{
        self,
        MessageStatus::{Pending, Queued},
        send_messages_response::Result::{Accepted, Refused},
    },
    sandbox::{Fault, FaultKind, On},
};
use prost::Message as _;
use tokio::sync::mpsc;
use tonic::{Code, Streaming};
use tonic_types::pb;

use crate::support::{Client, READER, STUCK, Told, World, client, error_of, metadata, queued, sends, text, until};

/// A bulk stream: items go in until `items` is dropped, which is the half-close.
struct Bulk {
    items: mpsc::Sender<v1::SendMessagesRequest>,
    results: Streaming<v1::SendMessagesResponse>,
}

async fn open(client: &mut Client) -> Bulk {
    let (items, taken) = mpsc::channel(16);
    let taken = stream::unfold(taken, |mut taken| async move { taken.recv().await.map(|item| (item, taken)) });
    Bulk { items, results: client.send_messages(taken).await.unwrap().into_inner() }
}

fn item(key: &str, message: v1::SendMessageRequest) -> v1::SendMessagesRequest {
    v1::SendMessagesRequest { correlation_key: key.to_owned(), message: Some(message) }
}

async fn next(results: &mut Streaming<v1::SendMessagesResponse>) -> Option<v1::SendMessagesResponse> {
    tokio::time::timeout(Duration::from_secs(20), results.message()).await.expect("no result for 20 s").unwrap()
}

/// Sends all items and takes all results, by key; every key comes once and nothing after the last.
async fn all(client: &mut Client, items: Vec<v1::SendMessagesRequest>) -> BTreeMap<String, v1::SendMessagesResponse> {
    let Bulk { items: to, mut results } = open(client).await;
    let count = items.len();
    let sending = tokio::spawn(async move {
        for item in items {
            to.send(item).await.unwrap();
        }
    });
    let mut by_key = BTreeMap::new();
    while let Some(result) = next(&mut results).await {
        assert!(by_key.insert(result.correlation_key.clone(), result).is_none(), "answered twice");
    }
    sending.await.unwrap();
    assert_eq!(by_key.len(), count);
    by_key
}

fn accepted(result: &v1::SendMessagesResponse) -> (&v1::Message, bool) {
    match result.result.as_ref().unwrap() {
        Accepted(accepted) => (accepted.message.as_ref().unwrap(), accepted.replayed),
        Refused(refused) => panic!("refused: {refused:?}"),
    }
}

/// What was refused, as an error of a call of its own.
fn refused(result: v1::SendMessagesResponse) -> Told {
    match result.result.unwrap() {
        Refused(refused) => {
            let (code, message) = (Code::from_i32(refused.code), refused.message.clone());
            error_of::<()>(Err(tonic::Status::with_details(code, message, refused.encode_to_vec().into())))
        }
        Accepted(accepted) => panic!("accepted: {accepted:?}"),
    }
}

/// Phones of recipients whose messages stay QUEUED.
fn phone(n: usize) -> String {
    format!("+55{:02}987650006", 11 + n % 60)
}

#[tokio::test]
async fn thousands_of_items_are_each_answered_once() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let of = |n: usize| {
        let request = v1::SendMessageRequest { metadata: metadata([("n", &*n.to_string())]), ..text(&phone(n), "x") };
        item(&format!("key {n}"), if n.is_multiple_of(2) { queued(request) } else { request })
    };
    let results = all(&mut client, (0..2000).map(of).collect()).await;
    let mut ids = HashSet::new();
    for n in 0..2000_usize {
        let (message, replayed) = accepted(&results[&format!("key {n}")]);
        let status = if n.is_multiple_of(2) { Pending } else { Queued };
        assert_eq!((&message.metadata["n"], message.status(), replayed), (&n.to_string(), status, false));
        ids.insert(format!("pilotgate-{}", message.message_id));
    }
    until(|| world.double.control().messages().len() == 2000).await;
    let seen = world.double.control().messages();
    assert!(seen.iter().all(|seen| seen.accepted == 1));
    let keys: HashSet<_> = seen.into_iter().filter_map(|seen| seen.idempotency_key).collect();
    assert_eq!(keys, ids);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn a_bad_item_is_told_what_a_call_would_have_told_and_harms_no_other() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let bad = [
        ("unknown number", v1::SendMessageRequest { number: "wn_other".to_owned(), ..text(READER, "x") }),
        ("nothing", v1::SendMessageRequest::default()),
        ("no such phone", text("5511", "")),
        ("refused upstream", text("+5511987650017", "x")),
        ("payment", text("+5511987650018", "x")),
    ];
    let mut items: Vec<_> = bad.iter().map(|(key, request)| item(key, request.clone())).collect();
    items.extend((0..5).map(|n| item(&format!("good {n}"), text(STUCK, "x"))));
    items.rotate_left(3);
    let mut results = all(&mut client, items).await;
    for (key, request) in bad {
        let Some(Refused(told)) = results.get(key).unwrap().result.clone() else { panic!("{key} was accepted") };
        let mut alone = client.send_message(request).await.unwrap_err();
        let whole = pb::Status::decode(alone.details()).unwrap();
        assert_eq!((told.code, &told.message), (alone.code().into(), &alone.message().to_owned()), "{key}");
        if let Some(id) = error_of::<()>(Err(alone.clone())).metadata.get("message_id") {
            // Each has a message of its own.
            alone = tonic::Status::with_details(alone.code(), alone.message(), alone.details().to_vec().into());
            let mut expected = error_of::<()>(Err(alone));
            let mut told = refused(results.remove(key).unwrap());
            assert_ne!(told.metadata.insert("message_id".to_owned(), String::new()).as_ref(), Some(id));
            expected.metadata.insert("message_id".to_owned(), String::new());
            assert_eq!(told, expected, "{key}");
        } else {
            assert_eq!(told.details, whole.details, "{key}");
        }
    }
    for n in 0..5 {
        assert_eq!(accepted(&results[&format!("good {n}")]).0.status(), Queued);
    }
    assert_eq!(world.double.control().messages().len(), 5);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn keys_are_checked_and_free_again_once_answered() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let Bulk { items, mut results } = open(&mut client).await;
    let violations = |result| {
        let told = refused(result);
        assert_eq!((told.code, told.reason.as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
        told.violations
    };
    let violation = |field: &str, text: &str| (field.to_owned(), text.to_owned());
    let (key, message) = (violation("correlation_key", "must be 1 to 200 bytes"), violation("message", "is required"));
    items.send(item("", text(STUCK, "x"))).await.unwrap();
    assert_eq!(violations(next(&mut results).await.unwrap()), std::slice::from_ref(&key));
    items.send(item(&"k".repeat(201), text(STUCK, "x"))).await.unwrap();
    assert_eq!(violations(next(&mut results).await.unwrap()), std::slice::from_ref(&key));
    items.send(v1::SendMessagesRequest::default()).await.unwrap();
    assert_eq!(violations(next(&mut results).await.unwrap()), [key, message]);

    let slow = Fault { ms: Some(300), times: Some(1), ..Fault::new(On::Send, FaultKind::Delay) };
    world.double.control().add_fault(slow).unwrap();
    items.send(item("a", text(STUCK, "first"))).await.unwrap();
    until(|| sends(&world).len() == 1).await;
    items.send(item("a", text(STUCK, "second"))).await.unwrap();
    let second = next(&mut results).await.unwrap();
    assert_eq!(second.correlation_key, "a");
    assert_eq!(violations(second), [violation("correlation_key", "is that of another item in flight")]);
    assert_eq!(accepted(&next(&mut results).await.unwrap()).0.status(), Queued);
    items.send(item("a", text(STUCK, "third"))).await.unwrap();
    assert_eq!(accepted(&next(&mut results).await.unwrap()).0.status(), Queued);
    drop(items);
    assert_eq!(next(&mut results).await, None);
    assert_eq!(world.double.control().messages().len(), 2);
    world.end((results, client), gateway).await;
}

#[tokio::test]
async fn a_request_id_counts_within_a_stream_as_everywhere() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let request = |body: &str| v1::SendMessageRequest { request_id: "r-1".to_owned(), ..text(STUCK, body) };
    let mut items: Vec<_> = (0..20).map(|n| item(&format!("{n}"), request("once"))).collect();
    items.push(item("other", request("another text")));
    let mut results = all(&mut client, items).await;
    let other = refused(results.remove("other").unwrap());
    assert_eq!((other.code, other.reason.as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let answers: Vec<_> = results.values().map(accepted).collect();
    let ids: HashSet<_> = answers.iter().map(|(message, _)| &message.message_id).collect();
    assert_eq!(ids, HashSet::from([&other.metadata["message_id"]]));
    assert_eq!(answers.iter().filter(|(_, replayed)| !replayed).count(), 1);
    assert_eq!(sends(&world).len(), 1);
    world.end(client, gateway).await;
}
