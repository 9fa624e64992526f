//! A directory with a configuration, gateways that are started in it one after the other, and their double.

use std::{
    collections::HashSet,
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use pilotgate::{
    domain::secret::TokenHash,
    proto::v1::{self, messaging_service_client::MessagingServiceClient},
    sandbox::{self, Sandbox, Switches},
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{
    caller::{Bearer, Client, TOKEN},
    doomed,
};

/// How many numbers a double has that is there from the start.
pub const NUMBERS: usize = 4;
const KEY: &str = "ps_chaos-number-key-0123456789";
const SECRET: &str = "whsec_chaos-0123456789";
const PATH_TOKEN: &str = "chaos-path-token-0123456789";

/// Where gateways of a test live.
pub struct Place {
    directory: TempDir,
    pub grpc: SocketAddr,
    http: SocketAddr,
}

/// What makes a place different from others.
#[derive(Default)]
pub struct House {
    /// Whether webhooks come in, and how they are proven.
    pub doors: Doors,
    /// Further lines of `[store]`.
    pub store: &'static str,
    /// Further lines of `[upstream]`.
    pub upstream: String,
    /// The numbers are not in the configuration: whoever runs the gateway registers them.
    pub undeclared: bool,
    /// Further sections.
    pub sections: String,
}

/// How webhooks come in.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Doors {
    /// At a path that nobody else knows, and signed.
    #[default]
    Signed,
    /// At a path alone.
    Unsigned,
    /// Not at all.
    None,
}

/// A running gateway, which does not outlive the test.
pub struct Gateway {
    process: Child,
}

impl Place {
    /// For gateways in front of this double, with all its numbers, which send their webhooks here.
    pub async fn in_front_of(double: &Sandbox) -> Self {
        Self::with(double, &House::default()).await
    }

    /// The same, as different as this.
    pub async fn with(double: &Sandbox, house: &House) -> Self {
        let numbers = double.account().numbers;
        let keys: Vec<_> = numbers.iter().map(|number| number.key.as_str()).collect();
        let place = Self::new(double.base_url(), &keys, house);
        if house.doors == Doors::None {
            return place;
        }
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        for (index, number) in numbers.iter().enumerate() {
            let body = serde_json::json!({
                "url": place.door(index),
                "name": "gateway",
                "events": ["message.sent", "message.delivered", "message.read", "message.failed"],
            });
            let request = http.post(format!("{}/v1/webhooks", double.base_url())).header("x-api-key", &number.key);
            request.json(&body).send().await.unwrap().error_for_status().unwrap();
        }
        place
    }

    /// For gateways with one number in front of a double that is opened later, at this address.
    pub fn before(upstream: SocketAddr) -> Self {
        Self::new(&format!("http://{upstream}"), &[KEY], &House::default())
    }

    /// Where webhooks of a number come in.
    pub fn door(&self, number: usize) -> String {
        format!("http://{}/webhooks/{PATH_TOKEN}-{number}", self.http)
    }

    fn new(upstream: &str, keys: &[&str], house: &House) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = Self { grpc: free_port(), http: free_port(), directory };
        let config = format!(
            "[grpc]\nlisten = \"{grpc}\"\n[http]\nlisten = \"{http}\"\n\
             [upstream]\nbase_url = \"{upstream}\"\ntimeout = \"5s\"\nmax_in_flight = 128\n{upstream_lines}\
             [store]\ndirectory = \"{directory}/data\"\n{store}\
             [messaging]\nretry_first = \"10ms\"\nretry_longest = \"100ms\"\nrepeat_wait = \"2s\"\n\
             [breaker]\nhost_first = \"20ms\"\nhost_longest = \"200ms\"\nnumber_first = \"5ms\"\nnumber_longest = \"50ms\"\n\
             [queue]\nretry_first = \"20ms\"\nretry_longest = \"300ms\"\nlease = \"2m\"\n\
             [log]\nlevel = \"error\"\n\
             {sections}{numbers}[[callers]]\nname = \"orders\"\ntoken_hashes = [\"{token}\"]\n\
             [[callers.grants]]\nnumber = \"*\"\npermissions = [\"send\", \"cancel\", \"read\", \"inbox\"]\n",
            grpc = place.grpc,
            http = place.http,
            directory = place.directory.path().display(),
            token = TokenHash::of(TOKEN).to_hex(),
            store = house.store,
            upstream_lines = house.upstream,
            sections = house.sections,
            numbers = if house.undeclared { String::new() } else { numbers(keys, house.doors) },
        );
        let mut file = fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(place.config());
        std::io::Write::write_all(&mut file.unwrap(), config.as_bytes()).unwrap();
        place
    }

    /// A file that is not there at first.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("pilotgate.toml")
    }

    /// The program as it is.
    pub fn serve(&self) -> Gateway {
        let mut program = Command::new(env!("CARGO_BIN_EXE_pilotgate"));
        self.spawn(program.args(["serve", "--config"]).arg(self.config()))
    }

    /// A gateway that kills itself at that moment.
    pub fn serve_until(&self, moment: &str) -> Gateway {
        self.serve_with(moment, &[])
    }

    /// The same, which is told something else in its environment.
    pub fn serve_with(&self, moment: &str, told: &[(&str, &str)]) -> Gateway {
        let mut program = Command::new(env::current_exe().unwrap());
        program.args(["--exact", doomed::TEST, "--nocapture"]).envs(told.iter().copied());
        self.spawn(program.env(doomed::CONFIG, self.config()).env(doomed::MOMENT, moment))
    }

    fn spawn(&self, program: &mut Command) -> Gateway {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.log_path()).unwrap();
        let program = program.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        Gateway { process: program.spawn().unwrap() }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("gateway.log")
    }

    /// What the gateways wrote.
    pub fn whole_log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The end of it.
    pub fn log(&self) -> String {
        let text = self.whole_log();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn endpoint(&self) -> Endpoint {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap()
    }

    /// A client of the gateway, once it answers.
    pub async fn client(&self) -> Client {
        MessagingServiceClient::with_interceptor(self.channel(self.endpoint()).await, Bearer)
    }

    /// A connection to the gateway, once it answers.
    pub async fn channel(&self, endpoint: Endpoint) -> Channel {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(error) => assert!(Instant::now() < deadline, "no answer within 20 s: {error}\n{}", self.log()),
            }
            // A foreign process is waited for; nothing here announces it.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The name of a number.
pub fn number_name(index: usize) -> String {
    format!("shop-{index}")
}

fn numbers(keys: &[&str], doors: Doors) -> String {
    keys.iter().enumerate().map(|(index, key)| number(index, key, doors)).collect()
}

/// The configuration of a number. Its pace is one from which it recovers soon: every 429 halves it.
fn number(index: usize, key: &str, doors: Doors) -> String {
    let door = match doors {
        Doors::Signed => format!("webhook_token = \"{PATH_TOKEN}-{index}\"\nwebhook_secrets = [\"{SECRET}\"]\n"),
        Doors::Unsigned => format!("webhook_token = \"{PATH_TOKEN}-{index}\"\n"),
        Doors::None => String::new(),
    };
    format!(
        "[[numbers]]\nname = \"{}\"\nkey = \"{key}\"\n{door}pace = {{ per_second = 100000.0, burst = 100000 }}\n",
        number_name(index),
    )
}

/// A double with [`NUMBERS`] numbers, of which we know the first one's key, and that comes back soon with webhooks that found nobody.
pub fn double(switches: Switches) -> sandbox::Options {
    sandbox::Options {
        switches: Switches { time_scale: 0.02, ..switches },
        more_numbers: (1..NUMBERS)
            .map(|index| sandbox::NumberSeed {
                id: format!("wn_sandbox_{index}"),
                phone: format!("+551190000000{index}"),
                ..Default::default()
            })
            .collect(),
        number_key: Some(KEY.to_owned()),
        webhook_secret: Some(SECRET.to_owned()),
        keep_requests: 1_000_000,
        ..Default::default()
    }
}

impl Gateway {
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end and waits until it has, in order.
    pub async fn end(mut self, place: &Place) {
        let kill = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let ended = eventually("the gateway ends", async || self.process.try_wait().unwrap()).await;
        assert!(ended.success(), "{ended}\n{}", place.log());
    }

    /// Whether it has died or ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Waits for its death.
    pub async fn killed(mut self, place: &Place) {
        use std::os::unix::process::ExitStatusExt;
        let ended = eventually("the gateway kills itself", async || self.process.try_wait().unwrap());
        assert_eq!(ended.await.signal(), Some(9), "it ended otherwise\n{}", place.log());
    }

    /// A line of `/proc/<id>/status` that counts in kB, in MiB.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Fails if it has ended, which is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// How long anything is waited for. Many times what it takes, because others may use the machine as well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Held by tests that keep the machine busy, so that none slows another one down.
pub static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Asks until there is an answer; fails rather than wait for ever.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A free port below those that the system gives to outgoing connections: while the gateway is away, none of them may sit
/// down on its port.
pub fn free_port() -> SocketAddr {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(20_000..32_000)));
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.get_or_insert_default().insert(address.port()) && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// The status that goes with that of the double.
pub fn status_of(seen: &sandbox::SeenMessage) -> v1::MessageStatus {
    match seen.status {
        sandbox::Status::Queued => v1::MessageStatus::Queued,
        sandbox::Status::Sent => v1::MessageStatus::Sent,
        sandbox::Status::Delivered => v1::MessageStatus::Delivered,
        sandbox::Status::Read => v1::MessageStatus::Read,
        sandbox::Status::Failed => v1::MessageStatus::Failed,
        sandbox::Status::Canceled => v1::MessageStatus::Canceled,
    }
}
