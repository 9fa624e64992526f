//! A registered caller: its credentials, its rights, its quotas.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Invalid,
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

/// Longest name that a caller is known by.
const LONGEST_IDENTITY: usize = 512;

/// Checks a name that a caller is known by besides its tokens, as in [`Caller::identities`].
pub fn identity(text: &str) -> Result<String, Invalid> {
    let plain = text.len() <= LONGEST_IDENTITY && text.chars().all(|letter| !letter.is_control() && letter != ' ');
    let known = match text.split_once(':') {
        // Either may hold slashes, so that no more can be told than that both are there.
        Some(("jwt", rest)) => {
            rest.split_once('/').is_some_and(|(issuer, subject)| !issuer.is_empty() && !subject.is_empty())
        }
        Some(("mtls", rest)) => match rest.split_once(':') {
            Some(("spiffe", id)) => {
                let parts = id.strip_prefix("//").and_then(|id| id.split_once('/'));
                parts.is_some_and(|(domain, path)| !domain.is_empty() && !path.is_empty())
            }
            Some(("dns", name)) => !name.is_empty() && !name.contains('/'),
            _ => false,
        },
        _ => false,
    };
    if plain && known {
        Ok(text.to_owned())
    } else {
        Err(Invalid::because(format!(
            "must be jwt:ISSUER/SUBJECT, mtls:spiffe://DOMAIN/PATH or mtls:dns:NAME, without blanks, and at most \
             {LONGEST_IDENTITY} bytes"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::identity;

    #[test]
    fn a_caller_is_known_by_names_of_three_kinds() {
        let longest = format!("mtls:dns:{}", "a".repeat(503));
        let good = ["jwt:https://idp.example/realm/orders", "mtls:spiffe://prod/ns/shop", "mtls:dns:orders.internal"];
        for text in good.into_iter().chain([&*longest]) {
            assert_eq!(identity(text).as_deref(), Ok(text));
        }
        let longer = format!("{longest}a");
        let bad = ["", "orders", "token:0123", "jwt:issuer", "jwt:/x", "mtls:spiffe://prod", "mtls:dns:", "mtls:cn:a"];
        for text in bad.into_iter().chain(["mtls:dns:a b", "mtls:spiffe:prod/x", &longer]) {
            assert!(identity(text).is_err(), "{text}");
        }
    }
}
