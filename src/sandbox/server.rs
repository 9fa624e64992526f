//! Owns the listening socket, the connections and the list of routes. An own
//! accept loop, because a double must be able to close a connection under a
//! request, which no handler can do by itself.

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::errors::ApiError;
use super::front::front;
use super::ledger::count;
use super::state::Shared;
use super::{account, control, messages, numbers, rooms, send, templates, webhooks};

/// Where the control API lives: never under `/v1`.
pub const CONTROL: &str = "/sandbox/control";

/// Closes the connection that a request came on.
#[derive(Clone)]
pub struct Hangup(pub CancellationToken);

/// Every route of the double.
fn router(state: Shared) -> Router {
    let api = Router::new()
        .route("/messages", get(messages::list))
        .route("/messages/send", post(send::send))
        .route("/messages/cancel", axum::routing::delete(messages::cancel))
        .route("/messages/typing", post(messages::typing))
        .route("/messages/history", get(messages::history))
        .route("/messages/unread", get(messages::unread))
        .route("/messages/group", get(messages::group))
        .route("/messages/{id}", get(messages::get))
        .route("/conversations", get(messages::conversations))
        .route("/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/webhooks/{id}", get(webhooks::get).patch(webhooks::update).delete(webhooks::delete))
        .route("/webhooks/{id}/logs", get(webhooks::logs))
        .route("/api-keys", get(account::list).post(account::regenerate_number))
        .route("/api-keys/regenerate", post(account::regenerate_own))
        .route("/numbers", get(numbers::list).post(numbers::create))
        .route("/numbers/{id}", get(numbers::get).patch(numbers::update).delete(numbers::delete))
        .route("/numbers/{id}/status", get(numbers::status))
        .route("/numbers/{id}/connect", get(numbers::connect))
        .route("/numbers/{id}/restore", post(numbers::restore))
        .route("/numbers/{id}/pay", post(numbers::pay))
        .route("/numbers/{id}/purge", axum::routing::delete(numbers::purge))
        .route("/templates", get(templates::list).post(templates::create))
        .route("/templates/{id}", get(templates::get).put(templates::update).delete(templates::delete))
        .route("/groups", get(rooms::groups))
        .route("/newsletters", get(rooms::newsletters))
        .route("/analytics/dashboard", get(rooms::dashboard));
    Router::new()
        .nest("/v1", api.clone())
        .nest("/api/v1", api)
        .nest(CONTROL, control::routes())
        .fallback(|| async { ApiError::new(404, "Not found") })
        .method_not_allowed_fallback(|| async { ApiError::new(405, "Method not allowed") })
        .layer(from_fn_with_state(state.clone(), front))
        .with_state(state)
}

/// Takes connections until the double stops.
pub async fn serve(listener: TcpListener, state: Shared) {
    let router = router(state.clone());
    loop {
        let accepted = tokio::select! {
            () = state.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                count(&state.stats.connections);
                state.tasks.spawn(connection(socket, router.clone(), state.stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: asking again at once would spin.
                tracing::warn!(%error, "sandbox could not take a connection");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
}

async fn connection(socket: TcpStream, router: Router, stop: CancellationToken) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%error, "sandbox could not set TCP_NODELAY");
    }
    let hangup = Hangup(CancellationToken::new());
    let service = TowerToHyperService::new(router);
    let inner = hangup.clone();
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(inner.clone());
        hyper::service::Service::call(&service, request)
    });
    let mut builder = http1::Builder::new();
    let serving = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service);
    tokio::select! {
        () = stop.cancelled() => {}
        () = hangup.0.cancelled() => {}
        ended = serving => if let Err(error) = ended {
            tracing::debug!(%error, "sandbox connection ended");
        },
    }
}
