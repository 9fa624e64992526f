//! Owns what a double is opened with and what it then tells about its account.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Serialize;

use super::switches::Switches;

/// What a double is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The guesses to start (and reset) with.
    pub switches: Switches,
    /// Makes ids, keys and dice repeatable.
    pub seed: Option<u64>,
    /// The first number.
    pub number: NumberSeed,
    /// Further numbers.
    pub more_numbers: Vec<NumberSeed>,
    /// Signs deliveries; random if absent.
    pub webhook_secret: Option<String>,
    /// Key of the first number; random if absent.
    pub number_key: Option<String>,
    /// The account-wide key; random if absent.
    pub tenant_key: Option<String>,
    /// How many messages (and idempotency keys) are kept; the oldest go first.
    pub keep_messages: usize,
    /// How many requests the ledger keeps; the oldest go first.
    pub keep_requests: usize,
    /// How many webhook deliveries run at once.
    pub deliveries: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            switches: Switches::default(),
            seed: None,
            number: NumberSeed::default(),
            more_numbers: Vec::new(),
            webhook_secret: None,
            number_key: None,
            tenant_key: None,
            keep_messages: 200_000,
            keep_requests: 10_000,
            deliveries: 64,
        }
    }
}

/// A number the account has from the start.
#[derive(Debug, Clone)]
pub struct NumberSeed {
    /// `numberId` in events.
    pub id: String,
    /// E.164 with `+`.
    pub phone: String,
    /// `origin` of a 202.
    pub display_name: String,
    /// `META` or `PILOT_STATUS`.
    pub provider: String,
}

impl Default for NumberSeed {
    fn default() -> Self {
        Self {
            id: "wn_sandbox".into(),
            phone: "+5511900000000".into(),
            display_name: "Sandbox".into(),
            provider: "META".into(),
        }
    }
}

/// The account as it stands: live keys, for whoever has to talk to the double.
#[derive(Clone, Serialize)]
pub struct Account {
    /// The first number first.
    pub numbers: Vec<AccountNumber>,
    /// The account-wide key.
    pub tenant_key: String,
    /// Signs deliveries.
    pub webhook_secret: String,
}

/// A number of the account that is not deleted.
#[derive(Clone, Serialize)]
pub struct AccountNumber {
    /// `numberId` in events.
    pub id: String,
    /// E.164 with `+`.
    pub phone: String,
    /// Its key, as of now; regeneration changes it.
    pub key: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<&str> = self.numbers.iter().map(|n| n.id.as_str()).collect();
        f.debug_struct("Account").field("numbers", &ids).finish_non_exhaustive()
    }
}
