//! Callers and tokens as they are printed.

use serde::Serialize;

use crate::{
    cli::{
        errors::CliError,
        output::{Form, Output},
        render::human,
        times,
    },
    proto::admin::v1::{Caller, Grant, Permission, Token},
};

#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    description: &'a str,
    state: &'static str,
    tokens: Vec<ToldToken<'a>>,
    identities: &'a [String],
    grants: Vec<ToldGrant<'a>>,
    admin_rights: &'a [String],
    quota: ToldQuota,
    declared: bool,
    etag: &'a str,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct ToldToken<'a> {
    id: &'a str,
    state: &'static str,
    create_time: Option<String>,
    expire_time: Option<String>,
    revoke_time: Option<String>,
}

#[derive(Serialize)]
struct ToldGrant<'a> {
    number: &'a str,
    permissions: Vec<&'static str>,
    templates: &'a [String],
    recipient_prefixes: &'a [String],
}

#[derive(Serialize)]
struct ToldQuota {
    per_minute: Option<u64>,
    per_day: Option<u64>,
}

#[derive(Serialize)]
struct Issued<'a> {
    token: &'a str,
    token_id: &'a str,
    caller: Told<'a>,
}

/// Prints a caller.
pub(super) fn tell(caller: &Caller, out: &mut Output) -> Result<(), CliError> {
    match out.form() {
        Form::Json => out.json(&told(caller)),
        Form::Human => {
            out.line(&human_line(caller))?;
            for token in &caller.tokens {
                out.line(&human_token(token))?;
            }
            caller.grants.iter().try_for_each(|grant| out.line(&format!("    may    {}", human_grant(grant))))
        }
    }
}

/// Prints a token, for the only time.
pub(super) fn tell_token(token: &str, token_id: &str, caller: &Caller, out: &mut Output) -> Result<(), CliError> {
    match out.form() {
        Form::Json => out.json(&Issued { token, token_id, caller: told(caller) }),
        Form::Human => {
            out.line(&format!("token  {token}"))?;
            out.line(&format!("id     {token_id}"))?;
            out.note(&format!("\nGive the token to {}; it is shown only now.", caller.name));
            Ok(())
        }
    }
}

fn told(caller: &Caller) -> Told<'_> {
    let quota = caller.quota.unwrap_or_default();
    Told {
        name: &caller.name,
        description: &caller.description,
        state: caller.state().as_str_name(),
        tokens: caller.tokens.iter().map(told_token).collect(),
        identities: &caller.identities,
        grants: caller.grants.iter().map(told_grant).collect(),
        admin_rights: &caller.admin_rights,
        quota: ToldQuota { per_minute: quota.per_minute, per_day: quota.per_day },
        declared: caller.declared,
        etag: &caller.etag,
        create_time: caller.create_time.as_ref().map(times::rfc3339),
        update_time: caller.update_time.as_ref().map(times::rfc3339),
    }
}

fn told_token(token: &Token) -> ToldToken<'_> {
    ToldToken {
        id: &token.id,
        state: token.state().as_str_name(),
        create_time: token.create_time.as_ref().map(times::rfc3339),
        expire_time: token.expire_time.as_ref().map(times::rfc3339),
        revoke_time: token.revoke_time.as_ref().map(times::rfc3339),
    }
}

fn told_grant(grant: &Grant) -> ToldGrant<'_> {
    ToldGrant {
        number: &grant.number,
        permissions: grant.permissions().map(|permission| permission.as_str_name()).collect(),
        templates: &grant.templates,
        recipient_prefixes: &grant.recipient_prefixes,
    }
}

fn human_line(caller: &Caller) -> String {
    let state = word(caller.state().as_str_name(), "CALLER_STATE_");
    let quota = caller.quota.unwrap_or_default();
    let limits = [("minute", quota.per_minute), ("day", quota.per_day)];
    let limits = limits.into_iter().filter_map(|(window, most)| most.map(|most| format!("{most} a {window}")));
    let rest: Vec<String> = std::iter::once(caller.description.clone())
        .chain(caller.identities.iter().cloned())
        .chain(caller.admin_rights.iter().cloned())
        .chain(limits)
        .chain([if caller.declared { "in the configuration".to_owned() } else { format!("etag {}", caller.etag) }])
        .filter(|text| !text.is_empty())
        .collect();
    format!("{}  {state}  {}", human::strong(&caller.name), human::faint(&rest.join(", ")))
}

fn human_token(token: &Token) -> String {
    let state = word(token.state().as_str_name(), "TOKEN_STATE_");
    let ends = token.expire_time.as_ref().map(|time| format!("  ends {}", times::rfc3339(time))).unwrap_or_default();
    format!("    token  {}  {state}{}", token.id, human::faint(&ends))
}

fn human_grant(grant: &Grant) -> String {
    let permissions: Vec<String> =
        grant.permissions().map(|permission: Permission| word(permission.as_str_name(), "PERMISSION_")).collect();
    let templates = grant.templates.iter().map(|name| format!("/template={name}"));
    let prefixes = grant.recipient_prefixes.iter().map(|prefix| format!("/to={prefix}"));
    let narrowed: String = templates.chain(prefixes).collect();
    format!("{}:{}{narrowed}", grant.number, permissions.join(","))
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}
