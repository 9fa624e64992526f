//! Connections that have become old.

use std::time::Duration;

use pilotgate::{
    config::{self, settings::Span},
    proto::v1::StreamStatusUpdatesRequest as StreamRequest,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::support::{TOKEN, World, client};

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Headers that use no table.
fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Opens a stream of updates and grants it no window, ever; reads whatever else comes.
async fn stuck(gateway: std::net::SocketAddr) {
    let mut socket = TcpStream::connect(gateway).await.unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let fields = headers(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pilotgate.v1.MessagingService/StreamStatusUpdates"),
        (":authority", "gateway"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &bearer),
    ]);
    let request = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        // The initial window: 0.
        &frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
        &frame(4, 1, 0, &[]),
        &frame(1, 4, 1, &fields),
        &frame(0, 1, 1, &[0; 5]),
    ];
    socket.write_all(&request.concat()).await.unwrap();
    let mut head = [0; 9];
    while socket.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if socket.read_exact(&mut payload).await.is_err() {
            return;
        }
        // A ping is answered.
        if head[3] == 6 && head[4] == 0 && socket.write_all(&frame(6, 1, 0, &payload)).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_reads_nothing_keeps_its_place_no_longer_than_a_connection_may_last() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.grpc.max_connection_age = Span(Duration::from_secs(1));
    settings.grpc.max_connection_age_grace = Span(Duration::from_millis(200));
    settings.grpc.keepalive_interval = Span(Duration::from_secs(1));
    settings.streams.max = 1;
    let gateway = world.gateway_with(config::check_in_memory(settings).unwrap()).await;
    let stuck = tokio::spawn(stuck(gateway.grpc()));
    let mut client = client(&gateway).await;
    let began = Instant::now();
    while client.stream_status_updates(StreamRequest::default()).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(5), "the place was never taken");
        sleep(Duration::from_millis(20)).await;
    }
    while client.stream_status_updates(StreamRequest::default()).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is held for ever");
        sleep(Duration::from_millis(50)).await;
    }
    stuck.abort();
    world.end(client, gateway).await;
}
