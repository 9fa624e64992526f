//! Tokens that others sign: JWTs of configured issuers.
//!
//! A token names its caller by a claim; who that is, and whether it is anybody, is for the roll to say. Keys come from a file
//! or an address in the background ([`Issuers::run`]); checking a token never waits for them.

mod cache;
mod keys;
mod signature;
mod source;

use std::{collections::HashSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Header, Validation, dangerous::insecure_decode_claims, decode, decode_header};
use serde_json::{Map, Value};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

pub use self::source::Source;
use self::{cache::Cache, keys::Keys, source::Fetcher};
use super::CredentialError;
use crate::domain::{Invalid, secret::TokenHash};

/// Longer tokens are none.
const MAX_TOKEN: usize = 8 * 1024;

/// Longer names of callers are none.
const MAX_NAME: usize = 256;

/// How a signature is made. Both sides of a shared secret could sign, so that there is none with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Algorithm(jsonwebtoken::Algorithm);

impl Algorithm {
    const ALL: [(&'static str, jsonwebtoken::Algorithm); 9] = [
        ("RS256", jsonwebtoken::Algorithm::RS256),
        ("RS384", jsonwebtoken::Algorithm::RS384),
        ("RS512", jsonwebtoken::Algorithm::RS512),
        ("PS256", jsonwebtoken::Algorithm::PS256),
        ("PS384", jsonwebtoken::Algorithm::PS384),
        ("PS512", jsonwebtoken::Algorithm::PS512),
        ("ES256", jsonwebtoken::Algorithm::ES256),
        ("ES384", jsonwebtoken::Algorithm::ES384),
        ("EdDSA", jsonwebtoken::Algorithm::EdDSA),
    ];

    /// By its name in JOSE.
    pub fn from_text(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, algorithm)| Self(algorithm));
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(|(name, _)| name).collect();
            Invalid::because(format!("must be one of {}", names.join(", ")))
        })
    }

    /// What is taken if nothing else is said.
    pub const USUAL: [Self; 3] = [
        Self(jsonwebtoken::Algorithm::RS256),
        Self(jsonwebtoken::Algorithm::ES256),
        Self(jsonwebtoken::Algorithm::EdDSA),
    ];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, algorithm)| *algorithm == self.0).map_or("", |(name, _)| name)
    }
}

/// An issuer, and which of its tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its stable name: a caller is known by `jwt:NAME/CLAIM`.
    pub name: String,
    /// What stands in `iss`.
    pub issuer: String,
    /// One of these is in `aud`.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: Source,
    /// How its tokens are signed.
    pub algorithms: Vec<Algorithm>,
    /// Which claim tells the caller.
    pub caller_claim: String,
    /// How far the clocks may differ.
    pub leeway: Duration,
    /// How often the keys are read anew.
    pub refresh: Duration,
    /// How soon after the last time at the earliest, for a key that is not among them or after a failure.
    pub refresh_gap: Duration,
}

/// The issuers whose tokens are taken.
#[derive(Debug, Default)]
pub struct Issuers {
    issuers: Vec<Issuer>,
    verified: Cache,
}

#[derive(Debug)]
struct Issuer {
    options: Options,
    fetcher: Fetcher,
    keys: ArcSwap<Keys>,
    /// A token named a key that is not there.
    wanted: Notify,
}

/// What a token says whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    /// Who it says that calls.
    identity: Arc<str>,
    /// From when on it is taken...
    from: Timestamp,
    /// ...and until when.
    until: Timestamp,
}

impl Verified {
    /// Who calls at this time, and until when the token is taken.
    fn at(&self, at: Timestamp) -> Result<(Arc<str>, Timestamp), CredentialError> {
        if at < self.from {
            return Err(CredentialError::Invalid);
        }
        if at >= self.until {
            return Err(CredentialError::Expired);
        }
        Ok((Arc::clone(&self.identity), self.until))
    }
}

impl Issuers {
    /// Reads the keys. A file must be there and hold some; an address that does not answer is told of and asked again.
    pub async fn open(options: Vec<Options>) -> Result<Self, String> {
        signature::install();
        let opened = join_all(options.into_iter().map(Issuer::open)).await;
        Ok(Self { issuers: opened.into_iter().collect::<Result<_, _>>()?, verified: Cache::default() })
    }

    /// Reads the keys again when it is time to, until draining.
    pub async fn run(&self, draining: CancellationToken) {
        let following = join_all(self.issuers.iter().map(Issuer::follow));
        tokio::select! {
            _ = following => draining.cancelled().await,
            () = draining.cancelled() => {}
        }
    }

    /// Whether a bearer token is one of these by its looks; ours have no dots.
    pub(super) fn is_one(token: &str) -> bool {
        token.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// Who the token says that calls, and until when it is taken.
    pub(super) fn verify(&self, token: &str, at: Timestamp) -> Result<(Arc<str>, Timestamp), CredentialError> {
        if token.len() > MAX_TOKEN {
            return Err(CredentialError::Invalid);
        }
        let hash = TokenHash::of(token);
        let is_current = |issuer: usize, version| {
            self.issuers.get(issuer).is_some_and(|issuer| issuer.keys.load().version() == version)
        };
        if let Some(verified) = self.verified.get(&hash, is_current) {
            return verified.at(at);
        }
        let header = decode_header(token).map_err(|_| CredentialError::Invalid)?;
        // Only says whose keys to try: nothing of it is believed before the signature holds.
        let claimed: Map<String, Value> = insecure_decode_claims(token).map_err(|_| CredentialError::Invalid)?;
        let issuers = self.issuers.iter().enumerate();
        for (index, issuer) in issuers.filter(|(_, issuer)| issuer.has_issued(&claimed)) {
            let keys = issuer.keys.load();
            if let Some(verified) = issuer.verify(token, &header, &keys) {
                let answer = verified.at(at);
                if answer.is_ok() {
                    self.verified.put(hash, index, keys.version(), verified);
                }
                return answer;
            }
        }
        Err(CredentialError::Invalid)
    }
}

impl Issuer {
    async fn open(options: Options) -> Result<Self, String> {
        let named = |error: String| format!("jwt {:?}: {error}", options.name);
        let fetcher = Fetcher::of(options.keys.clone()).map_err(named)?;
        let keys = match (fetcher.keys().await, &options.keys) {
            (Ok(keys), _) => keys,
            (Err(error), Source::File(_)) => return Err(named(error)),
            (Err(error), Source::Url(_)) => {
                tracing::error!(issuer = options.name, %error, "no keys yet: none of its tokens is accepted for now");
                Keys::default()
            }
        };
        Ok(Self { options, fetcher, keys: ArcSwap::from_pointee(keys), wanted: Notify::new() })
    }

    async fn follow(&self) {
        let Options { refresh, refresh_gap, .. } = self.options;
        let mut failed = self.keys.load().is_empty();
        loop {
            let last = Instant::now();
            let wait = if failed { refresh_gap.min(refresh) } else { refresh };
            tokio::select! {
                () = sleep_until(last + wait) => {}
                () = self.wanted.notified() => sleep_until(last + refresh_gap.min(refresh)).await,
            }
            failed = self.read().await.map_err(|error| self.keep(&error, failed)).is_err();
        }
    }

    async fn read(&self) -> Result<(), String> {
        let keys = self.fetcher.keys().await?;
        if keys.version() != self.keys.load().version() {
            tracing::info!(issuer = self.options.name, keys = keys.len(), "its keys have changed");
            self.keys.store(Arc::new(keys));
        }
        Ok(())
    }

    /// Tells of the first failure of several.
    fn keep(&self, error: &str, again: bool) {
        let issuer = &self.options.name;
        if again {
            tracing::debug!(issuer, %error, "its keys cannot be read still");
        } else {
            tracing::error!(issuer, %error, "its keys cannot be read; those before stay");
        }
    }

    fn has_issued(&self, claims: &Map<String, Value>) -> bool {
        claims.get("iss").and_then(Value::as_str) == Some(&self.options.issuer)
    }

    /// `None` for every token that is none of this issuer's for us.
    fn verify(&self, token: &str, header: &Header, keys: &Keys) -> Option<Verified> {
        let algorithm = *self.options.algorithms.iter().find(|algorithm| algorithm.0 == header.alg)?;
        // What must be understood in there is not understood here.
        if header.crit.is_some() {
            return None;
        }
        let Some(key) = keys.find(header.kid.as_deref(), algorithm) else {
            self.wanted.notify_one();
            return None;
        };
        let mut validation = Validation::new(algorithm.0);
        // The rest is checked below, by the clock that everything else goes by.
        validation.required_spec_claims = HashSet::new();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        let claims = decode::<Map<String, Value>>(token, key, &validation).ok()?.claims;
        if !self.has_issued(&claims) || !self.is_for_us(claims.get("aud")?) {
            return None;
        }
        let leeway = SignedDuration::try_from(self.options.leeway).ok()?;
        let until = time(claims.get("exp")?)?.checked_add(leeway).ok()?;
        let from = match claims.get("nbf") {
            Some(from) => time(from)?.checked_sub(leeway).ok()?,
            None => Timestamp::MIN,
        };
        let name = claims.get(&self.options.caller_claim)?.as_str()?;
        let fits = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        let identity = format!("jwt:{}/{name}", self.options.name).into();
        fits.then_some(Verified { identity, from, until })
    }

    fn is_for_us(&self, audience: &Value) -> bool {
        let is_ours = |one: &Value| one.as_str().is_some_and(|one| self.options.audiences.iter().any(|us| us == one));
        match audience {
            Value::Array(several) => several.iter().any(is_ours),
            one => is_ours(one),
        }
    }
}

/// Seconds since 1970, with or without a fraction.
fn time(value: &Value) -> Option<Timestamp> {
    match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => Timestamp::from_second(seconds).ok(),
        (None, Some(seconds)) => {
            let whole = SignedDuration::try_from_secs_f64(seconds).ok()?;
            Timestamp::UNIX_EPOCH.checked_add(whole).ok()
        }
        (None, None) => None,
    }
}
