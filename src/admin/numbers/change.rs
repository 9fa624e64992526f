//! Changing a registered number.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use super::{Admin, Beside, describe, key_of, subject};
use crate::{
    admin::{AdminError, Etag},
    domain::{
        ids::NumberName,
        quota::Quota,
        read_back::ReadBack,
        recipient::PhoneNumber,
        record::Source,
        secret::{NumberKey, TokenHash, WebhookSecret, WebhookUrl},
        sources::Sources,
    },
    identity::{Acting, ManageNumbers},
    keys::{Number, Pacing, WebhookDoor},
    store::{Change, UndecidedQuery},
};

/// How a number's webhooks are to come in.
#[derive(Clone, Debug)]
pub struct Doorway {
    /// The last segment of the path.
    pub path: Path,
    /// What signs.
    pub secrets: Vec<WebhookSecret>,
}

/// The last segment of a webhook path.
#[derive(Clone, Debug)]
pub enum Path {
    /// The one that it is.
    Same,
    /// This one.
    Token(SecretString),
    /// One that nobody knows.
    Generated,
}

/// What is to stand in the fields that are not `None`.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// For people.
    pub description: Option<String>,
    /// Its id at Pilot Status.
    pub upstream_id: Option<Option<String>>,
    /// Its phone number.
    pub phone: Option<Option<PhoneNumber>>,
    /// How often its key is changed.
    pub rotate_every: Option<Option<Duration>>,
    /// How fast it sends.
    pub pacing: Option<Pacing>,
    /// How much may be sent.
    pub quota: Option<Quota>,
    /// Which statuses are read back.
    pub read_back: Option<Option<ReadBack>>,
    /// How its webhooks come in.
    pub webhook: Option<Option<Doorway>>,
}

impl Admin {
    /// Changes what is not the key. What stays as it was is no change, and leaves no trace.
    pub async fn update_number(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
        settings: Settings,
    ) -> Result<Arc<Number>, AdminError> {
        let (beside, sources) = (self.beside.clone(), self.sources.clone());
        self.edit(acting, "number.update", name, etag, move |number| settings.put_into(number, &beside, &sources)).await
    }

    /// Sends nothing from it for now.
    pub async fn disable_number(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
    ) -> Result<Arc<Number>, AdminError> {
        let disable = |number: &mut Number| {
            number.disabled = true;
            Ok(())
        };
        self.edit(acting, "number.disable", name, etag, disable).await
    }

    /// Sends from it again.
    pub async fn enable_number(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
    ) -> Result<Arc<Number>, AdminError> {
        let enable = |number: &mut Number| {
            number.disabled = false;
            Ok(())
        };
        self.edit(acting, "number.enable", name, etag, enable).await
    }

    /// Takes another key for it, after every call with the old one has ended.
    pub async fn set_number_key(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
        key: NumberKey,
        check: bool,
    ) -> Result<Arc<Number>, AdminError> {
        let (admin, acting_too, named) = (self.clone(), acting.clone(), name.clone());
        self.complete(acting, "number.key.set", subject(name), async move {
            let seen = admin.changeable(&named, etag)?;
            if check {
                admin.expect_accepted(&key).await?;
            }
            admin.set_key(&acting_too, "number.key.set", &seen, etag, key).await
        })
        .await
    }

    /// Forgets a number, readable or not. What is at Pilot Status stays.
    pub async fn delete_number(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
        force: bool,
    ) -> Result<(), AdminError> {
        let (admin, acting_too, named) = (self.clone(), acting.clone(), name.clone());
        let whole = async move { admin.delete(&acting_too, &named, etag, force).await };
        self.complete(acting, "number.delete", subject(name), whole).await
    }

    async fn delete(
        &self,
        acting: &Acting<ManageNumbers>,
        name: &NumberName,
        etag: Option<Etag>,
        force: bool,
    ) -> Result<(), AdminError> {
        let right = self.sole_use_by(acting, name).await?;
        let unreadable = self.beside.unreadable().get(name.as_str()).map(|unreadable| unreadable.version);
        let version = match unreadable {
            Some(version) if etag.is_some_and(|Etag(seen)| seen != version) => {
                return Err(AdminError::Changed(subject(name)));
            }
            Some(version) => version,
            None => match self.changeable(name, etag)?.source {
                Source::Stored { version, .. } => version,
                Source::Declared => return Err(AdminError::Declared(subject(name))),
            },
        };
        let undecided = self.undecided_of(name).await?;
        if undecided && !force {
            let text = "has messages that are not decided; wait for them, settle them, or delete it by force";
            return Err(AdminError::NotNow(format!("{}: {text}", subject(name))));
        }
        let mut act = acting.act(self.sources.now(), "number.delete", subject(name), "done");
        if undecided {
            act.detail.insert("undecided".to_owned(), "left behind".to_owned());
        }
        let removals = vec![(key_of(name.as_str()), version)];
        self.records.change(Change { removals, audit: vec![act], ..Change::default() }).await?;
        self.keys.remove(&right);
        self.beside.unreadable().remove(name.as_str());
        Ok(())
    }

    async fn undecided_of(&self, name: &NumberName) -> Result<bool, AdminError> {
        let mut query = UndecidedQuery { number: Some(name.clone()), limit: 1_000, ..UndecidedQuery::default() };
        loop {
            let page = self.store.undecided(query.clone()).await?;
            match page.last {
                _ if !page.found.is_empty() => return Ok(true),
                Some(last) => query.after = last,
                None => return Ok(false),
            }
        }
    }

    /// The key is known to be the one that is to be taken, as the number was `seen`. If its key was changed since, this one
    /// was perhaps the one before, which is dead now.
    pub(super) async fn set_key(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &'static str,
        seen: &Number,
        etag: Option<Etag>,
        key: NumberKey,
    ) -> Result<Arc<Number>, AdminError> {
        let now = self.sources.now();
        let set = move |number: &mut Number| {
            if !number.has_key_of(seen) {
                return Err(AdminError::Changed(subject(&number.name)));
            }
            number.generation = number.generation.saturating_add(1);
            number.key = key;
            number.key_time = Some(now);
            // Whatever became of an earlier change, this is the key now.
            number.rotation = None;
            Ok(())
        };
        self.change_number(acting, action, &seen.name, etag, set).await
    }

    async fn edit(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &'static str,
        name: &NumberName,
        etag: Option<Etag>,
        edit: impl FnOnce(&mut Number) -> Result<(), AdminError> + Send + 'static,
    ) -> Result<Arc<Number>, AdminError> {
        let (admin, acting_too, named) = (self.clone(), acting.clone(), name.clone());
        let whole = async move { admin.change_number(&acting_too, action, &named, etag, edit).await };
        self.complete(acting, action, subject(name), whole).await
    }

    async fn change_number(
        &self,
        acting: &Acting<ManageNumbers>,
        action: &'static str,
        name: &NumberName,
        etag: Option<Etag>,
        edit: impl FnOnce(&mut Number) -> Result<(), AdminError> + Send,
    ) -> Result<Arc<Number>, AdminError> {
        // Before anybody is made to wait.
        self.changeable(name, etag)?;
        let right = self.sole_use_by(acting, name).await?;
        let before = self.changeable(name, etag)?;
        let mut after = (*before).clone();
        edit(&mut after)?;
        let detail = describe::changes(&before, &after);
        if detail.is_empty() {
            return Ok(before);
        }
        let mut act = acting.act(self.sources.now(), action, subject(name), "done");
        act.detail = detail;
        self.store_number(&right, after, vec![act]).await
    }
}

impl Settings {
    fn put_into(self, number: &mut Number, beside: &Beside, sources: &Sources) -> Result<(), AdminError> {
        let Self { description, upstream_id, phone, rotate_every, pacing, quota, read_back, webhook } = self;
        put(&mut number.description, description);
        put(&mut number.upstream_id, upstream_id);
        put(&mut number.phone, phone);
        put(&mut number.rotate_every, rotate_every);
        put(&mut number.pacing, pacing);
        put(&mut number.quota, quota);
        put(&mut number.read_back, read_back);
        if let Some(doorway) = webhook {
            let before = number.webhook.take();
            number.webhook = doorway.map(|doorway| doorway.opened(before, beside, sources)).transpose()?;
        }
        Ok(())
    }
}

fn put<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Doorway {
    /// The door, in the place of the one before.
    pub(super) fn opened(
        self,
        before: Option<WebhookDoor>,
        beside: &Beside,
        sources: &Sources,
    ) -> Result<WebhookDoor, AdminError> {
        let Self { path, secrets } = self;
        let token = match path {
            Path::Same => {
                let text = "the number takes no webhooks yet: give a path token, or have one generated";
                let before = before.ok_or_else(|| AdminError::NotNow(text.to_owned()))?;
                return Ok(WebhookDoor { secrets, ..before });
            }
            Path::Token(token) => token,
            Path::Generated if beside.public_url.is_none() => {
                let text = "a path that nobody knows has to be registered: set webhooks.public_url, or give a token";
                return Err(AdminError::NotNow(text.to_owned()));
            }
            Path::Generated => SecretString::from(URL_SAFE_NO_PAD.encode(sources.random::<32>())),
        };
        let url = beside.public_url.as_ref().map(|public| WebhookUrl::of(public.as_str(), &token));
        Ok(WebhookDoor { path_token: TokenHash::of(token.expose_secret()), secrets, url })
    }
}

impl Beside {
    /// The same path at the address at which the gateway is reached now.
    pub(super) fn moved(&self, url: WebhookUrl) -> WebhookUrl {
        match &self.public_url {
            Some(public) => WebhookUrl::of(public.as_str(), &SecretString::from(url.path_token())),
            None => url,
        }
    }
}
