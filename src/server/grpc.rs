//! A gRPC port: its services, what stands in front of each, and its limits, on one screen.

use std::{convert::Infallible, sync::Arc};

use futures_util::future::try_join_all;
use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes, transport::Server};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Builder as Reflection;
use tower::{Layer, Service};

use super::{
    incoming::{self, Age},
    tls::Tls,
};
use crate::{api::authenticate::AuthenticateLayer, config::Grpc, proto};

/// How many different ages connections reach.
const AGES: u32 = 8;

/// Services that ask who calls, on their way to a port.
pub(super) struct Services {
    authenticate: AuthenticateLayer,
    add: Vec<Box<dyn FnOnce(Routes) -> Routes + Send>>,
    names: Vec<&'static str>,
}

impl Services {
    /// None yet.
    pub(super) const fn behind(authenticate: AuthenticateLayer) -> Self {
        Self { authenticate, add: Vec::new(), names: Vec::new() }
    }

    /// One more.
    pub(super) fn with<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let service = self.authenticate.layer(service);
        self.add.push(Box::new(|routes| routes.add_service(service)));
        self.names.push(S::NAME);
        self
    }

    /// These and the others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.add.extend(others.add);
        self.names.extend(others.names);
        self
    }
}

/// The health of a port's services, for those who watch it.
pub(super) struct Told {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl Told {
    /// Tells that no further calls should come.
    pub(super) async fn not_serving(&self) {
        self.tell(ServingStatus::NotServing).await;
    }

    async fn tell(&self, status: ServingStatus) {
        for service in self.names.iter().copied().chain([""]) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}

/// A port on its way: what it tells, and how it serves until draining and then finishes the calls in flight.
pub(super) async fn open(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    options: Grpc,
    services: Services,
    draining: CancellationToken,
) -> (Told, impl Future<Output = Result<(), String>> + Send + 'static) {
    let (reporter, health) = tonic_health::server::health_reporter();
    let Services { add, names, .. } = services;
    let routes = add.into_iter().fold(Routes::default(), |routes, add| add(routes)).add_service(health);
    let told = Told { reporter, names };
    told.tell(ServingStatus::Serving).await;
    let names = told.names.clone();
    (told, serve((listener, tls), options, routes, names, draining))
}

async fn serve(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    options: Grpc,
    routes: Routes,
    names: Vec<&'static str>,
    draining: CancellationToken,
) -> Result<(), String> {
    let reflected = |error: tonic_reflection::server::Error| error.to_string();
    let v1 = options.reflection.then(|| reflection(&names, "v1").build_v1()).transpose().map_err(reflected)?;
    let v1alpha =
        options.reflection.then(|| reflection(&names, "v1alpha").build_v1alpha()).transpose().map_err(reflected)?;
    let age = options.max_connection_age.map(|longest| Age { longest, grace: options.max_connection_age_grace });
    let routes = v1.into_iter().fold(routes, Routes::add_service);
    let routes = v1alpha.into_iter().fold(routes, Routes::add_service);
    let server = Server::builder()
        .max_concurrent_streams(options.max_concurrent_streams)
        .http2_keepalive_interval(Some(options.keepalive_interval))
        .http2_keepalive_timeout(Some(options.keepalive_timeout))
        .http2_max_header_list_size(16 * 1024);
    let ages = ages(age);
    if let Some(tls) = &tls {
        tokio::spawn(Arc::clone(tls).watch(draining.clone()));
    }
    let incoming = incoming::connections(listener, tls, options.max_connections, &ages);
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

/// Describes the services of the port, and the error details that its statuses carry, so that clients which know the
/// schema only from here can read those too.
fn reflection(names: &[&str], version: &str) -> Reflection<'static> {
    names
        .iter()
        .fold(Reflection::configure(), |reflection, name| reflection.with_service_name(*name))
        .with_service_name("grpc.health.v1.Health")
        .with_service_name(format!("grpc.reflection.{version}.ServerReflection"))
        .register_encoded_file_descriptor_set(proto::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
