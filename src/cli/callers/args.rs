//! What `pilotgate callers` is told.

use std::time::Duration;

use crate::{
    cli::{connect::ConnectArgs, times},
    proto::admin::v1::{Grant, Permission},
};

const EXAMPLES: &str = "\
EXAMPLES:
    pilotgate callers create shop --grant 'support:send,read' --per-minute 600 --reason 'order updates'
    pilotgate callers issue-token shop --lifetime 90d --json | jq -r .token
    pilotgate callers rotate-token shop 0a1b2c3d4e5f --grace 2h
    pilotgate callers grant shop 'support:send' '*:read' --reason 'reads everything now'
    pilotgate callers update shop --admin callers.view
    pilotgate callers disable shop --reason 'token in a public log'";

/// What to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub(super) act: Act,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Act {
    /// List all callers
    List(List),
    /// Tell of one caller
    Get(Get),
    /// Register a caller, without a token
    Create(Box<Create>),
    /// Change the description, identities, administrator's rights or quota; what is not named stays
    Update(Box<Update>),
    /// Accept none of its credentials until it is enabled again
    Disable(One),
    /// Accept its credentials again
    Enable(One),
    /// Delete it with all that it is known by
    Delete(One),
    /// Make a token, which is shown only now
    IssueToken(Issue),
    /// Make a token in place of another one, which goes on working for a while
    RotateToken(Rotate),
    /// End a token at once
    RevokeToken(Revoke),
    /// Replace all its grants
    Grant(SetAll),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The caller's name
    pub(super) name: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// The caller's name
    pub(super) name: String,
    /// Only if it is still in this state, as an earlier answer told it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) etag: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The caller's name: a-z, 0-9, '-', '_' and '.'
    pub(super) name: String,
    /// For people
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) description: String,
    /// By what else it is known: jwt:ISSUER/SUBJECT, mtls:spiffe://DOMAIN/PATH or mtls:dns:NAME; may be repeated
    #[arg(long = "identity", value_name = "IDENTITY")]
    pub(super) identities: Vec<String>,
    /// NUMBER:PERMISSION,... with * for all numbers and /template=NAME or /to=PREFIX behind it; may be repeated
    #[arg(long = "grant", value_name = "GRANT", value_parser = grant)]
    pub(super) grants: Vec<Grant>,
    /// A right of an administrator, such as callers.view; may be repeated
    #[arg(long = "admin", value_name = "RIGHT")]
    pub(super) admin_rights: Vec<String>,
    /// Messages a minute at most
    #[arg(long, value_name = "COUNT")]
    pub(super) per_minute: Option<u64>,
    /// Messages a day at most
    #[arg(long, value_name = "COUNT")]
    pub(super) per_day: Option<u64>,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("change").required(true).multiple(true).args([
    "description", "identities", "no_identities", "admin_rights", "no_admin", "per_minute", "per_day", "no_quota",
])))]
pub(super) struct Update {
    /// The caller's name
    pub(super) name: String,
    /// For people
    #[arg(long)]
    pub(super) description: Option<String>,
    /// By what else it is known, instead of what it was known by; may be repeated
    #[arg(long = "identity", value_name = "IDENTITY")]
    pub(super) identities: Vec<String>,
    /// It is known by its tokens only
    #[arg(long, conflicts_with = "identities")]
    pub(super) no_identities: bool,
    /// A right of an administrator, instead of all that it had; may be repeated
    #[arg(long = "admin", value_name = "RIGHT")]
    pub(super) admin_rights: Vec<String>,
    /// It administers nothing
    #[arg(long, conflicts_with = "admin_rights")]
    pub(super) no_admin: bool,
    #[command(flatten)]
    pub(super) quota: Limits,
    /// It may send as much as comes
    #[arg(long, conflicts_with_all = ["per_minute", "per_day"])]
    pub(super) no_quota: bool,
    /// Only if it is still in this state, as an earlier answer told it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) etag: String,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
}

/// A whole quota: a limit that is not named is none.
#[derive(Debug, clap::Args)]
pub(super) struct Limits {
    /// Messages a minute at most; without --per-day no limit a day
    #[arg(long, value_name = "COUNT")]
    pub(super) per_minute: Option<u64>,
    /// Messages a day at most; without --per-minute no limit a minute
    #[arg(long, value_name = "COUNT")]
    pub(super) per_day: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Issue {
    #[command(flatten)]
    pub(super) one: One,
    /// How long it is accepted, such as 90d; as the gateway is set up if not given
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    pub(super) lifetime: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    pub(super) one: One,
    /// The id of the old token
    pub(super) token_id: String,
    /// How long the old token still works; a day if not given
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    pub(super) grace: Option<Duration>,
    /// The old token ends at once
    #[arg(long, conflicts_with = "grace")]
    pub(super) at_once: bool,
    /// How long the new token is accepted; as the gateway is set up if not given
    #[arg(long, value_name = "SPAN", value_parser = times::span)]
    pub(super) lifetime: Option<Duration>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    pub(super) one: One,
    /// The token's id
    pub(super) token_id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetAll {
    #[command(flatten)]
    pub(super) one: One,
    /// NUMBER:PERMISSION,... with * for all numbers and /template=NAME or /to=PREFIX behind it
    #[arg(value_name = "GRANT", value_parser = grant, required_unless_present = "none")]
    pub(super) grants: Vec<Grant>,
    /// It may do nothing with numbers
    #[arg(long, conflicts_with = "grants")]
    pub(super) none: bool,
}

impl Args {
    pub(in crate::cli) fn is_json(&self) -> bool {
        let connect = match &self.act {
            Act::List(List { connect }) | Act::Get(Get { connect, .. }) => connect,
            Act::Create(create) => &create.connect,
            Act::Update(update) => &update.connect,
            Act::Disable(one) | Act::Enable(one) | Act::Delete(one) => &one.connect,
            Act::IssueToken(Issue { one, .. })
            | Act::RotateToken(Rotate { one, .. })
            | Act::RevokeToken(Revoke { one, .. })
            | Act::Grant(SetAll { one, .. }) => &one.connect,
        };
        connect.json
    }
}

/// Reads `support:send,read`, `*:read` or `support:send/template=order_update/to=+5511`.
fn grant(text: &str) -> Result<Grant, String> {
    let mut parts = text.split('/');
    let (number, words) = parts
        .next()
        .and_then(|head| head.split_once(':'))
        .ok_or("expected a grant such as support:send,read or '*:read'")?;
    let mut grant = Grant { number: number.to_owned(), ..Grant::default() };
    for word in words.split(',') {
        let permission = Permission::from_str_name(&format!("PERMISSION_{}", word.to_ascii_uppercase()));
        let permission = permission.filter(|permission| *permission != Permission::Unspecified);
        let permission = permission.ok_or("a permission is one of send, cancel, read, observe and inbox")?;
        grant.permissions.push(permission.into());
    }
    for part in parts {
        match part.split_once('=') {
            Some(("template", name)) => grant.templates.push(name.to_owned()),
            Some(("to", prefix)) => grant.recipient_prefixes.push(prefix.to_owned()),
            _ => return Err("behind a grant may stand /template=NAME and /to=PREFIX".to_owned()),
        }
    }
    Ok(grant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read() {
        let send = i32::from(Permission::Send);
        let narrow = Grant {
            number: "support".to_owned(),
            permissions: vec![send, Permission::Inbox.into()],
            templates: vec!["order_update".to_owned()],
            recipient_prefixes: vec!["+5511".to_owned(), "+5521".to_owned()],
        };
        assert_eq!(grant("support:send,inbox/template=order_update/to=+5511/to=+5521"), Ok(narrow));
        assert_eq!(grant("*:send"), Ok(Grant { number: "*".to_owned(), permissions: vec![send], ..Grant::default() }));
        for wrong in ["support", "support:", "support:all", "support:unspecified", "support:send/x", "support:send/x=1"]
        {
            assert!(grant(wrong).is_err(), "{wrong}");
        }
    }
}
