//! Changing a number's key at Pilot Status, which has one key for each number and revokes the old one at once.
//!
//! A change holds the number's [`Exclusive`], so that no call is under way with the old key and none begins before the new
//! one stands. It is written down that a change has begun before Pilot Status is asked, and the new key is sealed and on
//! disk before anybody uses it. A change whose outcome is not known, because the answer was lost, the new key could not be
//! written down or the process died, stays written down as begun until [`recovery`] has found out.
//!
//! A key that was seen is held until it is on disk, and one that the account-wide key can show is never lost. Without that
//! one, a lost answer loses it, and somebody has to set another.

mod recovery;
mod run;
mod unsaved;

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

pub(super) use self::unsaved::Unsaved;
use super::{Admin, AdminError, Etag, numbers::subject};
use crate::{
    domain::{
        audit::Act,
        ids::NumberName,
        record::Source,
        secret::{NumberKey, TenantKey},
    },
    identity::{Acting, ManageNumbers},
    keys::{Exclusive, Number, Rotation},
    store::StoreError,
    upstream::{KeyChange, ListedKey, ReadError, Slot},
};

const ROTATE: &str = "number.key.rotate";

/// How much longer than the longest call a change waits for the calls under way to end.
const DRAIN: Duration = Duration::from_secs(5);

/// How often the new key is written down at once, for the store to get over a moment of weakness. Then whoever waits is told,
/// and it goes on more slowly.
const STORE_ATTEMPTS: u32 = 5;

/// The wait before the second of these, doubled before each further one.
const STORE_RETRY: Duration = Duration::from_millis(100);

/// A change that is written down, and leave to make it.
struct Begun {
    right: Exclusive,
    slot: Slot,
    number: Arc<Number>,
}

impl Admin {
    /// Gives a number a new key at Pilot Status, and returns the number when that key is on disk and in use.
    ///
    /// [`AdminError::Unavailable`] also stands for a change whose outcome is not known: it is found out in the background.
    /// Once begun, a change comes to its end even if nobody waits for it any more.
    pub async fn rotate_number_key(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
    ) -> Result<Arc<Number>, AdminError> {
        let (admin, acting, name) = (self.clone(), acting.clone(), name.clone());
        let rotation = self.tasks.spawn(async move {
            match Box::pin(admin.begin(&acting, &name, etag)).await {
                Ok(begun) => Box::pin(admin.finish(&acting, begun)).await,
                Err(error) => Err(admin.refused(&acting, ROTATE, subject(&name), error).await),
            }
        });
        rotation.await.unwrap_or_else(|_| Err(StoreError::Unknown.into()))
    }

    /// Everything that can be refused without a trace at Pilot Status.
    async fn begin(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
    ) -> Result<Begun, AdminError> {
        let number = self.rotatable(name, etag)?;
        // Asked while calls go on with the old key.
        self.check_is_its_own(&number).await?;
        let right = self.sole_use_by(acting, name).await?;
        // Looked at again: much may have happened before everybody had let go.
        let number = self.rotatable(name, etag)?;
        // Not before: whoever holds a place of this kind may be waiting for the key.
        let slot = self.upstream.read_slot().await.map_err(|error| of_read(&error))?;
        let begun = self.sources.now();
        let rotation = Some(Rotation { begun, actor: acting.actor().to_owned(), lost: false });
        let act = acting.act(begun, ROTATE, subject(name), "begun");
        let number = Number { rotation, ..(*number).clone() };
        let number = self.store_number(&right, number, vec![act]).await?;
        Ok(Begun { right, slot, number })
    }

    async fn finish(&self, acting: &Acting<ManageNumbers>, begun: Begun) -> Result<Arc<Number>, AdminError> {
        let Begun { right, slot, number } = begun;
        let changed = match self.account_access(&number) {
            Some((tenant, id)) => self.upstream.change_key(&slot, &tenant, id).await,
            None => self.upstream.change_own_key(&slot, &number.key).await,
        };
        let (outcome, error) = match changed {
            KeyChange::New(key) => return self.adopt(acting, ROTATE, &right, &number, key).await,
            KeyChange::Unknown { detail } => {
                tracing::warn!(number = %number.name, %detail, "whether the key was changed is not known; finding out");
                return Err(continues());
            }
            KeyChange::Refused(refusal) => {
                let text = refusal.to_string();
                ("refused", AdminError::Refused(refusal.status, text))
            }
            KeyChange::NotSent { detail } => ("not_sent", AdminError::Unavailable(detail)),
        };
        let mut act = acting.act(self.sources.now(), ROTATE, subject(&number.name), outcome);
        act.detail.insert("error".to_owned(), error.to_string());
        self.stay(&right, &number, act).await?;
        Err(error)
    }

    /// Takes the new key: on disk first, then into use.
    async fn adopt(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &str,
        right: &Exclusive,
        number: &Number,
        key: NumberKey,
    ) -> Result<Arc<Number>, AdminError> {
        let (now, generation) = (self.sources.now(), number.generation.saturating_add(1));
        let mut act = acting.act(now, action, subject(&number.name), "done");
        act.detail.insert("generation".to_owned(), generation.to_string());
        let settled = Number { key, generation, key_time: Some(now), rotation: None, ..number.clone() };
        let mut wait = STORE_RETRY;
        for attempt in 1.. {
            let error = match self.store_number(right, settled.clone(), vec![act.clone()]).await {
                Ok(number) => {
                    self.unsaved.let_go(&number.name);
                    return Ok(number);
                }
                Err(error) => error,
            };
            if attempt >= STORE_ATTEMPTS || !matches!(error, AdminError::Store(StoreError::Failed(_))) {
                tracing::error!(
                    number = %number.name, %error,
                    "the number has a new key that could not be stored and is not used; it is held until it is, or the \
                     process ends"
                );
                self.unsaved.hold(number, settled.key);
                break;
            }
            sleep(wait).await;
            wait *= 2;
        }
        Err(continues())
    }

    /// Goes on with the key as it is.
    async fn stay(&self, right: &Exclusive, number: &Number, act: Act) -> Result<Arc<Number>, AdminError> {
        self.store_number(right, Number { rotation: None, ..number.clone() }, vec![act]).await
    }

    /// The number, if its key can be changed as things stand.
    fn rotatable(&self, name: &NumberName, etag: Option<Etag>) -> Result<Arc<Number>, AdminError> {
        let number = self.keys.get(name).ok_or_else(|| AdminError::NotFound(subject(name)))?;
        let Source::Stored { version, .. } = number.source else {
            return Err(AdminError::Declared(subject(name)));
        };
        if etag.is_some_and(|Etag(seen)| seen != version) {
            return Err(AdminError::Changed(subject(name)));
        }
        if number.rotation.is_some() {
            let text = "an earlier change of its key is not settled yet, or has lost the key, which then has to be set";
            return Err(AdminError::NotNow(format!("{}: {text}", subject(name))));
        }
        Ok(number)
    }

    /// Waits for the calls under way with the number's key, as long as one may take.
    async fn sole_use(&self, name: &NumberName) -> Result<Exclusive, AdminError> {
        let right = timeout(self.upstream.timeout() + DRAIN, self.keys.exclusive(name)).await;
        right.map_err(|_| AdminError::NotNow(format!("{}: calls with its key did not end in time", subject(name))))
    }

    /// The same for an act of somebody, who may lose the right to it meanwhile.
    pub(super) async fn sole_use_by(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
    ) -> Result<Exclusive, AdminError> {
        let right = self.sole_use(name).await?;
        self.confirmed(acting).map(|_| right)
    }

    /// By the account-wide key another number's key would be changed just as well, if that one's id stood here by mistake.
    async fn check_is_its_own(&self, number: &Number) -> Result<(), AdminError> {
        let Some((tenant, id)) = self.account_access(number) else { return Ok(()) };
        let slot = self.upstream.read_slot().await.map_err(|error| of_read(&error))?;
        let listed = self.upstream.keys(&slot, &tenant).await.map_err(|error| of_read(&error))?;
        let wrong = match listed.iter().find(|row| row.number_id == id) {
            Some(ListedKey { key: Some(key), .. }) if !is_same(key, &number.key) => {
                "the key that pilot status shows for its upstream_id is another one; correct the id, or set the key"
            }
            Some(_) => return Ok(()),
            None => "pilot status lists no number with its upstream_id; correct it",
        };
        Err(AdminError::NotNow(format!("{}: {wrong}", subject(&number.name))))
    }

    /// The account-wide key and the number's id, if both are known.
    fn account_access<'a>(&self, number: &'a Number) -> Option<(TenantKey, &'a str)> {
        self.keys.tenant_key().zip(number.upstream_id.as_deref())
    }
}

fn is_same(one: &NumberKey, other: &NumberKey) -> bool {
    one.expose() == other.expose()
}

fn continues() -> AdminError {
    AdminError::Unavailable("whether the key was changed is not known; the rotation continues until it is".to_owned())
}

fn of_read(error: &ReadError) -> AdminError {
    match error {
        ReadError::Refused(refusal) => AdminError::Refused(refusal.status, refusal.to_string()),
        ReadError::NotFound | ReadError::Unavailable { .. } => AdminError::Unavailable(error.to_string()),
    }
}
