//! `pilotgate.admin.v1`: the platform team's services.
//!
//! A handler proves the right before it looks at anything else, so that nobody learns from a refusal what there is.

mod outbox;
mod subscriptions;

use std::sync::Arc;

use tonic::{Request, Status};

pub use self::{outbox::OutboxApi, subscriptions::SubscriptionApi};
use super::{
    connection::Connection,
    messaging::principal,
    status::{of_not_administrator, of_store},
};
use crate::{
    domain::{audit::Act, signed::SigningKey, sources::Sources},
    identity::{Acting, Duty, Identity},
    store::Store,
};

/// Who administers, and where the refusals of those who do not are noted.
#[derive(Clone)]
pub struct Administrators {
    identity: Arc<Identity>,
    store: Arc<dyn Store>,
    sources: Sources,
}

impl Administrators {
    /// These callers.
    pub const fn new(identity: Arc<Identity>, store: Arc<dyn Store>, sources: Sources) -> Self {
        Self { identity, store, sources }
    }

    /// The key of page tokens.
    fn page_key(&self) -> SigningKey {
        SigningKey::of(&self.store.cursor_key(), b"pilotgate admin page token")
    }

    /// Proof that whoever calls may do this, for this reason. A refusal is in the audit log, as whatever the right is for.
    async fn prove<D: Duty, T: Sync>(&self, request: &Request<T>, reason: &str) -> Result<Acting<D>, Status> {
        let principal = principal(request)?;
        let from = Connection::peer(request);
        // What does not fit into the audit log is told of by the conversion.
        let reason: String = reason.chars().take(500).collect();
        match self.identity.administer(&principal, from, &reason) {
            Ok(acting) => Ok(acting),
            Err(error) => {
                let act = Act {
                    at: self.sources.now(),
                    actor: principal.caller.to_string(),
                    credential: Some(principal.credential.to_string()),
                    from: from.map(|from| from.to_string()),
                    action: "right.use".to_owned(),
                    subject: format!("right/{}", D::RIGHT),
                    reason: None,
                    outcome: "refused".to_owned(),
                    detail: std::collections::BTreeMap::new(),
                };
                self.store.audit(vec![act]).await.map_err(|error| of_store(&error))?;
                Err(of_not_administrator::<D>(error))
            }
        }
    }
}
