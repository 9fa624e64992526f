//! Secrets: number keys, the account-wide key, caller tokens, webhook secrets, webhook path tokens, and what the vault has
//! sealed.
//!
//! None of these types prints, serializes or compares its content; each is wiped when dropped. The content leaves only
//! through the one method that says so.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

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

/// The account-wide key. Pilot Status takes it in the same header, so that it is presented and hidden like a number's.
#[derive(Clone)]
pub struct TenantKey(NumberKey);

impl TenantKey {
    /// Checks that the text can stand in an HTTP header.
    pub fn from_secret(text: SecretString) -> Result<Self, Invalid> {
        NumberKey::from_secret(text).map(Self)
    }

    /// The key, for calls that are not about one number alone or that name the number they are about.
    pub const fn as_key(&self) -> &NumberKey {
        &self.0
    }
}

/// Where the webhooks of a number come in. It ends with the path token and is as secret as that.
#[derive(Clone)]
pub struct WebhookUrl(SecretString);

impl WebhookUrl {
    /// The address below a public one at which this path token is taken.
    pub fn of(public_url: &str, path_token: &SecretString) -> Self {
        let parts = [public_url.trim_end_matches('/'), "/webhooks/", path_token.expose_secret()];
        // As long as the whole from the start, so that no shorter copy is left behind.
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.into_iter().for_each(|part| text.push_str(part));
        Self(SecretString::from(text))
    }

    /// As somebody else wrote it down.
    pub fn from_secret(text: SecretString) -> Self {
        Self(text)
    }

    /// What stands before the path token.
    pub fn base(&self) -> &str {
        self.halves().0
    }

    /// The path token, for keeping it out of texts.
    pub fn path_token(&self) -> &str {
        self.halves().1
    }

    /// The address itself, for registering it and for comparing it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    fn halves(&self) -> (&str, &str) {
        let text = self.expose();
        text.split_at(text.rfind('/').map_or(0, |slash| slash + 1))
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
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
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

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_hex()
    }
}

impl TryFrom<String> for TokenHash {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::from_hex(&text)
    }
}

/// A caller's token: `pgt_`, 256 random bits and six characters that depend on what stands before them, so that scanners
/// recognise one that strayed and nothing else. Only the hash decides whether a token is accepted.
pub struct CallerToken(SecretString);

/// What a token begins with.
const TOKEN_PREFIX: &str = "pgt_";
/// 256 bits in base64.
const TOKEN_RANDOM: usize = 43;
const TOKEN_CHECKSUM: usize = 6;

impl CallerToken {
    /// Makes a new one.
    pub fn generate(sources: &super::sources::Sources) -> Self {
        let random = Zeroizing::new(sources.random::<32>());
        let random = Zeroizing::new(URL_SAFE_NO_PAD.encode(*random));
        // As long as the whole from the start, so that no shorter copy is left behind.
        let mut text = String::with_capacity(TOKEN_PREFIX.len() + TOKEN_RANDOM + TOKEN_CHECKSUM);
        text.push_str(TOKEN_PREFIX);
        text.push_str(&random);
        let checksum = Self::checksum(&text);
        text.push_str(&checksum);
        Self(SecretString::from(text))
    }

    /// Whether a text has the shape of a token and its last characters are those that belong behind the others. Older
    /// tokens do not have it and are accepted all the same.
    pub fn has_shape(text: &str) -> bool {
        let Some((body, checksum)) = text.split_at_checked(TOKEN_PREFIX.len() + TOKEN_RANDOM) else { return false };
        body.starts_with(TOKEN_PREFIX) && checksum == Self::checksum(body)
    }

    /// The first characters of the SHA-256 in base64.
    fn checksum(body: &str) -> String {
        let mut text = URL_SAFE_NO_PAD.encode(Sha256::digest(body.as_bytes()));
        text.truncate(TOKEN_CHECKSUM);
        text
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

opaque_debug!(NumberKey => "NumberKey(..)", TenantKey => "TenantKey(..)", WebhookUrl => "WebhookUrl(..)", WebhookSecret => "WebhookSecret(..)", TokenHash => "TokenHash(..)",
    CallerToken => "CallerToken(..)", Sealed => "Sealed(..)", Likeness => "Likeness(..)");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sources::Sources;

    #[test]
    fn a_token_is_told_from_what_only_looks_like_one() {
        let token = CallerToken::generate(&Sources::new(jiff::Timestamp::now, |bytes| bytes.fill(7)));
        let text = token.expose();
        assert_eq!(text, "pgt_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcSucb0R");
        assert!(CallerToken::has_shape(text));
        for index in 0..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[index] = if changed[index] == b'x' { b'y' } else { b'x' };
            assert!(!CallerToken::has_shape(std::str::from_utf8(&changed).unwrap()), "character {index}");
            assert!(!CallerToken::has_shape(&text[..index]), "cut at {index}");
        }
        assert!(!CallerToken::has_shape(&format!("{text}A")));
    }
}
