//! Many subscribers at once, some of them slow beyond measure; and small packets that nobody holds back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
    stream,
};
use http::uri::PathAndQuery;
use pilotgate::{
    proto::v1::{
        self,
        MessageStatus::{Delivered, Pending, Queued, Read, Sent},
        stream_status_updates_response::Frame,
    },
    sandbox::Switches,
    server::Gateway,
};
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tonic::{
    Request, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::support::{PATH_TOKEN, READER, STUCK, TOKEN, World, client, from_earliest, send, signature, text};

const MESSAGES: usize = 1_000;
const UPDATES: usize = 5 * MESSAGES;
const CONNECTIONS: usize = 9;
/// With the two slow ones there are a hundred and one.
const QUICK: usize = 11 * CONNECTIONS;

/// Leaves responses as they came over the wire: what is compared is every byte, cursors included.
#[derive(Clone, Copy)]
struct Undecoded;

impl Codec for Undecoded {
    type Encode = v1::StreamStatusUpdatesRequest;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Undecoded {
    type Item = v1::StreamStatusUpdatesRequest;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Undecoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// A stream of everything, begun: its first heartbeat is read.
async fn follow(channel: &Channel) -> Streaming<Bytes> {
    let quiet = Some(prost_types::Duration { seconds: 300, nanos: 0 });
    let mut request = Request::new(v1::StreamStatusUpdatesRequest { heartbeat_interval: quiet, ..from_earliest() });
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/pilotgate.v1.MessagingService/StreamStatusUpdates");
    let mut frames = grpc.server_streaming(request, path, Undecoded).await.unwrap().into_inner();
    let first = v1::StreamStatusUpdatesResponse::decode(frames.message().await.unwrap().unwrap()).unwrap();
    assert!(matches!(first.frame, Some(Frame::Heartbeat(_))), "{first:?}");
    frames
}

/// Reads on until the last of the expected frames, each of which must be the next one.
async fn read_all(mut frames: Streaming<Bytes>, expected: Arc<Vec<Bytes>>, watch: impl Fn(usize)) -> Streaming<Bytes> {
    for (index, expected) in expected.iter().enumerate() {
        let frame = frames.message().await.unwrap().unwrap();
        assert!(frame == *expected, "frame {index} is {:?}", v1::StreamStatusUpdatesResponse::decode(frame));
        watch(index);
    }
    frames
}

async fn connect(gateway: &Gateway) -> Channel {
    Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap()
}

/// Passes bytes from the gateway on, one a second, until told to hurry.
async fn trickle(gateway: &Gateway, mut hurry: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = gateway.grpc();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let gateway = TcpStream::connect(target).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_gateway, mut to_gateway) = gateway.into_split();
        tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_gateway).await });
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

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A double on which a thousand messages run to their end at once.
async fn quick_double() -> World {
    let switches = Switches {
        sent_after_ms: 1,
        delivered_after_ms: 1,
        read_after: pilotgate::sandbox::After::Millis(1),
        ..Default::default()
    };
    World::with(pilotgate::sandbox::Options { switches, ..Default::default() }).await
}

/// The frames of the whole log, read by one subscriber that goes along while they come into being.
fn record(channel: &Channel) -> JoinHandle<Vec<Bytes>> {
    let channel = channel.clone();
    tokio::spawn(async move {
        let mut frames = follow(&channel).await;
        let mut recorded = Vec::with_capacity(UPDATES);
        while recorded.len() < UPDATES {
            recorded.push(frames.message().await.unwrap().unwrap());
        }
        recorded
    })
}

/// Each message went its whole way, in order, and each frame has a cursor of its own.
fn check(frames: &[Bytes]) {
    let mut trails = std::collections::HashMap::<_, Vec<_>>::new();
    let mut cursors = std::collections::HashSet::new();
    for frame in frames {
        let response = v1::StreamStatusUpdatesResponse::decode(frame.clone()).unwrap();
        let Some(Frame::Update(update)) = response.frame else { panic!("{response:?}") };
        trails.entry(update.message_id.clone()).or_default().push(update.status());
        cursors.insert(response.cursor);
    }
    assert_eq!((trails.len(), cursors.len()), (MESSAGES, UPDATES));
    assert!(trails.values().all(|trail| *trail == [Pending, Queued, Sent, Delivered, Read]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_subscribers_hold_up_none_of_a_hundred() {
    let world = quick_double().await;
    let gateway = world.gateway().await;
    let client = client(&gateway).await;
    let channel = connect(&gateway).await;
    let recorded = record(&channel);
    let sends = stream::iter(0..MESSAGES).map(|index| {
        let mut client = client.clone();
        async move { client.send_message(text(READER, &format!("{index}"))).await.unwrap() }
    });
    sends.buffer_unordered(64).collect::<Vec<_>>().await;
    let expected = tokio::time::timeout(Duration::from_secs(60), recorded).await.expect("not all came").unwrap();
    check(&expected);
    let expected = Arc::new(expected);

    let before = resident_mib();
    let most = Arc::new(AtomicU64::new(0));
    let (hurry, hurried) = watch::channel(false);
    let slow_url = trickle(&gateway, hurried).await;
    let trickled = tokio::spawn({
        let expected = Arc::clone(&expected);
        async move {
            let channel = Channel::from_shared(slow_url).unwrap().connect().await.unwrap();
            read_all(follow(&channel).await, expected, |_| {}).await
        }
    });
    // This one has room for a few frames and does not take them.
    let narrow = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().initial_stream_window_size(1024);
    let idle = follow(&narrow.connect().await.unwrap()).await;
    let mut quick = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = connect(&gateway).await;
        for _ in 0..QUICK / CONNECTIONS {
            let (channel, expected, most) = (channel.clone(), Arc::clone(&expected), Arc::clone(&most));
            quick.push(tokio::spawn(async move {
                let watch = |index: usize| {
                    if index.is_multiple_of(1000) {
                        most.fetch_max(resident_mib(), Ordering::Relaxed);
                    }
                };
                read_all(follow(&channel).await, expected, watch).await
            }));
        }
    }
    assert_eq!(quick.len(), QUICK);
    let quick = tokio::time::timeout(Duration::from_secs(60), try_join_all(quick)).await.expect("held up").unwrap();
    assert!(!trickled.is_finished(), "a byte a second cannot be through yet");
    most.fetch_max(resident_mib(), Ordering::Relaxed);
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < 150, "{grown} MiB more for {QUICK} subscribers");

    hurry.send_replace(true);
    let trickled = tokio::time::timeout(Duration::from_secs(30), trickled).await.expect("slow, but not lost").unwrap();
    let idle = read_all(idle, expected, |_| {});
    let idle = tokio::time::timeout(Duration::from_secs(30), idle).await.expect("idle, but not lost");
    // All are still there for what comes next.
    let next = send(&mut client.clone(), text(STUCK, "next")).await;
    for mut frames in quick.into_iter().chain([trickled, idle]) {
        let frame = tokio::time::timeout(Duration::from_secs(20), frames.message()).await.unwrap().unwrap().unwrap();
        let response = v1::StreamStatusUpdatesResponse::decode(frame).unwrap();
        let Some(Frame::Update(update)) = response.frame else { panic!("{response:?}") };
        assert_eq!((&update.message_id, update.status()), (&next, Pending));
    }
    world.end((channel, client), gateway).await;
}

/// The middle one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

// Nagle's algorithm against delayed acknowledgements costs 40 ms a call.
const HELD_BACK: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_answers_are_not_held_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let mut client = client(&gateway).await;
    let id = send(&mut client, text(STUCK, "x")).await;
    let mut times = Vec::new();
    for _ in 0..50 {
        // Four at once: nothing goes to the gateway between its first answer and its last.
        let start = Instant::now();
        let mut callers = [(); 4].map(|()| client.clone());
        join_all(callers.iter_mut().map(|client| crate::support::get(client, &id))).await;
        times.push(start.elapsed());
    }
    assert!(median(times.clone()) < HELD_BACK, "{times:?}");
    world.end(client, gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_webhooks_are_not_held_back() {
    let world = World::new().await;
    let gateway = world.gateway().await;
    let body = serde_json::json!({ "event": "message.sent", "data": {} }).to_string();
    let signed = signature(&world.double.account().webhook_secret, &body);
    let webhook = format!(
        "POST /webhooks/{PATH_TOKEN} HTTP/1.1\r\nhost: x\r\nx-pilot-status-signature: {signed}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(gateway.http()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        let start = Instant::now();
        // Two at once: nothing goes to the gateway between its first answer and its second.
        socket.write_all(webhook.repeat(2).as_bytes()).await.unwrap();
        let mut answers = String::new();
        while answers.matches(r#"{"status":"recorded"}"#).count() < 2 {
            let mut bytes = [0; 1024];
            let length = socket.read(&mut bytes).await.unwrap();
            assert!(length > 0, "{answers}");
            answers.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        times.push(start.elapsed());
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answers}");
    }
    assert!(median(times.clone()) < HELD_BACK, "{times:?}");
    drop(socket);
    world.end((), gateway).await;
}
