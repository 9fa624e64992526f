//! `pilotgate cancel`: takes back scheduled messages.
//!
//! Owns the verdict over all results: one that will still leave, or may, is a failure of the command. Called by the
//! command tree.

use tonic::Request;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::{human, json},
    },
    proto::v1::{CancelMessagesRequest, CancelOutcome},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate cancel 01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77
    xargs pilotgate cancel --json < ids.txt

The exit status is 0 only if none of the messages will be sent.";

/// Which messages.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The gateway's ids of the messages
    #[arg(required = true, value_name = "MESSAGE_ID")]
    message_ids: Vec<String>,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Cancels and prints one line for each message, in the order asked.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let mut call = Request::new(CancelMessagesRequest { message_ids: args.message_ids });
    call.set_timeout(args.connect.timeout);
    let answer = args.connect.client()?.cancel_messages(call).await?.into_inner();
    let mut ending = Ending::Done;
    for result in &answer.results {
        match out.form() {
            Form::Json => out.json(&json::Canceled::from(result))?,
            Form::Human => out.line(&human::canceled(result))?,
        }
        match result.outcome() {
            CancelOutcome::Canceled | CancelOutcome::AlreadyCanceled => {}
            CancelOutcome::Unspecified | CancelOutcome::TooLate | CancelOutcome::NotFound => {
                ending = Ending::Refused;
            }
        }
    }
    Ok(ending)
}
