//! Every RPC there is, by whoever may call: the exact code and reason, and what went upstream for it.
//!
//! The RPCs are those of the schema, called by their paths, so that one that is added is asked about here from then on.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut};
use futures_util::stream;
use pilotgate::{
    config::Config,
    domain::{
        caller::{Caller, Token},
        principal::{AdminRight, Permission},
        secret::TokenHash,
    },
    proto::v1,
    server::Gateway,
};
use prost::Message;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    rights::{caller, grant, named},
    support::{NUMBER, STUCK, TOKEN, World, client, error_of, follow, send, sends, started, text},
};

const UNGRANTED: &str = "pgt_ungranted";
const STRANGER: &str = "pgt_stranger";
const OBSERVER: &str = "pgt_observer";

/// Messages as they are on the wire.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// Calls any kind of RPC with one message, and waits for the first answer or the end.
async fn call(
    channel: &Channel,
    path: &str,
    message: Vec<u8>,
    authorization: Option<&str>,
) -> Result<Option<Vec<u8>>, Status> {
    let mut request = Request::new(stream::iter([message]));
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", value.parse().unwrap());
    }
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut answers = grpc.streaming(request, path.parse().unwrap(), Raw).await?.into_inner();
    answers.message().await
}

async fn call_as(channel: &Channel, path: &str, message: Vec<u8>, token: &str) -> Result<Option<Vec<u8>>, Status> {
    call(channel, path, message, Some(&format!("Bearer {token}"))).await
}

/// The code and the reason; `None` if it went well.
fn ended<T: std::fmt::Debug>(result: Result<T, Status>) -> Option<(Code, String)> {
    result.is_err().then(|| {
        let told = error_of(result);
        (told.code, told.reason)
    })
}

/// The RPCs of a package, by service.
fn rpcs(package: &str) -> BTreeMap<String, Vec<String>> {
    let set = prost_types::FileDescriptorSet::decode(pilotgate::proto::DESCRIPTOR_SET).unwrap();
    let files = set.file.iter().filter(|file| file.package() == package);
    let services = files.flat_map(|file| &file.service).map(|service| {
        let methods = service.method.iter().map(|method| method.name().to_owned()).collect();
        (format!("{package}.{}", service.name()), methods)
    });
    services.collect()
}

fn paths(package: &str) -> Vec<String> {
    let services = rpcs(package).into_iter();
    services.flat_map(|(service, rpcs)| rpcs.into_iter().map(move |rpc| format!("/{service}/{rpc}"))).collect()
}

async fn is_served(channel: &Channel, service: &str) -> bool {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel.clone()).check(request).await.is_ok()
}

async fn connect(gateway: &Gateway) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap()
}

/// Callers whose credentials are no good, each with every right there is.
fn powerless(config: &mut Config) -> Vec<(Option<&'static str>, &'static str)> {
    let everything = || {
        use Permission::{Cancel, Inbox, Observe, Read, Send};
        let grants = vec![grant("*", &[Send, Cancel, Read, Observe, Inbox])];
        let caller = caller("x", "x", grants);
        Caller { admin: AdminRight::all().collect(), ..caller }
    };
    let past = Some("2020-01-01T00:00:00Z".parse().unwrap());
    let with = |name: &str, token: Token| Caller { tokens: vec![token], name: named(name), ..everything() };
    let token = |text: &str| Token::of(TokenHash::of(text));
    config.callers.extend([
        with("expired", Token { expire_time: past, ..token("pgt_expired") }),
        with("revoked", Token { revoke_time: past, ..token("pgt_revoked") }),
        with("both", Token { revoke_time: past, expire_time: past, ..token("pgt_both") }),
        Caller { disabled: true, ..with("disabled", token("pgt_disabled")) },
    ]);
    vec![
        (None, "CREDENTIAL_MISSING"),
        (Some(""), "CREDENTIAL_INVALID"),
        (Some("Basic cGd0OnBndA=="), "CREDENTIAL_INVALID"),
        (Some("pgt_orders-token-for-tests"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_nobody"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_expired"), "CREDENTIAL_EXPIRED"),
        (Some("Bearer pgt_revoked"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_both"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_disabled"), "CREDENTIAL_INVALID"),
    ]
}

#[tokio::test]
async fn without_a_credential_that_counts_no_rpc_answers() {
    let world = World::new().await;
    let mut config = world.config();
    let cases = powerless(&mut config);
    let gateway = world.gateway_with(config).await;
    let channel = connect(&gateway).await;
    let before = world.double.requests().len();
    let mut asked = 0;
    for (service, rpcs) in rpcs("pilotgate.v1").into_iter().chain(rpcs("pilotgate.admin.v1")) {
        for rpc in rpcs.iter().map(String::as_str).chain(["NoSuchRpc"]) {
            let path = format!("/{service}/{rpc}");
            if !is_served(&channel, &service).await {
                let status = call_as(&channel, &path, Vec::new(), TOKEN).await.unwrap_err();
                assert_eq!(status.code(), Code::Unimplemented, "{path} answers, and health does not tell of it");
                continue;
            }
            for (authorization, reason) in &cases {
                let told = ended(call(&channel, &path, Vec::new(), *authorization).await);
                assert_eq!(told, Some((Code::Unauthenticated, (*reason).to_owned())), "{path} {authorization:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 100, "{asked}");
    // There is nothing else that answers, but health and reflection.
    for path in ["/pilotgate.v1.NoService/Do", "/grpc.channelz.v1.Channelz/GetServers"] {
        assert_eq!(call(&channel, path, Vec::new(), None).await.unwrap_err().code(), Code::Unimplemented);
    }
    assert_eq!(world.double.requests().len(), before);
    world.end(channel, gateway).await;
}

/// A request for each RPC of the callers' services, about this message and behind this cursor.
fn requests(id: &str, cursor: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let numbers = vec![NUMBER.to_owned()];
    let filter = Some(v1::StatusFilter { numbers: numbers.clone(), ..Default::default() });
    let item = v1::SendMessagesRequest { correlation_key: "k".to_owned(), message: Some(text(STUCK, "x")) };
    let key = Some(v1::get_message_request::Key::MessageId(id.to_owned()));
    BTreeMap::from([
        ("SendMessage", text(STUCK, "x").encode_to_vec()),
        ("SendMessages", item.encode_to_vec()),
        ("GetMessage", v1::GetMessageRequest { key, refresh: true }.encode_to_vec()),
        ("ListMessages", v1::ListMessagesRequest { numbers: numbers.clone(), ..Default::default() }.encode_to_vec()),
        ("CancelMessages", v1::CancelMessagesRequest { message_ids: vec![id.to_owned()] }.encode_to_vec()),
        ("StreamStatusUpdates", v1::StreamStatusUpdatesRequest { filter, ..Default::default() }.encode_to_vec()),
        (
            "CommitCursor",
            v1::CommitCursorRequest { subscription: "s".to_owned(), cursor: cursor.to_owned() }.encode_to_vec(),
        ),
        (
            "StreamInboundEvents",
            v1::StreamInboundEventsRequest {
                filter: Some(v1::InboundFilter { numbers, ..Default::default() }),
                ..Default::default()
            }
            .encode_to_vec(),
        ),
    ])
}

/// How it ended, with what a bulk item or a cancel result says in place of a call of its own.
fn outcome(rpc: &str, result: Result<Option<Vec<u8>>, Status>) -> Option<(Code, String)> {
    let bytes = match result {
        Ok(bytes) => bytes.unwrap(),
        Err(status) => return ended::<()>(Err(status)),
    };
    match rpc {
        "SendMessages" => match v1::SendMessagesResponse::decode(&bytes[..]).unwrap().result.unwrap() {
            v1::send_messages_response::Result::Accepted(_) => None,
            v1::send_messages_response::Result::Refused(refused) => {
                let details = refused.encode_to_vec().into();
                ended::<()>(Err(Status::with_details(Code::from(refused.code), refused.message, details)))
            }
        },
        "CancelMessages" => {
            let results = v1::CancelMessagesResponse::decode(&bytes[..]).unwrap().results;
            (results[0].outcome() == v1::CancelOutcome::NotFound).then(|| (Code::Ok, "NOT_FOUND".to_owned()))
        }
        "GetMessage" => {
            let message = v1::GetMessageResponse::decode(&bytes[..]).unwrap().message.unwrap();
            assert_eq!(message.caller, "orders");
            None
        }
        "ListMessages" => {
            let messages = v1::ListMessagesResponse::decode(&bytes[..]).unwrap().messages;
            (!messages.iter().any(|message| message.caller == "orders"))
                .then(|| (Code::Ok, "NONE_OF_ORDERS".to_owned()))
        }
        _ => None,
    }
}

#[tokio::test]
async fn every_rpc_of_the_callers_goes_by_its_own_right() {
    use Permission::{Cancel, Inbox, Observe, Read, Send};
    let world = World::new().await;
    let mut config = world.config();
    config.callers[0].grants = vec![grant("*", &[Send, Cancel, Read, Inbox])];
    config.callers.extend([
        // Every right, on a number that is not this one.
        caller("ungranted", UNGRANTED, vec![grant("wn_other", &[Send, Cancel, Read, Observe, Inbox])]),
        // Every right on this number over what is its own, and these are another's messages.
        caller("stranger", STRANGER, vec![grant(NUMBER, &[Send, Cancel, Read, Inbox])]),
        caller("observer", OBSERVER, vec![grant(NUMBER, &[Observe])]),
    ]);
    let gateway = world.gateway_with(config).await;
    let mut orders = client(&gateway).await;
    let id = send(&mut orders, text(STUCK, "x")).await;
    let named = v1::StreamStatusUpdatesRequest { subscription: "s".to_owned(), ..Default::default() };
    let mut frames = follow(&mut orders, named).await;
    let cursor = started(&mut frames).await.1;
    let channel = connect(&gateway).await;
    let requests = requests(&id, &cursor);
    let denied = Some((Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    let unseen = Some((Code::NotFound, "MESSAGE_NOT_FOUND"));
    let no_subscription = Some((Code::NotFound, "SUBSCRIPTION_NOT_FOUND"));
    let not_canceled = Some((Code::Ok, "NOT_FOUND"));
    let no_listed = Some((Code::Ok, "NONE_OF_ORDERS"));
    // By RPC: ungranted, a stranger to the message, an observer, and whose it is.
    let expected = BTreeMap::from([
        ("SendMessage", [denied, None, denied, None]),
        ("SendMessages", [denied, None, denied, None]),
        ("GetMessage", [unseen, unseen, None, None]),
        ("ListMessages", [denied, no_listed, no_listed, None]),
        ("CancelMessages", [not_canceled, not_canceled, not_canceled, None]),
        ("StreamStatusUpdates", [denied, None, None, None]),
        ("CommitCursor", [no_subscription, no_subscription, no_subscription, None]),
        ("StreamInboundEvents", [denied, None, denied, None]),
    ]);
    let paths = paths("pilotgate.v1");
    assert_eq!(paths.len(), expected.len(), "{paths:?}");
    for (column, token) in [UNGRANTED, STRANGER, OBSERVER, TOKEN].into_iter().enumerate() {
        for path in &paths {
            let rpc = path.rsplit('/').next().unwrap();
            let before = (world.double.requests().len(), sends(&world).len());
            let told = outcome(rpc, call_as(&channel, path, requests[rpc].clone(), token).await);
            let told = told.as_ref().map(|(code, reason)| (*code, reason.as_str()));
            assert_eq!(told, expected[rpc][column], "{rpc} {token}");
            let after = (world.double.requests().len(), sends(&world).len());
            // A send is one, a refresh and a cancel ask, and all else is known here.
            let asks = usize::from(told.is_none() && matches!(rpc, "SendMessage" | "SendMessages"));
            assert_eq!(after.1 - before.1, asks, "{rpc} {token}");
            if !(told.is_none() && matches!(rpc, "SendMessage" | "SendMessages" | "GetMessage" | "CancelMessages")) {
                assert_eq!(after.0, before.0, "{rpc} {token}");
            }
        }
    }
    world.end((orders, frames, channel), gateway).await;
}

/// The area of each service of the platform team.
fn area(service: &str) -> &'static str {
    match service.rsplit('.').next().unwrap() {
        "NumberService" => "numbers",
        "CallerService" => "callers",
        "AuditService" => "audit",
        "OutboxService" => "outbox",
        "SubscriptionService" => "subscriptions",
        "VaultService" => "vault",
        other => panic!("whose right {other} takes is not known here"),
    }
}

#[tokio::test]
async fn every_rpc_of_the_platform_team_takes_the_right_over_its_area() {
    const AREAS: [&str; 6] = ["numbers", "callers", "audit", "outbox", "subscriptions", "vault"];
    let world = World::new().await;
    let mut config = world.config();
    let with = |name: String, rights: Vec<String>| {
        let admin = rights.iter().map(|right| right.parse().unwrap()).collect();
        Caller { admin, ..caller(&name, &format!("pgt_{name}"), vec![grant("*", &[Permission::Send])]) }
    };
    for area in AREAS {
        let others = AREAS.iter().filter(|other| **other != area).map(|other| format!("{other}.manage")).collect();
        config.callers.extend([
            with(format!("all-but-{area}"), others),
            with(format!("view-{area}"), vec![format!("{area}.view")]),
            with(format!("manage-{area}"), vec![format!("{area}.manage")]),
        ]);
    }
    let gateway = world.gateway_with(config).await;
    let channel = connect(&gateway).await;
    let before = world.double.requests().len();
    let mut asked = 0;
    for (service, rpcs) in rpcs("pilotgate.admin.v1") {
        let area = area(&service);
        if !is_served(&channel, &service).await {
            continue;
        }
        for rpc in rpcs {
            let path = format!("/{service}/{rpc}");
            let looks = ["Get", "List", "Verify", "Check"].iter().any(|word| rpc.starts_with(word));
            let right = format!("{area}.{}", if looks { "view" } else { "manage" });
            let denied = |result| {
                let told = error_of::<Option<Vec<u8>>>(result);
                assert_eq!((told.code, told.reason.as_str()), (Code::PermissionDenied, "NOT_ADMINISTRATOR"), "{path}");
                assert_eq!(told.metadata["right"], right, "{path}");
            };
            denied(call_as(&channel, &path, Vec::new(), TOKEN).await);
            denied(call_as(&channel, &path, Vec::new(), &format!("pgt_all-but-{area}")).await);
            let view = call_as(&channel, &path, Vec::new(), &format!("pgt_view-{area}")).await;
            if looks {
                assert_ne!(code(&view), Code::PermissionDenied, "{path}")
            } else {
                denied(view)
            }
            asked += 3;
            // Before anybody with the right asks: nothing of this went further.
            assert_eq!(if looks { before } else { world.double.requests().len() }, before, "{path}");
        }
    }
    assert_eq!(world.double.requests().len(), before);
    for (service, rpcs) in rpcs("pilotgate.admin.v1") {
        if is_served(&channel, &service).await {
            for rpc in rpcs {
                let path = format!("/{service}/{rpc}");
                let managing = call_as(&channel, &path, Vec::new(), &format!("pgt_manage-{}", area(&service))).await;
                let refused = [Code::PermissionDenied, Code::Unauthenticated, Code::Unimplemented];
                assert!(!refused.contains(&code(&managing)), "{path} {managing:?}");
            }
        }
    }
    assert!(asked >= 21, "{asked}");
    world.end(channel, gateway).await;
}

fn code<T>(result: &Result<T, Status>) -> Code {
    result.as_ref().err().map_or(Code::Ok, Status::code)
}
