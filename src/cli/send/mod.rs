//! `pilotgate send`: one message.
//!
//! Owns the arguments that are not content and the order of things: request id first, then the send, then the watch.
//! Reading content is `content`, telling recipients apart is `recipient`, trying again is `attempts`. Called by the
//! command tree.

pub mod attempts;
pub mod content;
pub mod recipient;

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::{human, json},
        times::{self, Moment},
        watch,
    },
    proto::v1::{Handoff, Recipient, SendMessageRequest, recipient::Kind},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate send --number shop --to +5511987650101 --text 'Your order is on its way' --watch
    pilotgate send --number shop --to +5511987650101 --template order_update --var name=Ana --var order=1042
    pilotgate send --number shop --to +5511987650101 --text 'All well?' \\
        --button reply:Yes --button 'url:Track=https://example.com/1042' --footer 'The shop'
    pilotgate send --number shop --to +5511987650101 --media @invoice.pdf --type document --caption 'Invoice'
    pilotgate send --number shop --to +5511987650101 --text 'Good morning' --at +10m

BUTTONS:
    reply:LABEL          sends the label back
    url:LABEL=URL        opens the page
    call:LABEL=+NUMBER   calls the number
    copy:LABEL=CODE      copies the code

EXIT STATUS:
    0 sent   1 refused   2 wrong command line   3 ended FAILED (--watch)
    4 the gateway cannot be reached, or it is not known whether the message was sent: repeat with the same
      --request-id, which never sends twice";

/// What to send, and to whom.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The registered number that sends: its name, its Pilot Status id or its phone number
    #[arg(long)]
    number: String,
    /// Recipient: +E164, a user id (BR.123), a group (…@g.us) or a newsletter (…@newsletter)
    #[arg(long, value_name = "RECIPIENT", value_parser = recipient::recognise)]
    to: Kind,
    #[command(flatten)]
    content: content::ContentArgs,
    /// Send at this time: RFC 3339, or a span from now such as +10m
    #[arg(long, value_name = "TIME", value_parser = times::moment, help_heading = "Delivery")]
    at: Option<Moment>,
    /// Give up at this time: RFC 3339, or a span from now such as +2h
    #[arg(long, value_name = "TIME", value_parser = times::moment, help_heading = "Delivery")]
    until: Option<Moment>,
    /// Tag for the recipient at Pilot Status; repeatable
    #[arg(long, help_heading = "Delivery")]
    label: Vec<String>,
    /// Note that comes back with every update and is never sent; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = content::pair, help_heading = "Delivery")]
    meta: Vec<(String, String)>,
    /// Idempotency key; a fresh one is made and told if this is not given
    #[arg(long, value_name = "ID", help_heading = "Delivery")]
    request_id: Option<String>,
    /// Let the gateway store the message and deliver it with retries
    #[arg(long, help_heading = "Delivery")]
    queued: bool,
    /// Mark the recipient's last message as read
    #[arg(long, help_heading = "Delivery")]
    mark_read: bool,
    /// Follow the message until it is final
    #[arg(long, help_heading = "Delivery")]
    watch: bool,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// Sends, and follows the message if asked to.
///
/// # Errors
/// The gateway's refusal, with the request id in its metadata, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    let request = request(&args, Timestamp::now())?;
    let mut client = args.connect.client()?;
    if args.request_id.is_none() {
        out.note(&human::faint(&format!("request id {}", request.request_id)));
    }
    let answer = attempts::deliver(&mut client, request, args.connect.timeout, out).await?;
    match out.form() {
        Form::Json => out.json(&json::Sent::from(&answer))?,
        Form::Human => {
            // A watch tells all of this from the start.
            if !args.watch {
                let row = answer.message.as_ref().map(human::message_row).unwrap_or_default();
                let replayed = if answer.replayed { "  replayed, nothing was sent" } else { "" };
                out.line(&format!("{row}{}", human::faint(replayed)))?;
            }
        }
    }
    match answer.message {
        Some(message) if args.watch => {
            watch::until_final(&mut client, message.message_id, args.connect.timeout, out).await
        }
        _ => Ok(Ending::Done),
    }
}

fn request(args: &Args, now: Timestamp) -> Result<SendMessageRequest, CliError> {
    let time = |name: &str, moment: Option<Moment>| match moment {
        None => Ok(None),
        Some(moment) => moment
            .to_proto(now)
            .map(Some)
            .ok_or_else(|| CliError::Usage(format!("{name} lies beyond the end of the calendar"))),
    };
    let handoff = if args.queued { Handoff::Queued } else { Handoff::Direct };
    Ok(SendMessageRequest {
        number: args.number.clone(),
        recipient: Some(Recipient { kind: Some(args.to.clone()) }),
        content: Some(args.content.read()?),
        deliver_at: time("--at", args.at)?,
        deliver_until: time("--until", args.until)?,
        labels: args.label.clone(),
        mark_read: args.mark_read.then_some(true),
        metadata: args.meta.iter().cloned().collect(),
        request_id: args.request_id.clone().unwrap_or_else(|| Uuid::now_v7().to_string()),
        handoff: handoff.into(),
    })
}
