//! What can be set of a number.

use std::time::Duration;

use secrecy::SecretString;

use super::{super::super::times::span, LONGEST_REASON};
use crate::{
    admin::numbers::{Doorway, Path, Settings},
    api::convert::Violations,
    domain::{quota::Quota, read_back::ReadBack, recipient::PhoneNumber, secret::WebhookSecret},
    keys::Pacing,
    proto::admin::v1::{self, number_webhook_settings},
};

const LONGEST_ID: usize = 200;
const MOST_SECRETS: usize = 8;
/// Shorter path tokens could be guessed.
const SHORTEST_TOKEN: usize = 16;
const LONGEST_TOKEN: usize = 512;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The fields that a mask names.
pub(super) fn masked(wrong: &mut Violations, number: v1::NumberSettings, paths: &[String]) -> Settings {
    let mut settings = Settings::default();
    let v1::NumberSettings { description, upstream_id, phone_number, mut webhook, .. } = number;
    for path in paths {
        match path.as_str() {
            "description" => {
                settings.description = Some(self::description(wrong, "number.description", description.clone()));
            }
            "upstream_id" => {
                settings.upstream_id = Some(self::upstream_id(wrong, "number.upstream_id", upstream_id.clone()));
            }
            "phone_number" => settings.phone = Some(phone(wrong, "number.phone_number", &phone_number)),
            "rotate_interval" => {
                settings.rotate_every = Some(interval(wrong, "number.rotate_interval", number.rotate_interval));
            }
            "pace" => settings.pacing = Some(pace(wrong, "number.pace", number.pace)),
            "quota" => settings.quota = Some(quota(number.quota)),
            "read_back" => settings.read_back = Some(read_back(wrong, "number.read_back", number.read_back)),
            // Named twice it would be gone the second time.
            "webhook" if settings.webhook.is_none() => {
                settings.webhook = Some(doorway(wrong, "number.webhook", webhook.take()));
            }
            "webhook" => {}
            other => wrong.add("update_mask", format!("{other:?} is no field that can be changed")),
        }
    }
    settings
}

/// A text for people.
pub(super) fn description(wrong: &mut Violations, field: &str, text: String) -> String {
    wrong.optional_text(field, text, LONGEST_REASON).unwrap_or_default()
}

/// An id at Pilot Status.
pub(super) fn upstream_id(wrong: &mut Violations, field: &str, text: String) -> Option<String> {
    let text = wrong.optional_text(field, text, LONGEST_ID)?;
    if text.chars().all(|letter| letter.is_ascii_graphic()) {
        return Some(text);
    }
    wrong.add(field, "must be visible ASCII characters");
    None
}

/// A phone number.
pub(super) fn phone(wrong: &mut Violations, field: &str, text: &str) -> Option<PhoneNumber> {
    (!text.is_empty()).then(|| wrong.take(field, text.parse())).flatten()
}

/// How often the key is changed.
pub(super) fn interval(wrong: &mut Violations, field: &str, every: Option<prost_types::Duration>) -> Option<Duration> {
    let every = every.and_then(|every| wrong.take(field, span(every)))?;
    if !every.is_zero() && every < HOUR {
        wrong.add(field, "must be at least 1 h, or 0");
    }
    (!every.is_zero()).then_some(every)
}

/// How fast it sends.
pub(super) fn pace(wrong: &mut Violations, field: &str, pace: Option<v1::NumberPace>) -> Pacing {
    let Some(v1::NumberPace { per_second, burst, min_gap, gap_jitter }) = pace else { return Pacing::default() };
    if per_second != 0.0 && !(0.001..=100_000.0).contains(&per_second) {
        wrong.add(format!("{field}.per_second"), "must be 0.001 to 100000, or 0");
    }
    if burst > 1_000_000 {
        wrong.add(format!("{field}.burst"), "must be at most 1000000");
    }
    let min_gap = min_gap.and_then(|gap| wrong.take(format!("{field}.min_gap"), span(gap))).unwrap_or_default();
    if min_gap > DAY {
        wrong.add(format!("{field}.min_gap"), "must be at most 24 h");
    }
    if !(0.0..=10.0).contains(&gap_jitter) {
        wrong.add(format!("{field}.gap_jitter"), "must be 0 to 10");
    }
    let per_second = (per_second != 0.0).then_some(per_second);
    Pacing { per_second, burst: burst.max(1), min_gap, gap_jitter }
}

/// How much may be sent.
pub(super) fn quota(quota: Option<v1::NumberQuota>) -> Quota {
    quota.map_or(Quota::NONE, |quota| Quota { per_minute: quota.per_minute, per_day: quota.per_day })
}

/// Which statuses are read back.
pub(super) fn read_back(wrong: &mut Violations, field: &str, policy: i32) -> Option<ReadBack> {
    match v1::ReadBackPolicy::try_from(policy) {
        Ok(v1::ReadBackPolicy::Unspecified) => None,
        Ok(v1::ReadBackPolicy::Never) => Some(ReadBack::Never),
        Ok(v1::ReadBackPolicy::Terminal) => Some(ReadBack::Terminal),
        Ok(v1::ReadBackPolicy::Always) => Some(ReadBack::Always),
        Err(_) => {
            wrong.add(field, "is not a known policy");
            None
        }
    }
}

/// How its webhooks come in.
pub(super) fn doorway(
    wrong: &mut Violations,
    field: &str,
    webhook: Option<v1::NumberWebhookSettings>,
) -> Option<Doorway> {
    use number_webhook_settings::Path::{GenerateToken, Token};
    let v1::NumberWebhookSettings { path, secrets } = webhook?;
    let path = match path {
        None | Some(GenerateToken(false)) => Path::Same,
        Some(GenerateToken(true)) => Path::Generated,
        Some(Token(token)) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !(SHORTEST_TOKEN..=LONGEST_TOKEN).contains(&token.len()) || !token.bytes().all(fits) {
                let text =
                    format!("must be {SHORTEST_TOKEN} to {LONGEST_TOKEN} characters of A-Z, a-z, 0-9, '-' and '_'");
                wrong.add(format!("{field}.token"), text);
            }
            Path::Token(SecretString::from(token))
        }
    };
    wrong.count(format!("{field}.secrets"), secrets.len(), 0..=MOST_SECRETS)?;
    let secrets = secrets.into_iter().enumerate().filter_map(|(index, secret)| {
        wrong.take(format!("{field}.secrets[{index}]"), WebhookSecret::from_secret(SecretString::from(secret)))
    });
    Some(Doorway { path, secrets: secrets.collect() })
}
