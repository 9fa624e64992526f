//! The root key: 256 random bits, given by the configuration or kept in a file of the owner alone.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::KEY_ID;
use crate::domain::sources::Sources;

/// The key under which everything is sealed.
#[derive(Clone)]
pub struct RootKey(Zeroizing<[u8; 32]>);

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// Not a key.
    #[error("must be 64 random hexadecimal digits, for example from `openssl rand -hex 32`")]
    Malformed,
    /// Not a random one.
    #[error("is not random; make one with `openssl rand -hex 32`")]
    Weak,
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
        // A random key has more than a few distinct pairs of digits; a placeholder has one or two.
        let mut distinct = bytes.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < 2 { Err(RootKeyError::Weak) } else { Ok(Self(bytes)) }
    }

    /// The key kept in this file, which is made with a new key if it is not there.
    pub fn kept_in(path: &Path, sources: &Sources) -> Result<Self, RootKeyError> {
        let io = |error| RootKeyError::Io { path: path.to_owned(), error };
        match fs::read_to_string(path) {
            Ok(text) => {
                let text = SecretString::from(text);
                if fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
                    return Err(RootKeyError::Exposed(path.to_owned()));
                }
                Self::from_text(&text)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = Self(Zeroizing::new(sources.random()));
                key.keep_in(path).map_err(io)?;
                Ok(key)
            }
            Err(error) => Err(io(error)),
        }
    }

    /// On disk under another name before it takes its own, so that no half of a key is ever found.
    fn keep_in(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let text = Zeroizing::new(format!("{}\n", hex::encode(*self.0)));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// For digests that nobody can make without the key. Under a key of their own, made from this one.
    pub(super) fn digest(&self) -> Hmac<Sha256> {
        // A block is 64 bytes, so that a key fits as it is.
        let with = |key: &[u8; 32]| {
            let mut block = Zeroizing::new([0; 64]);
            block[..32].copy_from_slice(key);
            Hmac::<Sha256>::new(&(*block).into())
        };
        let derived =
            Zeroizing::new(with(&self.0).chain_update(b"pilotgate digest key").finalize().into_bytes().into());
        with(&derived)
    }

    /// Names the key without telling anything about it.
    pub(super) fn id(&self) -> [u8; KEY_ID] {
        let digest = Sha256::new().chain_update(b"pilotgate root key id").chain_update(*self.0).finalize();
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest[..KEY_ID]);
        id
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_other_texts_are_no_keys() {
        for text in ["", "secret", &"zz".repeat(32), &"00".repeat(31)] {
            assert!(matches!(RootKey::from_text(&text.into()), Err(RootKeyError::Malformed)), "{text}");
        }
        assert!(matches!(RootKey::from_text(&"00".repeat(32).into()), Err(RootKeyError::Weak)));
    }

    #[test]
    fn a_kept_key_is_found_again_and_its_owner_s_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root.key");
        let made = RootKey::kept_in(&path, &Sources::system()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(RootKey::kept_in(&path, &Sources::system()).unwrap().id(), made.id());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(RootKey::kept_in(&path, &Sources::system()), Err(RootKeyError::Exposed(_))));
    }
}
