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
    state: &'a str,
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
    state: &'a str,
    create_time: Option<String>,
    expire_time: Option<String>,
    revoke_time: Option<String>,
}

#[derive(Serialize)]
struct ToldGrant<'a> {
    number: &'a str,
    permissions: Vec<&'a str>,
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
        state: bare(caller.state().as_str_name(), "CALLER_STATE_"),
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
        state: bare(token.state().as_str_name(), "TOKEN_STATE_"),
        create_time: token.create_time.as_ref().map(times::rfc3339),
        expire_time: token.expire_time.as_ref().map(times::rfc3339),
        revoke_time: token.revoke_time.as_ref().map(times::rfc3339),
    }
}

fn told_grant(grant: &Grant) -> ToldGrant<'_> {
    ToldGrant {
        number: &grant.number,
        permissions: grant.permissions().map(|permission| bare(permission.as_str_name(), "PERMISSION_")).collect(),
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

/// The contract's word without its prefix.
fn bare(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn word(name: &'static str, prefix: &str) -> String {
    bare(name, prefix).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::admin::v1::{CallerState, Quota, TokenState};

    fn caller() -> Caller {
        let token = Token { id: "0a1b2c3d4e5f".to_owned(), state: TokenState::Live.into(), ..Token::default() };
        let grant = Grant {
            number: "support".to_owned(),
            permissions: vec![Permission::Send.into(), Permission::Read.into()],
            templates: vec!["order_update".to_owned()],
            recipient_prefixes: vec!["+55".to_owned()],
        };
        Caller {
            name: "shop".to_owned(),
            state: CallerState::Disabled.into(),
            tokens: vec![token],
            grants: vec![grant],
            admin_rights: vec!["callers.view".to_owned()],
            quota: Some(Quota { per_minute: None, per_day: Some(9) }),
            etag: "5".to_owned(),
            ..Caller::default()
        }
    }

    #[test]
    fn a_caller_as_json() {
        let expected = concat!(
            r#"{"name":"shop","description":"","state":"DISABLED","tokens":[{"id":"0a1b2c3d4e5f","state":"LIVE","#,
            r#""create_time":null,"expire_time":null,"revoke_time":null}],"identities":[],"grants":[{"number":"support","#,
            r#""permissions":["SEND","READ"],"templates":["order_update"],"recipient_prefixes":["+55"]}],"#,
            r#""admin_rights":["callers.view"],"quota":{"per_minute":null,"per_day":9},"declared":false,"etag":"5","#,
            r#""create_time":null,"update_time":null}"#
        );
        assert_eq!(serde_json::to_string(&told(&caller())).unwrap(), expected);
    }

    #[test]
    fn a_grant_is_told_as_it_is_given() {
        assert_eq!(human_grant(&caller().grants[0]), "support:send,read/template=order_update/to=+55");
    }
}
