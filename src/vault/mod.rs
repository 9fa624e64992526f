//! Sealing at rest: what is stored and must not be readable is sealed here under the root key.
//!
//! Owns the root keys and the format of sealed bytes; stores nothing. Sealed bytes are bound to the place they were made
//! for, so that they cannot be moved to another one, and name the key they were made under. Everything is sealed under
//! the current key; what was sealed under an earlier one is opened for as long as that one is known. Clones share the keys.
//! Called by `admin`, `messaging` and `tracking`.

mod attest;
mod kept;
mod root_key;
mod source;

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use self::root_key::KEY_ID;
pub use self::{
    root_key::{KeyId, RootKey, RootKeyError},
    source::{Given, Options, ReadAgain, RootKeySource},
};
pub use crate::domain::record::Place;
use crate::domain::{
    ids::NumberName,
    secret::{Likeness, Sealed},
    sources::Sources,
};

/// First byte of sealed bytes. What follows: eight bytes that name the key, the nonce, the ciphertext with its tag.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const HEAD: usize = 1 + KEY_ID + NONCE;

/// Seals and opens.
#[derive(Clone)]
pub struct Vault {
    keys: Arc<ArcSwap<Keys>>,
    /// Under the digest key, which outlives every root key.
    digest: Hmac<Sha256>,
    sources: Sources,
}

/// The root keys that are known.
#[derive(Clone)]
struct Keys {
    current: Arc<Sealer>,
    earlier: Vec<Arc<Sealer>>,
}

/// A root key at work.
struct Sealer {
    id: KeyId,
    key: RootKey,
    cipher: XChaCha20Poly1305,
}

/// Why sealed bytes were not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// They name a root key that is not known.
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

impl Sealer {
    fn of(key: &RootKey) -> Arc<Self> {
        Arc::new(Self { id: key.id(), key: key.clone(), cipher: XChaCha20Poly1305::new(key.bytes().into()) })
    }
}

impl Keys {
    fn with_id(&self, id: KeyId) -> Option<&Arc<Sealer>> {
        std::iter::once(&self.current).chain(&self.earlier).find(|sealer| sealer.id == id)
    }
}

impl Vault {
    /// Under this root key alone, with the digest key that a new store gets from it.
    pub fn open(key: &RootKey, sources: Sources) -> Self {
        let keys = Keys { current: Sealer::of(key), earlier: Vec::new() };
        Self { keys: Arc::new(ArcSwap::from_pointee(keys)), digest: root_key::hmac(&key.digest_key()), sources }
    }

    /// The same keys, with a digest key of its own; `None` if that is none.
    pub fn with_digest_key(&self, key: &[u8]) -> Option<Self> {
        let key = Zeroizing::new(<[u8; 32]>::try_from(key).ok()?);
        Some(Self { digest: root_key::hmac(&key), ..self.clone() })
    }

    /// The digest key of a store that has none yet, sealed for this place.
    pub fn seal_first_digest_key(&self, place: &Place) -> Result<Sealed, SealError> {
        self.seal(place, &*self.keys.load().current.key.digest_key())
    }

    /// The key that is sealed under.
    pub fn current(&self) -> KeyId {
        self.keys.load().current.id
    }

    /// The earlier keys that are known.
    pub fn earlier(&self) -> Vec<KeyId> {
        self.keys.load().earlier.iter().map(|sealer| sealer.id).collect()
    }

    /// Whether what names this key can be opened.
    pub fn knows(&self, id: KeyId) -> bool {
        self.keys.load().with_id(id).is_some()
    }

    /// Makes an earlier key known.
    pub fn add_earlier(&self, key: &RootKey) {
        self.keys.rcu(|keys| {
            let mut keys = Keys::clone(keys);
            if keys.with_id(key.id()).is_none() {
                keys.earlier.push(Sealer::of(key));
            }
            keys
        });
    }

    /// Seals under this key from now on. The one before stays known.
    pub fn rotate_to(&self, key: &RootKey) {
        self.keys.rcu(|keys| {
            let mut earlier = keys.earlier.clone();
            earlier.push(Arc::clone(&keys.current));
            earlier.retain(|sealer| sealer.id != key.id());
            Keys { current: Sealer::of(key), earlier }
        });
    }

    /// Forgets an earlier key. What is sealed under it is lost.
    pub fn forget(&self, id: KeyId) {
        self.keys.rcu(|keys| {
            let mut keys = Keys::clone(keys);
            keys.earlier.retain(|sealer| sealer.id != id);
            keys
        });
    }

    /// A known root key itself, sealed for this place under the current one.
    pub fn seal_root_key(&self, id: KeyId, place: &Place) -> Option<Result<Sealed, SealError>> {
        let keys = self.keys.load();
        keys.with_id(id).map(|sealer| self.seal(place, sealer.key.bytes()))
    }

    /// The current key itself, sealed for this place under the one that is to follow it.
    pub fn hand_over(&self, next: &RootKey, place: &Place) -> Result<Sealed, SealError> {
        Self::open(next, self.sources.clone()).seal(place, self.keys.load().current.key.bytes())
    }

    /// A root key that stands sealed at this place.
    pub fn unseal_root_key(&self, place: &Place, sealed: &Sealed) -> Result<RootKey, UnsealError> {
        RootKey::from_slice(&self.unseal(place, sealed)?).ok_or(UnsealError::Damaged)
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
        let sealer = Arc::clone(&self.keys.load().current);
        let nonce: [u8; NONCE] = self.sources.random();
        let payload = Payload { msg: bytes, aad: &place.to_bytes() };
        let ciphertext = sealer.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(HEAD + ciphertext.len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&sealer.id.0);
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
        let keys = self.keys.load();
        let key_id = <[u8; KEY_ID]>::try_from(key_id).map_err(|_| UnsealError::Damaged)?;
        let sealer = keys.with_id(KeyId(key_id)).ok_or(UnsealError::OtherKey)?;
        let nonce = <[u8; NONCE]>::try_from(nonce).map_err(|_| UnsealError::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: &place.to_bytes() };
        let bytes = sealer.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| UnsealError::Damaged)?;
        Ok(Zeroizing::new(bytes))
    }

    /// The same bytes under the current key.
    pub fn reseal(&self, place: &Place, sealed: &Sealed) -> Result<Sealed, UnsealError> {
        let bytes = self.unseal(place, sealed)?;
        // What was sealed once is short enough.
        self.seal(place, &bytes).map_err(|_| UnsealError::Damaged)
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

    fn key(byte: u8) -> RootKey {
        RootKey::from_slice(&[byte; 32]).unwrap()
    }

    fn vault(byte: u8) -> Vault {
        Vault::open(&key(byte), Sources::system())
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

    #[test]
    fn keys_change_under_every_clone_and_earlier_ones_open_until_forgotten() {
        let vault = vault(1);
        let clone = vault.clone();
        let before = clone.seal(&place(1), b"a body").unwrap();
        let number = "main".to_owned().try_into().unwrap();
        let likeness = |vault: &Vault| *vault.likeness(&number, "+1", "x").as_bytes();
        let alike = likeness(&vault);
        vault.rotate_to(&key(2));
        assert_eq!((clone.current(), clone.earlier()), (key(2).id(), vec![key(1).id()]));
        assert_eq!(likeness(&clone), alike, "the digest key stays");
        assert_eq!(clone.unseal(&place(1), &before).unwrap().as_slice(), b"a body");
        let after = clone.reseal(&place(1), &before).unwrap();
        assert_eq!(super::tests::vault(2).unseal(&place(1), &after).unwrap().as_slice(), b"a body");
        vault.forget(key(1).id());
        assert_eq!(clone.unseal(&place(1), &before), Err(UnsealError::OtherKey));
        assert_eq!(clone.unseal(&place(1), &after).unwrap().as_slice(), b"a body");
        vault.add_earlier(&key(1));
        assert!(clone.unseal(&place(1), &before).is_ok());
        vault.rotate_to(&key(1));
        assert_eq!((clone.current(), clone.earlier()), (key(1).id(), vec![key(2).id()]), "and back");
    }

    #[test]
    fn a_root_key_is_handed_on_under_the_current_one() {
        let vault = vault(1);
        vault.rotate_to(&key(2));
        let sealed = vault.seal_root_key(key(1).id(), &place(1)).unwrap().unwrap();
        let found = super::tests::vault(2).unseal_root_key(&place(1), &sealed).unwrap();
        assert_eq!(found.id(), key(1).id());
        assert!(vault.seal_root_key(key(3).id(), &place(1)).is_none());
    }

    #[test]
    fn the_digest_key_of_a_store_is_what_its_first_root_key_gave() {
        let sealed = vault(1).seal_first_digest_key(&place(1)).unwrap();
        let digest = vault(1).unseal(&place(1), &sealed).unwrap();
        let later = vault(2).with_digest_key(&digest).unwrap();
        let number = "main".to_owned().try_into().unwrap();
        let likeness = |vault: &Vault| *vault.likeness(&number, "+1", "x").as_bytes();
        assert_eq!(likeness(&later), likeness(&vault(1)));
        assert_ne!(likeness(&later), likeness(&vault(2)));
    }
}
