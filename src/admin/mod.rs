//! What the platform team does: numbers and their keys, callers and their rights, the audit log, the root key.
//!
//! Every use case takes an [`crate::identity::Acting`], the proof of a right, and what it changes is committed together with
//! its entry in the audit log before anybody sees it. Records are sealed whole; only this room and the vault read them.
//! Called by `api`, and run by `server`.

mod audit;
mod callers;
pub mod numbers;
mod records;
mod rotation;
pub mod vault;

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;
use url::Url;

pub use self::{
    audit::{AuditPage, Verified},
    callers::{CallerUpdate, Issued, Listed},
    records::{AdminError, Etag, Records},
};
use crate::{
    domain::sources::Sources,
    identity::{Acting, Duty, Identity},
    keys::KeyRing,
    store::Store,
    upstream::Upstream,
    vault::Vault,
};

/// What the use cases work with. Clones are the same.
#[derive(Clone)]
pub struct Admin {
    /// The sealed records.
    pub(crate) records: Records,
    /// Where they are kept, with the audit log.
    pub(crate) store: Arc<dyn Store>,
    /// The numbers as they stand.
    pub(crate) keys: Arc<KeyRing>,
    /// The callers as they stand.
    pub(crate) identity: Arc<Identity>,
    /// What makes statements of the audit log.
    pub(crate) vault: Vault,
    /// Where numbers and keys are managed.
    pub(crate) upstream: Upstream,
    /// Time and chance.
    pub(crate) sources: Sources,
    /// The callers that cannot be read. Who holds it changes callers.
    pub(crate) callers: Arc<Mutex<callers::Unreadable>>,
    /// What is known of numbers besides the ring.
    beside: numbers::Beside,
    /// New keys that are not on disk yet.
    unsaved: rotation::Unsaved,
    /// What has to come to its end even if nobody waits for it.
    pub(crate) tasks: TaskTracker,
}

impl Admin {
    /// Puts the parts together. The account-wide key in the ring is that of the configuration; webhooks are registered below
    /// `public_url`, if there is one.
    pub fn new(
        store: Arc<dyn Store>,
        vault: Vault,
        keys: Arc<KeyRing>,
        identity: Arc<Identity>,
        upstream: Upstream,
        public_url: Option<Url>,
        sources: Sources,
    ) -> Self {
        let beside = numbers::Beside::new(public_url, keys.tenant_key());
        let records = Records::new(Arc::clone(&store), vault.clone(), sources.clone());
        Self {
            records,
            store,
            keys,
            identity,
            vault,
            upstream,
            sources,
            callers: Arc::default(),
            beside,
            unsaved: rotation::Unsaved::default(),
            tasks: TaskTracker::new(),
        }
    }

    /// The proof as of now, for an act that has waited for others.
    fn confirmed<D: Duty>(&self, acting: &Acting<D>) -> Result<Acting<D>, AdminError> {
        self.identity.confirm(acting).map_err(|_| AdminError::Lost(D::RIGHT))
    }

    /// Notes in the audit log that an act was refused, and hands the refusal on.
    pub(crate) async fn refused<D>(
        &self,
        acting: &Acting<D>,
        action: &str,
        subject: impl Into<String> + Send,
        error: AdminError,
    ) -> AdminError {
        let mut act = acting.act(self.sources.now(), action, subject, "refused");
        act.detail.insert("error".to_owned(), error.to_string());
        match self.store.audit(vec![act]).await {
            Ok(()) => error,
            Err(failed) => failed.into(),
        }
    }
}
