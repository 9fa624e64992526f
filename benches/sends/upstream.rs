//! An upstream that accepts everything at once: what it costs, it costs both sides alike.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

static COUNT: AtomicU64 = AtomicU64::new(0);

pub async fn start() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                // A client that goes away ends its connection; nothing is to be told.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service_fn(accept)).await;
            });
        }
    });
    url
}

/// How many were taken so far.
pub fn taken() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

async fn accept(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let id = COUNT.fetch_add(1, Ordering::Relaxed);
    let body = format!(
        r#"{{"id":"cmq7x2d9k{id:012}","correlationId":"b1c6d1f0-6d1e-4c0b-9d33-{id:012}","status":"QUEUED","createdAt":"2027-01-12T13:20:01.114Z","origin":"Loja Centro","sourceNumber":"552133334444"}}"#
    );
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = http::StatusCode::ACCEPTED;
    Ok(response)
}
