//! Signed texts: places that a caller keeps for the gateway and hands back, and the filter that each belongs to.
//!
//! Whoever holds such a text can read it and cannot make or change one. What the bytes mean is up to the rooms that sign
//! them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const SIGNATURE: usize = 16;

/// Signs one kind of text.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    /// The key for texts of one kind. No label with the bytes behind it may begin as another one does, so that a text of
    /// one kind is never taken for another.
    pub fn of(key: &[u8; 32], label: &[u8]) -> Self {
        // A block is 64 bytes, so that the key fits as it is.
        let mut block = [0; 64];
        block[..32].copy_from_slice(key);
        Self(Hmac::new(&block.into()).chain_update(label))
    }

    /// The text that stands for these bytes.
    pub fn sign(&self, bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode([bytes, &self.signature(bytes)[..]].concat())
    }

    /// The bytes of a text that was signed with this key. All texts of a kind have the same length.
    pub fn open<const N: usize>(&self, text: &str) -> Option<[u8; N]> {
        let signed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (bytes, signature) = signed.split_first_chunk()?;
        bool::from(self.signature(bytes).ct_eq(signature)).then_some(*bytes)
    }

    fn signature(&self, bytes: &[u8]) -> [u8; SIGNATURE] {
        let full = self.0.clone().chain_update(bytes).finalize().into_bytes();
        let mut short = [0; SIGNATURE];
        short.copy_from_slice(&full[..SIGNATURE]);
        short
    }
}

/// Stands for a filter and its caller inside a signed text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// Of these parts in this order, each with its kind.
    pub fn of<'a>(parts: impl IntoIterator<Item = (u8, &'a [u8])>) -> Self {
        let mut digest = Sha256::new();
        for (kind, bytes) in parts {
            digest.update([kind]);
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        }
        let mut short = [0; 8];
        short.copy_from_slice(&digest.finalize()[..8]);
        Self(short)
    }
}
