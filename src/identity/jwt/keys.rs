//! The keys of an issuer, as it publishes them: a JWK set.

use jsonwebtoken::{Algorithm as Signing, DecodingKey, jwk::Jwk};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Algorithm;

/// One state of an issuer's keys. Never changed, only replaced.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Of the bytes that they were read from.
    version: [u8; 32],
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// Its type, and its curve if it has one.
    kind: (String, Option<String>),
    /// The only algorithm that it is for; `None`: all of its kind.
    only: Option<String>,
    key: DecodingKey,
}

impl Keys {
    /// Reads a set. Keys that are of no use for checking signatures are left out; a set of such keys alone is refused.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|error| format!("no JWK set: {error}"))?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or("no JWK set: it has no array `keys`")?;
        let keys: Vec<Key> = listed.iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("no key in the JWK set can check a signature".to_owned());
        }
        Ok(Self { version: Sha256::digest(json).into(), keys })
    }

    pub(super) const fn version(&self) -> [u8; 32] {
        self.version
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key with this id that signs like this. A token that names none is checked by the only one there is, if there is
    /// only one.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting =
            self.keys.iter().filter(|key| key.fits(algorithm) && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(&first.key)
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind = match algorithm.0 {
            Signing::ES256 => ("EC", Some("P-256")),
            Signing::ES384 => ("EC", Some("P-384")),
            Signing::EdDSA => ("OKP", Some("Ed25519")),
            _ => ("RSA", None),
        };
        (self.kind.0.as_str(), self.kind.1.as_deref()) == kind
            && self.only.as_deref().is_none_or(|only| only == algorithm.name())
    }
}

/// A public key that checks signatures. A shared secret is none, whatever it says of itself.
fn key(value: &Value) -> Option<Key> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let kind = (text("kty")?, text("crv"));
    let verifies = value
        .get("key_ops")
        .is_none_or(|all| all.as_array().is_some_and(|all| all.iter().any(|one| one.as_str() == Some("verify"))));
    let signs = text("use").is_none_or(|purpose| purpose == "sig");
    if !matches!(kind.0.as_str(), "RSA" | "EC" | "OKP") || !verifies || !signs {
        return None;
    }
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: text("kid"), kind, only: text("alg"), key })
}
