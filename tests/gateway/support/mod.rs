//! A double and a gateway on loopback, and a caller: everything over real sockets.

mod seen;

use std::{collections::BTreeMap, time::Duration};

use pilotgate::{
    config::{
        self, Config, SecretRef, Settings,
        settings::{CallerSettings, GrantSettings, NumberSettings, PaceSettings, Span},
    },
    domain::{audit::Act, principal::Permission, secret::TokenHash, sources::Sources},
    proto::v1::{self, messaging_service_client::MessagingServiceClient, send_message_request::Content},
    sandbox::{self, Sandbox},
    server::{self, Gateway},
    store::{self, AuditQuery},
};
use secrecy::SecretString;
use tempfile::TempDir;
use tonic::{
    Request, Status, Streaming,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub use self::seen::{in_time, key, message_until, sends, sent_after, until};

/// The token of the caller `orders`, who may do everything on every number.
pub const TOKEN: &str = "pgt_orders-token-for-tests";
/// The token of the caller `billing`, who may send from and read on every number, and observes nothing.
pub const OTHER_TOKEN: &str = "pgt_billing-token-for-tests";
/// The token of the caller `auditor`, who only observes.
pub const AUDITOR_TOKEN: &str = "pgt_auditor-token-for-tests";
/// The last segment of the number's webhook path.
pub const PATH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// The last segment of the webhook path of [`second_number`].
pub const SECOND_PATH_TOKEN: &str = "fedcba9876543210fedcba9876543210";
/// The number's name.
pub const NUMBER: &str = "wn_sandbox";
/// A recipient to whom everything is delivered and who reads it.
pub const READER: &str = "+5511987650101";
/// A recipient whose messages stay QUEUED.
pub const STUCK: &str = "+5511987650006";

pub type Client = MessagingServiceClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
pub struct Bearer(Option<&'static str>);

/// Puts the token on every call.
pub const fn bearer(token: Option<&'static str>) -> Bearer {
    Bearer(token)
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = self.0 {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(request)
    }
}

/// A double, with the settings of a gateway in front of it.
pub struct World {
    pub double: Sandbox,
    pub directory: TempDir,
}

impl World {
    pub async fn new() -> Self {
        Self::with(sandbox::Options::default()).await
    }

    /// Nothing is told of a message before a second has passed, so that what a test does about a lost answer comes first.
    pub async fn unhurried() -> Self {
        let switches = sandbox::Switches { sent_after_ms: 1000, ..Default::default() };
        Self::with(sandbox::Options { switches, ..Default::default() }).await
    }

    pub async fn with(options: sandbox::Options) -> Self {
        Self { double: sandbox::open(options).await.unwrap(), directory: tempfile::tempdir().unwrap() }
    }

    pub fn settings(&self) -> Settings {
        let account = self.double.account();
        let number = &account.numbers[0];
        let inline = |text: &str| SecretRef::Inline(SecretString::from(text));
        let mut settings = Settings::defaults().unwrap();
        settings.grpc.listen = "127.0.0.1:0".parse().unwrap();
        settings.http.listen = "127.0.0.1:0".parse().unwrap();
        settings.upstream.base_url = self.double.base_url().to_owned();
        settings.store.directory = self.directory.path().join("data");
        // One attempt for one call, and no number held back for long, so that each call shows what it met itself. Tests of
        // repeated attempts and of holding back set what they need.
        settings.messaging.attempts = 1;
        settings.breaker.number_first = Span(Duration::from_millis(1));
        settings.numbers = vec![NumberSettings {
            name: NUMBER.to_owned(),
            upstream_id: Some("wn_upstream_id".to_owned()),
            phone: Some(number.phone.clone()),
            key: inline(&number.key),
            webhook_token: Some(inline(PATH_TOKEN)),
            webhook_secrets: vec![inline(&account.webhook_secret)],
            pace: PaceSettings::default(),
            read_back: None,
            quota: Default::default(),
        }];
        let caller = |name: &str, token: &str, permissions: &[Permission]| CallerSettings {
            name: name.to_owned(),
            token_hashes: vec![TokenHash::of(token).to_hex()],
            grants: vec![GrantSettings {
                number: "*".to_owned(),
                permissions: permissions.to_vec(),
                ..Default::default()
            }],
            ..Default::default()
        };
        use Permission::{Cancel, Observe, Read, Send};
        settings.callers = vec![
            caller("orders", TOKEN, &[Send, Cancel, Read]),
            caller("billing", OTHER_TOKEN, &[Send, Read]),
            caller("auditor", AUDITOR_TOKEN, &[Observe]),
        ];
        settings
    }

    pub fn config(&self) -> Config {
        config::check_in_memory(self.settings()).unwrap()
    }

    /// A gateway whose webhook is registered at the double.
    pub async fn gateway(&self) -> Gateway {
        self.gateway_with(self.config()).await
    }

    pub async fn gateway_with(&self, config: Config) -> Gateway {
        let gateway = server::start(config, Sources::system()).await.unwrap();
        self.register(&gateway).await;
        gateway
    }

    /// Ends the double; what is left opens it again, at the same address and with the same keys.
    pub async fn down(self) -> Down {
        let account = self.double.account();
        let options = sandbox::Options {
            listen: self.double.base_url().trim_start_matches("http://").parse().unwrap(),
            number_key: Some(account.numbers[0].key.clone()),
            webhook_secret: Some(account.webhook_secret),
            ..Default::default()
        };
        self.double.shutdown().await;
        Down { options, directory: self.directory }
    }

    /// Lets go of the clients, then ends both servers.
    pub async fn end<C>(self, clients: C, gateway: Gateway) {
        drop(clients);
        gateway.shutdown().await;
        self.double.shutdown().await;
    }

    /// Makes the double send its webhooks to this gateway and no other.
    pub async fn register(&self, gateway: &Gateway) {
        let account = self.double.account();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let webhooks = format!("{}/v1/webhooks", self.double.base_url());
        let key = &account.numbers[0].key;
        let known: serde_json::Value =
            http.get(&webhooks).header("x-api-key", key).send().await.unwrap().json().await.unwrap();
        for webhook in known.as_array().unwrap() {
            let url = format!("{webhooks}/{}", webhook["id"].as_str().unwrap());
            http.delete(url).header("x-api-key", key).send().await.unwrap().error_for_status().unwrap();
        }
        let body = serde_json::json!({
            "url": format!("http://{}/webhooks/{PATH_TOKEN}", gateway.http()),
            "name": "gateway",
            "events": ["message.sent", "message.delivered", "message.read", "message.failed"],
        });
        let created = http.post(&webhooks).header("x-api-key", key).json(&body).send().await.unwrap();
        created.error_for_status().unwrap();
    }
}

/// A world without its double.
pub struct Down {
    options: sandbox::Options,
    directory: TempDir,
}

impl Down {
    pub async fn up(self) -> World {
        World { double: sandbox::open(self.options).await.unwrap(), directory: self.directory }
    }
}

pub async fn client(gateway: &Gateway) -> Client {
    client_as(gateway, Some(TOKEN)).await
}

pub async fn client_as(gateway: &Gateway, token: Option<&'static str>) -> Client {
    let channel = Channel::from_shared(format!("http://{}", gateway.grpc())).unwrap().connect().await.unwrap();
    MessagingServiceClient::with_interceptor(channel, Bearer(token))
}

pub fn to_phone(phone: &str) -> Option<v1::Recipient> {
    Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber(phone.to_owned())) })
}

/// A text to a phone.
pub fn text(phone: &str, body: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        recipient: to_phone(phone),
        content: Some(Content::Text(v1::TextContent { body: body.to_owned(), ..Default::default() })),
        ..Default::default()
    }
}

/// The same, for the queue.
pub fn queued(request: v1::SendMessageRequest) -> v1::SendMessageRequest {
    v1::SendMessageRequest { handoff: v1::Handoff::Queued.into(), ..request }
}

/// A template to a phone. In doubt, no webhook can be recognised as being about it, for what it says is made upstream.
pub fn template(phone: &str) -> v1::SendMessageRequest {
    let template = v1::TemplateContent {
        template: "order_update".to_owned(),
        variables: metadata([("name", "Rita"), ("order", "A-7731")]),
        ..Default::default()
    };
    v1::SendMessageRequest { content: Some(Content::Template(template)), ..text(phone, "") }
}

pub fn metadata<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

pub fn from_earliest() -> v1::StreamStatusUpdatesRequest {
    v1::StreamStatusUpdatesRequest {
        start: Some(v1::stream_status_updates_request::Start::Position(v1::Position::Earliest.into())),
        ..Default::default()
    }
}

pub fn from_cursor(cursor: &str) -> v1::StreamStatusUpdatesRequest {
    v1::StreamStatusUpdatesRequest {
        start: Some(v1::stream_status_updates_request::Start::Cursor(cursor.to_owned())),
        ..Default::default()
    }
}

pub type Frames = Streaming<v1::StreamStatusUpdatesResponse>;

/// The next update and the cursor behind it, past heartbeats; fails rather than wait for ever.
pub async fn next_update(frames: &mut Frames) -> (v1::StatusUpdate, String) {
    use v1::stream_status_updates_response::Frame;
    let update = async {
        loop {
            let response = frames.message().await.unwrap().expect("the stream ended");
            match response.frame.unwrap() {
                Frame::Update(update) => return (update, response.cursor),
                Frame::Heartbeat(_) => {}
                other => panic!("unexpected frame {other:?}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), update).await.expect("no update for 20 s")
}

/// The next frame of any kind, with its cursor; fails rather than wait for ever.
pub async fn next_frame(frames: &mut Frames) -> (v1::stream_status_updates_response::Frame, String) {
    let next = tokio::time::timeout(Duration::from_secs(20), frames.message()).await.expect("no frame for 20 s");
    let response = next.unwrap().expect("the stream ended");
    (response.frame.unwrap(), response.cursor)
}

/// The heartbeat that every stream begins with, and its cursor.
pub async fn started(frames: &mut Frames) -> (v1::Heartbeat, String) {
    match next_frame(frames).await {
        (v1::stream_status_updates_response::Frame::Heartbeat(heartbeat), cursor) => {
            assert_eq!(heartbeat.idle_reason(), v1::IdleReason::Started);
            (heartbeat, cursor)
        }
        (other, _) => panic!("began with {other:?}"),
    }
}

/// The next `count` updates, whole.
pub async fn next_updates(frames: &mut Frames, count: usize) -> Vec<v1::StatusUpdate> {
    let mut updates = Vec::with_capacity(count);
    for _ in 0..count {
        updates.push(next_update(frames).await.0);
    }
    updates
}

/// Opens a stream.
pub async fn follow(client: &mut Client, request: v1::StreamStatusUpdatesRequest) -> Frames {
    client.stream_status_updates(request).await.unwrap().into_inner()
}

/// How many entries the whole log has for this caller, those that it does not see included.
pub async fn log_length(client: &mut Client) -> i64 {
    let mut frames = follow(client, from_earliest()).await;
    started(&mut frames).await.0.backlog
}

/// Sends and tells our id.
pub async fn send(client: &mut Client, request: v1::SendMessageRequest) -> String {
    client.send_message(request).await.unwrap().into_inner().message.unwrap().message_id
}

/// A time so many seconds from now.
pub fn in_seconds(seconds: i64) -> Option<prost_types::Timestamp> {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    Some(prost_types::Timestamp { seconds: i64::try_from(now).unwrap() + seconds, nanos: 0 })
}

/// A second number of the double, registered at the gateway under the name `wn_second`; its webhooks come in unsigned at
/// [`SECOND_PATH_TOKEN`].
pub fn second_number(world: &World) -> NumberSettings {
    let number = &world.double.account().numbers[1];
    let inline = |text: &str| SecretRef::Inline(SecretString::from(text));
    NumberSettings {
        name: "wn_second".to_owned(),
        upstream_id: None,
        phone: Some(number.phone.clone()),
        key: inline(&number.key),
        webhook_token: Some(inline(SECOND_PATH_TOKEN)),
        webhook_secrets: Vec::new(),
        pace: PaceSettings::default(),
        read_back: None,
        quota: Default::default(),
    }
}

/// A double with two numbers; [`second_number`] registers the second.
pub fn two_numbers() -> sandbox::Options {
    let second = sandbox::NumberSeed {
        id: "wn_upstream_second".to_owned(),
        phone: "+5511900000001".to_owned(),
        ..Default::default()
    };
    sandbox::Options { more_numbers: vec![second], ..Default::default() }
}

/// The statuses of the next `count` updates, by message, in order.
pub async fn trails(frames: &mut Frames, count: usize) -> BTreeMap<String, Vec<v1::MessageStatus>> {
    let mut trails: BTreeMap<String, Vec<v1::MessageStatus>> = BTreeMap::new();
    for _ in 0..count {
        let (update, _) = next_update(frames).await;
        trails.entry(update.message_id.clone()).or_default().push(update.status());
    }
    trails
}

/// An error as a client library would see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub code: tonic::Code,
    pub message: String,
    pub reason: String,
    pub metadata: BTreeMap<String, String>,
    pub violations: Vec<(String, String)>,
    pub retry_after: Option<Duration>,
}

/// The error that a call ended with; it must carry an `ErrorInfo` of the gateway.
pub fn error_of<T: std::fmt::Debug>(result: Result<T, Status>) -> Told {
    use tonic_types::StatusExt;
    let status = result.unwrap_err();
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "pilotgate");
    let violations = details.bad_request().map(|wrong| &wrong.field_violations[..]).unwrap_or_default();
    Told {
        code: status.code(),
        message: status.message().to_owned(),
        reason: info.reason.clone(),
        metadata: info.metadata.clone().into_iter().collect(),
        violations: violations.iter().map(|one| (one.field.clone(), one.description.clone())).collect(),
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
    }
}

/// Everything in the audit log of a gateway that has ended.
pub async fn acts(world: &World) -> Vec<Act> {
    let store = store::open(world.config().store).await.unwrap();
    let records = store.audited(AuditQuery { limit: usize::MAX, ..Default::default() }).await.unwrap();
    store.close().await;
    records.iter().map(|record| record.act().unwrap()).collect()
}

/// A message by our id.
pub async fn get(client: &mut Client, id: &str) -> v1::Message {
    let request = v1::GetMessageRequest {
        key: Some(v1::get_message_request::Key::MessageId(id.to_owned())),
        ..Default::default()
    };
    client.get_message(request).await.unwrap().into_inner().message.unwrap()
}

/// The signature of a webhook, made without the gateway's own code.
pub fn signature(secret: &str, body: &str) -> String {
    use hmac::{Hmac, KeyInit, Mac};
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    hex::encode(mac.finalize().into_bytes())
}
