//! The load: signed webhooks over connections that each wait for their answer.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::server::{PATH_TOKEN, SECRET, external_id, upstream_id};

pub const CONNECTIONS: usize = 64;

/// The requests of each connection: sent, delivered and read of each of its messages.
pub fn webhooks(messages: usize) -> Vec<Vec<Vec<u8>>> {
    let mut connections = vec![Vec::new(); CONNECTIONS];
    for message in 0..messages {
        for status in ["sent", "delivered", "read"] {
            connections[message % CONNECTIONS].push(request(message, status));
        }
    }
    connections
}

fn request(message: usize, status: &str) -> Vec<u8> {
    let body = serde_json::json!({ "event": format!("message.{status}"), "data": {
        "numberId": "wn_88aa", "messageId": external_id(message), "id": upstream_id(message), "type": "text",
        "fromMe": true, "createdAt": "2027-01-12T14:00:02.500Z", "from": "+552133334444", "to": "+5521987650001",
        "content": "Rita, seu pedido A-7731 saiu para entrega.", "correlationId": format!("c-{message}"),
    } })
    .to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "POST /webhooks/{PATH_TOKEN} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
         x-pilot-status-signature: {signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Delivers everything; how long that took.
pub async fn deliver(to: SocketAddr, connections: Vec<Vec<Vec<u8>>>) -> Duration {
    let mut sockets = Vec::new();
    for _ in &connections {
        let socket = TcpStream::connect(to).await.unwrap();
        socket.set_nodelay(true).unwrap();
        sockets.push(socket);
    }
    let start = Instant::now();
    let tasks = connections.into_iter().zip(sockets).map(|(requests, mut socket)| {
        tokio::spawn(async move {
            let mut answer = Vec::with_capacity(1024);
            for request in requests {
                socket.write_all(&request).await.unwrap();
                answer.clear();
                while !is_whole(&answer) {
                    assert!(socket.read_buf(&mut answer).await.unwrap() > 0, "closed");
                }
                assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    start.elapsed()
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let text = std::str::from_utf8(&answer[..head]).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    answer.len() >= head + 4 + length.parse::<usize>().unwrap()
}
