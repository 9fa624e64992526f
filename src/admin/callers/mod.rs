//! Callers: by what they are known, what they may do, and how much.
//!
//! Those of the configuration are looked at here and never changed. A change of a stored one is committed with its entry in
//! the audit log, and only then anybody is known by it.

mod desk;
mod record;
mod tokens;
mod told;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use self::desk::{Target, expect, key, may_give, may_stand_for, not_found};
use super::{Admin, AdminError, Etag};
use crate::{
    domain::{
        audit::ITSELF,
        caller::Caller,
        ids::CallerName,
        principal::{AdminRight, Grant},
        quota::Quota,
        record::RecordKind,
        secret::CallerToken,
    },
    identity::{Acting, ManageCallers, Registered, Taken, ViewCallers},
    store::Change,
    vault::UnsealError,
};

/// The records of callers that cannot be read. Whoever holds it is the only one to change callers.
pub(crate) type Unreadable = BTreeMap<CallerName, (i64, UnsealError)>;

/// A caller, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It is registered.
    Registered(Arc<Registered>),
    /// Its record cannot be read, and it is accepted by nothing.
    Unreadable {
        /// Its name.
        name: CallerName,
        /// The version of its record.
        version: i64,
    },
}

/// What of a caller is to become different; `None`: stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallerUpdate {
    /// For people.
    pub description: Option<String>,
    /// By what it is known besides tokens.
    pub identities: Option<Vec<String>>,
    /// What it may administer.
    pub admin: Option<Vec<AdminRight>>,
    /// How much it may send.
    pub quota: Option<Quota>,
}

/// A token that was just made, and whose it is.
#[derive(Debug)]
pub struct Issued {
    /// The token, for the only time.
    pub token: CallerToken,
    /// The caller with it.
    pub caller: Arc<Registered>,
}

impl Listed {
    /// Its name.
    pub fn name(&self) -> &CallerName {
        match self {
            Self::Registered(registered) => &registered.caller.name,
            Self::Unreadable { name, .. } => name,
        }
    }
}

impl Admin {
    /// Registers what is stored beside what the configuration declares, before anybody calls. One record that cannot be read
    /// hides no other.
    ///
    /// # Errors
    /// A stored caller has the name or a credential of another one.
    pub async fn load_callers(&self) -> Result<(), AdminError> {
        let mut unreadable = self.callers.lock().await;
        for record in self.store.records().await? {
            if record.key.kind != RecordKind::Caller {
                continue;
            }
            let Ok(name) = CallerName::from_text(&record.key.name) else {
                tracing::error!(record = %record.key, "the record of a caller has no name that a caller can have");
                continue;
            };
            match self.read_caller(&record) {
                Ok(registered) => {
                    if self.identity.caller(&name).is_some() {
                        return Err(AdminError::Taken(format!(
                            "caller {name} of the configuration has the name of caller {name} in the data directory: \
                             rename it in the configuration, or take it out there and delete the stored one first"
                        )));
                    }
                    self.identity.put(registered).map_err(|Taken { what, other }| {
                        AdminError::Taken(format!(
                            "{what} of caller {name} in the data directory already stands for caller {other} of the \
                             configuration: take it out of the configuration"
                        ))
                    })?;
                }
                Err(error) => {
                    tracing::error!(caller = %name, %error, "the record of a caller cannot be read; nobody is known by it");
                    unreadable.insert(name, (record.version, error));
                }
            }
        }
        Ok(())
    }

    /// Callers behind that name, in the order of their names, at most `limit`.
    pub async fn list_callers(&self, _: &Acting<ViewCallers>, after: Option<&CallerName>, limit: usize) -> Vec<Listed> {
        let unreadable = self.callers.lock().await.clone();
        let lost = unreadable.into_iter().map(|(name, (version, _))| Listed::Unreadable { name, version });
        let mut all: Vec<Listed> = self.identity.all().into_iter().map(Listed::Registered).chain(lost).collect();
        all.retain(|listed| after.is_none_or(|after| listed.name() > after));
        all.sort_by(|one, other| one.name().cmp(other.name()));
        all.truncate(limit);
        all
    }

    /// One caller.
    pub async fn get_caller(&self, _: &Acting<ViewCallers>, name: &CallerName) -> Result<Listed, AdminError> {
        if let Some((version, _)) = self.callers.lock().await.get(name) {
            return Ok(Listed::Unreadable { name: name.clone(), version: *version });
        }
        self.identity.caller(name).map(Listed::Registered).ok_or_else(|| not_found(name))
    }

    /// Registers a caller, which has no token yet.
    pub async fn create_caller(
        &self,
        acting: &Acting<ManageCallers>,
        caller: Caller,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.create", name: caller.name.clone(), expected: None };
        let creating = async {
            let (desk, acting) = self.desk(acting).await?;
            if self.identity.caller(&caller.name).is_some() || desk.contains_key(&caller.name) {
                return Err(AdminError::Exists(format!("caller {}", caller.name)));
            }
            if caller.name.as_str() == ITSELF {
                return Err(AdminError::Taken(format!("{ITSELF} stands for the gateway itself")));
            }
            may_give(&acting, &[], &caller.admin)?;
            let now = self.sources.now();
            let after = Caller { create_time: Some(now), update_time: Some(now), ..caller };
            self.write_caller(desk, &acting, target.action, None, after, now).await
        };
        self.noted_caller_act(acting, &target, creating).await
    }

    /// Changes what is given.
    pub async fn update_caller(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
        update: CallerUpdate,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.update", name, expected };
        self.change_caller(acting, target, |acting, caller, _| {
            if let Some(admin) = update.admin {
                may_give(acting, &caller.admin, &admin)?;
                caller.admin = admin;
            }
            if let Some(identities) = update.identities.filter(|identities| *identities != caller.identities) {
                // Whoever decides by what it is known can act in its place.
                may_stand_for(acting, caller)?;
                caller.identities = identities;
            }
            if let Some(description) = update.description {
                caller.description = description;
            }
            if let Some(quota) = update.quota {
                caller.quota = quota;
            }
            Ok(())
        })
        .await
    }

    /// Accepts none of its credentials.
    pub async fn disable_caller(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.disable", name, expected };
        self.change_caller(acting, target, |_, caller, _| {
            caller.disabled = true;
            Ok(())
        })
        .await
    }

    /// Accepts its credentials again.
    pub async fn enable_caller(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.enable", name, expected };
        self.change_caller(acting, target, |_, caller, _| {
            caller.disabled = false;
            Ok(())
        })
        .await
    }

    /// Replaces all its grants.
    pub async fn set_grants(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
        grants: Vec<Grant>,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.grants.set", name, expected };
        self.change_caller(acting, target, |_, caller, _| {
            caller.grants = grants;
            Ok(())
        })
        .await
    }

    /// Makes a token.
    pub async fn issue_token(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
        lifetime: Option<Duration>,
    ) -> Result<Issued, AdminError> {
        let token = CallerToken::generate(&self.sources);
        let target = Target { action: "caller.token.issue", name, expected };
        let issuing = self.change_caller(acting, target, |acting, caller, now| {
            may_stand_for(acting, caller)?;
            tokens::issue(caller, token.hash(), lifetime, now)
        });
        let caller = issuing.await?;
        Ok(Issued { token, caller })
    }

    /// Makes a token in place of another one, which lives on for the grace.
    pub async fn rotate_token(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
        old: &str,
        (grace, lifetime): (Duration, Option<Duration>),
    ) -> Result<Issued, AdminError> {
        let token = CallerToken::generate(&self.sources);
        let target = Target { action: "caller.token.rotate", name, expected };
        let rotating = self.change_caller(acting, target, |acting, caller, now| {
            may_stand_for(acting, caller)?;
            tokens::end_after(caller, old, grace, now)?;
            tokens::issue(caller, token.hash(), lifetime, now)
        });
        let caller = rotating.await?;
        Ok(Issued { token, caller })
    }

    /// Ends a token at once.
    pub async fn revoke_token(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
        token: &str,
    ) -> Result<Arc<Registered>, AdminError> {
        let target = Target { action: "caller.token.revoke", name, expected };
        self.change_caller(acting, target, |_, caller, now| tokens::revoke(caller, token, now)).await
    }

    /// Deletes a caller, also one whose record cannot be read.
    pub async fn delete_caller(
        &self,
        acting: &Acting<ManageCallers>,
        name: CallerName,
        expected: Option<Etag>,
    ) -> Result<(), AdminError> {
        let target = Target { action: "caller.delete", name, expected };
        let deleting = async {
            let (desk, acting) = self.desk(acting).await?;
            let lost = desk.get(&target.name).map(|(version, _)| *version);
            let (before, version) = match lost {
                Some(version) => {
                    expect(&target, version)?;
                    (None, version)
                }
                None => self.stored_caller(&desk, &target).map(|(before, version)| (Some(before), version))?,
            };
            if let Some(before) = &before {
                may_give(&acting, &before.caller.admin, &[])?;
                self.leaves_a_manager(&target.name, None)?;
            }
            let before = before.as_ref().map(|before| &before.caller);
            let mut act = self.caller_act(&acting, &target, told::differences(before, None));
            act.detail.insert("etag".to_owned(), Etag(version).to_string());
            let key = key(&target.name);
            let change = Change { removals: vec![(key, version)], audit: vec![act], ..Change::default() };
            self.through_to_callers(desk, change, {
                let name = target.name.clone();
                move |admin, unreadable| {
                    unreadable.remove(&name);
                    admin.identity.remove(&name);
                    Ok(())
                }
            })
            .await
        };
        self.noted_caller_act(acting, &target, deleting).await
    }
}
