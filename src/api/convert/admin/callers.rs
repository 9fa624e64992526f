//! Callers, their tokens and rights.

use std::{ops::RangeInclusive, time::Duration};

use jiff::Timestamp;
use tonic::Status;

use super::{
    super::{
        Violations,
        times::{proto, span},
    },
    Reason,
    pages::{PageTokens, page_size},
    reason,
};
use crate::{
    admin::{CallerUpdate, Etag, Listed},
    domain::{
        caller::{self, Caller, Token},
        ids::{CallerName, NumberName},
        principal::{AdminRight, Grant, NumberScope, Permission},
        quota::Quota,
        record::Source,
    },
    identity::Registered,
    keys::KeyRing,
    proto::admin::v1,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const LONGEST_DESCRIPTION: usize = 500;
const MOST_IDENTITIES: usize = 20;
const MOST_GRANTS: usize = 1_000;
const MOST_RIGHTS: usize = 20;
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(60)..=DAY.saturating_mul(3650);
const GRACES: RangeInclusive<Duration> = Duration::ZERO..=DAY.saturating_mul(90);
const DEFAULT_GRACE: Duration = DAY;

/// Which caller, in which state.
pub(in crate::api) type Which = (CallerName, Option<Etag>);

/// Behind which caller, how many, with the page tokens of the list.
pub(in crate::api) fn callers_query(
    request: &v1::ListCallersRequest,
    key: &[u8; 32],
) -> Result<(Option<CallerName>, usize, PageTokens), Status> {
    let mut wrong = Violations::default();
    let tokens = PageTokens::of(key, "callers", []);
    let limit = page_size(&mut wrong, request.page_size);
    let after = tokens.decode(&mut wrong, &request.page_token);
    let after = after.and_then(|place| CallerName::from_text(&place).ok());
    wrong.finish(Some((after, limit, tokens)))
}

/// A page of them, of a list of one more than fit, if there are that many.
pub(in crate::api) fn callers_page(
    mut listed: Vec<Listed>,
    most: usize,
    tokens: &PageTokens,
    now: Timestamp,
) -> v1::ListCallersResponse {
    let more = listed.len() > most;
    listed.truncate(most);
    let last = listed.last().filter(|_| more);
    let next_page_token = last.map(|last| tokens.encode(last.name().as_str())).unwrap_or_default();
    v1::ListCallersResponse { callers: listed.iter().map(|listed| caller(listed, now)).collect(), next_page_token }
}

/// One of them.
pub(in crate::api) fn caller(listed: &Listed, now: Timestamp) -> v1::Caller {
    match listed {
        Listed::Registered(registered) => registered_caller(registered, now),
        Listed::Unreadable { name, version } => v1::Caller {
            name: name.to_string(),
            state: v1::CallerState::Unreadable.into(),
            etag: Etag(*version).to_string(),
            ..Default::default()
        },
    }
}

/// One that can be read.
pub(in crate::api) fn registered_caller(registered: &Registered, now: Timestamp) -> v1::Caller {
    let Registered { caller, source } = registered;
    let state = if caller.disabled { v1::CallerState::Disabled } else { v1::CallerState::Enabled };
    let told = v1::Caller {
        name: caller.name.to_string(),
        description: caller.description.clone(),
        state: state.into(),
        tokens: caller.tokens.iter().map(|one| token(one, now)).collect(),
        identities: caller.identities.clone(),
        grants: caller.grants.iter().map(grant).collect(),
        admin_rights: caller.admin.iter().map(ToString::to_string).collect(),
        quota: Some(v1::Quota { per_minute: caller.quota.per_minute, per_day: caller.quota.per_day }),
        ..Default::default()
    };
    match source {
        Source::Declared => v1::Caller { declared: true, ..told },
        Source::Stored { version, create_time, update_time } => v1::Caller {
            etag: Etag(*version).to_string(),
            create_time: Some(proto(*create_time)),
            update_time: Some(proto(*update_time)),
            ..told
        },
    }
}

fn token(token: &Token, now: Timestamp) -> v1::Token {
    let state = match token.revoke_time {
        Some(_) => v1::TokenState::Revoked,
        None if token.is_live(now) => v1::TokenState::Live,
        None => v1::TokenState::Expired,
    };
    v1::Token {
        id: token.id.clone(),
        state: state.into(),
        create_time: token.create_time.map(proto),
        expire_time: token.expire_time.map(proto),
        revoke_time: token.revoke_time.map(proto),
    }
}

fn grant(grant: &Grant) -> v1::Grant {
    let permission = |permission: &Permission| {
        i32::from(match permission {
            Permission::Send => v1::Permission::Send,
            Permission::Cancel => v1::Permission::Cancel,
            Permission::Read => v1::Permission::Read,
            Permission::Observe => v1::Permission::Observe,
            Permission::Inbox => v1::Permission::Inbox,
        })
    };
    v1::Grant {
        number: grant.numbers.clone().into(),
        permissions: grant.permissions.iter().map(permission).collect(),
        templates: grant.templates.clone(),
        recipient_prefixes: grant.recipient_prefixes.clone(),
    }
}

/// Whom to look at.
pub(in crate::api) fn caller_name(name: &str) -> Result<CallerName, Status> {
    let mut wrong = Violations::default();
    let name = wrong.take("name", CallerName::from_text(name));
    wrong.finish(name)
}

/// Whom to change, with nothing else to be said.
pub(in crate::api) fn which_caller(name: &str, etag: &str, why: &str) -> Result<Which, Status> {
    let mut wrong = Violations::default();
    let which = which(&mut wrong, name, etag, why);
    wrong.finish(which)
}

/// The caller to be.
pub(in crate::api) fn new_caller(request: v1::CreateCallerRequest, keys: &KeyRing) -> Result<Caller, Status> {
    let mut wrong = Violations::default();
    let name = wrong.take("name", CallerName::from_text(&request.name));
    let description = description(&mut wrong, "description", request.description);
    let identities = identities(&mut wrong, "identities", &request.identities);
    let grants = grants(&mut wrong, request.grants, keys);
    let admin = rights(&mut wrong, "admin_rights", &request.admin_rights);
    reason(&mut wrong, &request.reason, Reason::Optional);
    let quota = quota(request.quota);
    let caller = name.map(|name| Caller { description, identities, grants, admin, quota, ..Caller::named(name) });
    wrong.finish(caller)
}

/// Whom to change, and what.
pub(in crate::api) fn caller_update(request: v1::UpdateCallerRequest) -> Result<(Which, CallerUpdate), Status> {
    let mut wrong = Violations::default();
    let v1::Caller { name, description: text, identities: known, admin_rights, quota: limits, .. } =
        request.caller.unwrap_or_default();
    let which = which_at(&mut wrong, "caller.name", &name, &request.etag, &request.reason);
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    let asked = |field: &str| paths.iter().any(|path| path == field);
    if paths.is_empty() {
        wrong.add("update_mask", "is required and must name a field");
    }
    const FIELDS: [&str; 4] = ["description", "identities", "admin_rights", "quota"];
    if paths.iter().any(|path| !FIELDS.contains(&path.as_str())) {
        wrong.add("update_mask", format!("can name {} only", FIELDS.join(", ")));
    }
    let update = CallerUpdate {
        description: asked("description").then(|| description(&mut wrong, "caller.description", text)),
        identities: asked("identities").then(|| identities(&mut wrong, "caller.identities", &known)),
        admin: asked("admin_rights").then(|| rights(&mut wrong, "caller.admin_rights", &admin_rights)),
        quota: asked("quota").then(|| quota(limits)),
    };
    wrong.finish(which.map(|which| (which, update)))
}

/// For whom, and how long the token lives, if that is said.
pub(in crate::api) fn token_issue(request: &v1::IssueTokenRequest) -> Result<(Which, Option<Duration>), Status> {
    let mut wrong = Violations::default();
    let which = which(&mut wrong, &request.name, &request.etag, &request.reason);
    let lifetime = within(&mut wrong, "lifetime", request.lifetime, &LIFETIMES);
    wrong.finish(which.map(|which| (which, lifetime)))
}

/// For whom, how long the old token lives on, and how long the new one lives, if that is said.
pub(in crate::api) fn token_rotation(
    request: &v1::RotateTokenRequest,
) -> Result<(Which, Duration, Option<Duration>), Status> {
    let mut wrong = Violations::default();
    let which = which(&mut wrong, &request.name, &request.etag, &request.reason);
    token_id(&mut wrong, &request.token_id);
    let grace = within(&mut wrong, "grace", request.grace, &GRACES).unwrap_or(DEFAULT_GRACE);
    let lifetime = within(&mut wrong, "lifetime", request.lifetime, &LIFETIMES);
    wrong.finish(which.map(|which| (which, grace, lifetime)))
}

/// Whose token is to be revoked.
pub(in crate::api) fn token_revocation(request: &v1::RevokeTokenRequest) -> Result<Which, Status> {
    let mut wrong = Violations::default();
    let which = which(&mut wrong, &request.name, &request.etag, &request.reason);
    token_id(&mut wrong, &request.token_id);
    wrong.finish(which)
}

/// Whose grants are to be these.
pub(in crate::api) fn new_grants(request: v1::SetGrantsRequest, keys: &KeyRing) -> Result<(Which, Vec<Grant>), Status> {
    let mut wrong = Violations::default();
    let which = which(&mut wrong, &request.name, &request.etag, &request.reason);
    let grants = grants(&mut wrong, request.grants, keys);
    wrong.finish(which.map(|which| (which, grants)))
}

fn which(wrong: &mut Violations, name: &str, etag: &str, why: &str) -> Option<Which> {
    which_at(wrong, "name", name, etag, why)
}

fn which_at(wrong: &mut Violations, field: &str, name: &str, etag: &str, why: &str) -> Option<Which> {
    let name = wrong.take(field, CallerName::from_text(name));
    let etag = (!etag.is_empty()).then(|| wrong.take("etag", etag.parse::<Etag>()));
    reason(wrong, why, Reason::Optional);
    name.map(|name| (name, etag.flatten()))
}

fn description(wrong: &mut Violations, field: &str, text: String) -> String {
    if text.chars().take(LONGEST_DESCRIPTION + 1).count() > LONGEST_DESCRIPTION {
        wrong.add(field, format!("must be at most {LONGEST_DESCRIPTION} characters"));
    }
    text
}

fn identities(wrong: &mut Violations, field: &str, texts: &[String]) -> Vec<String> {
    if wrong.count(field, texts.len(), 0..=MOST_IDENTITIES).is_none() {
        return Vec::new();
    }
    let mut known = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let Some(identity) = wrong.take(format!("{field}[{index}]"), caller::identity(text)) else { continue };
        if known.contains(&identity) {
            wrong.add(format!("{field}[{index}]"), "is there twice");
        }
        known.push(identity);
    }
    known
}

fn rights(wrong: &mut Violations, field: &str, texts: &[String]) -> Vec<AdminRight> {
    if wrong.count(field, texts.len(), 0..=MOST_RIGHTS).is_none() {
        return Vec::new();
    }
    let read = texts.iter().enumerate();
    let mut rights: Vec<_> =
        read.filter_map(|(index, text)| wrong.take(format!("{field}[{index}]"), text.parse())).collect();
    rights.sort_unstable();
    rights.dedup();
    rights
}

fn grants(wrong: &mut Violations, grants: Vec<v1::Grant>, keys: &KeyRing) -> Vec<Grant> {
    if wrong.count("grants", grants.len(), 0..=MOST_GRANTS).is_none() {
        return Vec::new();
    }
    let read = grants.into_iter().enumerate();
    read.filter_map(|(index, grant)| read_grant(wrong, &format!("grants[{index}]"), grant, keys)).collect()
}

fn read_grant(wrong: &mut Violations, field: &str, grant: v1::Grant, keys: &KeyRing) -> Option<Grant> {
    let numbers = if grant.number == "*" {
        Some(NumberScope::All)
    } else {
        let registered = NumberName::from_text(&grant.number).ok().filter(|name| keys.get(name).is_some());
        if registered.is_none() {
            wrong.add(format!("{field}.number"), "must be the name of a registered number, or *");
        }
        registered.map(NumberScope::One)
    };
    // More than there are, so that one may be there twice, and not so many that going through them takes time.
    wrong.count(format!("{field}.permissions"), grant.permissions.len(), 1..=10)?;
    let mut permissions = Vec::new();
    // By the numbers: prost's own iterator leaves out those that it does not know.
    for (index, permission) in grant.permissions.iter().enumerate() {
        match v1::Permission::try_from(*permission) {
            Ok(v1::Permission::Send) => permissions.push(Permission::Send),
            Ok(v1::Permission::Cancel) => permissions.push(Permission::Cancel),
            Ok(v1::Permission::Read) => permissions.push(Permission::Read),
            Ok(v1::Permission::Observe) => permissions.push(Permission::Observe),
            Ok(v1::Permission::Inbox) => permissions.push(Permission::Inbox),
            Ok(v1::Permission::Unspecified) | Err(_) => {
                wrong.add(format!("{field}.permissions[{index}]"), "is not a permission");
            }
        }
    }
    permissions.sort_unstable();
    permissions.dedup();
    wrong.take(format!("{field}.templates"), Grant::check_templates(&grant.templates));
    wrong.take(format!("{field}.recipient_prefixes"), Grant::check_recipient_prefixes(&grant.recipient_prefixes));
    let v1::Grant { templates, recipient_prefixes, .. } = grant;
    numbers.map(|numbers| Grant { numbers, permissions, templates, recipient_prefixes })
}

fn quota(quota: Option<v1::Quota>) -> Quota {
    quota.map_or(Quota::NONE, |v1::Quota { per_minute, per_day }| Quota { per_minute, per_day })
}

fn token_id(wrong: &mut Violations, id: &str) {
    if id.len() != 12 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        wrong.add("token_id", "must be the 12 hexadecimal digits that name a token");
    }
}

fn within(
    wrong: &mut Violations,
    field: &str,
    value: Option<prost_types::Duration>,
    range: &RangeInclusive<Duration>,
) -> Option<Duration> {
    let value = wrong.take(field, span(value?))?;
    if !range.contains(&value) {
        wrong.add(field, format!("must be {:?} to {:?}", range.start(), range.end()));
    }
    Some(value)
}
