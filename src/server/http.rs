//! The HTTP port: its connections, bounded in number and in time.
//!
//! It faces the internet where webhooks come in directly, so that nobody there may hold what others need.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

/// Connections at once; further ones wait in the system's own queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long a connection may take to send the head of a request, and may stay idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may leave the bytes of an answer untaken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after the system would not accept, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until closing, then finishes the requests in flight.
pub(super) async fn serve(listener: TcpListener, routes: Router, closing: CancellationToken) -> Result<(), String> {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let open = GracefulShutdown::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = closing.cancelled() => break,
        };
        let (socket, _) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Nagle's algorithm would hold back each answer for tens of milliseconds.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps delaying small packets");
        }
        let service = TowerToHyperService::new(routes.clone());
        // Nobody holds a place by not taking the answers.
        let mut socket = TimeoutStream::new(socket);
        socket.set_write_timeout(Some(WRITE_TIMEOUT));
        let connection = open.watch(builder.serve_connection(TokioIo::new(Box::pin(socket)), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
            drop(place);
        });
    }
    open.shutdown().await;
    Ok(())
}
