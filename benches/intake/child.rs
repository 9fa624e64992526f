//! The two servers compared, each in a process of its own.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{ChildStdout, Command, Stdio},
    sync::Arc,
};

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use pilotgate::{
    config::{
        self, SecretRef, Settings,
        settings::{NumberSettings, PaceSettings},
    },
    domain::{
        ids::{CorrelationId, ExternalId, MessageId, UpstreamId},
        merge::{Fact, Observed},
        message::{ForeignIds, Handoff, Origins},
        recipient::Recipient,
        sources::Sources,
        status::{Origin, Status},
    },
    server,
    store::{self, Claim, Draft, Settlement, Store, Written},
};
use secrecy::SecretString;
use sha2::Sha256;
use subtle::ConstantTimeEq;

pub const SECRET: &str = "whsec-bench-0123456789";
pub const PATH_TOKEN: &str = "bench-path-token-0123456789";
const NUMBER: &str = "bench";

pub fn upstream_id(message: usize) -> String {
    format!("cmq7x2d9k0001ab12c3d{message:06}")
}

pub fn external_id(message: usize) -> String {
    format!("wamid.HBgNNTUyMTk4NzY1MDAwMRUCA{message:06}")
}

/// Which server a child is.
#[derive(Clone, Copy)]
pub enum Role {
    Door,
    Gateway,
}

/// A running server.
pub struct Child {
    process: std::process::Child,
    told: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Child {
    pub fn start(role: Role, messages: usize) -> Self {
        let role = match role {
            Role::Door => "door",
            Role::Gateway => "gateway",
        };
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([role, &messages.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut told = BufReader::new(process.stdout.take().unwrap());
        told.read_line(&mut address).unwrap();
        Self { process, told, address: address.trim().parse().unwrap() }
    }

    /// Memory that is resident now, in MiB.
    pub fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Writes to the store so far, and the commits that they shared.
    pub fn written(&mut self) -> [f64; 2] {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    }

    /// User and system time so far, from the kernel's account of the process.
    pub fn cpu_seconds(&self) -> f64 {
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The name of the program may hold blanks; what follows its closing bracket does not.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: f64 = fields[11..=12].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        ticks / TICKS_A_SECOND
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The child ends when its input does.
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
    }
}

/// Runs as a child until the parent lets go.
pub fn run(role: &str, messages: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match role {
        "door" => {
            let address = runtime.block_on(door());
            serve_until_released(address, Written::default);
        }
        "gateway" => {
            let directory = tempfile::tempdir().unwrap();
            let gateway = runtime.block_on(gateway(directory.path(), messages));
            serve_until_released(gateway.http(), || gateway.written());
            runtime.block_on(gateway.shutdown());
        }
        other => panic!("no such role: {other}"),
    }
}

/// Tells the address, and then how much was written whenever a line comes in.
fn serve_until_released(address: SocketAddr, written: impl Fn() -> Written) {
    println!("{address}");
    std::io::stdout().flush().unwrap();
    for _ in std::io::stdin().lines() {
        let Written { writes, commits } = written();
        println!("{writes} {commits}");
        std::io::stdout().flush().unwrap();
    }
}

/// A gateway that has sent so many messages.
async fn gateway(directory: &std::path::Path, messages: usize) -> server::Gateway {
    let mut settings = Settings::defaults().unwrap();
    settings.grpc.listen = "127.0.0.1:0".parse().unwrap();
    settings.http.listen = "127.0.0.1:0".parse().unwrap();
    settings.upstream.base_url = "http://127.0.0.1:1".to_owned();
    settings.store.directory = directory.to_owned();
    settings.numbers = vec![NumberSettings {
        name: NUMBER.to_owned(),
        upstream_id: None,
        phone: None,
        key: SecretRef::Inline(SecretString::from("ps_bench-0123456789")),
        webhook_token: Some(SecretRef::Inline(SecretString::from(PATH_TOKEN))),
        webhook_secrets: vec![SecretRef::Inline(SecretString::from(SECRET))],
        pace: PaceSettings::default(),
        read_back: None,
    }];
    let config = config::check_in_memory(settings).unwrap();
    let store = store::open(config.store.clone()).await.unwrap();
    let sends = (0..messages).map(|message| send(&*store, message));
    futures_util::future::join_all(sends).await;
    server::start_over(Arc::clone(&store), config, Sources::system()).await.unwrap()
}

async fn send(store: &dyn Store, message: usize) {
    let now = Timestamp::now();
    let id = MessageId::from_uuid(uuid::Uuid::from_u128(message as u128 + 1));
    let origins = Origins {
        message_id: id,
        caller: "bench".to_owned().try_into().unwrap(),
        number: NUMBER.to_owned().try_into().unwrap(),
        recipient: Recipient::Phone("+5521987650001".parse().unwrap()),
        request_id: None,
        handoff: Handoff::Direct,
        labels: Vec::new(),
        metadata: Default::default(),
        create_time: now,
        deliver_at: None,
    };
    let ids = ForeignIds {
        upstream: Some(UpstreamId::from_text(&upstream_id(message)).unwrap()),
        correlation: Some(CorrelationId::from_text(&format!("c-{message}")).unwrap()),
        external: Some(ExternalId::from_text(&external_id(message)).unwrap()),
    };
    let status = Observed::Reached(Status::Queued);
    let fact = Fact { status, at: now, observed_at: now, origin: Origin::SendReply, ids };
    store.accept(Draft { origins, fingerprint: [0; 32], likeness: None, queued: None }).await.unwrap();
    store.settle(id, Settlement { fact, attempts: 1, flow_token: None, claim: Claim::Kept }).await.unwrap();
}

/// Starts the bare door; it serves for as long as the runtime lives.
async fn door() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/webhooks/{token}", post(checked));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

async fn checked(headers: HeaderMap, body: Bytes) -> Response {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let given = headers.get("x-pilot-status-signature").map_or(&[][..], |value| value.as_bytes());
    if !bool::from(expected.as_bytes().ct_eq(given)) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(event) if event["event"].is_string() => Json(serde_json::json!({ "status": "recorded" })).into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}
