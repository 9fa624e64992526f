//! Issuers of tokens, checked one by one and against each other.

use std::{collections::HashSet, time::Duration};

use super::{
    bounds,
    settings::{JwksSettings, JwtSettings, Span},
};
use crate::identity::jwt::{Algorithm, Options, Source};

/// The issuers that are well formed; everything wrong with the others is noted.
pub(super) fn issuers(settings: Vec<JwtSettings>, wrong: &mut Vec<String>) -> Vec<Options> {
    let mut names = HashSet::new();
    let mut issuers = Vec::new();
    for settings in settings {
        let place = format!("jwt {:?}", settings.name);
        if !names.insert(settings.name.clone()) {
            wrong.push(format!("{place}: is there twice"));
        }
        match issuer(settings) {
            Ok(options) => issuers.push(options),
            Err(problems) => wrong.extend(problems.into_iter().map(|problem| format!("{place}: {problem}"))),
        }
    }
    issuers
}

fn issuer(settings: JwtSettings) -> Result<Options, Vec<String>> {
    let mut wrong = Vec::new();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !(1..=64).contains(&settings.name.len()) || !settings.name.bytes().all(is_plain) {
        wrong.push("name: must be 1 to 64 characters of A-Z, a-z, 0-9, '-', '_' and '.'".to_owned());
    }
    if settings.issuer.is_empty() {
        wrong.push("issuer: must not be empty".to_owned());
    }
    if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
        wrong.push("audiences: must not be empty: a token made for somebody else must not be taken".to_owned());
    }
    let (keys, usual) = match settings.jwks {
        JwksSettings::File(path) => (Some(Source::File(path)), Duration::from_secs(5)),
        JwksSettings::Url(text) => {
            let url = bounds::base_url("jwks.url", &text, "the keys that decide who is believed", &mut wrong);
            (url.map(Source::Url), Duration::from_secs(600))
        }
    };
    let algorithms = match settings.algorithms {
        None => Algorithm::USUAL.to_vec(),
        Some(names) => {
            if names.is_empty() {
                wrong.push("algorithms: must not be empty".to_owned());
            }
            let known = names.iter().filter_map(|name| {
                let known = Algorithm::from_text(name);
                known.map_err(|error| wrong.push(format!("algorithms: {name:?} {error}"))).ok()
            });
            known.collect()
        }
    };
    let caller_claim = settings.caller_claim.unwrap_or_else(|| "sub".to_owned());
    if caller_claim.is_empty() {
        wrong.push("caller_claim: must not be empty".to_owned());
    }
    let mut span = |name: &str, given: Option<Span>, usual: Duration, least: Duration, most: Duration| {
        let span = given.map_or(usual, |span| span.0);
        if !(least..=most).contains(&span) {
            wrong.push(format!("{name}: must be {least:?} to {most:?}"));
        }
        span
    };
    let (moment, hour, day) = (Duration::from_millis(10), Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    let leeway = span("leeway", settings.leeway, Duration::from_secs(60), Duration::ZERO, hour);
    let refresh = span("refresh", settings.refresh, usual, moment, day);
    let refresh_gap = span("refresh_gap", settings.refresh_gap, Duration::from_secs(30), moment, hour);
    match keys {
        Some(keys) if wrong.is_empty() => Ok(Options {
            name: settings.name,
            issuer: settings.issuer,
            audiences: settings.audiences,
            keys,
            algorithms,
            caller_claim,
            leeway,
            refresh,
            refresh_gap,
        }),
        _ => Err(wrong),
    }
}
