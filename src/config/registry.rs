//! Numbers and callers, checked one by one and against each other.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use secrecy::ExposeSecret;
use url::Url;

use super::settings::{CallerSettings, GrantSettings, NumberSettings, PaceSettings, QuotaSettings};
use crate::{
    domain::{
        audit,
        caller::{self, Caller, Token},
        ids::{CallerName, NumberName},
        principal::{AdminRight, Grant, NumberScope},
        quota::Quota,
        recipient::PhoneNumber,
        secret::{NumberKey, TokenHash, WebhookSecret, WebhookUrl},
    },
    keys::{Number, Pacing, Source, WebhookDoor},
};

/// Shorter path tokens could be guessed.
const MIN_PATH_TOKEN: usize = 16;

/// The numbers that are well formed; everything wrong with the others is noted. Their webhooks are registered below
/// `public_url`, if there is one.
pub(super) fn numbers(
    settings: Vec<NumberSettings>,
    public_url: Option<&Url>,
    exposed: Option<&Path>,
    wrong: &mut Vec<String>,
) -> Vec<Number> {
    let mut words: HashMap<String, String> = HashMap::new();
    let mut doors = HashSet::new();
    let mut numbers = Vec::new();
    for settings in settings {
        let place = format!("number {:?}", settings.name);
        // A number may use one word in several of its own fields.
        let own: HashSet<&String> = [Some(&settings.name), settings.upstream_id.as_ref(), settings.phone.as_ref()]
            .into_iter()
            .flatten()
            .collect();
        for word in own {
            if let Some(other) = words.insert(word.clone(), settings.name.clone()) {
                wrong.push(format!("{place}: {word:?} already stands for number {other:?}"));
            }
        }
        match number(settings, public_url, exposed) {
            Ok(number) => {
                if number.webhook.as_ref().is_some_and(|door| !doors.insert(door.path_token)) {
                    wrong.push(format!("{place}: its webhook_token is that of another number"));
                }
                numbers.push(number);
            }
            Err(problems) => wrong.extend(problems.into_iter().map(|problem| format!("{place}: {problem}"))),
        }
    }
    numbers
}

fn number(settings: NumberSettings, public_url: Option<&Url>, exposed: Option<&Path>) -> Result<Number, Vec<String>> {
    let mut wrong = Vec::new();
    let mut note = |field: &str, problem: String| wrong.push(format!("{field}: {problem}"));
    let name = NumberName::from_text(&settings.name).map_err(|error| note("name", error.0)).ok();
    let phone = settings.phone.map(|phone| phone.parse::<PhoneNumber>()).transpose();
    let phone = phone.map_err(|error| note("phone", error.0)).ok().flatten();
    let key = settings.key.resolve(exposed);
    let key = key.and_then(|text| NumberKey::from_secret(text).map_err(|error| error.0));
    let key = key.map_err(|error| note("key", error)).ok();
    let secrets = settings.webhook_secrets.into_iter().filter_map(|reference| {
        let secret = reference.resolve(exposed);
        let secret = secret.and_then(|text| WebhookSecret::from_secret(text).map_err(|error| error.0));
        secret.map_err(|error| note("webhook_secrets", error)).ok()
    });
    let secrets: Vec<WebhookSecret> = secrets.collect();
    let path_token = settings.webhook_token.and_then(|reference| {
        let token = reference.resolve(exposed).and_then(|token| {
            let text = token.expose_secret();
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if text.len() >= MIN_PATH_TOKEN && text.bytes().all(fits) {
                // The token itself is kept only where it is needed.
                Ok((TokenHash::of(text), public_url.map(|public| WebhookUrl::of(public.as_str(), &token))))
            } else {
                Err(format!("must be at least {MIN_PATH_TOKEN} characters of A-Z, a-z, 0-9, '-' and '_'"))
            }
        });
        token.map_err(|error| note("webhook_token", error)).ok()
    });
    let quota = quota(settings.quota);
    let pacing = pacing(settings.pace).map_err(|error| note("pace", error)).unwrap_or_default();
    let webhook = path_token.map(|(path_token, url)| WebhookDoor { path_token, secrets, url });
    match (name, key) {
        (Some(name), Some(key)) if wrong.is_empty() => {
            let (upstream_id, read_back) = (settings.upstream_id, settings.read_back);
            Ok(Number {
                name,
                description: String::new(),
                upstream_id,
                phone,
                key,
                generation: 1,
                key_time: None,
                rotate_every: None,
                rotation: None,
                disabled: false,
                webhook,
                pacing,
                quota,
                read_back,
                source: Source::Declared,
            })
        }
        _ => Err(wrong),
    }
}

/// How fast a number sends; the error says which bound is not kept.
pub fn pacing(settings: PaceSettings) -> Result<Pacing, String> {
    let pacing = Pacing {
        per_second: settings.per_second,
        burst: settings.burst.unwrap_or(1),
        min_gap: settings.min_gap.map_or(Duration::ZERO, |gap| gap.0),
        gap_jitter: settings.gap_jitter.unwrap_or_default(),
    };
    if !pacing.per_second.is_none_or(|rate| (0.001..=100_000.0).contains(&rate)) {
        return Err("per_second must be 0.001 to 100000".to_owned());
    }
    if !(1..=1_000_000).contains(&pacing.burst) {
        return Err("burst must be 1 to 1000000".to_owned());
    }
    if pacing.min_gap > Duration::from_secs(24 * 3600) || !(0.0..=10.0).contains(&pacing.gap_jitter) {
        return Err("min_gap must be at most 24h, and gap_jitter 0 to 10".to_owned());
    }
    Ok(pacing)
}

const fn quota(QuotaSettings { per_minute, per_day }: QuotaSettings) -> Quota {
    Quota { per_minute, per_day }
}

/// The callers that are well formed; everything wrong with the others is noted. `declared` holds the names of all numbers,
/// whatever else is wrong with them.
pub(super) fn callers(
    settings: Vec<CallerSettings>,
    declared: &HashSet<String>,
    wrong: &mut Vec<String>,
) -> Vec<Caller> {
    let mut names = HashSet::new();
    let mut hashes = HashSet::new();
    let mut identities = HashSet::new();
    let mut callers = Vec::new();
    for settings in settings {
        let place = format!("caller {:?}", settings.name);
        let mut note = |problem: &str| wrong.push(format!("{place}: {problem}"));
        if !names.insert(settings.name.clone()) {
            note("is there twice");
        }
        if settings.name == audit::ITSELF {
            note("the name stands for the gateway itself in the audit log");
        }
        let tokens = settings.token_hashes.iter().filter_map(|text| {
            let hash = TokenHash::from_hex(text).map_err(|error| note(&format!("token_hashes: {error}"))).ok()?;
            if !hashes.insert(hash) {
                note("token_hashes: the same token is there twice");
            }
            Some(Token::of(hash))
        });
        let tokens = tokens.collect();
        let known = settings.identities.iter().filter_map(|text| {
            let identity = caller::identity(text).map_err(|error| note(&format!("identities: {error}"))).ok()?;
            if !identities.insert(identity.clone()) {
                note(&format!("identities: {identity:?} is there twice"));
            }
            Some(identity)
        });
        let known = known.collect();
        let admin = settings.admin.iter().filter_map(|text| {
            text.parse::<AdminRight>().map_err(|error| note(&format!("admin: {text:?} {error}"))).ok()
        });
        let admin = admin.collect();
        let grants = settings.grants.into_iter();
        let grants = grants.filter_map(|settings| grant(settings, declared).map_err(|error| note(&error)).ok());
        let grants = grants.collect();
        match CallerName::from_text(&settings.name) {
            Ok(name) => callers.push(Caller {
                tokens,
                identities: known,
                grants,
                admin,
                quota: quota(settings.quota),
                ..Caller::named(name)
            }),
            Err(error) => note(&format!("name: {error}")),
        }
    }
    callers
}

fn grant(settings: GrantSettings, declared: &HashSet<String>) -> Result<Grant, String> {
    let GrantSettings { number, permissions, templates, recipient_prefixes } = settings;
    if permissions.is_empty() {
        return Err("grants: permissions must not be empty".to_owned());
    }
    Grant::check_templates(&templates).map_err(|error| format!("grants: templates {error}"))?;
    Grant::check_recipient_prefixes(&recipient_prefixes)
        .map_err(|error| format!("grants: recipient_prefixes {error}"))?;
    let numbers = if number == "*" {
        NumberScope::All
    } else if declared.contains(&number) {
        NumberScope::One(NumberName::from_text(&number).map_err(|error| format!("grants: number: {error}"))?)
    } else {
        return Err(format!("grants: there is no number {number:?}"));
    };
    Ok(Grant { numbers, permissions, templates, recipient_prefixes })
}
