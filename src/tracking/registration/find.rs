//! Which of the webhooks at Pilot Status is the gateway's own, and whether it is as it should be.

use std::collections::BTreeSet;

use url::Url;

use super::Drift;
use crate::{
    domain::{ids::NumberName, secret::WebhookUrl},
    upstream::{EVENTS, Hook},
};

/// What a webhook should be like.
pub(super) struct Wanted {
    pub(super) url: WebhookUrl,
    pub(super) events: BTreeSet<String>,
}

/// The webhooks that look like the gateway's own.
#[derive(Default)]
pub(super) struct Found {
    /// The oldest of them.
    pub(super) ours: Option<Hook>,
    /// Ids of the others.
    pub(super) others: Vec<String>,
}

impl Wanted {
    /// What the gateway asks for.
    pub(super) fn at(url: &WebhookUrl) -> Self {
        Self { url: url.clone(), events: EVENTS.into_iter().map(str::to_owned).collect() }
    }

    /// How a webhook differs. What it does not tell about itself does not.
    pub(super) fn drift(&self, hook: &Hook) -> Vec<Drift> {
        let differs = [
            (Drift::Paused, hook.active == Some(false)),
            (Drift::Events, hook.events.as_ref().is_some_and(|events| *events != self.events)),
            (Drift::Address, hook.url.as_ref().is_some_and(|url| !is_same(url, &self.url))),
        ];
        differs.into_iter().filter_map(|(drift, differs)| differs.then_some(drift)).collect()
    }
}

/// The name under which a number's webhook is registered.
pub(super) fn hook_name(number: &NumberName) -> String {
    format!("pilotgate {number}")
}

/// Looks for the webhook of this address. One with another path token below the same public address is ours if it has our
/// name, for the token may have been changed; the one with this id is ours wherever it was made to go.
pub(super) fn find(hooks: Vec<Hook>, url: &WebhookUrl, name: &str, id: Option<&str>) -> Found {
    let closeness = |hook: &Hook| {
        let goes = hook.url.as_ref();
        let is_below = || goes.is_some_and(|goes| goes.expose().starts_with(url.base()));
        if goes.is_some_and(|goes| is_same(goes, url)) {
            Some(0)
        } else if hook.name.as_deref() == Some(name) && is_below() {
            Some(1)
        } else {
            (id == Some(&hook.id)).then_some(2)
        }
    };
    let mut ours: Vec<(u8, Hook)> = hooks.into_iter().filter_map(|hook| Some((closeness(&hook)?, hook))).collect();
    // Sorting keeps the order of those that do not tell their age.
    ours.sort_by_key(|(closeness, hook)| (*closeness, hook.created_at));
    let mut ours = ours.into_iter().map(|(_, hook)| hook);
    Found { ours: ours.next(), others: ours.map(|hook| hook.id).collect() }
}

/// Whether two addresses are the same, however they are written.
fn is_same(one: &WebhookUrl, other: &WebhookUrl) -> bool {
    let (one, other) = (one.expose(), other.expose());
    one == other || Url::parse(one).is_ok_and(|one| Url::parse(other).is_ok_and(|other| one == other))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    const OURS: &str = "https://hooks.example.com/webhooks/0123456789abcdef";
    const OLD_TOKEN: &str = "https://hooks.example.com/webhooks/fedcba9876543210";
    const ELSEWHERE: &str = "https://elsewhere.example.com/webhooks/0123456789abcdef";

    fn url(text: &str) -> WebhookUrl {
        WebhookUrl::from_secret(SecretString::from(text))
    }

    fn hook(id: &str, name: &str, goes: &str, year: i16) -> Hook {
        Hook {
            id: id.to_owned(),
            name: Some(name.to_owned()),
            url: Some(url(goes)),
            active: Some(true),
            events: Some(Wanted::at(&url(OURS)).events),
            created_at: Some(format!("{year}-01-01T00:00:00Z").parse().unwrap()),
        }
    }

    fn found(hooks: &[Hook], id: Option<&str>) -> (Option<String>, Vec<String>) {
        let found = find(hooks.to_vec(), &url(OURS), "pilotgate shop", id);
        (found.ours.map(|hook| hook.id), found.others)
    }

    #[test]
    fn the_address_goes_before_the_name_and_that_before_the_id() {
        let by_url = hook("by_url", "whatever", OURS, 2030);
        let by_name = hook("by_name", "pilotgate shop", OLD_TOKEN, 2020);
        let by_id = hook("by_id", "whatever", ELSEWHERE, 2010);
        let foreign = [
            hook("other_name", "pilotgate other", OLD_TOKEN, 2001),
            hook("other_place", "pilotgate shop", ELSEWHERE, 2002),
        ];
        let all = [&foreign[..], &[by_id.clone(), by_name.clone(), by_url]].concat();
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(found(&all, Some("by_id")), (some("by_url"), vec!["by_name".to_owned(), "by_id".to_owned()]));
        assert_eq!(found(&[by_id.clone(), by_name], Some("by_id")), (some("by_name"), vec!["by_id".to_owned()]));
        assert_eq!(found(&[foreign[0].clone(), by_id.clone()], Some("by_id")), (some("by_id"), vec![]));
        assert_eq!(found(&[&foreign[..], &[by_id]].concat(), None), (None, vec![]));
    }

    #[test]
    fn of_several_the_oldest_is_kept() {
        let spelled = "https://HOOKS.example.com:443/webhooks/0123456789abcdef";
        let all = [hook("b", "n", OURS, 2026), hook("a", "n", spelled, 2025), hook("c", "n", OURS, 2027)];
        assert_eq!(found(&all, Some("c")), (Some("a".to_owned()), vec!["b".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn each_difference_is_told_and_what_is_not_known_is_none() {
        let wanted = Wanted::at(&url(OURS));
        let right = hook("a", "n", OURS, 2026);
        assert_eq!(wanted.drift(&right), []);
        let events = |events: &[&str]| Some(events.iter().map(|event| (*event).to_owned()).collect());
        let paused = Hook { active: Some(false), ..right.clone() };
        let fewer = Hook { events: events(&EVENTS[1..]), ..right.clone() };
        let more = Hook { events: events(&[&EVENTS[..], &["*"]].concat()), ..right.clone() };
        let moved = Hook { url: Some(url(OLD_TOKEN)), ..right.clone() };
        assert_eq!(wanted.drift(&paused), [Drift::Paused]);
        assert_eq!(wanted.drift(&fewer), [Drift::Events]);
        assert_eq!(wanted.drift(&more), [Drift::Events]);
        assert_eq!(wanted.drift(&moved), [Drift::Address]);
        let all = Hook { active: Some(false), events: events(&[]), ..moved };
        assert_eq!(wanted.drift(&all), [Drift::Paused, Drift::Events, Drift::Address]);
        let silent = Hook { url: None, active: None, events: None, ..right };
        assert_eq!(wanted.drift(&silent), []);
    }
}
