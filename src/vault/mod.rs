//! Sealing at rest: what is stored and must not be readable is sealed here under the root key.
//!
//! Owns the root key and the format of sealed bytes; stores nothing. Sealed bytes are bound to the place they were made
//! for, so that they cannot be moved to another one, and name the key they were made under. Called by `messaging` and
//! `tracking`.

mod attest;
mod root_key;

use std::{fmt, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

pub use self::root_key::{RootKey, RootKeyError};
pub use crate::domain::record::Place;
use crate::domain::{
    ids::NumberName,
    secret::{Likeness, Sealed},
    sources::Sources,
};

/// First byte of sealed bytes. What follows: eight bytes that name the key, the nonce, the ciphertext with its tag.
const FORMAT: u8 = 1;
const KEY_ID: usize = 8;
const NONCE: usize = 24;
const HEAD: usize = 1 + KEY_ID + NONCE;

/// Seals and opens.
#[derive(Clone)]
pub struct Vault {
    cipher: Arc<XChaCha20Poly1305>,
    /// Under a key derived from the root key.
    digest: Hmac<Sha256>,
    key_id: [u8; KEY_ID],
    sources: Sources,
}

/// Why sealed bytes were not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// They name another root key.
    #[error("sealed under another root key")]
    OtherKey,
    /// They were changed, moved here from another place, or never sealed.
    #[error("sealed bytes are damaged or stand in the wrong place")]
    Damaged,
}

/// The bytes could not be sealed: they are longer than the cipher takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too long to be sealed")]
pub struct SealError;

impl Vault {
    /// Under this root key.
    pub fn open(key: &RootKey, sources: Sources) -> Self {
        Self {
            cipher: Arc::new(XChaCha20Poly1305::new(key.bytes().into())),
            digest: key.digest(),
            key_id: key.id(),
            sources,
        }
    }

    /// What stands for this text to this recipient from this number. Phones may be written with and without the plus.
    pub fn likeness(&self, number: &NumberName, recipient: &str, text: &str) -> Likeness {
        let mut digest = self.digest.clone();
        let recipient = recipient.strip_prefix('+').unwrap_or(recipient);
        for part in [number.as_str(), recipient, text] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        let whole: [u8; 32] = digest.finalize().into_bytes().into();
        let mut short = [0; 16];
        short.copy_from_slice(&whole[..16]);
        Likeness::from_bytes(short)
    }

    /// Seals bytes for a place.
    pub fn seal(&self, place: &Place, bytes: &[u8]) -> Result<Sealed, SealError> {
        let nonce: [u8; NONCE] = self.sources.random();
        let payload = Payload { msg: bytes, aad: &place.to_bytes() };
        let ciphertext = self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(HEAD + ciphertext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.key_id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(Sealed::from_bytes(sealed))
    }

    /// Opens bytes that were sealed for this place.
    pub fn unseal(&self, place: &Place, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (head, ciphertext) = sealed.as_bytes().split_at_checked(HEAD).ok_or(UnsealError::Damaged)?;
        let (format, head) = head.split_at(1);
        let (key_id, nonce) = head.split_at(KEY_ID);
        if format != [FORMAT] {
            return Err(UnsealError::Damaged);
        }
        if key_id != self.key_id {
            return Err(UnsealError::OtherKey);
        }
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| UnsealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: &place.to_bytes() };
        let bytes = self.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| UnsealError::Damaged)?;
        Ok(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MessageId;

    fn vault(byte: u8) -> Vault {
        let mut text = format!("{byte:02x}").repeat(31);
        text.push_str("ff");
        Vault::open(&RootKey::from_text(&text.into()).unwrap(), Sources::system())
    }

    fn place(n: u128) -> Place {
        Place::Outbox(MessageId::from_uuid(uuid::Uuid::from_u128(n)))
    }

    #[test]
    fn only_the_same_key_and_place_open_it() {
        let sealed = vault(1).seal(&place(1), b"a body").unwrap();
        assert_eq!(vault(1).unseal(&place(1), &sealed).unwrap().as_slice(), b"a body");
        assert_eq!(vault(1).unseal(&place(2), &sealed), Err(UnsealError::Damaged));
        assert_eq!(vault(2).unseal(&place(1), &sealed), Err(UnsealError::OtherKey));
        assert!(!sealed.as_bytes().windows(6).any(|window| window == b"a body"));
        assert_ne!(vault(1).seal(&place(1), b"a body").unwrap(), sealed, "never twice the same");
    }

    #[test]
    fn no_byte_can_be_changed_or_cut() {
        let sealed = vault(1).seal(&place(1), b"a body").unwrap();
        for index in 0..sealed.as_bytes().len() {
            let mut changed = sealed.as_bytes().to_vec();
            changed[index] ^= 1;
            assert!(vault(1).unseal(&place(1), &Sealed::from_bytes(changed)).is_err(), "byte {index}");
            let cut = Sealed::from_bytes(sealed.as_bytes()[..index].to_vec());
            assert!(vault(1).unseal(&place(1), &cut).is_err(), "cut at {index}");
        }
    }
}
