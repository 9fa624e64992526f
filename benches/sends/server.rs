//! The two servers compared, each in a process of its own.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use pilotgate::{
    config::{
        self, SecretRef, Settings,
        settings::{CallerSettings, GrantSettings, NumberSettings, PaceSettings},
    },
    domain::{principal::Permission, secret::TokenHash, sources::Sources},
    proto::v1::{
        self,
        messaging_service_server::{MessagingService, MessagingServiceServer},
        send_message_request::Content,
    },
    server,
    store::Written,
};
use secrecy::SecretString;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::child::serve_until_released;

pub const NUMBER: &str = "bench";
pub const TOKEN: &str = "pgt_bench";
const KEY: &str = "ps_bench-0123456789";

/// Which server a child is.
#[derive(Clone, Copy)]
pub enum Role {
    Pipe,
    Gateway,
}

impl Role {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::Gateway => "gateway",
        }
    }
}

/// Runs as a child until the parent lets go.
pub fn run(role: &str, upstream: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match role {
        "pipe" => {
            let url = runtime.block_on(pipe(upstream.to_owned()));
            serve_until_released(&url, Written::default);
        }
        "gateway" => {
            let directory = tempfile::tempdir().unwrap();
            let gateway = runtime.block_on(server::start(settings(upstream, &directory), Sources::system())).unwrap();
            serve_until_released(&format!("http://{}", gateway.grpc()), || gateway.written());
            runtime.block_on(gateway.shutdown());
        }
        other => panic!("no such role: {other}"),
    }
}

fn settings(upstream: &str, directory: &tempfile::TempDir) -> config::Config {
    let mut settings = Settings::defaults().unwrap();
    settings.grpc.listen = "127.0.0.1:0".parse().unwrap();
    settings.http.listen = "127.0.0.1:0".parse().unwrap();
    settings.upstream.base_url = upstream.to_owned();
    settings.store.directory = directory.path().to_owned();
    settings.numbers = vec![NumberSettings {
        name: NUMBER.to_owned(),
        upstream_id: None,
        phone: None,
        key: SecretRef::Inline(SecretString::from(KEY)),
        webhook_token: None,
        webhook_secrets: Vec::new(),
        pace: PaceSettings::default(),
        read_back: None,
        quota: Default::default(),
    }];
    settings.callers = vec![CallerSettings {
        name: "bench".to_owned(),
        token_hashes: vec![TokenHash::of(TOKEN).to_hex()],
        grants: vec![GrantSettings {
            number: "*".to_owned(),
            permissions: vec![Permission::Send],
            ..Default::default()
        }],
        ..Default::default()
    }];
    config::check_in_memory(settings).unwrap()
}

/// Starts the bare pipe; it serves for as long as the runtime lives.
async fn pipe(upstream: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut connector = hyper_util::client::legacy::connect::HttpConnector::new();
    connector.set_nodelay(true);
    let http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector);
    let service =
        MessagingServiceServer::new(Pipe { http, url: format!("{upstream}/v1/messages/send").parse().unwrap() });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    url
}

struct Pipe {
    http: Client<hyper_util::client::legacy::connect::HttpConnector, Full<Bytes>>,
    url: http::Uri,
}

#[tonic::async_trait]
impl MessagingService for Pipe {
    type SendMessagesStream = futures_util::stream::Empty<Result<v1::SendMessagesResponse, Status>>;
    type StreamStatusUpdatesStream = futures_util::stream::Empty<Result<v1::StreamStatusUpdatesResponse, Status>>;

    async fn send_message(
        &self,
        request: Request<v1::SendMessageRequest>,
    ) -> Result<Response<v1::SendMessageResponse>, Status> {
        let request = request.into_inner();
        let Some(v1::recipient::Kind::PhoneNumber(phone)) = request.recipient.and_then(|recipient| recipient.kind)
        else {
            return Err(Status::invalid_argument("recipient"));
        };
        let Some(Content::Text(text)) = request.content else { return Err(Status::invalid_argument("content")) };
        let body = serde_json::json!({ "destinationNumber": phone, "text": text.body }).to_string();
        let call = http::Request::post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-api-key", KEY)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Status::internal(error.to_string()))?;
        let answer = self.http.request(call).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let body = answer.into_body().collect().await.map_err(|error| Status::unknown(error.to_string()))?.to_bytes();
        let receipt: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| Status::unknown(error.to_string()))?;
        let message = v1::Message {
            upstream_id: receipt["id"].as_str().unwrap_or_default().to_owned(),
            status: v1::MessageStatus::Queued.into(),
            ..Default::default()
        };
        Ok(Response::new(v1::SendMessageResponse { message: Some(message), replayed: false }))
    }

    async fn send_messages(
        &self,
        _: Request<Streaming<v1::SendMessagesRequest>>,
    ) -> Result<Response<Self::SendMessagesStream>, Status> {
        Err(Status::unimplemented("pipe"))
    }

    async fn get_message(&self, _: Request<v1::GetMessageRequest>) -> Result<Response<v1::GetMessageResponse>, Status> {
        Err(Status::unimplemented("pipe"))
    }

    async fn list_messages(
        &self,
        _: Request<v1::ListMessagesRequest>,
    ) -> Result<Response<v1::ListMessagesResponse>, Status> {
        Err(Status::unimplemented("pipe"))
    }

    async fn cancel_messages(
        &self,
        _: Request<v1::CancelMessagesRequest>,
    ) -> Result<Response<v1::CancelMessagesResponse>, Status> {
        Err(Status::unimplemented("pipe"))
    }

    async fn stream_status_updates(
        &self,
        _: Request<v1::StreamStatusUpdatesRequest>,
    ) -> Result<Response<Self::StreamStatusUpdatesStream>, Status> {
        Err(Status::unimplemented("pipe"))
    }

    async fn commit_cursor(
        &self,
        _: Request<v1::CommitCursorRequest>,
    ) -> Result<Response<v1::CommitCursorResponse>, Status> {
        Err(Status::unimplemented("pipe"))
    }
}
