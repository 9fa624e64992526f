//! `pilotgate subscriptions`: how far every caller's named subscriptions are acknowledged.
//!
//! Called by the command tree.

use serde::Serialize;

use crate::{
    cli::{
        Ending,
        connect::ConnectArgs,
        errors::CliError,
        output::{Form, Output},
        render::human,
        times::{self, Moment},
    },
    proto::{
        admin::v1::{
            DeleteSubscriptionRequest, ListSubscriptionsRequest, SeekSubscriptionRequest, Subscription,
            seek_subscription_request::Target,
        },
        v1::Position,
    },
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate subscriptions list --caller orders
    pilotgate subscriptions seek orders projector --to earliest --reason 'projection rebuilt'
    pilotgate subscriptions delete orders projector-old";

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// List subscriptions: how far they are acknowledged, what lies behind that, whether a stream carries them
    List(List),
    /// Move what a subscription has acknowledged, forward or back
    Seek(Seek),
    /// Delete a subscription
    Delete(Delete),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Of this caller only
    #[arg(long, default_value = "", hide_default_value = true)]
    caller: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct Seek {
    /// Whose
    caller: String,
    /// Its name
    name: String,
    /// Where to: `earliest`, `latest`, a time such as 2026-11-24T09:00:00Z, or a cursor
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
struct Delete {
    /// Whose
    caller: String,
    /// Its name
    name: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Serialize)]
struct Stands<'a> {
    caller: &'a str,
    name: &'a str,
    cursor: &'a str,
    backlog: u64,
    connected: bool,
    use_time: Option<String>,
}

impl Args {
    pub(super) const fn is_json(&self) -> bool {
        match &self.act {
            Act::List(List { connect, .. }) | Act::Seek(Seek { connect, .. }) | Act::Delete(Delete { connect, .. }) => {
                connect.json
            }
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
        Act::Seek(Seek { caller, name, to, reason, connect }) => {
            let target = Some(target(to));
            let call = connect.request(SeekSubscriptionRequest { caller, name, target, reason });
            let answer = connect.subscriptions()?.seek_subscription(call).await?.into_inner();
            tell(&answer.subscription.unwrap_or_default(), out)?;
        }
        Act::Delete(Delete { caller, name, reason, connect }) => {
            let call = connect.request(DeleteSubscriptionRequest { caller, name, reason });
            connect.subscriptions()?.delete_subscription(call).await?;
        }
    }
    Ok(Ending::Done)
}

async fn list(list: List, out: &mut Output) -> Result<(), CliError> {
    let mut asked = ListSubscriptionsRequest { page_size: 0, page_token: String::new(), caller: list.caller };
    let mut client = list.connect.subscriptions()?;
    loop {
        let page = client.list_subscriptions(list.connect.request(asked.clone())).await?.into_inner();
        for subscription in &page.subscriptions {
            tell(subscription, out)?;
        }
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        asked.page_token = page.next_page_token;
    }
}

fn target(to: String) -> Target {
    match to.as_str() {
        "earliest" => Target::Position(Position::Earliest.into()),
        "latest" => Target::Position(Position::Latest.into()),
        text => match times::moment(text) {
            Ok(Moment::At(time)) => Target::Time(times::to_proto(time)),
            Ok(Moment::In(_)) | Err(_) => Target::Cursor(to),
        },
    }
}

fn tell(subscription: &Subscription, out: &mut Output) -> Result<(), CliError> {
    let used = subscription.use_time.as_ref().map(times::rfc3339);
    match out.form() {
        Form::Json => out.json(&Stands {
            caller: &subscription.caller,
            name: &subscription.name,
            cursor: &subscription.cursor,
            backlog: subscription.backlog,
            connected: subscription.connected,
            use_time: used,
        }),
        Form::Human => {
            let stream = if subscription.connected { "connected" } else { "not connected" };
            let rest = format!("used {}  cursor {}", used.unwrap_or_default(), subscription.cursor);
            out.line(&format!(
                "{}/{}  {stream}  {} behind  {}",
                subscription.caller,
                human::strong(&subscription.name),
                subscription.backlog,
                human::faint(&rest),
            ))
        }
    }
}
