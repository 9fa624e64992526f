//! The acts that make what is there what the file says, each based on the state that the plan was made for.

use std::collections::BTreeMap;

use prost_types::FieldMask;
use secrecy::{ExposeSecret, SecretString};

use super::{
    file::Wishes,
    forms::GRANTS,
    plan::{Action, Item, KEY, Kind},
};
use crate::{
    cli::{
        connect::{ConnectArgs, Connection},
        errors::CliError,
    },
    domain::secret::NumberKey,
    proto::admin::v1::{
        CreateCallerRequest, DeleteCallerRequest, DeleteNumberRequest, NumberSettings, RegisterNumberRequest,
        SetGrantsRequest, SetNumberKeyRequest, UpdateCallerRequest, UpdateNumberRequest,
        caller_service_client::CallerServiceClient, number_service_client::NumberServiceClient,
    },
};

/// The keys that are to be set, by the names of their numbers.
pub(super) type Keys = BTreeMap<String, SecretString>;

/// Fetches the keys of the numbers that get one; what is wrong with any is told of all together.
pub(super) async fn keys(wishes: &Wishes, items: &[Item]) -> Result<Keys, Vec<String>> {
    let gets_one = |item: &&Item| {
        let is_set = item.changes.iter().any(|change| change.field == KEY);
        item.kind == Kind::Number && (item.action == Action::Create || is_set)
    };
    let (mut keys, mut wrong) = (Keys::new(), Vec::new());
    for item in items.iter().filter(gets_one) {
        let Some(reference) = wishes.numbers.get(&item.name).and_then(|wish| wish.key.clone()) else { continue };
        // A command may take its time.
        let found = tokio::task::spawn_blocking(move || reference.resolve(None)).await;
        let found = found.unwrap_or_else(|error| Err(format!("cannot be found: {error}")));
        match found.and_then(|key| NumberKey::from_secret(key.clone()).map(|_| key).map_err(|error| error.0)) {
            Ok(key) => drop(keys.insert(item.name.clone(), key)),
            Err(problem) => wrong.push(format!("number {:?}: key: {problem}", item.name)),
        }
    }
    if wrong.is_empty() { Ok(keys) } else { Err(wrong) }
}

/// A gateway that is to be changed, and to what.
pub(super) struct Work<'a> {
    pub(super) wishes: &'a Wishes,
    pub(super) keys: &'a Keys,
    pub(super) reason: &'a str,
    pub(super) connect: &'a ConnectArgs,
    pub(super) numbers: NumberServiceClient<Connection>,
    pub(super) callers: CallerServiceClient<Connection>,
}

impl Work<'_> {
    /// Carries one item out. `acts` counts those that were done, also if a later one fails.
    pub(super) async fn carry_out(&mut self, item: &Item, acts: &mut usize) -> Result<(), CliError> {
        let (name, etag, reason) = (item.name.clone(), item.etag.clone(), self.reason.to_owned());
        match (item.kind, item.action) {
            (Kind::Number, Action::Create) => self.register(item).await?,
            (Kind::Number, Action::Change) => return self.change_number(item, acts).await,
            (Kind::Number, Action::Delete) => {
                let call = self.connect.request(DeleteNumberRequest { name, etag, force: false, reason });
                self.numbers.delete_number(call).await?;
            }
            (Kind::Caller, Action::Create) => self.create(item).await?,
            (Kind::Caller, Action::Change) => return self.change_caller(item, acts).await,
            (Kind::Caller, Action::Delete) => {
                let call = self.connect.request(DeleteCallerRequest { name, etag, reason });
                self.callers.delete_caller(call).await?;
            }
            (_, Action::Unchanged | Action::Declared | Action::Kept) => return Ok(()),
        }
        *acts += 1;
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        self.keys.get(name).map(|key| key.expose_secret().to_owned()).unwrap_or_default()
    }

    fn settings(&self, name: &str) -> NumberSettings {
        self.wishes.numbers.get(name).map(|wish| wish.settings.clone()).unwrap_or_default()
    }

    async fn register(&mut self, item: &Item) -> Result<(), CliError> {
        let settings = self.settings(&item.name);
        let call = self.connect.request(RegisterNumberRequest {
            name: settings.name,
            key: self.key(&item.name),
            description: settings.description,
            upstream_id: settings.upstream_id,
            phone_number: settings.phone_number,
            rotate_interval: settings.rotate_interval,
            pace: settings.pace,
            quota: settings.quota,
            read_back: settings.read_back,
            webhook: None,
            disabled: false,
            check: false,
            reason: self.reason.to_owned(),
        });
        self.numbers.register_number(call).await?;
        Ok(())
    }

    async fn change_number(&mut self, item: &Item, acts: &mut usize) -> Result<(), CliError> {
        let mut etag = item.etag.clone();
        let paths: Vec<_> = paths(item).filter(|path| path != KEY).collect();
        if !paths.is_empty() {
            let call = self.connect.request(UpdateNumberRequest {
                number: Some(self.settings(&item.name)),
                update_mask: Some(FieldMask { paths }),
                etag,
                reason: self.reason.to_owned(),
            });
            etag = self.numbers.update_number(call).await?.into_inner().number.unwrap_or_default().etag;
            *acts += 1;
        }
        if item.changes.iter().any(|change| change.field == KEY) {
            let (name, key, reason) = (item.name.clone(), self.key(&item.name), self.reason.to_owned());
            let call = self.connect.request(SetNumberKeyRequest { name, key, check: false, etag, reason });
            self.numbers.set_number_key(call).await?;
            *acts += 1;
        }
        Ok(())
    }

    async fn create(&mut self, item: &Item) -> Result<(), CliError> {
        let caller = self.wishes.callers.get(&item.name).cloned().unwrap_or_default();
        let call = self.connect.request(CreateCallerRequest {
            name: caller.name,
            description: caller.description,
            identities: caller.identities,
            grants: caller.grants,
            admin_rights: caller.admin_rights,
            quota: caller.quota,
            reason: self.reason.to_owned(),
        });
        self.callers.create_caller(call).await?;
        Ok(())
    }

    async fn change_caller(&mut self, item: &Item, acts: &mut usize) -> Result<(), CliError> {
        let caller = self.wishes.callers.get(&item.name).cloned().unwrap_or_default();
        let (mut etag, name, grants) = (item.etag.clone(), caller.name.clone(), caller.grants.clone());
        let paths: Vec<_> = paths(item).filter(|path| path != GRANTS).collect();
        if !paths.is_empty() {
            let call = self.connect.request(UpdateCallerRequest {
                caller: Some(caller),
                update_mask: Some(FieldMask { paths }),
                etag,
                reason: self.reason.to_owned(),
            });
            etag = self.callers.update_caller(call).await?.into_inner().caller.unwrap_or_default().etag;
            *acts += 1;
        }
        if item.changes.iter().any(|change| change.path == GRANTS) {
            let call = self.connect.request(SetGrantsRequest { name, grants, etag, reason: self.reason.to_owned() });
            self.callers.set_grants(call).await?;
            *acts += 1;
        }
        Ok(())
    }
}

fn paths(item: &Item) -> impl Iterator<Item = String> {
    item.changes.iter().map(|change| change.path.to_owned())
}
