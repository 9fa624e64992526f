//! The subscribers: one task for each connection, which speaks just enough HTTP/2 to open streams and to count messages
//! without decoding them, so that it costs little beside what is measured.

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::{Buf, BufMut, BytesMut};
use pilotgate::proto::v1;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::TOKEN;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// The widest window there is; it is widened again when half of it is used.
const WINDOW: u32 = (1 << 31) - 1;

/// How subscribers are spread and what each asks for.
#[derive(Clone, Copy)]
pub struct Plan {
    pub streams: usize,
    pub connections: usize,
    /// Whether each has a filter of its own, though all of them get everything.
    pub own_filters: bool,
    pub earliest: bool,
}

impl Plan {
    pub fn to_arguments(self) -> [String; 4] {
        let flag = |flag: bool| u8::from(flag).to_string();
        [self.streams.to_string(), self.connections.to_string(), flag(self.own_filters), flag(self.earliest)]
    }

    fn from_arguments(arguments: &[String]) -> Self {
        let number = |index: usize| arguments[index].parse::<usize>().unwrap();
        Self { streams: number(0), connections: number(1), own_filters: number(2) == 1, earliest: number(3) == 1 }
    }
}

/// What has come in so far. Each stream's first message, the heartbeat it begins with, is counted apart.
#[derive(Default)]
struct Counts {
    begun: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    moved: Notify,
}

/// Runs as a child: tells when all streams have begun, and then, for each line with a number, when so many messages came
/// in all, with their bytes so far and the latencies of one stream in this time.
pub fn run(address: &str, arguments: &[String]) {
    let plan = Plan::from_arguments(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = address.trim_start_matches("http://").to_owned();
    runtime.block_on(async move {
        let counts = Arc::new(Counts::default());
        let (sampled, mut samples) = tokio::sync::mpsc::unbounded_channel();
        for index in 0..plan.connections {
            let streams = (index..plan.streams).step_by(plan.connections).collect();
            let sampled = (index == 0).then(|| sampled.clone());
            tokio::spawn(connection(address.clone(), streams, plan, Arc::clone(&counts), sampled));
        }
        reached(&counts, &counts.begun, plan.streams as u64).await;
        tell("begun");
        let (lines, mut asked) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lines() {
                lines.send(line.unwrap()).unwrap();
            }
        });
        while let Some(line) = asked.recv().await {
            reached(&counts, &counts.messages, line.parse().unwrap()).await;
            let mut taken: Vec<u64> = std::iter::from_fn(|| samples.try_recv().ok()).collect();
            taken.sort_unstable();
            let at = |part: f64| taken.get((taken.len() as f64 * part) as usize).copied().unwrap_or_default();
            tell(&format!("{} {} {}", counts.bytes.load(Ordering::Relaxed), at(0.5), at(0.99)));
        }
    });
}

fn tell(line: &str) {
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

async fn reached(counts: &Counts, count: &AtomicU64, wanted: u64) {
    loop {
        let moved = counts.moved.notified();
        if count.load(Ordering::Relaxed) >= wanted {
            return;
        }
        moved.await;
    }
}

/// A stream that is being read: what of its message is not here yet.
#[derive(Default)]
struct Stream {
    begun: bool,
    head: Vec<u8>,
    rest: usize,
    /// The message, of the one stream whose messages are decoded for their time.
    sample: Option<BytesMut>,
}

async fn connection(
    address: String,
    indices: Vec<usize>,
    plan: Plan,
    counts: Arc<Counts>,
    sampled: Option<tokio::sync::mpsc::UnboundedSender<u64>>,
) {
    let mut socket = TcpStream::connect(&address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut out = BytesMut::from(PREFACE);
    let mut settings = vec![0, 4];
    settings.extend(WINDOW.to_be_bytes());
    frame(&mut out, SETTINGS, 0, 0, &settings);
    frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
    for (place, index) in indices.iter().enumerate() {
        let id = stream_id(place);
        frame(&mut out, HEADERS, END_HEADERS, id, &headers(&address));
        frame(&mut out, DATA, END_STREAM, id, &request(*index, plan));
    }
    socket.write_all(&out).await.unwrap();
    let mut streams: Vec<Stream> = indices.iter().map(|_| Stream::default()).collect();
    if sampled.is_some() {
        streams[0].sample = Some(BytesMut::new());
    }
    let mut input = BytesMut::with_capacity(1 << 18);
    let mut used = 0;
    loop {
        if socket.read_buf(&mut input).await.unwrap() == 0 {
            return;
        }
        let (mut begun, mut messages, mut bytes) = (0, 0, 0);
        while input.len() >= 9 {
            let length = usize::from(input[0]) << 16 | usize::from(input[1]) << 8 | usize::from(input[2]);
            if input.len() < 9 + length {
                break;
            }
            let (kind, flags) = (input[3], input[4]);
            let id = u32::from_be_bytes([input[5], input[6], input[7], input[8]]);
            input.advance(9);
            let payload = input.split_to(length);
            match kind {
                DATA => {
                    assert!(flags & END_STREAM == 0, "a stream has ended");
                    used += length as u32;
                    bytes += length as u64;
                    let stream = &mut streams[(id as usize - 1) / 2];
                    let ended = stream.take(&payload, sampled.as_ref());
                    let first = u64::from(ended > 0 && !stream.begun);
                    stream.begun |= first == 1;
                    begun += first;
                    messages += ended - first;
                }
                HEADERS => assert!(flags & END_STREAM == 0, "a stream was refused: {payload:?}"),
                SETTINGS if flags & ACK == 0 => {
                    send(&mut socket, SETTINGS, ACK, &[]).await;
                }
                PING if flags & ACK == 0 => send(&mut socket, PING, ACK, &payload).await,
                _ => {}
            }
        }
        if used > WINDOW / 2 {
            send(&mut socket, WINDOW_UPDATE, 0, &used.to_be_bytes()).await;
            used = 0;
        }
        counts.begun.fetch_add(begun, Ordering::Relaxed);
        counts.messages.fetch_add(messages, Ordering::Relaxed);
        counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        if begun + messages > 0 {
            counts.moved.notify_waiters();
        }
        input.reserve(1 << 16);
    }
}

impl Stream {
    /// How many messages end in these bytes.
    fn take(&mut self, mut bytes: &[u8], sampled: Option<&tokio::sync::mpsc::UnboundedSender<u64>>) -> u64 {
        let mut ended = 0;
        while !bytes.is_empty() {
            if self.rest == 0 {
                let missing = (5 - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..missing]);
                bytes.advance(missing);
                if self.head.len() < 5 {
                    break;
                }
                self.rest = u32::from_be_bytes([self.head[1], self.head[2], self.head[3], self.head[4]]) as usize;
                self.head.clear();
            }
            let part = self.rest.min(bytes.len());
            if let Some(sample) = &mut self.sample {
                sample.extend_from_slice(&bytes[..part]);
            }
            bytes.advance(part);
            self.rest -= part;
            if self.rest == 0 {
                ended += 1;
                if let (Some(sample), Some(sampled)) = (&mut self.sample, sampled) {
                    let _ = age(sample).map(|age| sampled.send(age));
                    sample.clear();
                }
            }
        }
        ended
    }
}

/// Microseconds since the update was observed.
fn age(message: &BytesMut) -> Option<u64> {
    let response = v1::StreamStatusUpdatesResponse::decode(&message[..]).unwrap();
    let Some(v1::stream_status_updates_response::Frame::Update(update)) = response.frame else { return None };
    let observed = update.observe_time.unwrap();
    let observed = Duration::new(observed.seconds as u64, observed.nanos as u32);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Some(now.saturating_sub(observed).as_micros() as u64)
}

const fn stream_id(place: usize) -> u32 {
    place as u32 * 2 + 1
}

fn frame(out: &mut BytesMut, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(id);
    out.extend_from_slice(payload);
}

async fn send(socket: &mut TcpStream, kind: u8, flags: u8, payload: &[u8]) {
    let mut out = BytesMut::new();
    frame(&mut out, kind, flags, 0, payload);
    socket.write_all(&out).await.unwrap();
}

/// Written out in full: no table, no compression.
fn headers(address: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let bearer = format!("Bearer {TOKEN}");
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/pilotgate.v1.MessagingService/StreamStatusUpdates"),
        (":authority", address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("authorization", &bearer),
    ] {
        out.push(0);
        for text in [name, value] {
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

fn request(index: usize, plan: Plan) -> Vec<u8> {
    let labels = if plan.own_filters { vec!["bench".to_owned(), format!("own-{index}")] } else { Vec::new() };
    let at = if plan.earliest { v1::Position::Earliest } else { v1::Position::Latest };
    let request = v1::StreamStatusUpdatesRequest {
        filter: Some(v1::StatusFilter { labels, ..Default::default() }),
        start: Some(v1::stream_status_updates_request::Start::Position(at.into())),
        heartbeat_interval: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        ..Default::default()
    };
    let mut out = vec![0];
    out.extend((request.encoded_len() as u32).to_be_bytes());
    request.encode(&mut out).unwrap();
    out
}
