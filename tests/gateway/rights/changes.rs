//! What becomes of open streams when the right goes that they were opened with.

use std::time::Duration;

use futures_util::stream;
use pilotgate::{
    domain::{
        caller::{Caller, Token},
        principal::{Grant, Permission},
        secret::TokenHash,
    },
    proto::v1::{
        self, inbox_service_client::InboxServiceClient, stream_inbound_events_response as inbox,
        stream_status_updates_response::Frame,
    },
    server::{self, Gateway},
};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{Clock, caller, change, grant, named};
use crate::support::{
    Bearer, Frames, READER, STUCK, Told, World, bearer, client, client_as, error_of, follow, from_cursor, next_frame,
    next_update, send, started, text,
};

const WATCHER: &str = "pgt_watcher-token-for-tests";

type Events = Streaming<v1::StreamInboundEventsResponse>;
type Inbox = InboxServiceClient<tonic::service::interceptor::InterceptedService<Channel, Bearer>>;

fn everything() -> Vec<Grant> {
    vec![grant("*", &[Permission::Observe, Permission::Inbox, Permission::Send])]
}

async fn inbox_of(gateway: &Gateway, token: &'static str) -> Inbox {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    InboxServiceClient::with_interceptor(channel, bearer(Some(token)))
}

/// Both kinds of stream of the watcher, at the head of the log.
async fn watch(gateway: &Gateway) -> (Frames, Events) {
    let mut client = client_as(gateway, Some(WATCHER)).await;
    let mut frames = follow(&mut client, v1::StreamStatusUpdatesRequest::default()).await;
    started(&mut frames).await;
    let mut inbox = inbox_of(gateway, WATCHER).await;
    let mut events = inbox.stream_inbound_events(v1::StreamInboundEventsRequest::default()).await.unwrap().into_inner();
    events.message().await.unwrap().unwrap();
    (frames, events)
}

/// What a stream that tells nothing more of the log ends with, and the cursor of its drain frame if it has one.
async fn end<T>(frames: &mut Streaming<T>, drain: impl Fn(T) -> Option<String>) -> (Told, Option<String>) {
    let ended = async {
        let mut cursor = None;
        loop {
            match frames.message().await {
                Ok(Some(frame)) => cursor = Some(drain(frame).expect("a frame after the change")),
                Ok(None) => panic!("an end without an error"),
                Err(status) => return (error_of::<()>(Err(status)), cursor),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("no end within 20 s")
}

async fn end_of_updates(frames: &mut Frames) -> (Told, Option<String>) {
    end(frames, |response| matches!(response.frame, Some(Frame::Drain(_))).then_some(response.cursor)).await
}

async fn end_of_events(events: &mut Events) -> (Told, Option<String>) {
    end(events, |response| matches!(response.frame, Some(inbox::Frame::Drain(_))).then_some(response.cursor)).await
}

async fn gateway(world: &World) -> Gateway {
    let mut config = world.config();
    config.callers.push(caller("watcher", WATCHER, everything()));
    world.gateway_with(config).await
}

#[tokio::test]
async fn a_stream_ends_with_its_right_and_tells_nothing_that_came_after() {
    type Change = fn(&mut Caller);
    let cases: [(&str, Change, Code, &str); 6] = [
        (
            "revoked",
            |caller| caller.tokens[0].revoke_time = Some(jiff::Timestamp::now()),
            Code::Unauthenticated,
            "CREDENTIAL_INVALID",
        ),
        ("dropped", |caller| caller.tokens.clear(), Code::Unauthenticated, "CREDENTIAL_INVALID"),
        ("disabled", |caller| caller.disabled = true, Code::Unauthenticated, "CREDENTIAL_INVALID"),
        (
            "expired",
            |caller| caller.tokens[0].expire_time = Some(jiff::Timestamp::UNIX_EPOCH),
            Code::Unauthenticated,
            "CREDENTIAL_EXPIRED",
        ),
        (
            "blind",
            |caller| caller.grants = vec![grant("*", &[Permission::Send])],
            Code::PermissionDenied,
            "NUMBER_NOT_GRANTED",
        ),
        (
            "elsewhere",
            |caller| caller.grants = vec![grant("wn_second", &[Permission::Observe, Permission::Inbox])],
            Code::Aborted,
            "GRANTS_CHANGED",
        ),
    ];
    let world = World::new().await;
    let gateway = gateway(&world).await;
    let mut orders = client(&gateway).await;
    let kept = gateway.identity().caller(&named("watcher")).unwrap();
    for (name, to, code, reason) in cases {
        let (mut frames, mut events) = watch(&gateway).await;
        change(&gateway, "watcher", to);
        // Acknowledged; from here on nothing is told that it may not see.
        send(&mut orders, text(STUCK, "after")).await;
        for (told, cursor) in [end_of_updates(&mut frames).await, end_of_events(&mut events).await] {
            assert_eq!((told.code, told.reason.as_str()), (code, reason), "{name}");
            assert_eq!(cursor.is_some(), code == Code::Aborted, "{name}");
        }
        gateway.identity().put((*kept).clone()).unwrap();
    }
    let (mut frames, mut events) = watch(&gateway).await;
    gateway.identity().remove(&named("watcher"));
    send(&mut orders, text(STUCK, "after")).await;
    for (told, _) in [end_of_updates(&mut frames).await, end_of_events(&mut events).await] {
        assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, "CREDENTIAL_INVALID"));
    }
    world.end((orders, frames, events), gateway).await;
}

#[tokio::test]
async fn with_another_sight_a_stream_goes_on_where_it_was() {
    let world = World::new().await;
    let mut config = world.config();
    // At first its own only, of which there are none.
    config.callers.push(caller("watcher", WATCHER, vec![grant("*", &[Permission::Read])]));
    let gateway = world.gateway_with(config).await;
    let (mut orders, mut watcher) = (client(&gateway).await, client_as(&gateway, Some(WATCHER)).await);
    let mut frames = follow(&mut watcher, v1::StreamStatusUpdatesRequest::default()).await;
    started(&mut frames).await;
    change(&gateway, "watcher", |caller| caller.grants = everything());
    let (told, cursor) = end_of_updates(&mut frames).await;
    assert_eq!((told.code, told.reason.as_str()), (Code::Aborted, "GRANTS_CHANGED"));
    let id = send(&mut orders, text(STUCK, "x")).await;
    let cursor = cursor.unwrap();
    let mut wider = follow(&mut watcher, from_cursor(&cursor)).await;
    started(&mut wider).await;
    assert_eq!(next_update(&mut wider).await.0.message_id, id);
    let mut cursor = next_update(&mut wider).await.1;
    // Narrower again: what is left out by that passes by without a word.
    change(&gateway, "watcher", |caller| caller.grants = vec![grant("*", &[Permission::Read, Permission::Send])]);
    while let Some(Frame::Update(_)) = wider.message().await.unwrap().map(|response| {
        response.cursor.clone_into(&mut cursor);
        response.frame.unwrap()
    }) {}
    assert_eq!(end_of_updates(&mut wider).await.0.reason, "GRANTS_CHANGED");
    send(&mut orders, text(STUCK, "not seen")).await;
    let own = send(&mut watcher, text(STUCK, "own")).await;
    let mut narrower = follow(&mut watcher, from_cursor(&cursor)).await;
    started(&mut narrower).await;
    assert_eq!(next_update(&mut narrower).await.0.message_id, own);
    world.end((orders, watcher, frames, wider, narrower), gateway).await;
}

#[tokio::test]
async fn a_change_that_takes_nothing_from_a_stream_leaves_it_alone() {
    let world = World::new().await;
    let gateway = gateway(&world).await;
    let mut orders = client(&gateway).await;
    let (mut frames, events) = watch(&gateway).await;
    let both = || vec![grant("*", &[Permission::Observe]), grant("*", &[Permission::Inbox])];
    change(&gateway, "watcher", |caller| "another".clone_into(&mut caller.description));
    change(&gateway, "watcher", |caller| caller.tokens.push(Token::of(TokenHash::of("pgt_second"))));
    change(&gateway, "watcher", |caller| caller.grants = both());
    // What a grant on all numbers covers already changes nothing.
    change(&gateway, "watcher", |caller| {
        caller.grants = both().into_iter().rev().chain([grant("wn_second", &[Permission::Observe])]).collect();
    });
    change(&gateway, "orders", |caller| caller.grants.push(grant("*", &[Permission::Observe])));
    gateway.identity().remove(&named("billing"));
    let id = send(&mut orders, text(STUCK, "x")).await;
    assert_eq!(next_update(&mut frames).await.0.message_id, id);
    world.end((orders, frames, events), gateway).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let world = World::new().await;
    let clock = Clock::at("2026-11-24T12:00:30Z");
    let mut config = world.config();
    let mut watcher = caller("watcher", WATCHER, everything());
    watcher.tokens[0].expire_time = Some("2026-11-24T13:00:30Z".parse().unwrap());
    let mut rotated = Token::of(TokenHash::of("pgt_rotated"));
    rotated.expire_time = Some("2026-11-24T18:00:00Z".parse().unwrap());
    watcher.tokens.extend([rotated, Token::of(TokenHash::of("pgt_lasting"))]);
    config.callers.push(watcher);
    let gateway = server::start(config, clock.sources()).await.unwrap();
    let mut orders = client(&gateway).await;
    let open = async |token| {
        let mut client = client_as(&gateway, Some(token)).await;
        let mut frames = follow(&mut client, v1::StreamStatusUpdatesRequest::default()).await;
        started(&mut frames).await;
        frames
    };
    let (mut first, mut second, mut lasting) =
        (open(WATCHER).await, open("pgt_rotated").await, open("pgt_lasting").await);
    clock.put_forward(3600);
    assert_eq!(end_of_updates(&mut first).await.0.reason, "CREDENTIAL_EXPIRED");
    // Rotated with a grace: it ends sooner than it was to.
    let soon = clock.now().checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    change(&gateway, "watcher", |caller| caller.tokens[1].expire_time = Some(soon));
    clock.put_forward(60);
    let (told, _) = end_of_updates(&mut second).await;
    assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, "CREDENTIAL_EXPIRED"));
    let id = send(&mut orders, text(STUCK, "x")).await;
    assert_eq!(next_update(&mut lasting).await.0.message_id, id);
    assert!(matches!(next_frame(&mut lasting).await.0, Frame::Update(_)));
    world.end((orders, first, second, lasting), gateway).await;
}

#[tokio::test]
async fn a_stream_of_sends_ends_with_its_credential_and_answers_what_it_has_taken() {
    let world = World::new().await;
    let gateway = gateway(&world).await;
    let mut watcher = client_as(&gateway, Some(WATCHER)).await;
    let (items, received) = mpsc::unbounded_channel();
    let received = stream::unfold(received, async |mut received| received.recv().await.map(|item| (item, received)));
    let mut results = watcher.send_messages(received).await.unwrap().into_inner();
    let item =
        |key: &str| v1::SendMessagesRequest { correlation_key: key.to_owned(), message: Some(text(READER, "x")) };
    items.send(item("before")).unwrap();
    let first = results.message().await.unwrap().unwrap();
    assert!(matches!(first.result, Some(v1::send_messages_response::Result::Accepted(_))));
    // The right to send goes item by item, and the stream stays.
    change(&gateway, "watcher", |caller| caller.grants = vec![grant("*", &[Permission::Observe])]);
    items.send(item("ungranted")).unwrap();
    let refused = results.message().await.unwrap().unwrap();
    assert!(
        matches!(&refused.result, Some(v1::send_messages_response::Result::Refused(status)) if status.code == Code::PermissionDenied as i32)
    );
    change(&gateway, "watcher", |caller| caller.disabled = true);
    items.send(item("after")).unwrap();
    let ended = async {
        loop {
            match results.message().await {
                // Read in the same moment.
                Ok(Some(result)) => match result.result {
                    Some(v1::send_messages_response::Result::Refused(status)) => {
                        assert_eq!(
                            (result.correlation_key.as_str(), status.code),
                            ("after", Code::Unauthenticated as i32)
                        );
                    }
                    other => panic!("{other:?}"),
                },
                Ok(None) => panic!("an end without an error"),
                Err(status) => return error_of::<()>(Err::<(), Status>(status)),
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("no end within 20 s");
    assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, "CREDENTIAL_INVALID"));
    assert_eq!(crate::support::sends(&world).len(), 1);
    world.end((watcher, results), gateway).await;
}
