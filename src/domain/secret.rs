//! Secrets: number keys, caller tokens, webhook secrets, webhook path tokens, and what the vault has sealed.
//!
//! None of these types prints, serializes or compares its content; each is wiped when dropped. The content leaves only
//! through the one method that says so.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::Invalid;

/// The key of a number, which Pilot Status accepts in `x-api-key`.
#[derive(Clone)]
pub struct NumberKey(SecretString);

impl NumberKey {
    /// Checks that the text can stand in an HTTP header: 8 to 512 visible ASCII characters.
    pub fn from_secret(text: SecretString) -> Result<Self, Invalid> {
        check_visible(&text, 8).map(|()| Self(text))
    }

    /// The key itself, for the request header and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The secret under which Pilot Status signs webhooks.
#[derive(Clone)]
pub struct WebhookSecret(SecretString);

impl WebhookSecret {
    /// Checks that the text is not empty.
    pub fn from_secret(text: SecretString) -> Result<Self, Invalid> {
        check_visible(&text, 1).map(|()| Self(text))
    }

    /// The secret itself, for computing a signature and nothing else.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

fn check_visible(text: &SecretString, shortest: usize) -> Result<(), Invalid> {
    let text = text.expose_secret();
    if (shortest..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Invalid::because(format!("must be {shortest} to 512 visible ASCII characters without blanks")))
    }
}

/// The SHA-256 of a token. Tokens are random enough that a plain hash keeps them secret.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes a presented token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Result<Self, Invalid> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map(|()| Self(bytes))
            .map_err(|_| Invalid::because("must be a SHA-256 in 64 hexadecimal digits"))
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

/// A caller's token: `pgt_` and 256 random bits, so that scanners recognise one that strayed.
pub struct CallerToken(SecretString);

impl CallerToken {
    /// Makes a new one.
    pub fn generate(sources: &super::sources::Sources) -> Self {
        let random = zeroize::Zeroizing::new(sources.random::<32>());
        Self(SecretString::from(format!("pgt_{}", URL_SAFE_NO_PAD.encode(*random))))
    }

    /// What is registered instead of the token.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose())
    }

    /// The token itself, for whoever is to present it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Stands for a number, a recipient and a text, without telling any of them. The same three have the same likeness.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Likeness([u8; 16]);

impl Likeness {
    /// Takes a keyed digest.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The digest.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Bytes that only the vault can read.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Takes bytes that were sealed.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The sealed bytes, which tell nothing but their length.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

macro_rules! opaque_debug {
    ($($name:ident => $text:literal),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($text)
            }
        })*
    };
}

opaque_debug!(NumberKey => "NumberKey(..)", WebhookSecret => "WebhookSecret(..)", TokenHash => "TokenHash(..)",
    CallerToken => "CallerToken(..)", Sealed => "Sealed(..)", Likeness => "Likeness(..)");
