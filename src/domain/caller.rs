//! A registered caller: its credentials, its rights, its quotas.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    ids::CallerName,
    principal::{AdminRight, Grant},
    quota::Quota,
    secret::TokenHash,
};

/// A registered caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// Its stable name; outlives its credentials.
    pub name: CallerName,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// None of its credentials is accepted for now.
    #[serde(default)]
    pub disabled: bool,
    /// Its tokens, also those that have ended.
    #[serde(default)]
    pub tokens: Vec<Token>,
    /// By what else it is recognised: `jwt:ISSUER/SUBJECT`, `mtls:spiffe://DOMAIN/PATH` or `mtls:dns:NAME`.
    #[serde(default)]
    pub identities: Vec<String>,
    /// What it may do; nothing by default.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// What it may administer; nothing by default.
    #[serde(default)]
    pub admin: Vec<AdminRight>,
    /// How much it may send over all numbers.
    #[serde(default)]
    pub quota: Quota,
    /// When it was created; `None` for one that the configuration declares.
    #[serde(default)]
    pub create_time: Option<Timestamp>,
    /// When it was last changed.
    #[serde(default)]
    pub update_time: Option<Timestamp>,
}

impl Caller {
    /// One that may do nothing yet.
    pub const fn named(name: CallerName) -> Self {
        Self {
            name,
            description: String::new(),
            disabled: false,
            tokens: Vec::new(),
            identities: Vec::new(),
            grants: Vec::new(),
            admin: Vec::new(),
            quota: Quota::NONE,
            create_time: None,
            update_time: None,
        }
    }
}

/// A token of a caller. What is presented is known by its hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Names it, without telling anything about it: the first 12 digits of its hash.
    pub id: String,
    /// The hash.
    pub hash: TokenHash,
    /// When it was issued; `None` for one that the configuration declares.
    #[serde(default)]
    pub create_time: Option<Timestamp>,
    /// When it ends by itself; `None` if it does not.
    #[serde(default)]
    pub expire_time: Option<Timestamp>,
    /// When it was revoked.
    #[serde(default)]
    pub revoke_time: Option<Timestamp>,
}

impl Token {
    /// One that does not end.
    pub fn of(hash: TokenHash) -> Self {
        let mut id = hash.to_hex();
        id.truncate(12);
        Self { id, hash, create_time: None, expire_time: None, revoke_time: None }
    }

    /// Whether it is accepted at that time.
    pub fn is_live(&self, at: Timestamp) -> bool {
        self.revoke_time.is_none() && self.expire_time.is_none_or(|end| at < end)
    }
}
