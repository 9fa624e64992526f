//! `pilotgate get`: where one message stands.
//!
//! Owns the two ways of naming a message. Called by the command tree.

use tonic::Request;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::{human, json},
    },
    proto::v1::{GetMessageRequest, UpstreamKey, get_message_request::Key},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate get 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77
    pilotgate get --number shop --upstream-id wamid.HBgN --refresh
    pilotgate get 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77 --json | jq -r .message.status";

/// Which message.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The gateway's id of the message
    #[arg(required_unless_present = "upstream_id", conflicts_with_all = ["upstream_id", "number"])]
    message_id: Option<String>,
    /// The number that sent it; with --upstream-id
    #[arg(long, requires = "upstream_id")]
    number: Option<String>,
    /// Id given by Pilot Status or WhatsApp: message id, correlation id or wamid
    #[arg(long, requires = "number", value_name = "ID")]
    upstream_id: Option<String>,
    /// Ask Pilot Status now instead of trusting what the gateway remembers
    #[arg(long)]
    refresh: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Looks the message up and prints it.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let key = match (args.message_id, args.number, args.upstream_id) {
        (Some(id), ..) => Key::MessageId(id),
        (None, Some(number), Some(upstream_id)) => Key::Upstream(UpstreamKey { number, upstream_id }),
        (None, ..) => return Err(CliError::Usage("name the message".into())),
    };
    let mut call = Request::new(GetMessageRequest { key: Some(key), refresh: args.refresh });
    call.set_timeout(args.connect.timeout);
    let answer = args.connect.client()?.get_message(call).await?.into_inner();
    match out.form() {
        Form::Json => out.json(&json::Found::from(&answer))?,
        Form::Human => out.line(&human::message(&answer.message.unwrap_or_default()))?,
    }
    Ok(Ending::Done)
}
