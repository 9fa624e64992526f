//! Who calls and what they may do.

use super::ids::{CallerName, NumberName};

/// An authenticated caller. Only an authenticator makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The caller's stable name.
    pub caller: CallerName,
}

/// What a grant allows on a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
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

/// A right of one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// On which numbers.
    pub numbers: NumberScope,
    /// What is allowed.
    pub permissions: Vec<Permission>,
}

/// The numbers that a grant covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberScope {
    /// Every registered number, also those registered later.
    All,
    /// One number.
    One(NumberName),
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
