//! Registered numbers and their keys. Secrets go in, into types that hide them; no answer has a place for one.

mod request;
mod settings;

pub(in crate::api) use self::request::{aim, import, page, registration, set_key, tenant_key, update, word};
use super::{
    super::times::{proto, proto_span},
    LONGEST_REASON,
    pages::{PageTokens, page_size},
    reason,
};
use crate::{
    admin::{
        Etag,
        numbers::{Checked, Finding, Imported, Listed, Outcome},
    },
    domain::{quota::Quota, read_back::ReadBack},
    keys::{KeyState, Number, Pacing, Source},
    proto::admin::v1,
};

/// A number as it is listed.
pub(in crate::api) fn listed(number: &Listed) -> v1::Number {
    match number {
        Listed::Known(number) => known(number),
        Listed::Unreadable(unreadable) => v1::Number {
            name: unreadable.name.to_string(),
            state: v1::NumberState::Unreadable.into(),
            unreadable_reason: unreadable.why.clone(),
            etag: Etag(unreadable.version).to_string(),
            ..Default::default()
        },
    }
}

/// A number that is known.
pub(in crate::api) fn known(number: &Number) -> v1::Number {
    let state = if number.disabled { v1::NumberState::Disabled } else { v1::NumberState::Enabled };
    let key_state = match number.key_state() {
        KeyState::Settled => v1::KeyState::Ok,
        KeyState::Rotating => v1::KeyState::Rotating,
        KeyState::Lost => v1::KeyState::Lost,
    };
    let (etag, create_time, update_time) = match number.source {
        Source::Declared => (String::new(), None, None),
        Source::Stored { version, create_time, update_time } => {
            (Etag(version).to_string(), Some(proto(create_time)), Some(proto(update_time)))
        }
    };
    let webhook = number.webhook.as_ref().map(|door| v1::NumberWebhook {
        enabled: true,
        registered_by_gateway: door.url.is_some(),
        secrets: u32::try_from(door.secrets.len()).unwrap_or(u32::MAX),
    });
    v1::Number {
        name: number.name.to_string(),
        description: number.description.clone(),
        upstream_id: number.upstream_id.clone().unwrap_or_default(),
        phone_number: number.phone.as_ref().map(|phone| phone.as_str().to_owned()).unwrap_or_default(),
        state: state.into(),
        unreadable_reason: String::new(),
        key_generation: number.generation,
        key_time: number.key_time.map(proto),
        key_state: key_state.into(),
        rotate_interval: number.rotate_every.map(proto_span),
        pace: Some(pace(number.pacing)),
        quota: Some(quota(number.quota)),
        read_back: read_back(number.read_back).into(),
        webhook: Some(webhook.unwrap_or_default()),
        declared: number.source == Source::Declared,
        etag,
        create_time,
        update_time,
    }
}

fn pace(pacing: Pacing) -> v1::NumberPace {
    v1::NumberPace {
        per_second: pacing.per_second.unwrap_or_default(),
        burst: pacing.burst,
        min_gap: (!pacing.min_gap.is_zero()).then(|| proto_span(pacing.min_gap)),
        gap_jitter: pacing.gap_jitter,
    }
}

fn quota(quota: Quota) -> v1::NumberQuota {
    v1::NumberQuota { per_minute: quota.per_minute, per_day: quota.per_day }
}

fn read_back(policy: Option<ReadBack>) -> v1::ReadBackPolicy {
    match policy {
        None => v1::ReadBackPolicy::Unspecified,
        Some(ReadBack::Never) => v1::ReadBackPolicy::Never,
        Some(ReadBack::Terminal) => v1::ReadBackPolicy::Terminal,
        Some(ReadBack::Always) => v1::ReadBackPolicy::Always,
    }
}

/// What became of a number of the account.
pub(in crate::api) fn imported(imported: Imported) -> v1::ImportedNumber {
    let (result, detail) = match imported.outcome {
        Outcome::Imported => (v1::ImportResult::Imported, String::new()),
        Outcome::AlreadyRegistered => (v1::ImportResult::AlreadyRegistered, String::new()),
        Outcome::KeyUpdated => (v1::ImportResult::KeyUpdated, String::new()),
        Outcome::NotRevealable => (v1::ImportResult::NotRevealable, String::new()),
        Outcome::NoKey => (v1::ImportResult::NoKey, String::new()),
        Outcome::Invalid(detail) => (v1::ImportResult::Invalid, detail),
    };
    v1::ImportedNumber {
        upstream_id: imported.upstream_id,
        phone_number: imported.phone.unwrap_or_default(),
        display_name: imported.display_name.unwrap_or_default(),
        name: imported.name.map(|name| name.to_string()).unwrap_or_default(),
        result: result.into(),
        detail,
        number: imported.number.map(|number| known(&number)),
    }
}

/// How a number was found to stand.
pub(in crate::api) fn checked(checked: Checked) -> v1::CheckNumberResponse {
    let finding = |finding| match finding {
        Finding::Yes => v1::Finding::Yes.into(),
        Finding::No => v1::Finding::No.into(),
        Finding::Unknown => v1::Finding::Unknown.into(),
    };
    v1::CheckNumberResponse {
        name: checked.name.to_string(),
        key_accepted: finding(checked.key_accepted),
        connected: finding(checked.connected),
        raw_state: checked.raw_state.unwrap_or_default(),
        sendable: finding(checked.sendable),
        blocked_reason: checked.blocked_reason.unwrap_or_default(),
        paid: finding(checked.paid),
        unpaid_since: checked.unpaid_since.map(proto),
        unknown_reason: checked.unknown.join("; "),
    }
}
