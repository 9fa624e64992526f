//! One form for what a file says and what the gateway tells, so that the two can be compared, written and sent.
//!
//! Orders that mean nothing are those of the alphabet, and what is left out stands with its default.

use std::time::Duration;

use jiff::SignedDuration;

use super::file::{CallerShape, NumberShape};
use crate::{
    cli::times,
    domain::{principal, read_back::ReadBack},
    proto::admin::v1::{
        Caller, Grant, Number, NumberPace, NumberQuota, NumberSettings, Permission, Quota, ReadBackPolicy,
    },
};

/// A field as it is called in the file and in the contract, with its value in the words of the file.
pub(in crate::cli) struct Field {
    pub(in crate::cli) name: &'static str,
    pub(in crate::cli) path: &'static str,
    pub(in crate::cli) value: String,
}

/// The grants are changed by an act of their own.
pub(super) const GRANTS: &str = "grants";

/// A number as the file has it.
pub(super) fn number_form(shape: &NumberShape) -> NumberSettings {
    let pace = shape.pace;
    let read_back = match shape.read_back {
        None => ReadBackPolicy::Unspecified,
        Some(ReadBack::Never) => ReadBackPolicy::Never,
        Some(ReadBack::Terminal) => ReadBackPolicy::Terminal,
        Some(ReadBack::Always) => ReadBackPolicy::Always,
    };
    NumberSettings {
        name: shape.name.clone(),
        description: shape.description.clone(),
        upstream_id: shape.upstream_id.clone(),
        phone_number: shape.phone.clone(),
        rotate_interval: shape.rotate_every.map(|interval| times::to_proto_span(interval.0)),
        pace: Some(NumberPace {
            per_second: pace.per_second.unwrap_or_default(),
            burst: pace.burst.unwrap_or(1),
            min_gap: pace.min_gap.map(|gap| gap.0).filter(|gap| !gap.is_zero()).map(times::to_proto_span),
            gap_jitter: pace.gap_jitter.unwrap_or_default(),
        }),
        quota: Some(NumberQuota { per_minute: shape.quota.per_minute, per_day: shape.quota.per_day }),
        read_back: read_back.into(),
        webhook: None,
    }
}

/// A number as the gateway tells it.
pub(in crate::cli) fn present_number(number: &Number) -> NumberSettings {
    NumberSettings {
        name: number.name.clone(),
        description: number.description.clone(),
        upstream_id: number.upstream_id.clone(),
        phone_number: number.phone_number.clone(),
        rotate_interval: number.rotate_interval,
        pace: Some(number.pace.unwrap_or(NumberPace { burst: 1, ..Default::default() })),
        quota: Some(number.quota.unwrap_or_default()),
        read_back: number.read_back,
        webhook: None,
    }
}

/// A caller as the file has it.
pub(super) fn caller_form(shape: &CallerShape) -> Caller {
    let grants = shape.grants.iter().map(|grant| Grant {
        number: grant.number.clone(),
        permissions: grant.permissions.iter().map(|permission| permission_code(*permission)).collect(),
        templates: grant.templates.clone(),
        recipient_prefixes: grant.recipient_prefixes.clone(),
    });
    in_order(Caller {
        name: shape.name.clone(),
        description: shape.description.clone(),
        identities: shape.identities.clone(),
        grants: grants.collect(),
        admin_rights: shape.admin.clone(),
        quota: Some(Quota { per_minute: shape.quota.per_minute, per_day: shape.quota.per_day }),
        ..Default::default()
    })
}

/// A caller as the gateway tells it.
pub(in crate::cli) fn present_caller(caller: &Caller) -> Caller {
    in_order(Caller {
        name: caller.name.clone(),
        description: caller.description.clone(),
        identities: caller.identities.clone(),
        grants: caller.grants.clone(),
        admin_rights: caller.admin_rights.clone(),
        quota: Some(caller.quota.unwrap_or_default()),
        ..Default::default()
    })
}

fn in_order(mut caller: Caller) -> Caller {
    fn set<T: Ord>(items: &mut Vec<T>) {
        items.sort_unstable();
        items.dedup();
    }
    set(&mut caller.identities);
    set(&mut caller.admin_rights);
    for grant in &mut caller.grants {
        set(&mut grant.permissions);
        set(&mut grant.templates);
        set(&mut grant.recipient_prefixes);
    }
    let parts =
        |it: &Grant| (it.number.clone(), it.permissions.clone(), it.templates.clone(), it.recipient_prefixes.clone());
    caller.grants.sort_by_key(parts);
    caller.grants.dedup();
    caller
}

/// What can be changed of a number.
pub(in crate::cli) fn number_fields(number: &NumberSettings) -> Vec<Field> {
    let field = |name, path, value| Field { name, path, value };
    let read_back = match number.read_back() {
        ReadBackPolicy::Unspecified => "",
        ReadBackPolicy::Never => "never",
        ReadBackPolicy::Terminal => "terminal",
        ReadBackPolicy::Always => "always",
    };
    let quota = number.quota.unwrap_or_default();
    vec![
        field("description", "description", text(&number.description)),
        field("upstream_id", "upstream_id", text(&number.upstream_id)),
        field("phone", "phone_number", text(&number.phone_number)),
        field("rotate_every", "rotate_interval", number.rotate_interval.as_ref().map(span).unwrap_or_default()),
        field("pace", "pace", pace(&number.pace.unwrap_or_default())),
        field("quota", "quota", limits(quota.per_minute, quota.per_day)),
        field("read_back", "read_back", text(read_back)),
    ]
}

/// What can be changed of a caller; the grants last.
pub(in crate::cli) fn caller_fields(caller: &Caller) -> Vec<Field> {
    let field = |name, path, value| Field { name, path, value };
    let quota = caller.quota.unwrap_or_default();
    let grants: Vec<_> = caller.grants.iter().map(|it| format!("{{ {} }}", grant_parts(it).join(", "))).collect();
    vec![
        field("description", "description", text(&caller.description)),
        field("identities", "identities", list(&caller.identities)),
        field("admin", "admin_rights", list(&caller.admin_rights)),
        field("quota", "quota", limits(quota.per_minute, quota.per_day)),
        field("grants", GRANTS, bracketed(&grants)),
    ]
}

/// The entries of a `[[callers.grants]]`.
pub(in crate::cli) fn grant_parts(grant: &Grant) -> Vec<String> {
    let permissions: Vec<_> =
        grant.permissions().map(|it| it.as_str_name().trim_start_matches("PERMISSION_").to_lowercase()).collect();
    let mut parts =
        vec![format!("number = {}", quoted(&grant.number)), format!("permissions = {}", list(&permissions))];
    if !grant.templates.is_empty() {
        parts.push(format!("templates = {}", list(&grant.templates)));
    }
    if !grant.recipient_prefixes.is_empty() {
        parts.push(format!("recipient_prefixes = {}", list(&grant.recipient_prefixes)));
    }
    parts
}

fn permission_code(permission: principal::Permission) -> i32 {
    let permission = match permission {
        principal::Permission::Send => Permission::Send,
        principal::Permission::Cancel => Permission::Cancel,
        principal::Permission::Read => Permission::Read,
        principal::Permission::Observe => Permission::Observe,
        principal::Permission::Inbox => Permission::Inbox,
    };
    permission.into()
}

fn pace(pace: &NumberPace) -> String {
    let mut parts = Vec::new();
    // Written so that a whole number is one with a point, as the file wants it.
    if pace.per_second > 0.0 {
        parts.push(format!("per_second = {:?}", pace.per_second));
    }
    if pace.burst > 1 {
        parts.push(format!("burst = {}", pace.burst));
    }
    parts.extend(pace.min_gap.as_ref().map(|gap| format!("min_gap = {}", span(gap))));
    if pace.gap_jitter > 0.0 {
        parts.push(format!("gap_jitter = {:?}", pace.gap_jitter));
    }
    table(&parts)
}

fn limits(per_minute: Option<u64>, per_day: Option<u64>) -> String {
    let minute = per_minute.map(|limit| format!("per_minute = {limit}"));
    table(&minute.into_iter().chain(per_day.map(|limit| format!("per_day = {limit}"))).collect::<Vec<_>>())
}

fn table(parts: &[String]) -> String {
    if parts.is_empty() { String::new() } else { format!("{{ {} }}", parts.join(", ")) }
}

fn span(span: &prost_types::Duration) -> String {
    let span = SignedDuration::try_from(Duration::try_from(*span).unwrap_or_default()).unwrap_or_default();
    quoted(&format!("{span:#}"))
}

fn text(text: &str) -> String {
    if text.is_empty() { String::new() } else { quoted(text) }
}

fn list(items: &[String]) -> String {
    bracketed(&items.iter().map(|item| quoted(item)).collect::<Vec<_>>())
}

fn bracketed(items: &[String]) -> String {
    if items.is_empty() { String::new() } else { format!("[{}]", items.join(", ")) }
}

/// A text in quotes. JSON's way of writing one is TOML's too, but for one character.
pub(in crate::cli) fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default().replace('\u{7f}', "\\u007F")
}
