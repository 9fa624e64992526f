//! The account-wide key, as it is stored.

use secrecy::SecretString;

use super::Admin;
use crate::{
    admin::{AdminError, Etag},
    domain::{
        record::{RecordKey, RecordKind},
        secret::TenantKey,
    },
    identity::{Acting, ManageNumbers},
    store::{Change, Record},
};

/// There is one account.
const NAME: &str = "account";

impl Admin {
    /// Stores the account-wide key, or forgets the stored one; then that of the configuration counts, if there is one. Tells
    /// the etag of what is stored.
    pub async fn set_tenant_key(
        &self,
        acting: &Acting<ManageNumbers>,
        key: Option<TenantKey>,
        etag: Option<Etag>,
    ) -> Result<Option<Etag>, AdminError> {
        let (admin, acting_too) = (self.clone(), acting.clone());
        let whole = async move { admin.put_tenant_key(&acting_too, key, etag).await };
        self.complete(acting, "tenant_key.set", place().to_string(), whole).await
    }

    async fn put_tenant_key(
        &self,
        acting: &Acting<ManageNumbers>,
        key: Option<TenantKey>,
        etag: Option<Etag>,
    ) -> Result<Option<Etag>, AdminError> {
        let mut version = self.beside.tenant_version.lock().await;
        if etag.is_some_and(|Etag(seen)| Some(seen) != *version) {
            return Err(AdminError::Changed(place().to_string()));
        }
        let mut act = acting.act(self.sources.now(), "tenant_key.set", place().to_string(), "done");
        let mut change = Change::default();
        let stored = match (&key, *version) {
            (Some(key), before) => {
                let (record, replaces) = self.records.sealed(place(), before, key.as_key().expose().as_bytes())?;
                let stored = record.version;
                act.detail.insert("key".to_owned(), if before.is_some() { "replaced" } else { "stored" }.to_owned());
                change.puts.push((record, replaces));
                Some(stored)
            }
            (None, Some(before)) => {
                act.detail.insert("key".to_owned(), "forgotten".to_owned());
                change.removals.push((place(), before));
                None
            }
            (None, None) => return Ok(None),
        };
        change.audit.push(act);
        self.records.change(change).await?;
        self.keys.set_tenant_key(key.or_else(|| self.beside.declared_tenant_key.clone()));
        *version = stored;
        Ok(stored.map(Etag))
    }

    /// One that cannot be read is as good as none, and can be replaced.
    pub(super) async fn load_tenant_key(&self, record: &Record) {
        *self.beside.tenant_version.lock().await = Some(record.version);
        let opened = self.records.opened(record).map_err(|error| error.to_string());
        let key = opened.and_then(|bytes| {
            let text = std::str::from_utf8(&bytes).map_err(|_| "it is no text".to_owned())?;
            TenantKey::from_secret(SecretString::from(text)).map_err(|error| error.to_string())
        });
        match key {
            Ok(key) => self.keys.set_tenant_key(Some(key)),
            Err(error) => tracing::error!(%error, "the stored account-wide key cannot be read; set it again"),
        }
    }
}

fn place() -> RecordKey {
    RecordKey::of(RecordKind::TenantKey, NAME)
}
