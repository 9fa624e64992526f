//! `pilotgate outbox`: messages that are not decided yet.
//!
//! Called by the command tree.

use serde::Serialize;
use tonic::Request;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::{self, human, json},
        times,
    },
    proto::{
        admin::v1::{
            DiscardMessageRequest, InDoubtNotSent, InDoubtSent, ListPendingRequest, PendingMessage,
            ResolveInDoubtRequest, RetryMessageRequest, resolve_in_doubt_request::Outcome,
        },
        v1::MessageStatus,
    },
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate outbox list --in-doubt
    pilotgate outbox retry 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77
    pilotgate outbox discard 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77 --reason 'wrong campaign'
    pilotgate outbox resolve 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77 --not-sent --reason 'not in the console'";

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// List queued messages that were not handed over, and those in doubt
    List(List),
    /// Try a queued message now instead of after its wait
    Retry(One),
    /// Take a queued message out before it is handed over
    Discard(Reasoned),
    /// Settle a message in doubt by what was found out
    Resolve(Resolve),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this number only
    #[arg(long)]
    number: Option<String>,
    /// Of this caller only
    #[arg(long)]
    caller: Option<String>,
    /// Only messages in doubt
    #[arg(long)]
    in_doubt: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct One {
    /// The gateway's id of the message
    message_id: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct Reasoned {
    /// The gateway's id of the message
    message_id: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("found").required(true).args(["sent", "not_sent"])))]
struct Resolve {
    /// The gateway's id of the message
    message_id: String,
    /// Pilot Status took it
    #[arg(long)]
    sent: bool,
    /// Pilot Status did not take it, so that sending it again is safe
    #[arg(long)]
    not_sent: bool,
    /// Pilot Status's id of it, which brings its further statuses; with --sent
    #[arg(long, requires = "sent", value_name = "ID", default_value = "", hide_default_value = true)]
    upstream_id: String,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Serialize)]
struct Pending<'a> {
    message_id: &'a str,
    caller: &'a str,
    number: &'a str,
    recipient: &'a str,
    status: &'static str,
    handoff: &'static str,
    attempts: u32,
    create_time: Option<String>,
    queued: bool,
    next_attempt_time: Option<String>,
    expire_time: Option<String>,
    attempting: bool,
    behind_another: bool,
}

impl Args {
    pub(super) const fn is_json(&self) -> bool {
        match &self.act {
            Act::List(List { connect, .. })
            | Act::Retry(One { connect, .. })
            | Act::Discard(Reasoned { connect, .. })
            | Act::Resolve(Resolve { connect, .. }) => connect.json,
        }
    }
}

/// Does it and prints what came of it.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    match args.act {
        Act::List(list) => self::list(list, out).await?,
        Act::Retry(One { message_id, reason, connect }) => {
            let call = connect.request(RetryMessageRequest { message_id, reason });
            let answer = connect.outbox()?.retry_message(call).await?.into_inner();
            tell(&answer.message.unwrap_or_default(), out)?;
        }
        Act::Discard(Reasoned { message_id, reason, connect }) => {
            let call = connect.request(DiscardMessageRequest { message_id, reason });
            let answer = connect.outbox()?.discard_message(call).await?.into_inner();
            decided(answer.message, out)?;
        }
        Act::Resolve(Resolve { message_id, sent, upstream_id, reason, connect, .. }) => {
            let outcome =
                if sent { Outcome::Sent(InDoubtSent { upstream_id }) } else { Outcome::NotSent(InDoubtNotSent {}) };
            let call = connect.request(ResolveInDoubtRequest { message_id, outcome: Some(outcome), reason });
            let answer = connect.outbox()?.resolve_in_doubt(call).await?.into_inner();
            decided(answer.message, out)?;
        }
    }
    Ok(Ending::Done)
}

async fn list(list: List, out: &mut Output) -> Result<(), CliError> {
    let status = if list.in_doubt { MessageStatus::InDoubt } else { MessageStatus::Unspecified };
    let mut asked = ListPendingRequest {
        page_size: 0,
        page_token: String::new(),
        number: list.number.unwrap_or_default(),
        caller: list.caller.unwrap_or_default(),
        status: status.into(),
    };
    let mut client = list.connect.outbox()?;
    loop {
        let page: Request<_> = list.connect.request(asked.clone());
        let page = client.list_pending(page).await?.into_inner();
        for message in &page.messages {
            tell(message, out)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        asked.page_token = page.next_page_token;
    }
}

fn tell(message: &PendingMessage, out: &mut Output) -> Result<(), CliError> {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(times::rfc3339);
    match out.form() {
        Form::Json => out.json(&Pending {
            message_id: &message.message_id,
            caller: &message.caller,
            number: &message.number,
            recipient: &message.recipient,
            status: render::status_word(message.status()),
            handoff: render::handoff_word(message.handoff()),
            attempts: message.attempts,
            create_time: time(&message.create_time),
            queued: message.queued,
            next_attempt_time: time(&message.next_attempt_time),
            expire_time: time(&message.expire_time),
            attempting: message.attempting,
            behind_another: message.behind_another,
        }),
        Form::Human => {
            let next = match (message.attempting, message.behind_another, time(&message.next_attempt_time)) {
                (true, ..) => "being attempted".to_owned(),
                (_, true, _) => "behind another one".to_owned(),
                (_, _, Some(next)) => format!("next {next}"),
                (_, _, None) => "waits for evidence".to_owned(),
            };
            out.line(&format!(
                "{}  {}  {}  {} from {} to {}  {}",
                time(&message.create_time).unwrap_or_default(),
                human::status(message.status(), ""),
                message.message_id,
                message.caller,
                message.number,
                message.recipient,
                human::faint(&format!("{} attempts, {next}", message.attempts)),
            ))
        }
    }
}

fn decided(message: Option<crate::proto::v1::Message>, out: &mut Output) -> Result<(), CliError> {
    let answer = crate::proto::v1::GetMessageResponse { message };
    match out.form() {
        Form::Json => out.json(&json::Found::from(&answer)),
        Form::Human => out.line(&human::message(&answer.message.unwrap_or_default())),
    }
}
