//! The load: real gRPC clients over eight connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use pilotgate::proto::v1::{self, messaging_service_client::MessagingServiceClient, send_message_request::Content};
use tonic::{Request, transport::Channel};

use crate::child::{Child, NUMBER, TOKEN};

const CONNECTIONS: usize = 8;

fn request() -> Request<v1::SendMessageRequest> {
    let mut request = Request::new(v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        recipient: Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber("+5511987650101".to_owned())) }),
        content: Some(Content::Text(v1::TextContent {
            body: "Seu pedido A-7731 saiu para entrega.".to_owned(),
            ..Default::default()
        })),
        ..Default::default()
    });
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

async fn clients(child: &Child) -> Vec<MessagingServiceClient<Channel>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = Channel::from_shared(child.url.clone()).unwrap().connect().await.unwrap();
        clients.push(MessagingServiceClient::new(channel));
    }
    clients
}

/// `sends` sends by callers that each wait for their answer; how long all of them took.
pub async fn closed_loop(child: &Child, callers: usize, sends: usize) -> Duration {
    let clients = clients(child).await;
    let left = Arc::new(AtomicUsize::new(sends));
    let start = Instant::now();
    let tasks = (0..callers).map(|index| {
        let (mut client, left) = (clients[index % CONNECTIONS].clone(), Arc::clone(&left));
        tokio::spawn(async move {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                client.send_message(request()).await.unwrap();
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    start.elapsed()
}

/// The median time of a send when sends begin at a constant rate, whether or not earlier ones have ended.
pub async fn constant_rate(child: &Child, rate: u32, span: Duration) -> Duration {
    let clients = clients(child).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let sends = (f64::from(rate) * span.as_secs_f64()) as usize;
    let mut tasks = Vec::with_capacity(sends);
    while tasks.len() < sends {
        ticks.tick().await;
        for _ in 0..(rate / 1000) {
            let mut client = clients[tasks.len() % CONNECTIONS].clone();
            tasks.push(tokio::spawn(async move {
                let start = Instant::now();
                client.send_message(request()).await.unwrap();
                start.elapsed()
            }));
        }
    }
    let mut times = futures_util::future::try_join_all(tasks).await.unwrap();
    times.sort();
    times[times.len() / 2]
}
