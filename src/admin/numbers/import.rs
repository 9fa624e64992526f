//! Registering all numbers of the account, by the account-wide key.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Admin, Registration};
use crate::{
    admin::AdminError,
    domain::{
        ids::NumberName,
        recipient::PhoneNumber,
        secret::{NumberKey, TenantKey},
    },
    identity::{Acting, ManageNumbers},
    keys::{KeyState, Number, Source},
    upstream::{ListedKey, ReadError},
};

const ACTION: &str = "number.import";

/// Room for a prefix and for what keeps names apart.
const LONGEST_STEM: usize = 32;

/// What to import.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// The account-wide key for this time; `None`: the stored or configured one.
    pub tenant_key: Option<TenantKey>,
    /// Nothing is done, only told.
    pub dry_run: bool,
    /// Stands before every name that is made.
    pub prefix: String,
    /// They are registered as disabled.
    pub disabled: bool,
    /// Only these ids; empty: all.
    pub only: BTreeSet<String>,
}

/// What became of a number of the account.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its id at Pilot Status.
    pub upstream_id: String,
    /// Its phone there.
    pub phone: Option<String>,
    /// What it is called there.
    pub display_name: Option<String>,
    /// Its name here, if it has or gets one.
    pub name: Option<NumberName>,
    /// What became of it.
    pub outcome: Outcome,
    /// The number afterwards; `None` for a dry run and for one that is not registered.
    pub number: Option<Arc<Number>>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was registered.
    Imported,
    /// It was there already.
    AlreadyRegistered,
    /// It was there with another key.
    KeyUpdated,
    /// Its key is not shown.
    NotRevealable,
    /// It has none.
    NoKey,
    /// It cannot be registered.
    Invalid(String),
}

/// A number of the account, of both lists.
#[derive(Default)]
struct Found {
    phone: Option<String>,
    display_name: Option<String>,
    /// Whether it is in the list of keys, and whether its key is shown.
    key: Option<Option<NumberKey>>,
}

impl Admin {
    /// Registers the numbers of the account that are not registered and whose keys are shown, and takes over keys that were
    /// changed at Pilot Status. One that fails keeps no other from it.
    pub async fn import_numbers(
        &self,
        acting: &Acting<ManageNumbers>,
        import: Import,
    ) -> Result<Vec<Imported>, AdminError> {
        let (admin, acting_too) = (self.clone(), acting.clone());
        let whole = async move { admin.import(&acting_too, import).await };
        self.complete(acting, ACTION, "number/*".to_owned(), whole).await
    }

    async fn import(&self, acting: &Acting<ManageNumbers>, import: Import) -> Result<Vec<Imported>, AdminError> {
        let tenant = import.tenant_key.clone().or_else(|| self.keys.tenant_key());
        let without = "there is no account-wide key: give one, store one, or set upstream.tenant_key";
        let tenant = tenant.ok_or_else(|| AdminError::NotNow(without.to_owned()))?;
        let mut imported = Vec::new();
        let mut names = BTreeSet::new();
        // As they stand before the keys are listed: what is changed later is newer than the list.
        let seen: Vec<_> = self.keys.all();
        for (id, found) in self.of_account(&tenant).await? {
            if import.only.is_empty() || import.only.contains(&id) {
                imported.push(self.import_one(acting, &import, (&seen, &mut names), id, found).await?);
            }
        }
        Ok(imported)
    }

    async fn of_account(&self, tenant: &TenantKey) -> Result<Vec<(String, Found)>, AdminError> {
        let slot = self.upstream.read_slot().await.map_err(|error| of_read(&error))?;
        let numbers = self.upstream.numbers(&slot, tenant.as_key()).await.map_err(|error| of_read(&error))?;
        let keys = self.upstream.keys(&slot, tenant).await.map_err(|error| of_read(&error))?;
        let mut order = Vec::new();
        let mut all: BTreeMap<String, Found> = BTreeMap::new();
        for number in numbers {
            let found = Found { phone: number.phone, display_name: number.display_name, key: None };
            if all.insert(number.id.clone(), found).is_none() {
                order.push(number.id);
            }
        }
        for ListedKey { number_id, phone, display_name, key } in keys {
            if !all.contains_key(&number_id) {
                order.push(number_id.clone());
            }
            let found = all.entry(number_id).or_default();
            found.phone = found.phone.take().or(phone);
            found.display_name = found.display_name.take().or(display_name);
            found.key = Some(key);
        }
        Ok(order.into_iter().filter_map(|id| all.remove(&id).map(|found| (id, found))).collect())
    }

    async fn import_one(
        &self,
        acting: &Acting<ManageNumbers>,
        import: &Import,
        (seen, names): (&[Arc<Number>], &mut BTreeSet<String>),
        upstream_id: String,
        found: Found,
    ) -> Result<Imported, AdminError> {
        let Found { phone: told_phone, display_name, key } = found;
        let phone = told_phone.as_deref().and_then(|text| format!("+{}", text.trim_start_matches('+')).parse().ok());
        let registered = self.registered_as(&upstream_id, phone.as_ref());
        let called = display_name.as_deref().or(told_phone.as_deref()).unwrap_or(&upstream_id);
        let (name, done) = match (registered, key) {
            (Some(number), Some(Some(key))) if outdated(seen, &number, &key).is_some() => {
                let done = match outdated(seen, &number, &key).filter(|_| !import.dry_run) {
                    None => Ok(None),
                    Some(seen) => self.set_key(acting, ACTION, seen, None, key).await.map(Some),
                };
                (Some(number.name.clone()), done.map(|number| (Outcome::KeyUpdated, number)))
            }
            (Some(number), _) => {
                let name = number.name.clone();
                (Some(name), Ok((Outcome::AlreadyRegistered, (!import.dry_run).then_some(number))))
            }
            (None, None) => (None, Ok((Outcome::NoKey, None))),
            (None, Some(None)) => (None, Ok((Outcome::NotRevealable, None))),
            (None, Some(Some(key))) => match self.free_name(&import.prefix, called, names) {
                Err(error) => (None, Ok((Outcome::Invalid(error.to_string()), None))),
                Ok(name) => {
                    let registration = Registration {
                        description: display_name.clone().unwrap_or_default(),
                        upstream_id: Some(upstream_id.clone()),
                        phone,
                        disabled: import.disabled,
                        ..Registration::of(name.clone(), key)
                    };
                    let done = match import.dry_run {
                        true => Ok(None),
                        false => self.register(acting, ACTION, registration).await.map(Some),
                    };
                    (Some(name), done.map(|number| (Outcome::Imported, number)))
                }
            },
        };
        let (outcome, number) = match done {
            Ok(done) => done,
            // The next one would fare no better.
            Err(error @ AdminError::Store(_)) => return Err(error),
            Err(error) => (Outcome::Invalid(error.to_string()), None),
        };
        Ok(Imported { upstream_id, phone: told_phone, display_name, name, outcome, number })
    }

    /// The registered number that has this id; or that has none, and this name or phone. These alone do not tell: the phone
    /// may be another number's by now, whose key would then be taken for this one's.
    fn registered_as(&self, upstream_id: &str, phone: Option<&PhoneNumber>) -> Option<Arc<Number>> {
        let all = self.keys.all();
        let by_id = all.iter().find(|number| number.upstream_id.as_deref() == Some(upstream_id));
        let is_meant = |number: &&Arc<Number>| {
            let has_phone = phone.is_some() && number.phone.as_ref() == phone;
            // The key of one that is declared is not touched.
            let is_open = number.upstream_id.is_none() || number.source == Source::Declared;
            is_open && (number.name.as_str() == upstream_id || has_phone)
        };
        by_id.or_else(|| all.iter().find(is_meant)).cloned()
    }

    /// A name that nobody has, made of what it is called.
    fn free_name(
        &self,
        prefix: &str,
        called: &str,
        names: &mut BTreeSet<String>,
    ) -> Result<NumberName, crate::domain::Invalid> {
        let stem = slug(called);
        let all = (1_u32..).map(|count| match count {
            1 => format!("{prefix}{stem}"),
            count => format!("{prefix}{stem}-{count}"),
        });
        let taken = |name: &str| {
            names.contains(name) || self.keys.find(name).is_some() || self.beside.unreadable().contains_key(name)
        };
        let name = all.take(10_000).find(|name| !taken(name)).unwrap_or_default();
        let named = NumberName::from_text(&name)?;
        names.insert(name);
        Ok(named)
    }
}

/// The number as it was seen before the keys were listed, if the listed key is to take the place of the one that it has.
fn outdated<'a>(seen: &'a [Arc<Number>], number: &Number, key: &NumberKey) -> Option<&'a Number> {
    let seen = seen.iter().find(|seen| seen.name == number.name)?;
    (is_outdated(number, key) && is_outdated(seen, key)).then_some(seen)
}

/// A key that is being changed is left to whoever changes it.
fn is_outdated(number: &Number, key: &NumberKey) -> bool {
    number.source != Source::Declared && number.key_state() != KeyState::Rotating && number.key.expose() != key.expose()
}

/// Lower-case letters and digits, with a dash for whatever lies between.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for letter in text.chars() {
        match letter.to_ascii_lowercase() {
            letter @ ('a'..='z' | '0'..='9') => slug.push(letter),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
        if slug.len() >= LONGEST_STEM {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "number".to_owned() } else { slug.to_owned() }
}

fn of_read(error: &ReadError) -> AdminError {
    match error {
        ReadError::Refused(refusal) => AdminError::Refused(refusal.status, refusal.to_string()),
        ReadError::NotFound | ReadError::Unavailable { .. } => AdminError::Unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_what_people_call_a_number() {
        let long = "x".repeat(80);
        let cases = [
            ("Loja Centro", "loja-centro"),
            ("  São Paulo / 2 ", "s-o-paulo-2"),
            ("+5511", "5511"),
            ("\u{1f600}", "number"),
            (&*long, &long[..LONGEST_STEM]),
        ];
        for (called, expected) in cases {
            assert_eq!(slug(called), expected);
            NumberName::from_text(&slug(called)).unwrap();
        }
    }
}
