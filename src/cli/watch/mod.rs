//! `pilotgate watch`: follows status updates.
//!
//! Owns the arguments and the verdict at the end. Where a stream starts is `start`, following it through lost
//! connections is `follow`, remembering how far it got is `progress`. Called by the command tree, and by
//! `send --watch`.

pub mod follow;
pub mod progress;
pub mod start;

use std::{path::PathBuf, time::Duration};

use tonic::Request;

use crate::{
    cli::{
        Ending,
        connect::{Client, ConnectArgs},
        errors::CliError,
        output::Output,
        times,
    },
    proto::v1::{GetMessageRequest, MessageStatus, StatusFilter, StreamStatusUpdatesRequest, get_message_request::Key},
};
use follow::{Followed, Plan};
use progress::Progress;

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate watch --number shop
    pilotgate watch --status failed --from earliest --json
    pilotgate watch --message 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77 --until-final
    pilotgate watch --cursor-file shop.cursor --json >> updates.jsonl

A lost connection is made anew and goes on behind the last update, so that none is missed or printed twice. The
cursor file is written after the update has been printed: after a crash in between, that update comes once more.
With --subscription the gateway remembers the place instead. It is told after the update has been printed.

EXIT STATUS:
    0 ended as asked   1 refused   2 wrong command line   3 a message ended FAILED (--until-final)
    4 the gateway cannot be reached";

/// Which updates, from where, until when.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this number; repeatable
    #[arg(long, help_heading = "Filter")]
    number: Vec<String>,
    /// Only this message; repeatable
    #[arg(long, value_name = "MESSAGE_ID", help_heading = "Filter")]
    message: Vec<String>,
    /// Only updates with this status, for example failed; repeatable
    #[arg(long, value_parser = start::status, help_heading = "Filter")]
    status: Vec<MessageStatus>,
    /// Only messages with this label; repeatable
    #[arg(long, help_heading = "Filter")]
    label: Vec<String>,
    /// Where to start: latest, earliest, a time (RFC 3339) or a cursor. Default: latest; with --message from the
    /// creation of the oldest one; with --subscription where it left off
    #[arg(long, value_name = "START", value_parser = start::origin)]
    from: Option<start::Origin>,
    /// Durable subscription that remembers the place in the gateway (not served yet)
    #[arg(long, value_name = "NAME", conflicts_with = "cursor_file")]
    subscription: Option<String>,
    /// File that remembers the place on this machine; if it holds a cursor, that wins over --from
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// End once every --message is final
    #[arg(long, requires = "message")]
    until_final: bool,
    /// End after this many updates
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Longest silence of the gateway, 1s to 5m
    #[arg(long, default_value = "15s", value_name = "SPAN", value_parser = times::span)]
    heartbeat: Duration,
    /// End when the connection is lost
    #[arg(long)]
    no_reconnect: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Follows until the end that was asked for.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let mut client = args.connect.client()?;
    let (start, on_expired) = start::place(args.from, &args.message, args.subscription.is_some());
    let mut progress = match (args.cursor_file, &args.subscription) {
        (Some(path), _) => Progress::in_file(path)?,
        (None, Some(name)) => Progress::in_subscription(name.clone()),
        (None, None) => Progress::forgotten(),
    };
    let plan = Plan {
        request: StreamStatusUpdatesRequest {
            filter: Some(StatusFilter {
                numbers: args.number,
                message_ids: args.message,
                statuses: args.status.into_iter().map(i32::from).collect(),
                labels: args.label,
            }),
            start,
            subscription: args.subscription.unwrap_or_default(),
            on_expired: on_expired.into(),
            heartbeat_interval: Some(times::to_proto_span(args.heartbeat)),
            until_final: args.until_final,
        },
        reconnect: !args.no_reconnect,
        count: args.count,
        patience: args.connect.timeout,
        longest_silence: args.heartbeat * 2 + Duration::from_secs(5),
    };
    let followed = follow::follow(&mut client, &plan, &mut progress, out).await?;
    if plan.request.until_final { verdict(&mut client, &plan, &followed).await } else { Ok(Ending::Done) }
}

/// Follows one message from its creation until it is final.
///
/// # Errors
/// As for [`run`].
pub async fn until_final(
    client: &mut Client,
    message_id: String,
    patience: Duration,
    out: &mut Output,
) -> Result<Ending, CliError> {
    let message_ids = vec![message_id];
    let (start, on_expired) = start::place(None, &message_ids, false);
    let plan = Plan {
        request: StreamStatusUpdatesRequest {
            filter: Some(StatusFilter { message_ids, ..StatusFilter::default() }),
            start,
            on_expired: on_expired.into(),
            until_final: true,
            ..StreamStatusUpdatesRequest::default()
        },
        reconnect: true,
        count: None,
        patience,
        longest_silence: Duration::from_secs(35),
    };
    let followed = follow::follow(client, &plan, &mut Progress::forgotten(), out).await?;
    verdict(client, &plan, &followed).await
}

/// Whether all went well with the messages that were followed. One whose end was not seen, because it had come before
/// the start, is looked up.
async fn verdict(client: &mut Client, plan: &Plan, followed: &Followed) -> Result<Ending, CliError> {
    let message_ids = plan.request.filter.iter().flat_map(|it| &it.message_ids);
    for id in message_ids {
        let status = match followed.current.get(id) {
            Some(MessageStatus::Read | MessageStatus::Canceled) => continue,
            Some(MessageStatus::Failed) => return Ok(Ending::MessageFailed),
            _ => look_up(client, id, plan.patience).await?,
        };
        if status == MessageStatus::Failed {
            return Ok(Ending::MessageFailed);
        }
    }
    Ok(Ending::Done)
}

async fn look_up(client: &mut Client, message_id: &str, patience: Duration) -> Result<MessageStatus, CliError> {
    let key = Some(Key::MessageId(message_id.to_owned()));
    let mut call = Request::new(GetMessageRequest { key, refresh: false });
    call.set_timeout(patience);
    let answer = client.get_message(call).await?.into_inner();
    Ok(answer.message.unwrap_or_default().status())
}
