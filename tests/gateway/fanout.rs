//! Many subscribers at once, one of them slow beyond measure; and small packets that nobody holds back.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use pilotgate::{
    proto::v1::{self, messaging_service_client::MessagingServiceClient, stream_status_updates_response::Frame},
    server::Gateway,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::transport::Channel;

use crate::support::{Frames, READER, TOKEN, World, client, from_earliest, next_update, text};

const MESSAGES: usize = 1_000;
const UPDATES: usize = 5 * MESSAGES;
const SUBSCRIBERS: usize = 100;

/// Passes bytes from the gateway on, one a second, until told to hurry.
async fn trickle(gateway: &Gateway, hurry: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = gateway.grpc();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let gateway = TcpStream::connect(target).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_gateway, mut to_gateway) = gateway.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_gateway).await });
        let mut hurry = hurry;
        let mut byte = [0; 1];
        while !*hurry.borrow_and_update() {
            from_gateway.read_exact(&mut byte).await.unwrap();
            to_client.write_all(&byte).await.unwrap();
            let _ = tokio::time::timeout(Duration::from_secs(1), hurry.changed()).await;
        }
        tokio::io::copy(&mut from_gateway, &mut to_client).await
    });
    url
}

async fn follow(mut client: MessagingServiceClient<Channel>) -> Frames {
    let mut request = tonic::Request::new(from_earliest());
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    client.stream_status_updates(request).await.unwrap().into_inner()
}

async fn all_updates(mut frames: Frames) -> Vec<(String, v1::MessageStatus)> {
    let mut updates = Vec::with_capacity(UPDATES);
    while updates.len() < UPDATES {
        if let Some(Frame::Update(update)) = frames.message().await.unwrap().unwrap().frame {
            updates.push((update.message_id.clone(), update.status()));
        }
    }
    updates
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_subscriber_holds_up_none_of_a_hundred() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let client = client(&gateway).await;
    for chunk in 0..MESSAGES / 50 {
        let sends = (0..50).map(|index| {
            let mut client = client.clone();
            async move { client.send_message(text(READER, &format!("{chunk} {index}"))).await.unwrap() }
        });
        join_all(sends).await;
    }
    let mut first = client.clone().stream_status_updates(from_earliest()).await.unwrap().into_inner();
    let mut expected = Vec::new();
    for _ in 0..UPDATES {
        let (update, _) = next_update(&mut first).await;
        expected.push((update.message_id.clone(), update.status()));
    }

    let before = resident_mib();
    let (hurry, hurried) = watch::channel(false);
    let slow_url = trickle(&gateway, hurried).await;
    let slow = tokio::spawn(async move {
        let channel = Channel::from_shared(slow_url).unwrap().connect().await.unwrap();
        all_updates(follow(MessagingServiceClient::new(channel)).await).await
    });
    let url = format!("http://{}", gateway.grpc());
    let quick = (1..SUBSCRIBERS).map(|index| {
        let url = url.clone();
        tokio::spawn(async move {
            let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
            let frames = follow(MessagingServiceClient::new(channel)).await;
            (index, all_updates(frames).await)
        })
    });
    let received = tokio::time::timeout(Duration::from_secs(60), try_join_all(quick)).await.expect("held up").unwrap();
    assert_eq!(received.len(), SUBSCRIBERS - 1);
    for (index, updates) in received {
        assert!(updates == expected, "subscriber {index} received something else");
    }
    assert!(!slow.is_finished(), "a byte a second cannot be through yet");
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < 200, "{grown} MiB more for {SUBSCRIBERS} subscribers and what they received");

    hurry.send_replace(true);
    let updates = tokio::time::timeout(Duration::from_secs(60), slow).await.expect("slow, but not lost").unwrap();
    assert!(updates == expected, "the slow subscriber received something else");
    world.end((first, client), gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_answers_are_not_held_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let client = client(&gateway).await;
    let callers = (0..4).map(|_| {
        let mut client = client.clone();
        async move {
            let mut times = Vec::new();
            for _ in 0..50 {
                let start = Instant::now();
                client.get_message(v1::GetMessageRequest::default()).await.unwrap_err();
                times.push(start.elapsed());
            }
            times
        }
    });
    let mut times: Vec<_> = join_all(callers).await.into_iter().flatten().collect();
    times.sort();
    // Nagle's algorithm against delayed acknowledgements costs 40 ms a call.
    assert!(times[times.len() / 2] < Duration::from_millis(20), "{:?}", times[times.len() / 2]);
    world.end(client, gateway).await;
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let world = World::new().await;
    let mut settings = world.settings();
    settings.grpc.max_connections = 20;
    let gateway = world.gateway_with(pilotgate::config::check_in_memory(settings).unwrap()).await;
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(TcpStream::connect(gateway.grpc()).await.unwrap());
    }
    // One place is left, and the silent ones hold theirs only for a while.
    let mut client = client(&gateway).await;
    assert!(client.send_message(text(READER, "x")).await.is_ok());
    let mut one = silent.pop().unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(15), one.read(&mut [0; 1])).await;
    assert_eq!(closed.expect("closed after the time for an introduction").unwrap(), 0);
    world.end(client, gateway).await;
}
