//! The root key that nobody has given: made here, and kept in a file of the owner alone.
//!
//! A new one is first written beside the present one. It takes its place once the store says, under the new one, what the
//! present one is; until then the file beside it means nothing.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::{KeyId, RootKey, RootKeyError};
use crate::domain::sources::Sources;

impl RootKey {
    /// The key kept in this file, which is made with a new key if it is not there.
    pub fn kept_in(path: &Path, sources: &Sources) -> Result<Self, RootKeyError> {
        if let Some(key) = read(path)? {
            return Ok(key);
        }
        let key = Self::generate(sources);
        key.keep_in(path).map_err(|error| RootKeyError::Io { path: path.to_owned(), error })?;
        Ok(key)
    }

    /// The key that was to take the place of the one kept in this file.
    pub fn kept_beside(path: &Path) -> Result<Option<Self>, RootKeyError> {
        read(&beside(path))
    }

    /// Puts the key in use into its place in this file, if it is still beside. Nothing may be kept beside before that: what
    /// is sealed under the key in use would be lost with it.
    pub fn settle_beside(path: &Path, in_use: KeyId) -> Result<(), RootKeyError> {
        match Self::kept_beside(path)? {
            Some(key) if key.id() == in_use => Self::adopt_beside(path),
            Some(_) | None => Ok(()),
        }
    }

    /// Keeps it beside the one kept in this file.
    pub fn keep_beside(&self, path: &Path) -> Result<(), RootKeyError> {
        let path = beside(path);
        self.keep_in(&path).map_err(|error| RootKeyError::Io { path, error })
    }

    /// Lets the key that is kept beside take the place of the one kept in this file.
    pub fn adopt_beside(path: &Path) -> Result<(), RootKeyError> {
        let adopted = fs::rename(beside(path), path).and_then(|()| sync_parent(path));
        adopted.map_err(|error| RootKeyError::Io { path: path.to_owned(), error })
    }

    /// On disk under another name before it takes its own, so that no half of a key is ever found.
    fn keep_in(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(self.to_line().as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_parent(path)
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

fn read(path: &Path) -> Result<Option<RootKey>, RootKeyError> {
    let io = |error| RootKeyError::Io { path: path.to_owned(), error };
    let text = match fs::read_to_string(path) {
        Ok(text) => SecretString::from(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if fs::metadata(path).map_err(io)?.permissions().mode() & 0o077 != 0 {
        return Err(RootKeyError::Exposed(path.to_owned()));
    }
    RootKey::from_text(&text).map(Some)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_key_beside_takes_the_place() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("root.key");
        let sources = Sources::system();
        let (before, after) = (RootKey::kept_in(&path, &sources).unwrap(), RootKey::generate(&sources));
        assert!(RootKey::kept_beside(&path).unwrap().is_none());
        after.keep_beside(&path).unwrap();
        assert_eq!(RootKey::kept_in(&path, &sources).unwrap().id(), before.id());
        assert_eq!(RootKey::kept_beside(&path).unwrap().unwrap().id(), after.id());
        RootKey::adopt_beside(&path).unwrap();
        assert_eq!(RootKey::kept_in(&path, &sources).unwrap().id(), after.id());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
