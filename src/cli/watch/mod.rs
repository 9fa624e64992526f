//! `pilotgate watch`: follows status updates.
//!
//! Owns the arguments and the verdict at the end. What all streams can be told is `args`, where they start is `start`,
//! following them through lost connections is `follow`, remembering how far they got is `progress`, and `updates` is the
//! kind of stream. Called by the command tree, and by `send --watch`.

pub mod args;
pub mod follow;
pub mod progress;
pub mod start;
mod updates;

use std::time::Duration;

use tonic::Request;

use crate::{
    cli::{Ending, connect::Client, errors::CliError, output::Output, times},
    proto::v1::{GetMessageRequest, MessageStatus, StatusFilter, StreamStatusUpdatesRequest, get_message_request::Key},
};
use args::FollowArgs;
use follow::Plan;
use progress::Progress;
use updates::Updates;

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
    /// End once every --message is final
    #[arg(long, requires = "message")]
    until_final: bool,
    #[command(flatten)]
    pub(super) follow: FollowArgs,
}

/// Follows until the end that was asked for.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let mut client = args.follow.connect.client()?;
    let mut progress = args.follow.progress()?;
    let plan = Plan { until_final: args.until_final, ..args.follow.plan() };
    let FollowArgs { from, subscription, heartbeat, .. } = args.follow;
    let (start, on_expired) = start::place(from, &args.message, subscription.is_some());
    let request = StreamStatusUpdatesRequest {
        filter: Some(StatusFilter {
            numbers: args.number,
            message_ids: args.message,
            statuses: args.status.into_iter().map(i32::from).collect(),
            labels: args.label,
        }),
        start,
        subscription: subscription.unwrap_or_default(),
        on_expired: on_expired.into(),
        heartbeat_interval: Some(times::to_proto_span(heartbeat)),
        until_final: args.until_final,
    };
    let mut updates = Updates::of(&client, request);
    follow::follow(&mut client, &mut updates, &plan, &mut progress, out).await?;
    if plan.until_final { verdict(&mut client, &plan, &updates).await } else { Ok(Ending::Done) }
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
    let request = StreamStatusUpdatesRequest {
        filter: Some(StatusFilter { message_ids, ..StatusFilter::default() }),
        start,
        on_expired: on_expired.into(),
        until_final: true,
        ..StreamStatusUpdatesRequest::default()
    };
    let plan =
        Plan { reconnect: true, count: None, until_final: true, patience, longest_silence: Duration::from_secs(35) };
    let mut updates = Updates::of(client, request);
    follow::follow(client, &mut updates, &plan, &mut Progress::forgotten(), out).await?;
    verdict(client, &plan, &updates).await
}

/// Whether all went well with the messages that were followed. One whose end was not seen, because it had come before
/// the start, is looked up.
async fn verdict(client: &mut Client, plan: &Plan, updates: &Updates) -> Result<Ending, CliError> {
    for id in updates.message_ids() {
        let status = match updates.current.get(id) {
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
