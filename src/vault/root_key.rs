//! The root key: 256 random bits, given by the configuration or kept in a file of the owner alone.

use std::{fmt, io, path::PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::sources::Sources;

/// Bytes of a key's name.
pub(super) const KEY_ID: usize = 8;

/// Texts whose digest somebody may have taken for a key.
const WORDS: [&str; 12] = [
    "",
    "password",
    "secret",
    "changeme",
    "change-me",
    "test",
    "default",
    "example",
    "admin",
    "root",
    "pilotgate",
    "hello",
];

/// Keys that stand in standards and in examples of others.
const EXAMPLES: [&str; 4] = [
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
    "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
    "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0",
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
];

/// The key under which everything is sealed.
#[derive(Clone)]
pub struct RootKey(Zeroizing<[u8; 32]>);

/// Names a root key without telling anything about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; KEY_ID]);

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Not a key.
    #[error("must be 64 random hexadecimal digits, for example from `openssl rand -hex 32`")]
    Malformed,
    /// Not a random one.
    #[error("is a placeholder, a pattern or a known example, not random; make one with `openssl rand -hex 32`")]
    Weak,
    /// Its source did not give it. The text never repeats a secret.
    #[error("{0}")]
    Unread(String),
    /// Anybody can read its file.
    #[error("{0} can be read by others than its owner; run `chmod 600` on it, and replace the key if it was seen")]
    Exposed(PathBuf),
    /// The file system refused.
    #[error("cannot keep the root key in {path}: {error}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl RootKey {
    /// Reads 64 hexadecimal digits.
    pub fn from_text(text: &SecretString) -> Result<Self, RootKeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.expose_secret().trim(), bytes.as_mut_slice()).map_err(|_| RootKeyError::Malformed)?;
        if is_weak(&bytes) { Err(RootKeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// A new one.
    pub fn generate(sources: &Sources) -> Self {
        Self(Zeroizing::new(sources.random()))
    }

    /// Takes a key out of what the vault has unsealed.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        (bytes.len() == key.len()).then(|| {
            key.copy_from_slice(bytes);
            Self(key)
        })
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits and a line end.
    pub(super) fn to_line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(65));
        for byte in self.0.iter() {
            for digit in [byte >> 4, byte & 15] {
                line.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        line.push('\n');
        line
    }

    /// The digest key of a store that has none yet: made from the root key that it began with.
    pub(super) fn digest_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hmac(&self.0).chain_update(b"pilotgate digest key").finalize().into_bytes().into())
    }

    /// Names the key.
    pub fn id(&self) -> KeyId {
        let digest = Sha256::new().chain_update(b"pilotgate root key id").chain_update(*self.0).finalize();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        KeyId(id)
    }
}

/// Digests that nobody can make without the key.
pub(super) fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A block is 64 bytes, so that a key fits as it is.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    Hmac::<Sha256>::new(&(*block).into())
}

/// Whether nobody who draws bytes at random will ever draw these.
fn is_weak(bytes: &[u8; 32]) -> bool {
    let mut distinct = Zeroizing::new(bytes.to_vec());
    distinct.sort_unstable();
    distinct.dedup();
    let repeats = (1..=16).any(|period| bytes.iter().zip(&bytes[period..]).all(|(one, other)| one == other));
    let step = bytes[1].wrapping_sub(bytes[0]);
    let ascends = bytes.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    let is_text = bytes.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let known = EXAMPLES.iter().any(|example| hex::decode(example).is_ok_and(|example| example == bytes))
        || WORDS.iter().any(|word| Sha256::digest(word)[..] == bytes[..]);
    distinct.len() < 16 || repeats || ascends || is_text || known
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_texts_are_no_keys() {
        for text in ["", "secret", &"zz".repeat(32), &"00".repeat(31)] {
            assert!(matches!(RootKey::from_text(&text.into()), Err(RootKeyError::Malformed)), "{text}");
        }
    }

    #[test]
    fn placeholders_patterns_and_examples_are_no_keys() {
        let ascending = (0..32).fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let descending = (0..32).rev().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        let digest_of_a_word = hex::encode(Sha256::digest("changeme"));
        let words = hex::encode("this is my very secret root key!");
        for text in [
            &"00".repeat(32),
            &"0123456789abcdef".repeat(4),
            &"00112233445566778899aabbccddeeff".repeat(2),
            &"deadbeef".repeat(8),
            &format!("{}ff", "01".repeat(31)),
            &ascending,
            &descending,
            &digest_of_a_word,
            &words,
            EXAMPLES[0],
        ] {
            assert!(matches!(RootKey::from_text(&text.into()), Err(RootKeyError::Weak)), "{text}");
        }
    }

    #[test]
    fn random_keys_are_keys() {
        for _ in 0..1000 {
            let line = RootKey::generate(&Sources::system()).to_line();
            assert!(RootKey::from_text(&line.as_str().into()).is_ok(), "{}", line.as_str());
        }
    }
}
