//! What the audit log says of a number: everything but secrets.

use std::collections::BTreeMap;

use crate::{domain::secret::TokenHash, keys::Number};

/// What changed, as the field's name and `before -> after`. Empty if nothing did.
pub(super) fn changes(before: &Number, after: &Number) -> BTreeMap<String, String> {
    let after_texts = texts(after);
    let mut changes: BTreeMap<_, _> = texts(before)
        .into_iter()
        .filter_map(|(field, before)| {
            let after = after_texts.get(field)?;
            (before != *after).then(|| (field.to_owned(), format!("{before} -> {after}")))
        })
        .collect();
    if before.key.expose() != after.key.expose() {
        changes.insert("key".to_owned(), "replaced".to_owned());
    }
    if path(before) != path(after) {
        changes.insert("webhook_path".to_owned(), "replaced".to_owned());
    }
    if secrets(before) != secrets(after) {
        changes.insert("webhook_secrets".to_owned(), format!("replaced, {} now", secrets(after).len()));
    }
    changes
}

/// All that stands of a new one.
pub(super) fn whole(number: &Number) -> BTreeMap<String, String> {
    texts(number).into_iter().map(|(field, text)| (field.to_owned(), text)).collect()
}

fn texts(number: &Number) -> BTreeMap<&'static str, String> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let pace = number.pacing;
    let rate = pace.per_second.map_or_else(|| "unbounded".to_owned(), |rate| format!("{rate}/s"));
    let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    BTreeMap::from([
        ("description", format!("{:?}", number.description)),
        ("upstream_id", or_none(number.upstream_id.clone())),
        ("phone_number", or_none(number.phone.as_ref().map(|phone| phone.as_str().to_owned()))),
        ("disabled", number.disabled.to_string()),
        ("generation", number.generation.to_string()),
        ("rotate_interval", or_none(number.rotate_every.map(|every| format!("{every:?}")))),
        ("pace", format!("{rate}, burst {}, gap {:?}, jitter {}", pace.burst, pace.min_gap, pace.gap_jitter)),
        ("quota", format!("{}/min, {}/day", limit(number.quota.per_minute), limit(number.quota.per_day))),
        ("read_back", or_none(number.read_back.map(|policy| format!("{policy:?}").to_lowercase()))),
        ("webhook", number.webhook.is_some().to_string()),
    ])
}

fn path(number: &Number) -> Option<TokenHash> {
    number.webhook.as_ref().map(|door| door.path_token)
}

fn secrets(number: &Number) -> Vec<&[u8]> {
    number.webhook.iter().flat_map(|door| door.secrets.iter().map(|secret| secret.expose())).collect()
}
