//! Registering a number.

use std::{sync::Arc, time::Duration};

use super::{Admin, Doorway, describe, subject};
use crate::{
    admin::AdminError,
    domain::{
        ids::NumberName, quota::Quota, read_back::ReadBack, recipient::PhoneNumber, record::Source, secret::NumberKey,
    },
    identity::{Acting, ManageNumbers},
    keys::{Number, Pacing},
    upstream::KeyStanding,
};

/// A number to be registered.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub name: NumberName,
    /// Its key.
    pub key: NumberKey,
    /// For people.
    pub description: String,
    /// Its id at Pilot Status.
    pub upstream_id: Option<String>,
    /// Its phone number.
    pub phone: Option<PhoneNumber>,
    /// How often its key is changed.
    pub rotate_every: Option<Duration>,
    /// How fast it sends.
    pub pacing: Pacing,
    /// How much may be sent.
    pub quota: Quota,
    /// Which statuses are read back.
    pub read_back: Option<ReadBack>,
    /// How its webhooks come in.
    pub webhook: Option<Doorway>,
    /// It is registered as disabled.
    pub disabled: bool,
}

impl Registration {
    /// One with nothing but a key.
    pub const fn of(name: NumberName, key: NumberKey) -> Self {
        Self {
            name,
            key,
            description: String::new(),
            upstream_id: None,
            phone: None,
            rotate_every: None,
            pacing: Pacing { per_second: None, burst: 1, min_gap: Duration::ZERO, gap_jitter: 0.0 },
            quota: Quota::NONE,
            read_back: None,
            webhook: None,
            disabled: false,
        }
    }
}

impl Admin {
    /// Registers a number, after Pilot Status has said that it accepts the key if that is to be asked.
    pub async fn register_number(
        &self,
        acting: &Acting<ManageNumbers>,
        registration: Registration,
        check: bool,
    ) -> Result<Arc<Number>, AdminError> {
        let (admin, acting_too, subject) = (self.clone(), acting.clone(), subject(&registration.name));
        self.complete(acting, "number.register", subject, async move {
            admin.expect_free(&registration.name)?;
            if check {
                admin.expect_accepted(&registration.key).await?;
            }
            admin.register(&acting_too, "number.register", registration).await
        })
        .await
    }

    pub(super) async fn register(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &'static str,
        registration: Registration,
    ) -> Result<Arc<Number>, AdminError> {
        let now = self.sources.now();
        let door = registration.webhook.map(|doorway| doorway.opened(None, &self.beside, &self.sources)).transpose()?;
        let number = Number {
            name: registration.name,
            description: registration.description,
            upstream_id: registration.upstream_id,
            phone: registration.phone,
            key: registration.key,
            generation: 1,
            key_time: Some(now),
            rotate_every: registration.rotate_every,
            rotation: None,
            disabled: registration.disabled,
            webhook: door,
            pacing: registration.pacing,
            quota: registration.quota,
            read_back: registration.read_back,
            // None that it replaces.
            source: Source::Declared,
        };
        let right = self.sole_use_by(acting, &number.name).await?;
        // Looked at under the right to change it, so that nobody registers it in between.
        self.expect_free(&number.name)?;
        let mut act = acting.act(now, action, subject(&number.name), "done");
        act.detail = describe::whole(&number);
        self.store_number(&right, number, vec![act]).await
    }

    fn expect_free(&self, name: &NumberName) -> Result<(), AdminError> {
        let taken = self.keys.get(name).is_some() || self.beside.unreadable().contains_key(name.as_str());
        if taken { Err(AdminError::Exists(subject(name))) } else { Ok(()) }
    }

    /// Nothing but a yes will do.
    pub(super) async fn expect_accepted(&self, key: &NumberKey) -> Result<(), AdminError> {
        let slot = self.upstream.read_slot().await.map_err(|error| AdminError::Unavailable(error.to_string()))?;
        match self.upstream.key_standing(&slot, key).await {
            KeyStanding::Accepted => Ok(()),
            KeyStanding::Refused => Err(AdminError::KeyRefused),
            KeyStanding::Unknown { detail } => Err(AdminError::Unavailable(detail)),
        }
    }
}
