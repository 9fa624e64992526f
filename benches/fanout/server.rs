//! The two servers compared: the gateway over a store into which messages are accepted, and a generated tonic service
//! over a broadcast channel.

use std::{
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use pilotgate::{
    config::{
        self, SecretRef, Settings,
        settings::{CallerSettings, GrantSettings, NumberSettings, PaceSettings},
    },
    domain::{
        message::{Handoff, Origins},
        principal::Permission,
        recipient::Recipient,
        secret::TokenHash,
        sources::Sources,
    },
    proto::v1::{
        self,
        messaging_service_server::{MessagingService, MessagingServiceServer},
        stream_status_updates_response::Frame,
    },
    server,
    store::{self, Draft},
};
use secrecy::SecretString;
use tokio::sync::broadcast;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::TOKEN;

const NUMBER: &str = "bench";
const CALLER: &str = "bench";

/// Entries accepted at a time while the log is filled.
const FILL: usize = 4096;

/// Runs as a child: tells the address, and then publishes as each line says.
pub fn run(role: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match role {
        "gateway" => {
            let directory = tempfile::tempdir().unwrap();
            runtime.block_on(async {
                let config = settings(&directory);
                let store = store::open(config.store.clone()).await.unwrap();
                let sources = Sources::system();
                let gateway = server::start_over(Arc::clone(&store), config, sources.clone()).await.unwrap();
                println!("http://{}", gateway.grpc());
                obey(async |count| {
                    let accepted = (0..count).map(|_| store.accept(draft(&sources)));
                    join_all(accepted).await.into_iter().for_each(|accepted| drop(accepted.unwrap()));
                })
                .await;
                gateway.shutdown().await;
            });
        }
        "naive" => runtime.block_on(async {
            let (updates, _) = broadcast::channel(1 << 16);
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            println!("http://{}", listener.local_addr().unwrap());
            let service = MessagingServiceServer::new(Naive { updates: updates.clone() });
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
            let sources = Sources::system();
            obey(async |count| {
                for _ in 0..count {
                    let _ = updates.send(response(&sources));
                }
                tokio::task::yield_now().await;
            })
            .await;
        }),
        other => panic!("no such role: {other}"),
    }
}

/// Each line has three numbers: how many entries, how many of them at once, and microseconds from one time to the next.
async fn obey(mut publish: impl AsyncFnMut(usize)) {
    std::io::stdout().flush().unwrap();
    let (lines, mut asked) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            lines.send(line.unwrap()).unwrap();
        }
    });
    while let Some(line) = asked.recv().await {
        let numbers: Vec<u64> = line.split_whitespace().map(|number| number.parse().unwrap()).collect();
        let [count, at_once, micros] = numbers[..] else { panic!("{line}") };
        let start = Instant::now();
        for round in 0..count / at_once {
            publish(at_once as usize).await;
            let next = start + Duration::from_micros(micros * (round + 1));
            if micros > 0 {
                tokio::time::sleep_until(next.into()).await;
            }
        }
        println!("published");
        std::io::stdout().flush().unwrap();
    }
}

/// How a log of so many entries is filled.
pub fn fill(entries: usize) -> String {
    format!("{} {FILL} 0", entries / FILL * FILL)
}

/// How many those are.
pub const fn filled(entries: usize) -> usize {
    entries / FILL * FILL
}

fn settings(directory: &tempfile::TempDir) -> config::Config {
    let mut settings = Settings::defaults().unwrap();
    settings.grpc.listen = "127.0.0.1:0".parse().unwrap();
    settings.http.listen = "127.0.0.1:0".parse().unwrap();
    settings.upstream.base_url = "http://127.0.0.1:1".to_owned();
    settings.store.directory = directory.path().to_owned();
    settings.numbers = vec![NumberSettings {
        name: NUMBER.to_owned(),
        upstream_id: None,
        phone: None,
        key: SecretRef::Inline(SecretString::from("ps_bench-0123456789")),
        webhook_token: None,
        webhook_secrets: Vec::new(),
        pace: PaceSettings::default(),
        read_back: None,
        quota: Default::default(),
    }];
    settings.callers = vec![CallerSettings {
        name: CALLER.to_owned(),
        token_hashes: vec![TokenHash::of(TOKEN).to_hex()],
        grants: vec![GrantSettings {
            number: "*".to_owned(),
            permissions: vec![Permission::Read],
            ..Default::default()
        }],
        ..Default::default()
    }];
    config::check_in_memory(settings).unwrap()
}

fn draft(sources: &Sources) -> Draft {
    let now = sources.now();
    let origins = Origins {
        message_id: sources.message_id(now),
        caller: CALLER.to_owned().try_into().unwrap(),
        number: NUMBER.to_owned().try_into().unwrap(),
        recipient: Recipient::Phone("+5511999990000".parse().unwrap()),
        request_id: None,
        handoff: Handoff::Direct,
        labels: vec!["bench".to_owned()],
        metadata: [("order".to_owned(), "A-7731".to_owned())].into(),
        create_time: now,
        deliver_at: None,
    };
    Draft { origins, fingerprint: [1; 32], likeness: None, queued: None, limits: Vec::new() }
}

/// As the gateway would tell it, cursor included.
fn response(sources: &Sources) -> v1::StreamStatusUpdatesResponse {
    let now = sources.now();
    let time = prost_types::Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() };
    let update = v1::StatusUpdate {
        message_id: sources.message_id(now).to_string(),
        number: NUMBER.to_owned(),
        status: v1::MessageStatus::Pending.into(),
        current_status: v1::MessageStatus::Pending.into(),
        fact_time: Some(time),
        observe_time: Some(time),
        origin: v1::Origin::Gateway.into(),
        recipient: Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber("+5511999990000".to_owned())) }),
        labels: vec!["bench".to_owned()],
        metadata: [("order".to_owned(), "A-7731".to_owned())].into(),
        caller: CALLER.to_owned(),
        ..Default::default()
    };
    v1::StreamStatusUpdatesResponse { cursor: "c".repeat(55), frame: Some(Frame::Update(update)) }
}

struct Naive {
    updates: broadcast::Sender<v1::StreamStatusUpdatesResponse>,
}

type Updates = stream::BoxStream<'static, Result<v1::StreamStatusUpdatesResponse, Status>>;

#[tonic::async_trait]
impl MessagingService for Naive {
    type SendMessagesStream = stream::Empty<Result<v1::SendMessagesResponse, Status>>;
    type StreamStatusUpdatesStream = Updates;

    async fn send_message(
        &self,
        _: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        Err(Status::unimplemented("naive"))
    }

    async fn send_messages(
        &self,
        _: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        Err(Status::unimplemented("naive"))
    }

    async fn get_message(&self, _: Request<v1::GetMessageRequest>) -> Result<Response<v1::GetMessageResponse>, Status> {
        Err(Status::unimplemented("naive"))
    }

    async fn list_messages(
        &self,
        _: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        Err(Status::unimplemented("naive"))
    }

    async fn cancel_messages(
        &self,
        _: Request<v1::CancelMessagesRequest>,
    ) -> Result<Response<v1::CancelMessagesResponse>, Status> {
        Err(Status::unimplemented("naive"))
    }

    async fn stream_status_updates(
        &self,
        _: Request<v1::StreamStatusUpdatesRequest>,
    ) -> Result<Response<Updates>, Status> {
        let updates = self.updates.subscribe();
        let begun = v1::StreamStatusUpdatesResponse {
            cursor: "c".repeat(55),
            frame: Some(Frame::Heartbeat(v1::Heartbeat::default())),
        };
        let rest = stream::unfold(updates, |mut updates| async move {
            let update = updates.recv().await.ok()?;
            Some((Ok(update), updates))
        });
        Ok(Response::new(stream::iter([Ok(begun)]).chain(rest).boxed()))
    }

    async fn commit_cursor(
        &self,
        _: Request<v1::CommitCursorRequest>,
    ) -> Result<Response<v1::CommitCursorResponse>, Status> {
        Err(Status::unimplemented("naive"))
    }
}
