//! What the audit log says of a change of a caller: what was before and what is now, of all that differs.

use std::collections::BTreeMap;

use crate::domain::{
    caller::{Caller, Token},
    quota::Quota,
};

/// Longer values are cut, which shows.
const LONGEST: usize = 16 * 1024;

/// The differences. Lists tell only what is in one of the two.
pub(super) fn differences(before: Option<&Caller>, after: Option<&Caller>) -> BTreeMap<String, String> {
    let mut told = BTreeMap::new();
    let mut tell = |what: &str, read: fn(&Caller) -> Vec<String>| {
        let [old, new] = [before, after].map(|caller| caller.map(read).unwrap_or_default());
        for (when, these, others) in [("before", &old, &new), ("after", &new, &old)] {
            let only: Vec<&str> = these.iter().filter(|value| !others.contains(value)).map(String::as_str).collect();
            if !only.is_empty() {
                told.insert(format!("{what}.{when}"), cut(only.join(", ")));
            }
        }
    };
    tell("description", |caller| {
        Some(caller.description.clone()).filter(|text| !text.is_empty()).into_iter().collect()
    });
    tell("state", |caller| vec![if caller.disabled { "disabled" } else { "enabled" }.to_owned()]);
    tell("tokens", |caller| caller.tokens.iter().map(token).collect());
    tell("identities", |caller| caller.identities.clone());
    tell("grants", |caller| caller.grants.iter().map(ToString::to_string).collect());
    tell("admin", |caller| caller.admin.iter().map(ToString::to_string).collect());
    tell("quota", |caller| quota(caller.quota));
    told
}

fn token(token: &Token) -> String {
    let mut text = token.id.clone();
    let times = [("expires", token.expire_time), ("revoked", token.revoke_time)];
    times.into_iter().filter_map(|(what, time)| Some((what, time?))).for_each(|(what, time)| {
        text.push_str(&format!(" {what} {time}"));
    });
    text
}

fn quota(quota: Quota) -> Vec<String> {
    quota.limits().map(|(window, most)| format!("{most} per {}", window.word())).collect()
}

fn cut(mut text: String) -> String {
    let length = text.len();
    if length > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str(&format!("... ({length} bytes)"));
    }
    text
}
