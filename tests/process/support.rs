//! A `pilotgate serve` that a test starts, kills and starts again.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use pilotgate::{
    domain::secret::TokenHash,
    proto::v1::{self, messaging_service_client::MessagingServiceClient, send_message_request::Content},
    sandbox::{self, Sandbox},
};
use tempfile::TempDir;
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

pub const TOKEN: &str = "pgt_CallerTokenCanary0123456789";
pub const PATH_TOKEN: &str = "PathTokenCanary0123456789";
pub const NUMBER: &str = "shop";
pub const READER: &str = "+5511987650101";
/// Whose messages stay QUEUED.
pub const STUCK: &str = "+5511987650006";
/// Whose messages Pilot Status accepts at once and answers late.
pub const SLOW: &str = "+5511987650016";

pub type Client = MessagingServiceClient<InterceptedService<Channel, Bearer>>;

#[derive(Clone)]
pub struct Bearer(pub &'static str);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.0).parse().unwrap());
        Ok(request)
    }
}

/// A double and a directory with a configuration for gateways in front of it.
pub struct Place {
    pub double: Sandbox,
    pub directory: TempDir,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
}

/// A running gateway, which does not outlive the test.
pub struct Gateway {
    process: Child,
}

impl Place {
    /// `more` is appended to the configuration.
    pub async fn new(options: sandbox::Options, more: &str) -> Self {
        let double = sandbox::open(options).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let place = Self { grpc: free_port(), http: free_port(), double, directory };
        let account = place.double.account();
        for (name, secret) in [
            ("number.key", account.numbers[0].key.as_str()),
            ("webhook.token", PATH_TOKEN),
            ("webhook.secret", account.webhook_secret.as_str()),
        ] {
            place.write(name, secret);
        }
        place.write("pilotgate.toml", &place.config(more));
        place.register().await;
        place
    }

    fn config(&self, more: &str) -> String {
        let directory = self.directory.path().display();
        format!(
            "[grpc]\nlisten = \"{}\"\n[http]\nlisten = \"{}\"\n[upstream]\nbase_url = \"{}\"\n\
             [store]\ndirectory = \"{directory}/data\"\n\
             [[numbers]]\nname = \"{NUMBER}\"\nkey = {{ file = \"{directory}/number.key\" }}\n\
             webhook_token = {{ file = \"{directory}/webhook.token\" }}\n\
             webhook_secrets = [{{ file = \"{directory}/webhook.secret\" }}]\n\
             [[callers]]\nname = \"orders\"\ntoken_hashes = [\"{}\"]\n\
             [[callers.grants]]\nnumber = \"*\"\npermissions = [\"send\", \"cancel\", \"read\"]\n{more}",
            self.grpc,
            self.http,
            self.double.base_url(),
            TokenHash::of(TOKEN).to_hex(),
        )
    }

    /// A file that only its owner can read.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        use std::io::Write;
        let path = self.directory.path().join(name);
        let _ = fs::remove_file(&path);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a gateway, which writes to `serve.log` of the directory; it may not answer yet.
    pub fn serve(&self) -> Gateway {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("serve.log")).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_pilotgate"))
            .args(["serve", "--config"])
            .arg(self.path("pilotgate.toml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Gateway { process }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("serve.log")).unwrap_or_default()
    }

    /// A client of the gateway, once it answers.
    pub async fn client(&self) -> Client {
        self.client_as(Bearer(TOKEN)).await
    }

    /// The same, with another credential.
    pub async fn client_as(&self, bearer: Bearer) -> Client {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match endpoint.connect().await {
                Ok(channel) => return MessagingServiceClient::with_interceptor(channel, bearer),
                Err(error) => assert!(Instant::now() < deadline, "no answer within 20 s: {error}\n{}", self.log()),
            }
            // A foreign process is waited for; nothing here announces it.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn register(&self) {
        let body = serde_json::json!({
            "url": format!("http://{}/webhooks/{PATH_TOKEN}", self.http),
            "name": "gateway",
            "events": ["message.sent", "message.delivered", "message.read", "message.failed"],
        });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.post(format!("{}/v1/webhooks", self.double.base_url()));
        let key = &self.double.account().numbers[0].key;
        request.header("x-api-key", key).json(&body).send().await.unwrap().error_for_status().unwrap();
    }
}

impl Gateway {
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end, and kills it rather than wait for ever.
    pub fn wait(mut self) -> ExitStatus {
        patiently(self.process.id(), || self.process.wait().unwrap())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Fails if it has ended, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> (Option<i32>, String) {
    run_with(arguments, &[])
}

/// The same, with variables in its environment.
pub fn run_with(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
    program.args(arguments).envs(environment.iter().copied());
    let process = program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = patiently(process.id(), || process.wait_with_output()).unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// Waits for a process in whatever way, and kills it rather than wait for ever.
pub fn patiently<T>(process: u32, wait: impl FnOnce() -> T) -> T {
    let (ended, end) = mpsc::channel::<()>();
    thread::spawn(move || {
        if end.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
            signal(process, "KILL");
        }
    });
    let waited = wait();
    drop(ended);
    waited
}

fn signal(process: u32, name: &str) {
    let kill = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status();
    assert!(kill.unwrap().success());
}

/// A free port below those that the system gives to outgoing connections: while the gateway is away, none of them may sit
/// down on its port.
pub fn free_port() -> SocketAddr {
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

pub fn text(phone: &str, request_id: &str) -> v1::SendMessageRequest {
    v1::SendMessageRequest {
        number: NUMBER.to_owned(),
        recipient: Some(v1::Recipient { kind: Some(v1::recipient::Kind::PhoneNumber(phone.to_owned())) }),
        content: Some(Content::Text(v1::TextContent { body: "hello".to_owned(), ..Default::default() })),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

pub fn reason_of(status: &Status) -> String {
    use tonic_types::StatusExt;
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

pub fn from_earliest() -> v1::StreamStatusUpdatesRequest {
    v1::StreamStatusUpdatesRequest {
        start: Some(v1::stream_status_updates_request::Start::Position(v1::Position::Earliest.into())),
        ..Default::default()
    }
}
