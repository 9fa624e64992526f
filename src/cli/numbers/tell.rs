//! Numbers in words.

use serde::Serialize;

use crate::{
    cli::{
        errors::CliError,
        output::{Form, Output},
        render::human,
        times,
    },
    proto::admin::v1::{CheckNumberResponse, Finding, ImportedNumber, KeyState, Number, NumberState, ReadBackPolicy},
};

/// A number as it is printed.
#[derive(Serialize)]
pub(super) struct Stands<'a> {
    name: &'a str,
    description: &'a str,
    upstream_id: &'a str,
    phone_number: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    unreadable_reason: &'a str,
    key_generation: u32,
    key_time: Option<String>,
    key_state: &'static str,
    rotate_interval: Option<String>,
    pace: Option<Pace>,
    quota: Quota,
    read_back: &'static str,
    webhook: Webhook,
    declared: bool,
    etag: &'a str,
    create_time: Option<String>,
    update_time: Option<String>,
}

#[derive(Serialize)]
struct Pace {
    per_second: f64,
    burst: u32,
    min_gap: Option<String>,
    gap_jitter: f64,
}

#[derive(Serialize)]
struct Quota {
    per_minute: Option<u64>,
    per_day: Option<u64>,
}

#[derive(Serialize)]
struct Webhook {
    enabled: bool,
    registered_by_gateway: bool,
    secrets: u32,
}

#[derive(Serialize)]
struct Checked<'a> {
    name: &'a str,
    key_accepted: &'static str,
    connected: &'static str,
    raw_state: &'a str,
    sendable: &'static str,
    blocked_reason: &'a str,
    paid: &'static str,
    unpaid_since: Option<String>,
    unknown_reason: &'a str,
}

#[derive(Serialize)]
struct Imported<'a> {
    upstream_id: &'a str,
    phone_number: &'a str,
    display_name: &'a str,
    name: &'a str,
    result: &'static str,
    detail: &'a str,
}

impl<'a> Stands<'a> {
    pub(super) fn of(number: &'a Number) -> Self {
        let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(times::rfc3339);
        let webhook = number.webhook.unwrap_or_default();
        let quota = number.quota.unwrap_or_default();
        Self {
            name: &number.name,
            description: &number.description,
            upstream_id: &number.upstream_id,
            phone_number: &number.phone_number,
            state: short(number.state().as_str_name(), NumberState::Unspecified.as_str_name()),
            unreadable_reason: &number.unreadable_reason,
            key_generation: number.key_generation,
            key_time: time(&number.key_time),
            key_state: short(number.key_state().as_str_name(), KeyState::Unspecified.as_str_name()),
            rotate_interval: number.rotate_interval.as_ref().map(span),
            pace: number.pace.as_ref().map(|pace| Pace {
                per_second: pace.per_second,
                burst: pace.burst,
                min_gap: pace.min_gap.as_ref().map(span),
                gap_jitter: pace.gap_jitter,
            }),
            quota: Quota { per_minute: quota.per_minute, per_day: quota.per_day },
            read_back: short(number.read_back().as_str_name(), ReadBackPolicy::Unspecified.as_str_name()),
            webhook: Webhook {
                enabled: webhook.enabled,
                registered_by_gateway: webhook.registered_by_gateway,
                secrets: webhook.secrets,
            },
            declared: number.declared,
            etag: &number.etag,
            create_time: time(&number.create_time),
            update_time: time(&number.update_time),
        }
    }

    pub(super) fn print(&self, out: &mut Output) -> Result<(), CliError> {
        if out.form() == Form::Json {
            return out.json(self);
        }
        let mut words = vec![human::strong(self.name), self.state.to_lowercase()];
        if !self.unreadable_reason.is_empty() {
            words.push(human::alarm(self.unreadable_reason));
            return out.line(&words.join("  "));
        }
        words.extend([self.phone_number, self.upstream_id].into_iter().filter(|it| !it.is_empty()).map(str::to_owned));
        let key = format!("key {} {}", self.key_generation, self.key_state.to_lowercase());
        words.push(if self.key_state == "OK" { key } else { human::alarm(&key) });
        words.push(human::faint(if self.declared { "declared in the configuration" } else { self.description }));
        out.line(&words.join("  "))
    }
}

pub(super) fn imported(number: &ImportedNumber, out: &mut Output) -> Result<(), CliError> {
    let result = short(number.result().as_str_name(), "IMPORT_RESULT_UNSPECIFIED");
    if out.form() == Form::Json {
        return out.json(&Imported {
            upstream_id: &number.upstream_id,
            phone_number: &number.phone_number,
            display_name: &number.display_name,
            name: &number.name,
            result,
            detail: &number.detail,
        });
    }
    let name = if number.name.is_empty() { "-" } else { &number.name };
    let told = format!("{} {} {}", number.upstream_id, number.phone_number, number.display_name);
    let detail = if number.detail.is_empty() { String::new() } else { format!("  {}", human::alarm(&number.detail)) };
    out.line(&format!("{result}  {}  {}{detail}", human::strong(name), human::faint(&told)))
}

pub(super) fn checked(answer: &CheckNumberResponse, out: &mut Output) -> Result<(), CliError> {
    let word = |finding: Finding| short(finding.as_str_name(), Finding::Unspecified.as_str_name());
    let checked = Checked {
        name: &answer.name,
        key_accepted: word(answer.key_accepted()),
        connected: word(answer.connected()),
        raw_state: &answer.raw_state,
        sendable: word(answer.sendable()),
        blocked_reason: &answer.blocked_reason,
        paid: word(answer.paid()),
        unpaid_since: answer.unpaid_since.as_ref().map(times::rfc3339),
        unknown_reason: &answer.unknown_reason,
    };
    if out.form() == Form::Json {
        return out.json(&checked);
    }
    let found = |word: &str| if word == "NO" { human::alarm("no") } else { word.to_lowercase() };
    out.line(&format!("key accepted  {}", found(checked.key_accepted)))?;
    out.line(&format!("connected     {}  {}", found(checked.connected), human::faint(checked.raw_state)))?;
    out.line(&format!("sendable      {}  {}", found(checked.sendable), human::faint(checked.blocked_reason)))?;
    let since = checked.unpaid_since.unwrap_or_default();
    out.line(&format!("paid          {}  {}", found(checked.paid), human::faint(&since)))?;
    if !checked.unknown_reason.is_empty() {
        out.note(&format!("unknown: {}", checked.unknown_reason));
    }
    Ok(())
}

/// The word of an enum without the prefix that it shares with the unspecified one.
fn short(word: &'static str, unspecified: &str) -> &'static str {
    let prefix = unspecified.strip_suffix("UNSPECIFIED").unwrap_or_default();
    word.strip_prefix(prefix).unwrap_or(word)
}

fn span(span: &prost_types::Duration) -> String {
    std::time::Duration::try_from(*span).map_or_else(|_| "-".to_owned(), |span| format!("{}s", span.as_secs_f64()))
}
