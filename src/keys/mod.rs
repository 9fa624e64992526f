//! The key ring: which numbers are registered, and each one's key.
//!
//! The only way from a number's name to its key. Keys go from here into a request header and nowhere else. For now the
//! ring is filled from the configuration; whatever fills it later, the users of [`KeyRing`] stay as they are.

use std::{collections::HashMap, time::Duration};

use crate::domain::{
    ids::NumberName,
    read_back::ReadBack,
    recipient::PhoneNumber,
    secret::{NumberKey, TenantKey, TokenHash, WebhookSecret, WebhookUrl},
};

/// A registered number.
#[derive(Clone, Debug)]
pub struct Number {
    /// Its stable name.
    pub name: NumberName,
    /// Its id at Pilot Status.
    pub upstream_id: Option<String>,
    /// Its phone number.
    pub phone: Option<PhoneNumber>,
    /// Its key.
    pub key: NumberKey,
    /// How its webhooks are recognised; `None` if it takes none.
    pub webhook: Option<WebhookDoor>,
    /// How fast it sends.
    pub pacing: Pacing,
    /// Which statuses told by webhook are read back; `None`: as for all numbers.
    pub read_back: Option<ReadBack>,
}

/// How fast a number sends at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// Sends a second on average; `None`: no bound of our own.
    pub per_second: Option<f64>,
    /// So many may go at once after a quiet time. At least 1.
    pub burst: u32,
    /// Smallest time between two sends...
    pub min_gap: Duration,
    /// ...and by which part of itself it grows at most, at random.
    pub gap_jitter: f64,
}

impl Default for Pacing {
    /// No bound.
    fn default() -> Self {
        Self { per_second: None, burst: 1, min_gap: Duration::ZERO, gap_jitter: 0.0 }
    }
}

/// How the webhooks of a number are recognised.
#[derive(Clone, Debug)]
pub struct WebhookDoor {
    /// Hash of the unguessable last segment of the webhook path.
    pub path_token: TokenHash,
    /// Secrets that sign; any of them is accepted. Empty: signatures are not checked, the path alone is the proof.
    pub secrets: Vec<WebhookSecret>,
    /// Where Pilot Status reaches this door; `None` unless the gateway registers it there.
    pub url: Option<WebhookUrl>,
}

/// The registered numbers.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    numbers: HashMap<NumberName, Number>,
    /// Further words for a number: its upstream id and its phone.
    aliases: HashMap<String, NumberName>,
    doors: HashMap<TokenHash, NumberName>,
    tenant_key: Option<TenantKey>,
}

impl KeyRing {
    /// Takes the numbers. That no name, id, phone or path token stands for two of them was checked by the configuration.
    pub fn of(numbers: Vec<Number>) -> Self {
        let mut ring = Self::default();
        for number in numbers {
            let words = [number.upstream_id.clone(), number.phone.as_ref().map(|phone| phone.as_str().to_owned())];
            ring.aliases.extend(words.into_iter().flatten().map(|word| (word, number.name.clone())));
            if let Some(door) = &number.webhook {
                ring.doors.insert(door.path_token, number.name.clone());
            }
            ring.numbers.insert(number.name.clone(), number);
        }
        ring
    }

    /// Adds the account-wide key.
    #[must_use]
    pub fn with_tenant_key(self, tenant_key: Option<TenantKey>) -> Self {
        Self { tenant_key, ..self }
    }

    /// The key under which a number's webhook is managed: the account-wide one, which needs to be told the number's upstream
    /// id as well, or if either is unknown the number's own.
    pub fn managing<'a>(&'a self, number: &'a Number) -> (&'a NumberKey, Option<&'a str>) {
        match (&self.tenant_key, &number.upstream_id) {
            (Some(key), Some(id)) => (key.as_key(), Some(id)),
            _ => (&number.key, None),
        }
    }

    /// The name of the number that a caller means by its name, its upstream id or its phone.
    pub fn find(&self, word: &str) -> Option<NumberName> {
        let by_name = NumberName::from_text(word).ok().filter(|name| self.numbers.contains_key(name));
        by_name.or_else(|| self.aliases.get(word).cloned())
    }

    /// The names of all numbers.
    pub fn names(&self) -> impl Iterator<Item = &NumberName> {
        self.numbers.keys()
    }

    /// The number with this name.
    pub fn get(&self, name: &NumberName) -> Option<&Number> {
        self.numbers.get(name)
    }

    /// The number whose webhooks come in at this path. The lookup goes by hash, so its timing helps no one to guess.
    pub fn behind(&self, path_token: &str) -> Option<&Number> {
        self.doors.get(&TokenHash::of(path_token)).and_then(|name| self.numbers.get(name))
    }
}
