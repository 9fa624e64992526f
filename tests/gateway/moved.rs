//! SubscriptionService: where every caller's subscriptions stand, and moving them.

use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        secret::TokenHash,
    },
    proto::{
        admin::v1::{
            self as admin, seek_subscription_request::Target, subscription_service_client::SubscriptionServiceClient,
        },
        v1::{self, Position},
    },
    server::Gateway,
};
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use crate::support::{
    Bearer, Client, Frames, OTHER_TOKEN, STUCK, World, bearer, client, client_as, error_of, follow, next_update, send,
    started, text,
};

const OPERATOR: &str = "pgt_operator-token-for-tests";

type Subscriptions = SubscriptionServiceClient<InterceptedService<Channel, Bearer>>;

fn config(world: &World) -> Config {
    let mut config = world.config();
    let tokens = vec![Token::of(TokenHash::of(OPERATOR))];
    let admin = vec!["subscriptions.manage".parse().unwrap()];
    config.callers.push(Caller { tokens, admin, ..Caller::named("operator".to_owned().try_into().unwrap()) });
    config
}

async fn subscriptions(gateway: &Gateway) -> Subscriptions {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    SubscriptionServiceClient::with_interceptor(channel, bearer(Some(OPERATOR)))
}

fn named(name: &str) -> v1::StreamStatusUpdatesRequest {
    v1::StreamStatusUpdatesRequest { subscription: name.to_owned(), ..Default::default() }
}

async fn commit(client: &mut Client, cursor: &str) -> v1::CommitCursorResponse {
    let request = v1::CommitCursorRequest { subscription: "projector".to_owned(), cursor: cursor.to_owned() };
    client.commit_cursor(request).await.unwrap().into_inner()
}

async fn seek(operator: &mut Subscriptions, target: Target) -> Result<admin::Subscription, tonic::Status> {
    let request = admin::SeekSubscriptionRequest {
        caller: "orders".to_owned(),
        name: "projector".to_owned(),
        target: Some(target),
        reason: "projection rebuilt".to_owned(),
    };
    operator.seek_subscription(request).await.map(|answer| answer.into_inner().subscription.unwrap())
}

/// How a stream ended.
async fn end_of(frames: &mut Frames) -> (Code, String) {
    let end = async {
        loop {
            if let Err(status) = frames.message().await {
                let told = error_of::<()>(Err(status));
                return (told.code, told.reason);
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), end).await.expect("no end within 20 s")
}

#[tokio::test]
async fn a_moved_subscription_resumes_where_it_was_put() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, subscriptions(&gateway).await);
    let mut frames = follow(&mut orders, named("projector")).await;
    started(&mut frames).await;
    let mut updates = Vec::new();
    for body in ["a", "b"] {
        send(&mut orders, text(STUCK, body)).await;
        for _ in 0..2 {
            updates.push(next_update(&mut frames).await);
        }
    }
    commit(&mut orders, &updates[2].1).await;
    let list = admin::ListSubscriptionsRequest::default();
    let listed = operator.list_subscriptions(list.clone()).await.unwrap().into_inner().subscriptions;
    let [stands] = &listed[..] else { panic!("{listed:?}") };
    let expected = admin::Subscription {
        caller: "orders".to_owned(),
        name: "projector".to_owned(),
        cursor: updates[2].1.clone(),
        backlog: 1,
        connected: true,
        use_time: stands.use_time,
    };
    assert_eq!(*stands, expected);

    let moved = seek(&mut operator, Target::Position(Position::Earliest.into())).await.unwrap();
    assert_eq!((moved.backlog, moved.connected), (4, false));
    assert_eq!(end_of(&mut frames).await, (Code::Aborted, "SUBSCRIPTION_MOVED".to_owned()));
    // What the old stream brought is acknowledged too late to take the move back.
    let acknowledged = commit(&mut orders, &updates[3].1).await;
    assert_eq!((acknowledged.backlog, &acknowledged.cursor), (4, &moved.cursor));
    let mut frames = follow(&mut orders, named("projector")).await;
    started(&mut frames).await;
    for (expected, cursor) in &updates {
        assert_eq!(next_update(&mut frames).await, (expected.clone(), cursor.clone()));
    }
    assert_eq!(commit(&mut orders, &updates[1].1).await.cursor, updates[1].1, "acknowledged as ever");

    let moved = seek(&mut operator, Target::Cursor(updates[3].1.clone())).await.unwrap();
    assert_eq!((moved.backlog, &moved.cursor), (0, &updates[3].1));
    let foreign = seek(&mut operator, Target::Cursor("x".to_owned())).await;
    assert_eq!(error_of(foreign).reason, "CURSOR_INVALID");
    drop((orders, operator, frames));
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_deleted_subscription_ends_its_stream_and_begins_anew() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, subscriptions(&gateway).await);
    let mut frames = follow(&mut orders, named("projector")).await;
    started(&mut frames).await;
    let request = admin::DeleteSubscriptionRequest {
        caller: "orders".to_owned(),
        name: "projector".to_owned(),
        reason: String::new(),
    };
    operator.delete_subscription(request.clone()).await.unwrap();
    assert_eq!(end_of(&mut frames).await, (Code::Aborted, "SUBSCRIPTION_MOVED".to_owned()));
    let told = error_of(operator.delete_subscription(request).await);
    assert_eq!((told.code, told.reason.as_str()), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND"));
    send(&mut orders, text(STUCK, "missed")).await;
    let mut frames = follow(&mut orders, named("projector")).await;
    assert_eq!(started(&mut frames).await.0.backlog, 0, "a new one begins with what comes next");
    drop((orders, operator, frames));
    gateway.shutdown().await;
}

#[tokio::test]
async fn subscriptions_are_listed_in_order_and_page_by_page() {
    let world = World::new().await;
    let gateway = world.gateway_with(config(&world)).await;
    let (mut orders, mut operator) = (client(&gateway).await, subscriptions(&gateway).await);
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    let mut streams = Vec::new();
    for name in ["b", "a"] {
        streams.push(follow(&mut orders, named(name)).await);
        streams.push(follow(&mut billing, named(name)).await);
    }
    for frames in &mut streams {
        started(frames).await;
    }
    let mut request = admin::ListSubscriptionsRequest { page_size: 3, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = operator.list_subscriptions(request.clone()).await.unwrap().into_inner();
        listed.extend(page.subscriptions.into_iter().map(|one| format!("{}/{}", one.caller, one.name)));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(listed, ["billing/a", "billing/b", "orders/a", "orders/b"]);
    request = admin::ListSubscriptionsRequest { caller: "orders".to_owned(), ..Default::default() };
    let own = operator.list_subscriptions(request).await.unwrap().into_inner().subscriptions;
    assert_eq!(own.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["a", "b"]);
    drop((orders, billing, operator, streams));
    gateway.shutdown().await;
}
