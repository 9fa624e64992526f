//! `pilotgate sandbox`: a double of Pilot Status on this machine, with the gateway in front of it or alone.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::ExposeSecret;
use serde::Serialize;

use crate::{
    cli::{
        Ending,
        errors::CliError,
        output::{Form, Output},
        signals::Ends,
        stage::{Places, Stage},
    },
    config::{Log, LogFormat},
    sandbox::{self, Sandbox},
    server::logging,
};

const GRPC_PORT: u16 = 50051;
const HTTP_PORT: u16 = 8080;
const UPSTREAM_PORT: u16 = 8090;

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate sandbox
    pilotgate sandbox --port 0 --json
    pilotgate sandbox --upstream-only --listen 127.0.0.1:8090";

/// What to run.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Run only the double of Pilot Status, without a gateway
    #[arg(long)]
    upstream_only: bool,
    /// Where the gateway takes callers, or the double its clients with --upstream-only [default: 127.0.0.1:50051, or
    /// 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR", conflicts_with = "port")]
    listen: Option<SocketAddr>,
    /// The same, on loopback at this port; 0 takes free ports for everything
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Where the gateway takes webhooks [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", conflicts_with = "upstream_only")]
    http_listen: Option<SocketAddr>,
    /// Where the double behind the gateway listens [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDR", conflicts_with = "upstream_only")]
    upstream_listen: Option<SocketAddr>,
    /// Print one JSON object once everything answers
    #[arg(long)]
    pub(super) json: bool,
    /// What to log to stderr: error, warn, info, debug, trace or directives
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: String,
}

/// Addresses and credentials of what runs; what does not run is absent.
#[derive(Serialize)]
struct Running {
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    upstream: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    number: String,
    number_key: String,
    tenant_key: String,
    control: String,
}

/// Runs until a signal ends it, and leaves nothing behind.
///
/// # Errors
/// A port that cannot be had.
pub async fn run(args: &Args, out: &mut Output) -> Result<Ending, CliError> {
    logging::install(&Log { level: args.log.clone(), format: LogFormat::Text }).map_err(CliError::Usage)?;
    let mut ends = Ends::listen()?;
    if args.upstream_only {
        let listen = args.main_place(UPSTREAM_PORT);
        let options = sandbox::Options { listen, ..sandbox::Options::default() };
        let double = sandbox::open(options).await;
        let double = double.map_err(|error| CliError::Local(format!("cannot listen on {listen}: {error}")))?;
        let told = tell(&running(&double, None)?, out);
        if told.is_ok() {
            ends.next().await;
        }
        double.shutdown().await;
        return told.map(|()| Ending::Done);
    }
    let stage = Stage::open(args.places()).await?;
    let told = running(stage.double(), Some(&stage)).and_then(|running| tell(&running, out));
    if told.is_ok() {
        ends.next().await;
    }
    stage.close().await;
    told.map(|()| Ending::Done)
}

impl Args {
    fn main_place(&self, port: u16) -> SocketAddr {
        self.listen.unwrap_or_else(|| local(self.port.unwrap_or(port)))
    }

    fn places(&self) -> Places {
        let or_free = |port| if self.port == Some(0) { local(0) } else { local(port) };
        Places {
            grpc: self.main_place(GRPC_PORT),
            http: self.http_listen.unwrap_or_else(|| or_free(HTTP_PORT)),
            upstream: self.upstream_listen.unwrap_or_else(|| or_free(UPSTREAM_PORT)),
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn running(double: &Sandbox, stage: Option<&Stage>) -> Result<Running, CliError> {
    let account = double.account();
    let number = account.numbers.first().ok_or_else(|| CliError::Local("the double has no number".to_owned()))?;
    Ok(Running {
        grpc: stage.map(Stage::grpc_url),
        http: stage.map(Stage::http_url),
        upstream: double.base_url().to_owned(),
        token: stage.map(|stage| stage.token().expose_secret().to_owned()),
        number: number.id.clone(),
        number_key: number.key.clone(),
        tenant_key: account.tenant_key.clone(),
        control: double.control_url(),
    })
}

fn tell(running: &Running, out: &mut Output) -> Result<(), CliError> {
    if out.form() == Form::Json {
        return out.json(running);
    }
    let Running { upstream, number, number_key, tenant_key, control, .. } = running;
    let mut text =
        String::from("A double of Pilot Status runs on this machine. Ctrl-C ends it and leaves nothing.\n\n");
    if let (Some(grpc), Some(http), Some(token)) = (&running.grpc, &running.http, &running.token) {
        let address = grpc.trim_start_matches("http://");
        text.push_str(&format!(
            "  gateway (gRPC)   {grpc}\n  gateway (HTTP)   {http}\n  double           {upstream}\n  \
             double, control  {control}\n\n  number           {number}\n  caller token     {token}\n\n\
             In another terminal, watch and send with pilotgate's own client:\n\n  \
             export PILOTGATE_ADDRESS={grpc} PILOTGATE_TOKEN={token}\n  \
             pilotgate watch --from earliest\n  \
             pilotgate send --number {number} --to +5511987650101 --text 'Hello' --watch\n\n\
             or with any gRPC client, by reflection, for example grpcurl:\n\n  \
             grpcurl -plaintext -H 'authorization: Bearer {token}' -d '{{\"number\": \"{number}\", \
             \"recipient\": {{\"phone_number\": \"+5511987650101\"}}, \"text\": {{\"body\": \"Hello\"}}}}' \
             {address} pilotgate.v1.MessagingService/SendMessage\n",
        ));
    } else {
        text.push_str(&format!(
            "  double           {upstream}\n  double, control  {control}\n\n  number           {number}\n  \
             number key       {number_key}\n  tenant key       {tenant_key}\n\nFor example:\n\n  \
             curl {upstream}/v1/messages/send -H 'x-api-key: {number_key}' -H 'content-type: application/json' \
             -d '{{\"destinationNumber\": \"+5511987650101\", \"text\": \"Hello\"}}'\n",
        ));
    }
    out.line(&text)
}
