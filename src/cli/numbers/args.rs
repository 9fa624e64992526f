//! The words of `pilotgate numbers`.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{connect::ConnectArgs, errors::CliError, numbers::secret, times},
    proto::admin::v1::{
        NumberPace, NumberQuota, NumberSettings, NumberWebhookSettings, ReadBackPolicy, number_webhook_settings::Path,
    },
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate numbers list
    pilotgate numbers register shop --key-file shop.key --phone +5511987650000 --check
    pilotgate numbers import --tenant-key-file account.key --dry-run
    pilotgate numbers update shop --per-day 5000 --reason 'spring campaign'
    pilotgate numbers rotate shop --reason 'quarterly'";

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub(super) act: Act,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// List the numbers, also those whose records cannot be read
    List(List),
    /// Show a number
    Get {
        /// Its name, upstream id or phone
        name: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Register a number; its key is read from --key-file or from standard input
    Register(Box<Register>),
    /// Register all numbers of the account, by the account-wide key
    Import(Import),
    /// Change what is not the key
    Update(Box<Update>),
    /// Find out whether a number could send now; exit status 1 if something is wrong
    Check {
        /// Its name, upstream id or phone
        name: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Send nothing from a number for now
    Disable(Named),
    /// Send from it again
    Enable(Named),
    /// Forget a number and its key
    Delete {
        #[command(flatten)]
        number: Named,
        /// Even if messages of it are not decided
        #[arg(long)]
        force: bool,
    },
    /// Take another key for a number, from --key-file or from standard input
    SetKey {
        #[command(flatten)]
        number: Named,
        #[command(flatten)]
        key: Key,
        /// Ask Pilot Status first whether it accepts the key
        #[arg(long)]
        check: bool,
    },
    /// Have Pilot Status give a number a new key
    Rotate(Named),
    /// Store the account-wide key, from --key-file or from standard input
    TenantKey {
        #[command(flatten)]
        key: Key,
        /// Forget the stored one instead
        #[arg(long, conflicts_with = "key_file")]
        forget: bool,
        /// Why, for the audit log
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Named {
    /// Its name
    pub(super) name: String,
    /// Only if it is in the state that has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) etag: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Key {
    /// File that holds the key; `-` or nothing: standard input
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Register {
    /// Its name, which outlives every key
    pub(super) name: String,
    #[command(flatten)]
    pub(super) key: Key,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Register it as disabled
    #[arg(long)]
    pub(super) disabled: bool,
    /// Ask Pilot Status first whether it accepts the key
    #[arg(long)]
    pub(super) check: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// File that holds the account-wide key, for this time; without it the stored or configured one is used
    #[arg(long, value_name = "FILE")]
    pub(super) tenant_key_file: Option<PathBuf>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Put before every name that is made
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub(super) name_prefix: String,
    /// Register them as disabled
    #[arg(long)]
    pub(super) disabled: bool,
    /// Only this one; may be given several times
    #[arg(long = "upstream-id", value_name = "ID")]
    pub(super) upstream_ids: Vec<String>,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Update {
    #[command(flatten)]
    pub(super) number: Named,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Clear this field; may be given several times
    #[arg(long, value_name = "FIELD", value_parser = [
        "description", "upstream_id", "phone_number", "rotate_interval", "pace", "quota", "read_back", "webhook",
    ])]
    pub(super) clear: Vec<String>,
}

/// What can be set. Of pace and quota all that is given counts, and what is not given is cleared with it.
#[derive(Debug, clap::Args)]
pub(super) struct Settings {
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Its id at Pilot Status
    #[arg(long, value_name = "ID")]
    upstream_id: Option<String>,
    /// Its phone number, E.164
    #[arg(long, value_name = "E164")]
    phone: Option<String>,
    /// How often the gateway has Pilot Status give it a new key: at least 1h
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    rotate_every: Option<Duration>,
    /// Sends a second on average
    #[arg(long, value_name = "RATE")]
    per_second: Option<f64>,
    /// So many may go at once after a quiet time
    #[arg(long, value_name = "COUNT")]
    burst: Option<u32>,
    /// Smallest time between two sends
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    min_gap: Option<Duration>,
    /// By which part of itself that gap grows at most, at random
    #[arg(long, value_name = "PART")]
    gap_jitter: Option<f64>,
    /// Messages a minute
    #[arg(long, value_name = "COUNT")]
    per_minute: Option<u64>,
    /// Messages a day
    #[arg(long, value_name = "COUNT")]
    per_day: Option<u64>,
    /// Which statuses told by webhook are read back
    #[arg(long, value_name = "POLICY", value_parser = ["never", "terminal", "always"])]
    read_back: Option<String>,
    /// Take webhooks at a path that the gateway makes and registers
    #[arg(long, conflicts_with = "webhook_token_file")]
    generate_webhook_token: bool,
    /// File that holds the last segment of the webhook path
    #[arg(long, value_name = "FILE")]
    webhook_token_file: Option<PathBuf>,
    /// File that holds a secret that signs webhooks; may be given several times
    #[arg(long = "webhook-secret-file", value_name = "FILE")]
    webhook_secret_files: Vec<PathBuf>,
}

impl Args {
    pub(in crate::cli) const fn is_json(&self) -> bool {
        match &self.act {
            Act::List(List { connect })
            | Act::Get { connect, .. }
            | Act::Import(Import { connect, .. })
            | Act::Check { connect, .. }
            | Act::Disable(Named { connect, .. })
            | Act::Enable(Named { connect, .. })
            | Act::Rotate(Named { connect, .. })
            | Act::Delete { number: Named { connect, .. }, .. }
            | Act::SetKey { number: Named { connect, .. }, .. }
            | Act::TenantKey { connect, .. } => connect.json,
            Act::Register(register) => register.connect.json,
            Act::Update(update) => update.number.connect.json,
        }
    }
}

impl Settings {
    /// What is to stand, and which fields were given.
    pub(super) fn into_proto(self, name: String) -> Result<(NumberSettings, Vec<String>), CliError> {
        let mut given = Vec::new();
        let mut note = |is_given: bool, field: &str| {
            if is_given {
                given.push(field.to_owned());
            }
        };
        note(self.description.is_some(), "description");
        note(self.upstream_id.is_some(), "upstream_id");
        note(self.phone.is_some(), "phone_number");
        note(self.rotate_every.is_some(), "rotate_interval");
        note(self.read_back.is_some(), "read_back");
        let has_pace =
            self.per_second.is_some() || self.burst.is_some() || self.min_gap.is_some() || self.gap_jitter.is_some();
        note(has_pace, "pace");
        let has_quota = self.per_minute.is_some() || self.per_day.is_some();
        note(has_quota, "quota");
        let token = self.webhook_token_file.as_deref().map(|file| secret::read(Some(file), "the path token"));
        let token = token.transpose()?.map(Path::Token);
        let path = token.or(self.generate_webhook_token.then_some(Path::GenerateToken(true)));
        let secrets = self.webhook_secret_files.iter().map(|file| secret::read(Some(file), "the webhook secret"));
        let secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        let webhook = (path.is_some() || !secrets.is_empty()).then_some(NumberWebhookSettings { path, secrets });
        note(webhook.is_some(), "webhook");
        let pace = NumberPace {
            per_second: self.per_second.unwrap_or_default(),
            burst: self.burst.unwrap_or_default(),
            min_gap: self.min_gap.map(times::to_proto_span),
            gap_jitter: self.gap_jitter.unwrap_or_default(),
        };
        let read_back = match self.read_back.as_deref() {
            Some("never") => ReadBackPolicy::Never,
            Some("terminal") => ReadBackPolicy::Terminal,
            Some("always") => ReadBackPolicy::Always,
            _ => ReadBackPolicy::Unspecified,
        };
        let settings = NumberSettings {
            name,
            description: self.description.unwrap_or_default(),
            upstream_id: self.upstream_id.unwrap_or_default(),
            phone_number: self.phone.unwrap_or_default(),
            rotate_interval: self.rotate_every.map(times::to_proto_span),
            pace: has_pace.then_some(pace),
            quota: has_quota.then_some(NumberQuota { per_minute: self.per_minute, per_day: self.per_day }),
            read_back: read_back.into(),
            webhook,
        };
        Ok((settings, given))
    }
}
