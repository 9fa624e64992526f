//! Who calls and what they may do.

use std::{fmt, str::FromStr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Invalid,
    ids::{CallerName, NumberName},
};

/// An authenticated caller. Only an authenticator makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The caller's stable name.
    pub caller: CallerName,
    /// Which of its credentials it showed, for the audit log: `token:ID`, `jwt:ISSUER/SUBJECT` or `mtls:NAME`. Tells
    /// nothing that could be presented.
    pub credential: Arc<str>,
    /// When that credential ends; `None` if it does not.
    pub expires: Option<Timestamp>,
}

/// What a grant allows on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    /// Sending messages.
    Send,
    /// Canceling the caller's own scheduled messages.
    Cancel,
    /// Reading the caller's own messages and their updates.
    Read,
    /// Reading the messages and updates of every caller.
    Observe,
    /// Reading inbound events.
    Inbox,
}

impl Permission {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Cancel => "cancel",
            Self::Read => "read",
            Self::Observe => "observe",
            Self::Inbox => "inbox",
        }
    }
}

/// A right of one caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// On which numbers.
    pub numbers: NumberScope,
    /// What is allowed.
    pub permissions: Vec<Permission>,
    /// Sending is allowed of these templates only; empty: of everything.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub templates: Vec<String>,
    /// Sending is allowed to recipients that begin like this only; empty: to everyone.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub recipient_prefixes: Vec<String>,
}

/// The numbers that a grant covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NumberScope {
    /// Every registered number, also those registered later. Written `*`.
    All,
    /// One number.
    One(NumberName),
}

impl Grant {
    /// Templates, or prefixes, that one grant may be narrowed to.
    const MOST_WORDS: usize = 100;
    const LONGEST_TEMPLATE: usize = 200;
    const LONGEST_PREFIX: usize = 64;

    /// These permissions, not narrowed.
    pub const fn of(numbers: NumberScope, permissions: Vec<Permission>) -> Self {
        Self { numbers, permissions, templates: Vec::new(), recipient_prefixes: Vec::new() }
    }

    /// Checks the templates that a grant is to be narrowed to.
    pub fn check_templates(templates: &[String]) -> Result<(), Invalid> {
        check_words(templates, Self::LONGEST_TEMPLATE)
    }

    /// Checks the beginnings of recipients that a grant is to be narrowed to.
    pub fn check_recipient_prefixes(prefixes: &[String]) -> Result<(), Invalid> {
        check_words(prefixes, Self::LONGEST_PREFIX)
    }
}

fn check_words(words: &[String], longest: usize) -> Result<(), Invalid> {
    let fits = |word: &String| {
        (1..=longest).contains(&word.chars().take(longest + 1).count()) && !word.chars().any(char::is_control)
    };
    if words.len() <= Grant::MOST_WORDS && words.iter().all(fits) {
        Ok(())
    } else {
        Err(Invalid::because(format!(
            "must be at most {} texts of 1 to {longest} characters without control characters",
            Grant::MOST_WORDS
        )))
    }
}

/// As the configuration writes it.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = match &self.numbers {
            NumberScope::All => "*",
            NumberScope::One(name) => name.as_str(),
        };
        write!(f, "{{ number = {number:?}, permissions = [")?;
        for (index, permission) in self.permissions.iter().enumerate() {
            write!(f, "{}\"{}\"", if index == 0 { "" } else { ", " }, permission.word())?;
        }
        f.write_str("]")?;
        if !self.templates.is_empty() {
            write!(f, ", templates = {:?}", self.templates)?;
        }
        if !self.recipient_prefixes.is_empty() {
            write!(f, ", recipient_prefixes = {:?}", self.recipient_prefixes)?;
        }
        f.write_str(" }")
    }
}

impl NumberScope {
    /// Whether the number is covered.
    pub fn covers(&self, number: &NumberName) -> bool {
        match self {
            Self::All => true,
            Self::One(name) => name == number,
        }
    }
}

impl TryFrom<String> for NumberScope {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        if text == "*" { Ok(Self::All) } else { NumberName::from_text(&text).map(Self::One) }
    }
}

impl From<NumberScope> for String {
    fn from(scope: NumberScope) -> Self {
        match scope {
            NumberScope::All => "*".to_owned(),
            NumberScope::One(name) => name.into(),
        }
    }
}

/// What the platform team looks after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Numbers and their keys.
    Numbers,
    /// Callers, their credentials and grants.
    Callers,
    /// The audit log.
    Audit,
    /// Messages on their way, and those in doubt.
    Outbox,
    /// Named subscriptions of every caller.
    Subscriptions,
    /// The root key.
    Vault,
}

/// How far an administrator's right goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Looking.
    View,
    /// Changing, and looking.
    Manage,
}

/// A right of an administrator, written `numbers.view` or `numbers.manage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdminRight {
    /// Over what.
    pub area: Area,
    /// How far.
    pub level: Level,
}

impl AdminRight {
    const AREAS: [(Area, &str); 6] = [
        (Area::Numbers, "numbers"),
        (Area::Callers, "callers"),
        (Area::Audit, "audit"),
        (Area::Outbox, "outbox"),
        (Area::Subscriptions, "subscriptions"),
        (Area::Vault, "vault"),
    ];
    const LEVELS: [(Level, &str); 2] = [(Level::View, "view"), (Level::Manage, "manage")];

    /// Everything that an administrator may be allowed.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::AREAS.into_iter().map(|(area, _)| Self { area, level: Level::Manage })
    }

    /// Whether this right gives the other one.
    pub fn covers(self, other: Self) -> bool {
        self.area == other.area && self.level >= other.level
    }
}

impl fmt::Display for AdminRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let area = Self::AREAS.iter().find(|(area, _)| *area == self.area).map_or("", |(_, word)| word);
        let level = Self::LEVELS.iter().find(|(level, _)| *level == self.level).map_or("", |(_, word)| word);
        write!(f, "{area}.{level}")
    }
}

impl FromStr for AdminRight {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let known = || {
            let (area, level) = text.split_once('.')?;
            let area = Self::AREAS.iter().find(|(_, word)| *word == area)?.0;
            let level = Self::LEVELS.iter().find(|(_, word)| *word == level)?.0;
            Some(Self { area, level })
        };
        known().ok_or_else(|| {
            Invalid::because(
                "must be numbers, callers, audit, outbox, subscriptions or vault with .view or .manage behind it",
            )
        })
    }
}

impl TryFrom<String> for AdminRight {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<AdminRight> for String {
    fn from(right: AdminRight) -> Self {
        right.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_written_as_in_the_configuration() {
        let wide = Grant::of(NumberScope::All, vec![Permission::Send, Permission::Inbox]);
        assert_eq!(wide.to_string(), r#"{ number = "*", permissions = ["send", "inbox"] }"#);
        let narrow = Grant {
            numbers: NumberScope::One(NumberName::from_text("support").unwrap()),
            templates: vec!["order_update".to_owned(), "receipt".to_owned()],
            recipient_prefixes: vec!["+5511".to_owned()],
            permissions: vec![Permission::Send],
        };
        let text = r#"{ number = "support", permissions = ["send"], templates = ["order_update", "receipt"], recipient_prefixes = ["+5511"] }"#;
        assert_eq!(narrow.to_string(), text);
    }
}
