//! The gRPC port: its services, what stands in front of each, and its limits, on one screen.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};
use tonic_reflection::server::Builder as Reflection;
use tower::Layer;

use super::incoming::{self, Age};
use crate::{
    api::{
        AuditApi, InboxApi, MessagingApi, OutboxApi, SubscriptionApi, authenticate::AuthenticateLayer, ready::Ready,
    },
    config::Grpc,
    domain::sources::Sources,
    identity::Identity,
    proto::{
        self,
        admin::v1::{
            audit_service_server::AuditServiceServer, outbox_service_server::OutboxServiceServer,
            subscription_service_server::SubscriptionServiceServer,
        },
        v1::{inbox_service_server::InboxServiceServer, messaging_service_server::MessagingServiceServer},
    },
};

/// How many different ages connections reach.
const AGES: u32 = 8;

/// The services that ask who calls, as health tells of them.
const SERVICES: [&str; 5] = [
    "pilotgate.v1.MessagingService",
    "pilotgate.v1.InboxService",
    "pilotgate.admin.v1.AuditService",
    "pilotgate.admin.v1.OutboxService",
    "pilotgate.admin.v1.SubscriptionService",
];

/// Serves until draining, then finishes the calls in flight.
pub(super) async fn serve<H: Health>(
    listener: TcpListener,
    options: Grpc,
    (messaging, inbox): (MessagingApi, InboxApi),
    (audit, outbox, subscriptions): (AuditApi, OutboxApi, SubscriptionApi),
    identity: Arc<Identity>,
    (reporter, health): (HealthReporter, HealthServer<H>),
    sources: Sources,
    draining: CancellationToken,
) -> Result<(), String> {
    let messaging = MessagingServiceServer::new(messaging).max_decoding_message_size(options.max_message_bytes);
    let inbox = InboxServiceServer::new(inbox).max_decoding_message_size(options.max_message_bytes);
    for service in SERVICES {
        reporter.set_service_status(service, ServingStatus::Serving).await;
    }
    let authenticate = AuthenticateLayer::new(identity, sources);
    let reflected = |error: tonic_reflection::server::Error| error.to_string();
    let v1 = options.reflection.then(|| reflection().build_v1()).transpose().map_err(reflected)?;
    let v1alpha = options.reflection.then(|| reflection().build_v1alpha()).transpose().map_err(reflected)?;
    let age = options.max_connection_age.map(|longest| Age { longest, grace: options.max_connection_age_grace });
    let routes = Routes::default()
        // These ask who calls; health and reflection answer everyone.
        .add_service(authenticate.layer(Ready(messaging)))
        .add_service(authenticate.layer(Ready(inbox)))
        .add_service(authenticate.layer(AuditServiceServer::new(audit)))
        .add_service(authenticate.layer(OutboxServiceServer::new(outbox)))
        .add_service(authenticate.layer(SubscriptionServiceServer::new(subscriptions)))
        .add_service(health);
    let routes = v1.into_iter().fold(routes, Routes::add_service);
    let routes = v1alpha.into_iter().fold(routes, Routes::add_service);
    let server = Server::builder()
        .max_concurrent_streams(options.max_concurrent_streams)
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .http2_max_header_list_size(16 * 1024);
    let ages = ages(age);
    let incoming = incoming::connections(listener, options.max_connections, &ages);
    // All connections of a server reach the same age, so that there is a server for each age.
    let served = ages.into_iter().zip(incoming).map(|(age, connections)| {
        let server = server.clone();
        // Without tonic's own grace: with it no GOAWAY is sent, and calls are broken off. Streams end by themselves within
        // the grace, and every other call has an end of its own.
        let mut server = match age {
            Some(Age { longest, .. }) => server.max_connection_age(longest),
            None => server,
        };
        let router = server.add_routes(routes.clone());
        router.serve_with_incoming_shutdown(connections, draining.clone().cancelled_owned())
    });
    try_join_all(served).await.map(drop).map_err(|error| error.to_string())
}

/// Ages that differ by up to a tenth, so that connections made at once do not have to be made anew at once.
fn ages(age: Option<Age>) -> Vec<Option<Age>> {
    let Some(Age { longest, grace }) = age else { return vec![None] };
    let parts = (0..AGES).map(|step| 0.9 + 0.2 * f64::from(step) / f64::from(AGES - 1));
    parts.map(|part| Some(Age { longest: longest.mul_f64(part), grace })).collect()
}

/// Tells health watchers that no further calls should come.
pub(super) async fn not_serving(reporter: &HealthReporter) {
    for service in SERVICES.into_iter().chain([""]) {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
    }
}

/// Describes every service of the port, and the error details that its statuses carry, so that clients which know the
/// schema only from here can read those too.
fn reflection() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
