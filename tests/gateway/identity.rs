//! Who is let in, and that nothing goes upstream for those who are not.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use http::{HeaderMap, header::AUTHORIZATION};
use pilotgate::{
    api::authenticate::AuthenticateLayer,
    config::{
        self,
        settings::{CallerSettings, GrantSettings},
    },
    domain::{
        caller::{Caller, Token},
        ids::CallerName,
        principal::{Permission, Principal},
        secret::TokenHash,
        sources::Sources,
    },
    identity::Identity,
    proto::v1::{self, CancelOutcome, StatusFilter, messaging_service_client::MessagingServiceClient},
    server::Gateway,
};
use prost::Message;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};
use tower::{Layer, Service};

use crate::support::{
    AUDITOR_TOKEN, OTHER_TOKEN, READER, STUCK, TOKEN, World, client_as, error_of, from_earliest, get, second_number,
    send, text, two_numbers,
};

const SERVICE: &str = "pilotgate.v1.MessagingService";
const INBOX: &str = "pilotgate.v1.InboxService";
const STRANGER_TOKEN: &str = "pgt_stranger-token-for-tests";

/// How every RPC of the service ended, by name, in the order of the schema; asked about this message.
async fn call_all(channel: &Channel, credential: Option<&str>, id: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let credential = credential.map(str::to_owned);
    let mut client = MessagingServiceClient::with_interceptor(channel.clone(), move |mut request: Request<()>| {
        if let Some(credential) = &credential {
            request.metadata_mut().insert("authorization", credential.parse().unwrap());
        }
        Ok(request)
    });
    let by_id = v1::get_message_request::Key::MessageId(id.to_owned());
    let lookup = v1::GetMessageRequest { key: Some(by_id), refresh: true };
    let cancel = v1::CancelMessagesRequest { message_ids: vec![id.to_owned()] };
    let item = v1::SendMessagesRequest { correlation_key: "k".to_owned(), message: Some(text(READER, "x")) };
    let bulk = match client.send_messages(futures_util::stream::iter([item])).await {
        Ok(results) => match results.into_inner().message().await.unwrap().unwrap().result.unwrap() {
            v1::send_messages_response::Result::Accepted(_) => Ok(()),
            // As it would have come from SendMessage.
            v1::send_messages_response::Result::Refused(refused) => {
                let details = refused.encode_to_vec().into();
                Err(Status::with_details(Code::from(refused.code), refused.message, details))
            }
        },
        Err(status) => Err(status),
    };
    vec![
        ("SendMessage", client.send_message(text(READER, "x")).await.map(drop)),
        ("SendMessages", bulk),
        ("GetMessage", client.get_message(lookup).await.map(drop)),
        ("ListMessages", client.list_messages(v1::ListMessagesRequest::default()).await.map(drop)),
        (
            "CancelMessages",
            client.cancel_messages(cancel).await.map(|response| {
                let results = response.into_inner().results;
                let not_found = v1::CancelResult { outcome: CancelOutcome::NotFound.into(), ..Default::default() };
                assert_eq!(results, [v1::CancelResult { message_id: id.to_owned(), ..not_found }]);
            }),
        ),
        ("StreamStatusUpdates", client.stream_status_updates(from_earliest()).await.map(drop)),
        ("CommitCursor", client.commit_cursor(v1::CommitCursorRequest::default()).await.map(drop)),
    ]
}

async fn connect(gateway: &Gateway) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap()
}

/// The rights of one caller on the numbers that this word covers.
fn caller(name: &str, token: &str, number: &str, permissions: &[Permission]) -> CallerSettings {
    CallerSettings {
        name: name.to_owned(),
        token_hashes: vec![TokenHash::of(token).to_hex()],
        grants: vec![GrantSettings {
            number: number.to_owned(),
            permissions: permissions.to_vec(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// All of a status that goes over the wire, but for the date.
fn on_the_wire<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String, Vec<u8>, Vec<String>) {
    let status = result.unwrap_err();
    let headers = status.metadata().clone().into_headers();
    let headers = headers.iter().filter(|(name, _)| *name != "date").map(|header| format!("{header:?}")).collect();
    (status.code(), status.message().to_owned(), status.details().to_vec(), headers)
}

#[tokio::test]
async fn without_a_known_credential_nothing_answers() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut orders = client_as(&gateway, Some(TOKEN)).await;
    let id = send(&mut orders, text(STUCK, "x")).await;
    let before = world.double.requests().len();
    let channel = connect(&gateway).await;
    let key = format!("Bearer {}", world.double.account().numbers[0].key);
    let hash = format!("Bearer {}", TokenHash::of(TOKEN).to_hex());
    let cases = [
        (None, "CREDENTIAL_MISSING"),
        (Some(""), "CREDENTIAL_INVALID"),
        (Some("Bearer"), "CREDENTIAL_INVALID"),
        (Some("Bearer "), "CREDENTIAL_INVALID"),
        (Some(TOKEN), "CREDENTIAL_INVALID"),
        (Some("Basic cGd0OnBndA=="), "CREDENTIAL_INVALID"),
        (Some("Token pgt_orders-token-for-tests"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_orders-token-for-test"), "CREDENTIAL_INVALID"),
        (Some("Bearer PGT_ORDERS-TOKEN-FOR-TESTS"), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_orders-token-for-tests x"), "CREDENTIAL_INVALID"),
        // What is written in the configuration opens nothing, and neither does what opens Pilot Status.
        (Some(hash.as_str()), "CREDENTIAL_INVALID"),
        (Some(key.as_str()), "CREDENTIAL_INVALID"),
    ];
    for (credential, reason) in cases {
        for (name, result) in call_all(&channel, credential, &id).await {
            let told = error_of(result);
            assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, reason), "{name} {credential:?}");
            assert!(!told.message.contains("pgt_"), "{told:?}");
        }
    }
    assert_eq!(world.double.requests().len(), before);
    assert_eq!(get(&mut orders, &id).await.attempts, 1);
    world.end((orders, channel), gateway).await;
}

#[tokio::test]
async fn every_call_asks_for_its_own_right() {
    let world = World::new().await;
    let mut settings = world.settings();
    let sender = "pgt_sender-token-for-tests";
    let nowhere = CallerSettings { grants: Vec::new(), ..caller("stranger", STRANGER_TOKEN, "*", &[]) };
    settings.callers.extend([nowhere, caller("sender", sender, "*", &[Permission::Send])]);
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let mut orders = client_as(&gateway, Some(TOKEN)).await;
    let id = send(&mut orders, text(STUCK, "x")).await;
    let before = world.double.requests().len();
    let channel = connect(&gateway).await;
    let denied = Some((Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    // Everyone has subscriptions of its own, for which no right is needed; the request is an empty one.
    let empty = Some((Code::InvalidArgument, "INVALID_REQUEST"));
    let unseen = Some((Code::NotFound, "MESSAGE_NOT_FOUND"));
    let names = [
        "SendMessage",
        "SendMessages",
        "GetMessage",
        "ListMessages",
        "CancelMessages",
        "StreamStatusUpdates",
        "CommitCursor",
    ];
    let stranger = [denied, denied, unseen, denied, None, denied, empty];
    // It reads its own messages, and this one is not.
    let billing = [None, None, unseen, None, None, None, empty];
    let auditor = [denied, denied, None, None, None, None, empty];
    let blind = [None, None, unseen, denied, None, denied, empty];
    let cases =
        [(STRANGER_TOKEN, stranger, 0), (sender, blind, 2), (OTHER_TOKEN, billing, 2), (AUDITOR_TOKEN, auditor, 1)];
    let mut reached = before;
    for (token, expected, requests) in cases {
        let ended = call_all(&channel, Some(&format!("Bearer {token}")), &id).await;
        for ((name, result), (expected_name, expected)) in ended.into_iter().zip(names.into_iter().zip(expected)) {
            let told = result.is_err().then(|| error_of(result));
            let told = told.as_ref().map(|told| (told.code, told.reason.as_str()));
            assert_eq!((name, told), (expected_name, expected), "{token}");
        }
        // What was refused did not reach the double: sends, or the auditor's read-back, are all there is.
        reached += requests;
        assert_eq!(world.double.requests().len(), reached, "{token}");
    }
    let set = prost_types::FileDescriptorSet::decode(pilotgate::proto::DESCRIPTOR_SET).unwrap();
    let service = set.file.iter().flat_map(|file| &file.service).find(|one| one.name() == "MessagingService").unwrap();
    assert_eq!(service.method.iter().map(|method| method.name()).collect::<Vec<_>>(), names);
    world.end((orders, channel), gateway).await;
}

#[tokio::test]
async fn whether_a_number_exists_is_not_told() {
    let world = World::with(two_numbers()).await;
    let mut settings = world.settings();
    settings.numbers.push(second_number(&world));
    let everything = [Permission::Send, Permission::Cancel, Permission::Read, Permission::Observe];
    settings.callers.push(caller("narrow", "pgt_narrow-token-for-tests", "wn_second", &everything));
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let before = world.double.requests().len();
    let mut narrow = client_as(&gateway, Some("pgt_narrow-token-for-tests")).await;
    let mut refused = Vec::new();
    // Not granted by its three names, then unknown in the three shapes.
    for number in ["wn_sandbox", "wn_upstream_id", "+5511900000000", "wn_nowhere", "x".repeat(500).as_str(), "+1"] {
        let number = number.to_owned();
        let sent = narrow.send_message(v1::SendMessageRequest { number: number.clone(), ..text(READER, "x") }).await;
        // What else is wrong with the request is not told either.
        let empty = v1::SendMessageRequest { number: number.clone(), ..Default::default() };
        let key = v1::UpstreamKey { number: number.clone(), upstream_id: "x".to_owned() };
        let key = Some(v1::get_message_request::Key::Upstream(key));
        let filter = Some(StatusFilter { numbers: vec![number], ..Default::default() });
        refused.push([
            on_the_wire(sent),
            on_the_wire(narrow.send_message(empty).await),
            on_the_wire(narrow.get_message(v1::GetMessageRequest { key, refresh: true }).await),
            on_the_wire(
                narrow.stream_status_updates(v1::StreamStatusUpdatesRequest { filter, ..from_earliest() }).await,
            ),
        ]);
    }
    for other in &refused {
        assert_eq!(other, &refused[0]);
    }
    assert_eq!(refused[0].each_ref().map(|(code, ..)| *code), [Code::PermissionDenied; 4]);
    assert_eq!(world.double.requests().len(), before);
    let allowed = v1::SendMessageRequest { number: "wn_second".to_owned(), ..text(STUCK, "x") };
    send(&mut narrow, allowed).await;
    world.end(narrow, gateway).await;
}

/// Keeps the head of every request that comes through.
#[derive(Clone, Default)]
struct Inner(Arc<Mutex<Vec<(HeaderMap, Principal)>>>);

impl Service<http::Request<()>> for Inner {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<()>) -> Self::Future {
        let principal = request.extensions().get::<Principal>().unwrap().clone();
        self.0.lock().unwrap().push((request.headers().clone(), principal));
        std::future::ready(Ok(http::Response::new(tonic::body::Body::empty())))
    }
}

#[tokio::test]
async fn the_credential_goes_no_further_than_the_door() {
    let name = CallerName::from_text("orders").unwrap();
    let token = Token::of(TokenHash::of(TOKEN));
    let credential = format!("token:{}", token.id);
    let identity = Identity::of(vec![Caller { tokens: vec![token], ..Caller::named(name.clone()) }]);
    let inner = Inner::default();
    let mut door = AuthenticateLayer::new(Arc::new(identity), Sources::system()).layer(inner.clone());
    let right = format!("Bearer {TOKEN}");
    let cases: [(&[&str], bool); 5] = [
        (&[&right], true),
        (&[&format!("bearer  {TOKEN} ")], true),
        // Of two credentials the first counts, and the second goes no further either.
        (&[&right, "Bearer x"], true),
        (&["Bearer x", &right], false),
        (&[], false),
    ];
    for (credentials, accepted) in cases {
        let mut request = http::Request::builder().header("x-request-id", "r-1");
        for credential in credentials {
            request = request.header(AUTHORIZATION, *credential);
        }
        let response = door.call(request.body(()).unwrap()).await.unwrap();
        let seen = inner.0.lock().unwrap().drain(..).collect::<Vec<_>>();
        if accepted {
            let rest = HeaderMap::from_iter([("x-request-id".parse().unwrap(), "r-1".parse().unwrap())]);
            let principal = Principal { caller: name.clone(), credential: credential.as_str().into(), expires: None };
            assert_eq!(seen, [(rest, principal)], "{credentials:?}");
        } else {
            assert_eq!(seen, [], "{credentials:?}");
            assert_eq!(response.headers()["grpc-status"], "16");
        }
    }
}

#[tokio::test]
async fn health_answers_everyone() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut health = HealthClient::new(connect(&gateway).await);
    for service in ["", SERVICE, INBOX] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "unknown".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    world.end(health, gateway).await;
}

#[tokio::test]
async fn reflection_answers_everyone_in_both_versions() {
    /// Asks one version for its services, and for the files in which these symbols are defined.
    macro_rules! reflect {
        ($pb:ident, $channel:expr, $symbols:expr) => {{
            use $pb::{server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse};
            let mut client = $pb::server_reflection_client::ServerReflectionClient::new($channel.clone());
            let symbols = $symbols.map(|symbol| Ask::FileContainingSymbol(symbol.to_owned()));
            let questions = [Ask::ListServices(String::new())]
                .into_iter()
                .chain(symbols)
                .map(|question| $pb::ServerReflectionRequest { host: String::new(), message_request: Some(question) });
            let questions = futures_util::stream::iter(questions.collect::<Vec<_>>());
            let mut answers = client.server_reflection_info(questions).await.unwrap().into_inner();
            let mut told = (Vec::new(), Vec::new());
            while let Some(answer) = answers.message().await.unwrap() {
                match answer.message_response.unwrap() {
                    MessageResponse::ListServicesResponse(services) => {
                        told.0.extend(services.service.into_iter().map(|service| service.name));
                    }
                    MessageResponse::FileDescriptorResponse(files) => {
                        let file = &files.file_descriptor_proto[0][..];
                        told.1.push(prost_types::FileDescriptorProto::decode(file).unwrap().name().to_owned());
                    }
                    other => panic!("{other:?}"),
                }
            }
            told.0.sort();
            told
        }};
    }
    let world = World::new().await;
    let mut settings = world.settings();
    settings.admin.listen = "127.0.0.1:0".to_owned();
    let gateway = world.gateway_with(pilotgate::config::check_in_memory(settings).unwrap()).await;
    let channel = connect(&gateway).await;
    let symbols = ["pilotgate.v1.StatusUpdate", SERVICE, INBOX, "google.rpc.ErrorInfo", "google.protobuf.Timestamp"];
    let files = [
        "pilotgate/v1/messaging_service.proto",
        "pilotgate/v1/messaging_service.proto",
        "pilotgate/v1/inbox_service.proto",
        "error_details.proto",
        "google/protobuf/timestamp.proto",
    ];
    let services = |version: &str| {
        let reflection = format!("grpc.reflection.{version}.ServerReflection");
        vec!["grpc.health.v1.Health".to_owned(), reflection, INBOX.to_owned(), SERVICE.to_owned()]
    };
    let files = files.map(str::to_owned).to_vec();
    assert_eq!(reflect!(reflection, channel, symbols), (services("v1"), files.clone()));
    assert_eq!(reflect!(reflection_alpha, channel, symbols), (services("v1alpha"), files));
    drop(channel);
    gateway.shutdown().await;

    let mut settings = world.settings();
    settings.grpc.reflection = false;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let channel = connect(&gateway).await;
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel);
    let hidden = client.server_reflection_info(futures_util::stream::empty()).await.unwrap_err();
    assert_eq!(hidden.code(), Code::Unimplemented);
    world.end(client, gateway).await;
}
