//! `pilotgate audit`: reads, checks and exports the audit log.
//!
//! Owns the arguments. An export is checked on this machine, without a gateway: see `offline`. Called by the command tree.

mod offline;
mod render;

use std::path::PathBuf;

use jiff::Timestamp;
use tonic::Request;

use crate::{
    cli::{
        Ending,
        connect::{AuditClient, ConnectArgs},
        errors::CliError,
        output::{Form, Output},
        times::{self, Moment},
    },
    proto::admin::v1::{AuditEntry, ListAuditEntriesRequest, VerifyAuditChainRequest},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate audit list --action number --since 2026-11-24T00:00:00Z
    pilotgate audit list --subject message/01936d5e-7c1a-7c3e-9d11-3f0c2a5b8e77 --json
    pilotgate audit export > audit.jsonl
    pilotgate audit export --after 1200 >> audit.jsonl
    pilotgate audit verify audit.jsonl
    pilotgate audit verify

Listing, exporting and checking the gateway's own log take the right audit.view; checking a file takes no gateway.

EXIT STATUS:
    0 done, and nothing is wrong   1 refused, or the log was tampered with   2 wrong command line
    4 the gateway cannot be reached";

/// Entries that are asked for at a time.
const PAGE: i32 = 1000;

/// What to do with the audit log.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show entries, newest first
    List(ListArgs),
    /// Check the gateway's log, or an export of it
    Verify(VerifyArgs),
    /// Write every entry as a line of JSON, oldest first
    Export(ExportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only by this caller; `pilotgate` for the gateway itself
    #[arg(long, default_value = "", hide_default_value = true)]
    actor: String,
    /// Only this action, or all that begin with it and a dot
    #[arg(long, default_value = "", hide_default_value = true)]
    action: String,
    /// Only on this subject: number/NAME, caller/NAME, message/ID
    #[arg(long, default_value = "", hide_default_value = true)]
    subject: String,
    /// Not before this time
    #[arg(long, value_parser = times::moment, value_name = "TIME")]
    since: Option<Moment>,
    /// Before this time
    #[arg(long, value_parser = times::moment, value_name = "TIME")]
    until: Option<Moment>,
    /// Oldest first
    #[arg(long)]
    oldest_first: bool,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// An export; without it, the gateway checks its own log
    file: Option<PathBuf>,
    /// An entry and its link that were noted earlier: the export must hold it
    #[arg(long, requires = "file", value_parser = offline::noted, value_name = "SEQUENCE:LINK")]
    noted: Option<offline::Noted>,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    /// Only entries with a greater number, to go on behind an earlier export
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..), value_name = "SEQUENCE")]
    after: i64,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl Args {
    /// Whether programs read the output.
    pub(super) fn is_json(&self) -> bool {
        match &self.command {
            Command::List(args) => args.connect.json,
            Command::Verify(args) => args.connect.json,
            Command::Export(args) => args.connect.json,
        }
    }
}

/// Does it.
///
/// # Errors
/// The gateway's refusal, or what went wrong on this side.
pub async fn run(args: Args, out: &mut Output) -> Result<Ending, CliError> {
    match args.command {
        Command::List(args) => list(args, out).await,
        Command::Verify(VerifyArgs { file: Some(file), noted, .. }) => offline::verify(&file, noted.as_ref(), out),
        Command::Verify(VerifyArgs { file: None, connect, .. }) => verify(&connect, out).await,
        Command::Export(args) => export(&args, out).await,
    }
}

async fn list(args: ListArgs, out: &mut Output) -> Result<Ending, CliError> {
    let now = Timestamp::now();
    let time = |moment: Option<Moment>| moment.and_then(|moment| moment.to_proto(now));
    let request = ListAuditEntriesRequest {
        start_time: time(args.since),
        end_time: time(args.until),
        actor: args.actor,
        action: args.action,
        subject: args.subject,
        oldest_first: args.oldest_first,
        ..ListAuditEntriesRequest::default()
    };
    pages(&args.connect, request, u64::from(args.limit), |entry| match out.form() {
        Form::Json => out.json(&render::Entry::from(&entry)),
        Form::Human => out.line(&render::line(&entry)),
    })
    .await?;
    Ok(Ending::Done)
}

async fn export(args: &ExportArgs, out: &mut Output) -> Result<Ending, CliError> {
    let request = ListAuditEntriesRequest {
        oldest_first: true,
        after_sequence: args.after,
        ..ListAuditEntriesRequest::default()
    };
    pages(&args.connect, request, u64::MAX, |entry| {
        out.json(&offline::Line { sequence: entry.sequence, link: entry.link.into(), entry: entry.text.into() })
    })
    .await?;
    Ok(Ending::Done)
}

async fn verify(connect: &ConnectArgs, out: &mut Output) -> Result<Ending, CliError> {
    let mut call = Request::new(VerifyAuditChainRequest {});
    call.set_timeout(connect.timeout);
    let answer = connect.audit()?.verify_audit_chain(call).await?.into_inner();
    let faults = answer.faults.into_iter().map(|fault| render::Fault {
        line: None,
        sequence: Some(fault.sequence),
        description: fault.description,
    });
    let found = render::Found {
        intact: answer.intact,
        entries: answer.entries,
        first_sequence: answer.first_sequence,
        last_sequence: answer.last_sequence,
        last_link: answer.last_link,
        faults: faults.collect(),
    };
    found.print(out)
}

/// Hands over entries page by page, at most so many.
async fn pages(
    connect: &ConnectArgs,
    mut request: ListAuditEntriesRequest,
    most: u64,
    mut each: impl FnMut(AuditEntry) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut client: AuditClient = connect.audit()?;
    let mut left = most;
    while left > 0 {
        request.page_size = i32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let mut call = Request::new(request.clone());
        call.set_timeout(connect.timeout);
        let page = client.list_audit_entries(call).await?.into_inner();
        for entry in page.entries {
            each(entry)?;
            left = left.saturating_sub(1);
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    Ok(())
}
