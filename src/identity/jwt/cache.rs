//! Tokens whose signature has been checked, so that it is not checked for each call. By their hashes: no token is kept.

use std::{
    collections::HashMap,
    mem,
    sync::{Mutex, PoisonError},
};

use super::Verified;
use crate::domain::secret::TokenHash;

/// Tokens in each half. When the newer half is full, the older one goes.
const HALF: usize = 4096;

/// The tokens, by which key set of which issuer they were checked.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Halves>);

type Entry = (usize, [u8; 32], Verified);

#[derive(Debug, Default)]
struct Halves {
    newer: HashMap<TokenHash, Entry>,
    older: HashMap<TokenHash, Entry>,
}

impl Cache {
    /// What the token said, if the keys by which it was checked are those of today.
    pub(super) fn get(&self, hash: &TokenHash, is_current: impl Fn(usize, [u8; 32]) -> bool) -> Option<Verified> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match halves.newer.get(hash) {
            Some(entry) => entry.clone(),
            None => {
                let entry = halves.older.remove(hash)?;
                halves.put(*hash, entry.clone());
                entry
            }
        };
        let (issuer, version, verified) = entry;
        is_current(issuer, version).then_some(verified)
    }

    pub(super) fn put(&self, hash: TokenHash, issuer: usize, version: [u8; 32], verified: Verified) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(hash, (issuer, version, verified));
    }
}

impl Halves {
    fn put(&mut self, hash: TokenHash, entry: Entry) {
        if self.newer.len() >= HALF {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(hash, entry);
    }
}
