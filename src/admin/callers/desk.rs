//! One change of a caller after the other, from the state that was seen to the one that is known.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;

use super::{
    super::{Admin, AdminError, Etag},
    Unreadable, record, tokens, told,
};
use crate::{
    domain::{
        audit::Act,
        caller::Caller,
        ids::CallerName,
        principal::{AdminRight, Area, Level},
        record::{RecordKey, RecordKind, Source},
    },
    identity::{Acting, ManageCallers, Registered},
    store::{Change, Record, StoreError},
    vault::UnsealError,
};

/// Held by whoever changes callers.
pub(super) type Desk = OwnedMutexGuard<Unreadable>;

/// What the act is called in the audit log, and who is to be changed from which state.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) action: &'static str,
    pub(super) name: CallerName,
    pub(super) expected: Option<Etag>,
}

impl Admin {
    /// Waits until nobody else changes callers, which may take away the right to.
    pub(super) async fn desk(
        &self,
        acting: &Acting<ManageCallers>,
    ) -> Result<(Desk, Acting<ManageCallers>), AdminError> {
        let desk = Arc::clone(&self.callers).lock_owned().await;
        Ok((desk, self.confirmed(acting)?))
    }

    /// Changes a stored caller, one change after the other.
    pub(super) async fn change_caller(
        &self,
        acting: &Acting<ManageCallers>,
        target: Target,
        edit: impl FnOnce(&Acting<ManageCallers>, &mut Caller, Timestamp) -> Result<(), AdminError> + Send,
    ) -> Result<Arc<Registered>, AdminError> {
        let changing = async {
            let (desk, acting) = self.desk(acting).await?;
            let (before, _) = self.stored_caller(&desk, &target)?;
            let now = self.sources.now();
            let mut after = before.caller.clone();
            edit(&acting, &mut after, now)?;
            if after == before.caller {
                // Asked for and granted, so the log has it; the state stays the same one.
                let act = self.caller_act(&acting, &target, BTreeMap::new());
                self.store.audit(vec![act]).await?;
                return Ok(before);
            }
            tokens::forget(&mut after, now);
            after.update_time = Some(now);
            self.leaves_a_manager(&target.name, Some(&after))?;
            self.write_caller(desk, &acting, target.action, Some(&before), after, now).await
        };
        self.noted_caller_act(acting, &target, changing).await
    }

    /// The stored caller as it stands, if it is the state that is expected.
    pub(super) fn stored_caller(&self, desk: &Desk, target: &Target) -> Result<(Arc<Registered>, i64), AdminError> {
        if let Some((_, error)) = desk.get(&target.name) {
            return Err(AdminError::Unreadable(format!("caller {}", target.name), *error));
        }
        let registered = self.identity.caller(&target.name).ok_or_else(|| not_found(&target.name))?;
        let Source::Stored { version, .. } = registered.source else {
            return Err(AdminError::Declared(format!("caller {}", target.name)));
        };
        expect(target, version)?;
        Ok((registered, version))
    }

    pub(super) async fn write_caller(
        &self,
        desk: Desk,
        acting: &Acting<ManageCallers>,
        action: &'static str,
        before: Option<&Registered>,
        after: Caller,
        now: Timestamp,
    ) -> Result<Arc<Registered>, AdminError> {
        self.identity.check(&after).map_err(|taken| AdminError::Taken(taken.to_string()))?;
        let replaces = before.and_then(|before| match before.source {
            Source::Stored { version, .. } => Some(version),
            Source::Declared => None,
        });
        let target = Target { action, name: after.name.clone(), expected: None };
        let (record, replaces) = self.records.sealed(key(&after.name), replaces, &record::to_bytes(&after)?)?;
        let mut act =
            self.caller_act(acting, &target, told::differences(before.map(|before| &before.caller), Some(&after)));
        act.detail.insert("etag".to_owned(), Etag(record.version).to_string());
        let create_time = after.create_time.unwrap_or(now);
        let source = Source::Stored { version: record.version, create_time, update_time: now };
        let change = Change { puts: vec![(record, replaces)], audit: vec![act], ..Change::default() };
        let registered = Registered { caller: after, source };
        self.through_to_callers(desk, change, move |admin, _| {
            let known = Arc::new(registered.clone());
            admin.identity.put(registered).map_err(|taken| AdminError::Taken(taken.to_string()))?;
            Ok(known)
        })
        .await
    }

    /// Commits a change and makes it known. Goes through to the end also if the call that asked for it is given up: what is
    /// stored and what is known must not differ.
    pub(super) async fn through_to_callers<T: Send + 'static>(
        &self,
        mut desk: Desk,
        change: Change,
        make_known: impl FnOnce(&Self, &mut Unreadable) -> Result<T, AdminError> + Send + 'static,
    ) -> Result<T, AdminError> {
        let admin = self.clone();
        let task = tokio::spawn(async move {
            admin.records.change(change).await?;
            make_known(&admin, &mut desk)
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()).into()))
    }

    /// Refuses what would leave nobody to manage callers.
    pub(super) fn leaves_a_manager(&self, name: &CallerName, after: Option<&Caller>) -> Result<(), AdminError> {
        let all = self.identity.all();
        let mut others = all.iter().map(|registered| &registered.caller).filter(|caller| caller.name != *name);
        if after.is_some_and(manages_callers) || others.any(manages_callers) {
            Ok(())
        } else {
            Err(AdminError::NotNow("nobody would be left to manage callers".to_owned()))
        }
    }

    pub(super) fn read_caller(&self, record: &Record) -> Result<Registered, UnsealError> {
        let caller = record::from_bytes(&record.key, &self.records.opened(record)?)?;
        let written = Timestamp::from_microsecond(record.version).unwrap_or(Timestamp::MIN);
        let source = Source::Stored {
            version: record.version,
            create_time: caller.create_time.unwrap_or(written),
            update_time: caller.update_time.unwrap_or(written),
        };
        Ok(Registered { caller, source })
    }

    pub(super) fn caller_act(
        &self,
        acting: &Acting<ManageCallers>,
        target: &Target,
        detail: BTreeMap<String, String>,
    ) -> Act {
        let act = acting.act(self.sources.now(), target.action, subject(&target.name), "done");
        Act { detail, ..act }
    }

    /// What was refused is in the audit log too.
    pub(super) async fn noted_caller_act<T>(
        &self,
        acting: &Acting<ManageCallers>,
        target: &Target,
        act: impl Future<Output = Result<T, AdminError>> + Send,
    ) -> Result<T, AdminError> {
        match act.await {
            Ok(done) => Ok(done),
            Err(error) => Err(self.refused(acting, target.action, subject(&target.name), error).await),
        }
    }
}

pub(super) fn key(name: &CallerName) -> RecordKey {
    RecordKey::of(RecordKind::Caller, name.as_str())
}

fn subject(name: &CallerName) -> String {
    format!("caller/{name}")
}

pub(super) fn not_found(name: &CallerName) -> AdminError {
    AdminError::NotFound(format!("caller {name}"))
}

pub(super) fn expect(target: &Target, version: i64) -> Result<(), AdminError> {
    match target.expected {
        Some(Etag(expected)) if expected != version => Err(AdminError::Changed(format!("caller {}", target.name))),
        _ => Ok(()),
    }
}

fn manages_callers(caller: &Caller) -> bool {
    let right = AdminRight { area: Area::Callers, level: Level::Manage };
    !caller.disabled && caller.admin.iter().any(|own| own.covers(right))
}

/// Whether whoever acts holds every right that would be given or taken away.
pub(super) fn may_give(
    acting: &Acting<ManageCallers>,
    before: &[AdminRight],
    after: &[AdminRight],
) -> Result<(), AdminError> {
    let lacks = |rights: &[AdminRight], right: AdminRight| !rights.iter().any(|own| own.covers(right));
    let given = after.iter().filter(|right| lacks(before, **right));
    let taken = before.iter().filter(|right| lacks(after, **right));
    match given.chain(taken).find(|right| !acting.holds(**right)) {
        Some(right) => Err(AdminError::Beyond(*right)),
        None => Ok(()),
    }
}

/// Whether whoever acts may get hold of what the caller is known by: it could do then whatever the caller may.
pub(super) fn may_stand_for(acting: &Acting<ManageCallers>, caller: &Caller) -> Result<(), AdminError> {
    may_give(acting, &[], &caller.admin)
}
