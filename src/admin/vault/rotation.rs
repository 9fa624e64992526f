//! Going over to another root key.
//!
//! The order is what makes it safe: the next key is on disk, then the store keeps the present one sealed under it, then
//! the next one takes its place. Whenever the process ends, whichever key is found opens everything.

use std::sync::Arc;

use tokio::{task::spawn_blocking, time::Instant};

use super::{super::AdminError, Custody, Inner, VaultState, record_of};
use crate::{
    domain::record::Place,
    identity::{Acting, ManageVault},
    store::{Change, Changed, Record, StoreError},
    vault::{KeyId, RootKey, RootKeyError, RootKeySource},
};

impl Custody {
    /// Seals under another root key from now on: a new one if the gateway keeps it itself, else what its source gives
    /// now. What is under earlier ones is sealed anew in the background. `seen` is the current key as whoever asks knows it.
    pub async fn rotate(&self, acting: &Acting<ManageVault>, seen: Option<KeyId>) -> Result<VaultState, AdminError> {
        let (custody, proof) = (self.clone(), acting.clone());
        // Between its steps the process may end, but not a rotation alone because nobody waits for its answer.
        let rotated = tokio::spawn(async move { custody.rotated(&proof, seen).await }).await;
        let rotated = rotated.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()).into()));
        match rotated {
            Ok(()) => self.state().await,
            Err(error) => {
                let mut act = acting.act(self.0.sources.now(), "vault.rotate", "vault", "refused");
                act.detail.insert("error".to_owned(), error.to_string());
                self.0.store.audit(vec![act]).await?;
                Err(error)
            }
        }
    }

    async fn rotated(&self, acting: &Acting<ManageVault>, seen: Option<KeyId>) -> Result<(), AdminError> {
        let Inner { store, vault, source, sources, turn, wake, .. } = &*self.0;
        let _turn = turn.lock().await;
        let before = vault.current();
        if seen.is_some_and(|seen| seen != before) {
            return Err(AdminError::Changed("the root key".to_owned()));
        }
        let next = self.next().await?;
        if next.id() == before {
            return Err(AdminError::NotNow(
                "vault.root_key still gives the present root key; put the new one there first, then rotate".to_owned(),
            ));
        }
        let key = record_of(before);
        let replaces = store.records().await?.iter().find(|record| record.key == key).map(|record| record.version);
        let version = sources.now().as_microsecond().max(replaces.map_or(0, |version| version + 1));
        let sealed = vault.hand_over(&next, &Place::Record(key.clone(), version));
        let sealed = sealed.map_err(|error| StoreError::Failed(error.to_string()))?;
        let mut act = acting.act(sources.now(), "vault.rotate", format!("root-key/{before}"), "done");
        act.detail.insert("to".to_owned(), next.id().to_string());
        let puts = vec![(Record { key, version, sealed }, replaces)];
        if let Changed::Conflict(key) = store.change(Change { puts, audit: vec![act], ..Change::default() }).await? {
            return Err(AdminError::Changed(key.to_string()));
        }
        if let RootKeySource::Kept(path) = source {
            let path = path.clone();
            let adopted = spawn_blocking(move || RootKey::adopt_beside(&path)).await;
            if let Err(error) =
                adopted.map_err(|error| error.to_string()).and_then(|it| it.map_err(|it| it.to_string()))
            {
                tracing::error!(%error, "the new root key stays beside the old one; the next start tries to put it in place");
            }
        }
        vault.rotate_to(&next);
        {
            let mut seen = self.seen();
            seen.replaced.insert(before, Instant::now());
            seen.unreadable.clear();
        }
        wake.notify_one();
        tracing::info!(from = %before, to = %next.id(), "another root key; what is under the old one is sealed anew");
        Ok(())
    }

    /// The key to go over to, on disk already.
    async fn next(&self) -> Result<RootKey, AdminError> {
        let Inner { source, sources, vault, .. } = &*self.0;
        let found = match source {
            RootKeySource::Kept(path) => {
                let (path, key, in_use) = (path.clone(), RootKey::generate(sources), vault.current());
                let keep = move || {
                    RootKey::settle_beside(&path, in_use)?;
                    key.keep_beside(&path).map(|()| key)
                };
                spawn_blocking(keep).await
            }
            RootKeySource::Given(given) => match &given.again {
                Some(again) => {
                    let again = Arc::clone(again);
                    spawn_blocking(move || again()).await
                }
                None => {
                    return Err(AdminError::NotNow(
                        "the root key comes from the environment or the configuration, which do not change while the \
                         gateway runs; restart it with the new key as vault.root_key and the present one in \
                         vault.previous_root_keys"
                            .to_owned(),
                    ));
                }
            },
        };
        let found = found.unwrap_or_else(|error| Err(RootKeyError::Unread(error.to_string())));
        found.map_err(|error| AdminError::NotNow(format!("vault.root_key: {error}")))
    }
}
