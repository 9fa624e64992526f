//! The two servers compared, each in a process of its own.

use std::{net::SocketAddr, sync::Arc};

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

use crate::child::serve_until_released;

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

impl Role {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Gateway => "gateway",
        }
    }
}

/// Runs as a child until the parent lets go.
pub fn run(role: &str, messages: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match role {
        "door" => {
            let address = runtime.block_on(door());
            serve_until_released(&address.to_string(), Written::default);
        }
        "gateway" => {
            let directory = tempfile::tempdir().unwrap();
            let gateway = runtime.block_on(gateway(directory.path(), messages));
            serve_until_released(&gateway.http().to_string(), || gateway.written());
            runtime.block_on(gateway.shutdown());
        }
        other => panic!("no such role: {other}"),
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
        quota: Default::default(),
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
    store
        .accept(Draft { origins, fingerprint: [0; 32], likeness: None, queued: None, limits: Vec::new() })
        .await
        .unwrap();
    store
        .settle(id, Settlement { fact, attempts: 1, flow_token: None, claim: Claim::Kept, audit: None })
        .await
        .unwrap();
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
