//! The load: real gRPC clients over eight connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use pilotgate::proto::v1::{self, messaging_service_client::MessagingServiceClient, send_message_request::Content};
use tonic::{Request, transport::Channel};

use crate::server::{NUMBER, TOKEN};

const CONNECTIONS: usize = 8;

fn message(handoff: v1::Handoff, number: usize) -> v1::SendMessageRequest {
    let phone = format!("+55119{:08}", number % 100_000_000);
    v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        recipient: Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber(phone)) }),
        content: Some(Content::Text(v1::TextContent {
            body: "Seu pedido A-7731 saiu para entrega.".to_owned(),
            ..Default::default()
        })),
        handoff: handoff.into(),
        ..Default::default()
    }
}

fn authorized<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    request
}

async fn clients(url: &str) -> Vec<MessagingServiceClient<Channel>> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        clients.push(MessagingServiceClient::new(channel));
    }
    clients
}

/// `sends` sends by callers that each wait for their answer; how long all of them took.
pub async fn closed_loop(url: &str, handoff: v1::Handoff, callers: usize, sends: usize) -> Duration {
    let clients = clients(url).await;
    let left = Arc::new(AtomicUsize::new(sends));
    let start = Instant::now();
    let tasks = (0..callers).map(|index| {
        let (mut client, left) = (clients[index % CONNECTIONS].clone(), Arc::clone(&left));
        tokio::spawn(async move {
            while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                client.send_message(authorized(message(handoff, number))).await.unwrap();
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    start.elapsed()
}

/// `sends` sends over one bulk stream for each connection; how long until all are answered.
pub async fn bulk(url: &str, handoff: v1::Handoff, sends: usize) -> Duration {
    let clients = clients(url).await;
    let each = sends / CONNECTIONS;
    let start = Instant::now();
    let tasks = clients.into_iter().enumerate().map(|(index, mut client)| {
        tokio::spawn(async move {
            let items = stream::iter(index * each..(index + 1) * each).map(move |number| v1::SendMessagesRequest {
                correlation_key: number.to_string(),
                message: Some(message(handoff, number)),
            });
            let mut results = client.send_messages(authorized(items)).await.unwrap().into_inner();
            let mut accepted = 0;
            while let Some(result) = results.message().await.unwrap() {
                match result.result.unwrap() {
                    v1::send_messages_response::Result::Accepted(_) => accepted += 1,
                    v1::send_messages_response::Result::Refused(refused) => panic!("refused: {refused:?}"),
                }
            }
            assert_eq!(accepted, each);
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    start.elapsed()
}

/// The median time of a send when sends begin at a constant rate, whether or not earlier ones have ended.
pub async fn constant_rate(url: &str, handoff: v1::Handoff, rate: u32, span: Duration) -> Duration {
    let clients = clients(url).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    let sends = (f64::from(rate) * span.as_secs_f64()) as usize;
    let mut tasks = Vec::with_capacity(sends);
    while tasks.len() < sends {
        ticks.tick().await;
        for _ in 0..(rate / 1000) {
            let number = tasks.len();
            let mut client = clients[number % CONNECTIONS].clone();
            tasks.push(tokio::spawn(async move {
                let start = Instant::now();
                client.send_message(authorized(message(handoff, number))).await.unwrap();
                start.elapsed()
            }));
        }
    }
    let mut times = futures_util::future::try_join_all(tasks).await.unwrap();
    times.sort();
    times[times.len() / 2]
}
