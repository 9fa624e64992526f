//! The registered numbers: sealed whole in the store, and put into the ring once that is on disk.
//!
//! A number that the configuration declares is in the ring from the start and is never changed here. Once begun, a change
//! comes to its end even if nobody waits for it any more, so that the ring never falls behind what is on disk.

mod change;
mod check;
mod describe;
mod import;
mod load;
mod record;
mod register;
mod tenant;

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Mutex as AsyncMutex;
use url::Url;

pub use self::{
    change::{Doorway, Path, Settings},
    check::{Checked, Finding},
    import::{Import, Imported, Outcome},
    register::Registration,
};
use super::{Admin, AdminError, Etag};
use crate::{
    domain::{
        audit::Act,
        ids::NumberName,
        record::{RecordKey, RecordKind, Source},
        secret::TenantKey,
    },
    identity::{Acting, ManageNumbers, ViewNumbers},
    keys::{Exclusive, Number},
    store::{Change, StoreError},
};

/// What is known of numbers besides the ring.
#[derive(Clone)]
pub struct Beside {
    /// Below which address webhooks are registered, if they are.
    public_url: Option<Url>,
    /// The account-wide key of the configuration.
    declared_tenant_key: Option<TenantKey>,
    /// The version of the stored one. Held while it is changed.
    tenant_version: Arc<AsyncMutex<Option<i64>>>,
    /// Held from the check that a number takes no other one's words until it is in the ring.
    changing: Arc<AsyncMutex<()>>,
    /// Records that cannot be read, by the names that stand in the store.
    unreadable: Arc<Mutex<BTreeMap<Arc<str>, Unreadable>>>,
}

/// A record of a number that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The name that it stands under.
    pub name: Arc<str>,
    /// Its version.
    pub version: i64,
    /// Why not; never what stands there.
    pub why: String,
}

/// A number as an administrator sees it.
#[derive(Clone, Debug)]
pub enum Listed {
    /// One that is in the ring.
    Known(Arc<Number>),
    /// One whose record cannot be read.
    Unreadable(Unreadable),
}

impl Beside {
    pub(super) fn new(public_url: Option<Url>, declared_tenant_key: Option<TenantKey>) -> Self {
        Self {
            public_url,
            declared_tenant_key,
            tenant_version: Arc::default(),
            changing: Arc::default(),
            unreadable: Arc::default(),
        }
    }

    fn unreadable(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Unreadable>> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listed {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(number) => number.name.as_str(),
            Self::Unreadable(unreadable) => &unreadable.name,
        }
    }
}

impl Admin {
    /// All numbers in the order of their names.
    pub fn list_numbers(&self, _: &Acting<ViewNumbers>) -> Vec<Listed> {
        let known = self.keys.all().into_iter().map(Listed::Known);
        let mut all: Vec<_> = known.chain(self.beside.unreadable().values().cloned().map(Listed::Unreadable)).collect();
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all
    }

    /// The number that a word stands for: its name, upstream id or phone.
    pub fn number(&self, _: &Acting<ViewNumbers>, word: &str) -> Result<Listed, AdminError> {
        let known = self.keys.find(word).and_then(|name| self.keys.get(&name)).map(Listed::Known);
        let unreadable = || self.beside.unreadable().get(word).cloned().map(Listed::Unreadable);
        known.or_else(unreadable).ok_or_else(|| not_found(word))
    }

    /// Seals a number, commits it with what the audit log says of it, and puts it into the ring. In the place of the version
    /// that the number names, or as a new one if it names none.
    pub async fn store_number(
        &self,
        right: &Exclusive,
        mut number: Number,
        audit: Vec<Act>,
    ) -> Result<Arc<Number>, AdminError> {
        let _one_at_a_time = self.beside.changing.lock().await;
        self.keys.check(&number).map_err(|taken| AdminError::Taken(taken.to_string()))?;
        let now = self.sources.now();
        let (replaces, create_time) = match number.source {
            Source::Stored { version, create_time, .. } => (Some(version), create_time),
            Source::Declared => (None, now),
        };
        let bytes = record::to_bytes(&number, create_time, now).map_err(|error| failed(&error))?;
        let (record, replaces) = self.records.sealed(key_of(number.name.as_str()), replaces, &bytes)?;
        number.source = Source::Stored { version: record.version, create_time, update_time: now };
        self.records.change(Change { puts: vec![(record, replaces)], audit, ..Change::default() }).await?;
        self.keys.put(number, right).map_err(|taken| AdminError::Taken(taken.to_string()))?;
        let stored = self.keys.get(right.name());
        stored.ok_or_else(|| AdminError::NotFound(subject(right.name())))
    }

    /// Does it to its end, also if nobody waits for it any more, and notes a refusal in the audit log.
    async fn complete<T: Send + 'static>(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &'static str,
        subject: String,
        act: impl Future<Output = Result<T, AdminError>> + Send + 'static,
    ) -> Result<T, AdminError> {
        let (admin, acting) = (self.clone(), acting.clone());
        let whole = self.tasks.spawn(async move {
            match act.await {
                Ok(done) => Ok(done),
                Err(error) => Err(admin.refused(&acting, action, subject, error).await),
            }
        });
        whole.await.unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    /// A number that can be changed by whoever has seen this state.
    fn changeable(&self, name: &NumberName, etag: Option<Etag>) -> Result<Arc<Number>, AdminError> {
        let Some(number) = self.keys.get(name) else {
            let unreadable = self.beside.unreadable().contains_key(name.as_str());
            let text =
                || format!("the record of {} cannot be read; delete it, and register the number anew", subject(name));
            return Err(if unreadable { AdminError::NotNow(text()) } else { AdminError::NotFound(subject(name)) });
        };
        match number.source {
            Source::Declared => Err(AdminError::Declared(subject(name))),
            Source::Stored { version, .. } if etag.is_some_and(|Etag(seen)| seen != version) => {
                Err(AdminError::Changed(subject(name)))
            }
            Source::Stored { .. } => Ok(number),
        }
    }
}

/// What the audit log and errors call a number.
pub(super) fn subject(name: &NumberName) -> String {
    key_of(name.as_str()).to_string()
}

fn key_of(name: &str) -> RecordKey {
    RecordKey::of(RecordKind::Number, name)
}

fn failed(error: &serde_json::Error) -> StoreError {
    StoreError::Failed(format!("a number cannot be written down: line {}", error.line()))
}

/// There is no such number. What can be no name is not repeated: it may be a secret in the wrong place.
fn not_found(word: &str) -> AdminError {
    let name = NumberName::try_from(word.to_owned());
    AdminError::NotFound(name.map_or_else(|_| "such a number".to_owned(), |name| subject(&name)))
}
