//! Administrators on a port of their own, and what keeps others from listening in.

use pilotgate::{
    config::{self, Config},
    proto::{
        admin::v1::{self as admin, outbox_service_client::OutboxServiceClient},
        v1::{self, messaging_service_client::MessagingServiceClient},
    },
};
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{TOKEN, World, error_of};

const OUTBOX: &str = "pilotgate.admin.v1.OutboxService";
const MESSAGING: &str = "pilotgate.v1.MessagingService";

/// With this address for administrators; the caller `orders` is one.
fn administered(world: &World, listen: &str) -> Config {
    let mut settings = world.settings();
    settings.admin.listen = listen.to_owned();
    let mut config = config::check_in_memory(settings).unwrap();
    config.callers[0].admin.push("outbox.view".parse().unwrap());
    config
}

async fn connect(address: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn as_orders<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

/// How the ports answer a call of each kind: an administrator's and a caller's.
async fn kinds(channel: &Channel) -> (Code, Code) {
    let list = as_orders(admin::ListPendingRequest::default());
    let listed = OutboxServiceClient::new(channel.clone()).list_pending(list).await;
    let key = Some(v1::get_message_request::Key::MessageId("01970000-0000-7000-8000-000000000000".to_owned()));
    let get = as_orders(v1::GetMessageRequest { key, ..Default::default() });
    let got = MessagingServiceClient::new(channel.clone()).get_message(get).await;
    (listed.map_or_else(|status| status.code(), |_| Code::Ok), got.unwrap_err().code())
}

async fn health(channel: &Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel.clone()).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

/// The services of ours that reflection lists.
async fn listed(channel: &Channel) -> Vec<String> {
    let ask = MessageRequest::ListServices(String::new());
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = ServerReflectionClient::new(channel.clone());
    let answers = client.server_reflection_info(futures_util::stream::iter([question])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else { panic!("no list") };
    let names = services.service.into_iter().map(|service| service.name);
    names.filter(|name| name.starts_with("pilotgate.")).collect()
}

#[tokio::test]
async fn administrators_may_have_a_port_of_their_own() {
    let world = World::new().await;
    let gateway = world.gateway_with(administered(&world, "127.0.0.1:0")).await;
    assert_ne!(gateway.admin(), gateway.grpc());
    let (callers, administrators) = (connect(gateway.grpc()).await, connect(gateway.admin()).await);
    assert_eq!(kinds(&callers).await, (Code::Unimplemented, Code::NotFound));
    assert_eq!(kinds(&administrators).await, (Code::Ok, Code::Unimplemented));
    let serving = Ok(ServingStatus::Serving);
    assert_eq!((health(&callers, "").await, health(&administrators, "").await), (serving, serving));
    assert_eq!((health(&callers, MESSAGING).await, health(&callers, OUTBOX).await), (serving, Err(Code::NotFound)));
    let (messaging, outbox) = (health(&administrators, MESSAGING).await, health(&administrators, OUTBOX).await);
    assert_eq!((messaging, outbox), (Err(Code::NotFound), serving));
    let (of_callers, of_administrators) = (listed(&callers).await, listed(&administrators).await);
    assert!(of_callers.iter().all(|name| name.starts_with("pilotgate.v1.")), "{of_callers:?}");
    assert!(of_callers.iter().any(|name| name == MESSAGING), "{of_callers:?}");
    assert!(of_administrators.iter().all(|name| name.starts_with("pilotgate.admin.v1.")), "{of_administrators:?}");
    assert!(of_administrators.iter().any(|name| name == OUTBOX), "{of_administrators:?}");
    world.end((callers, administrators), gateway).await;
}

#[tokio::test]
async fn without_one_they_call_where_callers_do_and_still_show_who_they_are() {
    let world = World::new().await;
    let gateway = world.gateway_with(administered(&world, "")).await;
    assert_eq!(gateway.admin(), gateway.grpc());
    let channel = connect(gateway.grpc()).await;
    assert_eq!(kinds(&channel).await, (Code::Ok, Code::NotFound));
    let anonymous = OutboxServiceClient::new(channel.clone()).list_pending(admin::ListPendingRequest::default()).await;
    assert_eq!(error_of(anonymous).reason, "CREDENTIAL_MISSING");
    world.end(channel, gateway).await;
}

#[tokio::test]
async fn a_port_for_other_machines_is_refused_in_the_clear() {
    let world = World::new().await;
    let refused = |change: &dyn Fn(&mut config::Settings)| {
        let mut settings = world.settings();
        change(&mut settings);
        config::check_in_memory(settings).err().map(|error| error.0)
    };
    let text = |section: &str| {
        format!(
            "{section}.listen: on 0.0.0.0:0 caller tokens and messages would travel in the clear; set {section}.tls (cert \
             and key), or {section}.plaintext = true if a proxy in front of it ends TLS or nobody can listen in"
        )
    };
    let anywhere = "0.0.0.0:0";
    assert_eq!(refused(&|settings| settings.grpc.listen = anywhere.parse().unwrap()), Some(vec![text("grpc")]));
    assert_eq!(refused(&|settings| settings.admin.listen = anywhere.to_owned()), Some(vec![text("admin")]));
    let accepted = |settings: &mut config::Settings| {
        (settings.grpc.listen, settings.admin.listen) = (anywhere.parse().unwrap(), anywhere.to_owned());
        (settings.grpc.plaintext, settings.admin.plaintext) = (true, true);
    };
    assert_eq!(refused(&accepted), None);
    let nowhere = "admin.listen: must be empty, or an address and a port such as 127.0.0.1:50052";
    assert_eq!(refused(&|settings| settings.admin.listen = "here".to_owned()), Some(vec![nowhere.to_owned()]));
    world.double.shutdown().await;
}
