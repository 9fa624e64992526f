//! Who is let in, and that nothing goes upstream for those who are not.

use pilotgate::proto::v1::{self, messaging_service_client::MessagingServiceClient};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1 as reflection, v1alpha as reflection_alpha};

use crate::support::{
    AUDITOR_TOKEN, OTHER_TOKEN, READER, TOKEN, Told, World, client_as, error_of, from_earliest, text,
};

/// How a call ended, for every RPC of the service in the order of the schema.
async fn call_all(channel: &Channel, credential: Option<&str>) -> Vec<Result<(), Status>> {
    let credential = credential.map(str::to_owned);
    let mut client = MessagingServiceClient::with_interceptor(channel.clone(), move |mut request: Request<()>| {
        if let Some(credential) = &credential {
            request.metadata_mut().insert("authorization", credential.parse().unwrap());
        }
        Ok(request)
    });
    let upstream = v1::UpstreamKey { number: "wn_sandbox".to_owned(), upstream_id: "x".to_owned() };
    let get =
        v1::GetMessageRequest { key: Some(v1::get_message_request::Key::Upstream(upstream)), ..Default::default() };
    let cancel = v1::CancelMessagesRequest { message_ids: vec!["01970000-0000-7000-8000-000000000000".to_owned()] };
    vec![
        client.send_message(text(READER, "x")).await.map(drop),
        client.send_messages(futures_util::stream::empty()).await.map(drop),
        client.get_message(get).await.map(drop),
        client.list_messages(v1::ListMessagesRequest::default()).await.map(drop),
        client.cancel_messages(cancel).await.map(drop),
        client.stream_status_updates(from_earliest()).await.map(drop),
        client.commit_cursor(v1::CommitCursorRequest::default()).await.map(drop),
    ]
}

#[tokio::test]
async fn without_a_known_credential_nothing_answers() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let before = world.double.requests().len();
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    let key = format!("Bearer {}", world.double.account().numbers[0].key);
    let cases = [
        (None, "CREDENTIAL_MISSING"),
        (Some(""), "CREDENTIAL_INVALID"),
        (Some("Bearer"), "CREDENTIAL_INVALID"),
        (Some("Bearer "), "CREDENTIAL_INVALID"),
        (Some(TOKEN), "CREDENTIAL_INVALID"),
        (Some("Basic cGd0OnBndA=="), "CREDENTIAL_INVALID"),
        (Some("Bearer pgt_orders-token-for-test"), "CREDENTIAL_INVALID"),
        (Some(key.as_str()), "CREDENTIAL_INVALID"),
    ];
    for (credential, reason) in cases {
        for result in call_all(&channel, credential).await {
            let told = error_of(result);
            assert_eq!((told.code, told.reason.as_str()), (Code::Unauthenticated, reason), "{credential:?}");
        }
    }
    assert_eq!(world.double.requests().len(), before);
    drop(channel);
    gateway.shutdown().await;
    world.double.shutdown().await;
}

#[tokio::test]
async fn a_caller_does_what_it_was_granted_and_nothing_else() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let before = world.double.requests().len();
    let mut auditor = client_as(&gateway, Some(AUDITOR_TOKEN)).await;
    let refused = error_of(auditor.send_message(text(READER, "x")).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    // Whether the number exists is not told, and neither is what else is wrong with the request.
    let absent = v1::SendMessageRequest { number: "no-such-number".to_owned(), ..Default::default() };
    assert_eq!(error_of(auditor.send_message(absent.clone()).await), refused);
    let mut billing = client_as(&gateway, Some(OTHER_TOKEN)).await;
    assert_eq!(error_of(billing.send_message(absent).await), refused);
    assert_eq!(world.double.requests().len(), before);
    world.end((auditor, billing), gateway).await;
}

#[tokio::test]
async fn a_caller_without_sight_is_refused_streams_and_lookups() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.callers[0].grants[0].permissions = vec![pilotgate::domain::principal::Permission::Send];
    let gateway = world.gateway_with(pilotgate::config::check_in_memory(settings).unwrap()).await;
    let mut blind = client_as(&gateway, Some(TOKEN)).await;
    let sent = blind.send_message(text(READER, "x")).await.unwrap().into_inner().message.unwrap();
    let refused = error_of(blind.stream_status_updates(from_earliest()).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "NUMBER_NOT_GRANTED"));
    let get = v1::GetMessageRequest {
        key: Some(v1::get_message_request::Key::MessageId(sent.message_id)),
        ..Default::default()
    };
    let hidden: Told = error_of(blind.get_message(get).await);
    assert_eq!(hidden.reason, "MESSAGE_NOT_FOUND");
    world.end(blind, gateway).await;
}

#[tokio::test]
async fn health_and_reflection_answer_everyone() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "pilotgate.v1.MessagingService"] {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "unknown".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let expected = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "pilotgate.v1.MessagingService"];
    let mut client = reflection::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let ask = |message_request| reflection::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    use reflection::{server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse};
    let questions = [
        ask(Ask::ListServices(String::new())),
        ask(Ask::FileContainingSymbol("pilotgate.v1.StatusUpdate".to_owned())),
        ask(Ask::FileContainingSymbol("google.rpc.ErrorInfo".to_owned())),
    ];
    let mut answers = client.server_reflection_info(futures_util::stream::iter(questions)).await.unwrap().into_inner();
    let listed = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let mut names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, expected);
    for _ in 0..2 {
        let file = answers.message().await.unwrap().unwrap().message_response.unwrap();
        assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
    }

    let mut client = reflection_alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let question = reflection_alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(reflection_alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "pilotgate.v1.MessagingService".to_owned(),
        )),
    };
    let mut answers = client.server_reflection_info(futures_util::stream::iter([question])).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().message_response.is_some());
    world.end((health, client), gateway).await;
}
