//! The numbers as they stand at one moment, and the words that stand for them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Number, Taken};
use crate::domain::{
    ids::NumberName,
    secret::{TenantKey, TokenHash},
};

/// One state of the ring. Never changed, only replaced.
#[derive(Debug, Default)]
pub(super) struct Ring {
    numbers: BTreeMap<NumberName, Arc<Number>>,
    /// Further words for a number: its upstream id and its phone.
    aliases: HashMap<String, NumberName>,
    doors: HashMap<TokenHash, NumberName>,
    tenant_key: Option<TenantKey>,
}

impl Ring {
    pub(super) fn of(numbers: impl IntoIterator<Item = Arc<Number>>, tenant_key: Option<TenantKey>) -> Self {
        let mut ring = Self { tenant_key, ..Self::default() };
        for number in numbers {
            ring.aliases.extend(aliases(&number).map(|word| (word.to_owned(), number.name.clone())));
            if let Some(door) = &number.webhook {
                ring.doors.insert(door.path_token, number.name.clone());
            }
            ring.numbers.insert(number.name.clone(), number);
        }
        ring
    }

    pub(super) fn with(&self, number: Arc<Number>) -> Result<Self, Taken> {
        self.check(&number)?;
        let others = self.numbers.values().filter(|other| other.name != number.name).cloned();
        Ok(Self::of(others.chain([Arc::clone(&number)]), self.tenant_key.clone()))
    }

    pub(super) fn without(&self, name: &NumberName) -> Self {
        Self::of(self.numbers.values().filter(|number| number.name != *name).cloned(), self.tenant_key.clone())
    }

    /// Whether no word of the number stands for another one.
    pub(super) fn check(&self, number: &Number) -> Result<(), Taken> {
        let other = |found: &NumberName| (*found != number.name).then(|| found.clone());
        for word in aliases(number).chain([number.name.as_str()]) {
            if let Some(other) = self.find(word).as_ref().and_then(other) {
                return Err(Taken { what: format!("{word:?}"), other });
            }
        }
        let door = number.webhook.as_ref().and_then(|door| self.doors.get(&door.path_token));
        match door.and_then(other) {
            Some(other) => Err(Taken { what: "the webhook path".to_owned(), other }),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, name: &NumberName) -> Option<&Arc<Number>> {
        self.numbers.get(name)
    }

    pub(super) fn find(&self, word: &str) -> Option<NumberName> {
        let by_name = NumberName::from_text(word).ok().filter(|name| self.numbers.contains_key(name));
        by_name.or_else(|| self.aliases.get(word).cloned())
    }

    pub(super) fn all(&self) -> Vec<Arc<Number>> {
        self.numbers.values().cloned().collect()
    }

    pub(super) fn behind(&self, path_token: &str) -> Option<&Arc<Number>> {
        self.doors.get(&TokenHash::of(path_token)).and_then(|name| self.numbers.get(name))
    }

    pub(super) const fn tenant_key(&self) -> Option<&TenantKey> {
        self.tenant_key.as_ref()
    }
}

fn aliases(number: &Number) -> impl Iterator<Item = &str> {
    number.upstream_id.as_deref().into_iter().chain(number.phone.as_ref().map(|phone| phone.as_str()))
}
