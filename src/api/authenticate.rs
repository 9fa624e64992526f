//! Every call of the messaging services passes here first and goes on with a `Principal`, or not at all.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{Either, Ready, ready};
use http::{Request, Response, header::AUTHORIZATION};
use tonic::{body::Body, server::NamedService};
use tower::{Layer, Service};

use super::{connection::Connection, status::of_credential};
use crate::{
    domain::sources::Sources,
    identity::{Identity, Shown},
};

/// Puts [`Authenticate`] around a service.
#[derive(Clone)]
pub struct AuthenticateLayer(Arc<Identity>, Sources);

impl AuthenticateLayer {
    /// With these callers, by this clock.
    pub const fn new(identity: Arc<Identity>, sources: Sources) -> Self {
        Self(identity, sources)
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Authenticate { inner, identity: Arc::clone(&self.0), sources: self.1.clone() }
    }
}

/// A service that only authenticated callers reach. The credential goes no further.
#[derive(Clone)]
pub struct Authenticate<S> {
    inner: S,
    identity: Arc<Identity>,
    sources: Sources,
}

impl<S: NamedService> NamedService for Authenticate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for Authenticate<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let credential = request.headers_mut().remove(AUTHORIZATION);
        let authorization = credential.as_ref().map(|value| value.as_bytes());
        let certificate = request.extensions().get::<Connection>().map(|connection| &*connection.certificate);
        let shown = Shown { authorization, certificate: certificate.unwrap_or_default() };
        match self.identity.authenticate(shown, self.sources.now()) {
            Ok(principal) => {
                request.extensions_mut().insert(principal);
                Either::Left(self.inner.call(request))
            }
            Err(error) => Either::Right(ready(Ok(of_credential(error).into_http()))),
        }
    }
}
