//! Sealing anew, in small steps, what is under earlier root keys, and letting go of those that nothing needs.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{super::AdminError, Custody, Inner, place, record_of};
use crate::{
    domain::record::RecordKind,
    identity::{Acting, ManageVault},
    store::{Change, Resealed},
    vault::KeyId,
};

/// Places sealed anew in one step; others that write come in between two.
const STEP: usize = 256;

/// How often is looked again while there are earlier keys: what was being written under one comes late.
const AGAIN: Duration = Duration::from_secs(60);

/// After a failure of the store.
const RETRY: Duration = Duration::from_secs(5);

/// There is nothing to do until somebody says so.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// How long a key is kept after it was replaced, though nothing is under it: bodies that were sealed under it just before
/// may be on their way to the store. It is known for as long after the start, for bodies that were read before they were
/// sealed anew and wait for their turn. Longer than any lease and any wait for the store.
const KEEP: Duration = Duration::from_secs(600);

/// What a step came to.
enum Step {
    More,
    Done,
}

impl Custody {
    /// Seals anew until draining.
    pub async fn run_resealing(self, draining: CancellationToken) {
        loop {
            let wait = match self.step().await {
                Ok(Step::More) => Duration::ZERO,
                Ok(Step::Done) if self.0.vault.earlier().is_empty() => NEVER,
                Ok(Step::Done) => AGAIN,
                Err(error) => {
                    tracing::warn!(%error, "sealing anew under the present root key did not go on");
                    RETRY
                }
            };
            tokio::select! {
                biased;
                () = draining.cancelled() => return,
                () = self.0.wake.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    async fn step(&self) -> Result<Step, AdminError> {
        let Inner { store, vault, .. } = &*self.0;
        for id in vault.earlier() {
            let given_up = self.seen().unreadable.len();
            let found = store.sealed_under(id.0, STEP + given_up).await?;
            let mut resealed = Vec::with_capacity(found.len());
            for (place, before) in found {
                if self.seen().unreadable.contains_key(&place) {
                    continue;
                }
                match vault.reseal(&place, &before) {
                    Ok(after) => resealed.push(Resealed { place, before, after }),
                    Err(error) => {
                        tracing::error!(%place, %error, "what is stored there cannot be read");
                        self.seen().unreadable.insert(place, id);
                    }
                }
            }
            if !resealed.is_empty() {
                store.reseal(resealed).await?;
                return Ok(Step::More);
            }
        }
        self.retire().await?;
        Ok(Step::Done)
    }

    /// Lets go of earlier keys that nothing is sealed under.
    async fn retire(&self) -> Result<(), AdminError> {
        let Inner { store, vault, sources, turn, .. } = &*self.0;
        let _turn = turn.lock().await;
        let used: Vec<_> = store.seal_counts().await?.iter().map(|count| KeyId(count.key_id)).collect();
        let records = store.records().await?;
        let readable = records.iter().filter(|record| {
            record.key.kind == RecordKind::RootKey && vault.unseal(&place(record), &record.sealed).is_ok()
        });
        let fresh = |since: Option<Instant>| since.is_some_and(|since| Instant::now().duration_since(since) < KEEP);
        let replaced = |id: KeyId| self.seen().replaced.get(&id).copied();
        // What was sealed before this process began is on disk or nowhere.
        let unneeded: Vec<_> =
            vault.earlier().into_iter().filter(|id| !used.contains(id) && !fresh(replaced(*id))).collect();
        // One that came back into use needs no record either.
        let without_use: Vec<_> = unneeded.iter().copied().chain([vault.current()]).map(record_of).collect();
        let removals: Vec<_> = readable
            .filter(|record| without_use.contains(&record.key))
            .map(|record| (record.key.clone(), record.version))
            .collect();
        if !removals.is_empty() {
            let acting = Acting::<ManageVault>::of_the_gateway("nothing is sealed under it any more");
            let act = |key: &str| acting.act(sources.now(), "vault.retire", format!("root-key/{key}"), "done");
            let audit = removals.iter().map(|(key, _)| act(&key.name)).collect();
            // A conflict is looked at again later.
            store.change(Change { removals, audit, ..Change::default() }).await?;
        }
        let opened = self.seen().opened;
        for id in unneeded.into_iter().filter(|id| !fresh(replaced(*id).or(Some(opened)))) {
            vault.forget(id);
        }
        Ok(())
    }
}
