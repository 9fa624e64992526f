//! At the start: which keys are known, and whether they are the right ones.

use std::{path::Path, sync::Arc};

use super::{Custody, Inner, Seen, place, record_of};
use crate::{
    domain::{
        record::{Place, RecordKey, RecordKind},
        sources::Sources,
    },
    identity::{Acting, ManageVault},
    store::{Change, Changed, Record, Store, StoreError},
    vault::{KeyId, Options, RootKey, RootKeyError, RootKeySource, SealError, Vault},
};

/// Where a root key is kept that nobody has given, inside the data directory.
const ROOT_KEY_FILE: &str = "root.key";

/// Why the vault does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenVaultError {
    /// There is no root key.
    #[error("vault.root_key: {0}")]
    RootKey(#[from] RootKeyError),
    /// Nothing in the store is sealed under a key that is known.
    #[error(
        "the root key does not open what the store is sealed under: the key given is {given}, the store is sealed under \
         {}; start with that one (vault.root_key, by default the file {file} in the data directory), or name it in \
         vault.previous_root_keys to go over to the one given", list(found), file = ROOT_KEY_FILE
    )]
    WrongKey {
        /// Names the key given.
        given: KeyId,
        /// Names the keys that would open something.
        found: Vec<KeyId>,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

fn list(ids: &[KeyId]) -> String {
    let ids: Vec<_> = ids.iter().map(KeyId::to_string).collect();
    ids.join(", ")
}

impl Custody {
    /// Opens the vault over what is in the store. The root key is made, and kept in this directory, if none is given.
    pub async fn open(
        store: Arc<dyn Store>,
        options: Options,
        directory: &Path,
        sources: Sources,
    ) -> Result<Self, OpenVaultError> {
        let records = store.records().await?;
        let source = match options.given {
            Some(given) => RootKeySource::Given(given),
            None => RootKeySource::Kept(directory.join(ROOT_KEY_FILE)),
        };
        let vault = Vault::open(&present(&source, &records, &sources)?, sources.clone());
        for key in &options.previous {
            vault.add_earlier(key);
        }
        learn(&vault, &records);
        let found: Vec<_> = store.seal_counts().await?.iter().map(|count| KeyId(count.key_id)).collect();
        if !found.is_empty() && !found.iter().any(|id| vault.knows(*id)) {
            return Err(OpenVaultError::WrongKey { given: vault.current(), found });
        }
        for unknown in found.iter().filter(|id| !vault.knows(**id)) {
            tracing::error!(root_key = %unknown, "something is sealed under a root key that is not known; name it in \
                vault.previous_root_keys, and see `pilotgate vault status`");
        }
        let vault = with_digest_key(&*store, vault, &records, &sources).await?;
        keep_earlier(&*store, &vault, &records, &found, &sources).await?;
        let turn = tokio::sync::Mutex::new(());
        let (wake, seen) = (tokio::sync::Notify::new(), std::sync::Mutex::new(Seen::begun()));
        Ok(Self(Arc::new(Inner { store, vault, source, sources, turn, wake, seen })))
    }
}

/// The present key. If the one kept was to be replaced when the process ended, the store tells whether that had begun.
fn present(source: &RootKeySource, records: &[Record], sources: &Sources) -> Result<RootKey, RootKeyError> {
    let key = source.first(sources)?;
    let RootKeySource::Kept(path) = source else { return Ok(key) };
    let Some(next) = RootKey::kept_beside(path)? else { return Ok(key) };
    // At first that is the present one; it may have gone since, when nothing needed it any more.
    let under_next = Vault::open(&next, sources.clone());
    let handed_over = records.iter().any(|record| under_next.unseal(&place(record), &record.sealed).is_ok());
    if !handed_over {
        return Ok(key);
    }
    RootKey::adopt_beside(path)?;
    Ok(next)
}

/// Makes earlier keys known that a known one opens, until there are no more.
fn learn(vault: &Vault, records: &[Record]) {
    loop {
        let before = vault.earlier().len();
        for record in records.iter().filter(|record| record.key.kind == RecordKind::RootKey) {
            if let Ok(key) = vault.unseal_root_key(&place(record), &record.sealed) {
                vault.add_earlier(&key);
            }
        }
        if vault.earlier().len() == before {
            return;
        }
    }
}

/// The vault with the digest key of the store, which is made if there is none.
async fn with_digest_key(
    store: &dyn Store,
    vault: Vault,
    records: &[Record],
    sources: &Sources,
) -> Result<Vault, OpenVaultError> {
    let key = RecordKey::of(RecordKind::DigestKey, "digest");
    let Some(record) = records.iter().find(|record| record.key == key) else {
        let version = sources.now().as_microsecond();
        let sealed = vault.seal_first_digest_key(&Place::Record(key.clone(), version))?;
        let puts = vec![(Record { key, version, sealed }, None)];
        made(store.change(Change { puts, ..Change::default() }).await?)?;
        return Ok(vault);
    };
    let opened = vault.unseal(&place(record), &record.sealed);
    if let Some(vault) = opened.as_ref().ok().and_then(|key| vault.with_digest_key(key)) {
        return Ok(vault);
    }
    tracing::error!(
        "the digest key cannot be read; messages in doubt from before are not recognised in webhooks, and \
        checkpoints of the audit log are taken for wrong. Restore the record from a backup"
    );
    Ok(vault)
}

/// Keeps earlier keys that the configuration names and that something is sealed under, so that it need not name them again.
async fn keep_earlier(
    store: &dyn Store,
    vault: &Vault,
    records: &[Record],
    found: &[KeyId],
    sources: &Sources,
) -> Result<(), OpenVaultError> {
    let mut change = Change::default();
    for id in vault.earlier().into_iter().filter(|id| found.contains(id)) {
        let kept = records.iter().find(|record| record.key == record_of(id));
        if kept.is_some_and(|record| vault.unseal(&place(record), &record.sealed).is_ok()) {
            continue;
        }
        let replaces = kept.map(|record| record.version);
        let version = sources.now().as_microsecond().max(replaces.map_or(0, |version| version + 1));
        let key = record_of(id);
        let Some(sealed) = vault.seal_root_key(id, &Place::Record(key.clone(), version)) else { continue };
        change.puts.push((Record { key, version, sealed: sealed? }, replaces));
        let acting = Acting::<ManageVault>::of_the_gateway("started with another root key");
        let mut act = acting.act(sources.now(), "vault.rotate", format!("root-key/{id}"), "done");
        act.detail.insert("to".to_owned(), vault.current().to_string());
        change.audit.push(act);
    }
    if change.puts.is_empty() { Ok(()) } else { made(store.change(change).await?) }
}

fn made(changed: Changed) -> Result<(), OpenVaultError> {
    match changed {
        Changed::Done => Ok(()),
        Changed::Conflict(key) => Err(StoreError::Failed(format!("{key} was changed meanwhile")).into()),
    }
}
