//! One look at a number's webhook, and what is done about what it shows.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::timeout;

use super::{
    Drift, OnDrift, RegistrationError, Shared,
    find::{Found, Wanted, find, hook_name},
    missed::Missed,
};
use crate::{
    domain::ids::NumberName,
    keys::Number,
    upstream::{EVENTS, Hook, HookAccess, HookChange, ReadError, RefusalClass},
};

/// How long a change of a number's key is waited for. Others have their turn then.
const KEY_WAIT: Duration = Duration::from_secs(5);

/// What this process knows of a webhook from earlier looks.
pub(super) struct Known {
    /// Its id.
    id: Option<String>,
    /// What Pilot Status made of the last write. Events that it does not offer are missing there, and no drift.
    stands: Option<Wanted>,
    /// What was told last, so that it is told once.
    drift: Vec<Drift>,
    others: Vec<String>,
    /// Whether deliveries may have been missed since the log was last read.
    pub(super) log_is_due: bool,
    /// The newest row of the log that was read.
    pub(super) log_read_to: Option<Timestamp>,
    /// What was not delivered of the rows that were read last.
    pub(super) missed: HashSet<Missed>,
}

impl Known {
    /// Nothing. While this process was not there, deliveries may have been missed.
    pub(super) fn new() -> Self {
        Self {
            id: None,
            stands: None,
            drift: Vec::new(),
            others: Vec::new(),
            log_is_due: true,
            log_read_to: None,
            missed: HashSet::new(),
        }
    }
}

impl Shared {
    /// Looks at the webhook of a number, makes it as it should be, and reads what was missed. That at every look: while only
    /// the way in is closed, nothing but the log tells.
    pub(super) async fn check(&self, name: &NumberName, known: &mut Known) -> Result<(), RegistrationError> {
        let Some(mut number) = self.keys.get(name) else { return Ok(()) };
        let tenant = self.keys.managing(&number);
        // The number's own key is not changed as long as the look lasts; a few calls, one after the other.
        let in_use = match tenant {
            Some(_) => None,
            None => match timeout(KEY_WAIT, self.keys.use_in_time(name)).await {
                Ok(Some(in_use)) => Some(in_use),
                Ok(None) => return Ok(()),
                Err(_) => {
                    let detail = "the number's key is being changed".to_owned();
                    return Err(RegistrationError::Unavailable { detail });
                }
            },
        };
        if let Some(in_use) = &in_use {
            number = Arc::clone(in_use.number());
        }
        let Some(url) = number.webhook.as_ref().and_then(|door| door.url.as_ref()) else { return Ok(()) };
        let (key, acting_on) = match &tenant {
            Some((key, id)) => (key.as_key(), Some(id.as_str())),
            None => (&number.key, None),
        };
        let access = HookAccess { key, acting_on, url };
        let registered = self.register(&number, &access, known).await;
        if let Err(RegistrationError::Unavailable { .. }) = registered {
            // What keeps us from Pilot Status may keep Pilot Status from us.
            known.log_is_due = true;
        }
        match registered? {
            Some(id) => self.read_log(&number, &access, &id, known).await,
            None => Ok(()),
        }
    }

    /// The id of the webhook, if it is there in the end.
    async fn register(
        &self,
        number: &Number,
        access: &HookAccess<'_>,
        known: &mut Known,
    ) -> Result<Option<String>, RegistrationError> {
        let hooks = self.upstream.hooks(access).await?;
        let name = hook_name(&number.name);
        let Found { mut ours, others } = find(hooks, access.url, &name, known.id.as_deref());
        self.tell_others(number, others, known);
        if let (None, Some(id)) = (&ours, &known.id) {
            // A list that leaves it out, for whatever reason, must not make one more of it at every look.
            ours = match self.upstream.hook(access, id).await {
                Ok(hook) => Some(hook),
                Err(ReadError::Refused(refusal)) if refusal.class == RefusalClass::NotFound => None,
                Err(error) => return Err(error.into()),
            };
        }
        let drift = match &ours {
            Some(hook) => {
                known.id = Some(hook.id.clone());
                let wanted = Wanted::at(access.url);
                known.stands.as_ref().unwrap_or(&wanted).drift(hook)
            }
            None if known.id.is_some() => vec![Drift::Deleted],
            None => Vec::new(),
        };
        // Told before anything is done about it, which may fail.
        self.change(&number.name, |state| state.drift.clone_from(&drift));
        let left = match (&ours, drift.as_slice(), self.options.on_drift) {
            (Some(_), [], _) => drift,
            (_, [_, ..], OnDrift::Report) => drift,
            (Some(hook), [_, ..], OnDrift::Repair) => {
                let change = HookChange {
                    url: drift.contains(&Drift::Address).then_some(access.url),
                    events: drift.contains(&Drift::Events).then_some(&EVENTS[..]),
                    active: drift.contains(&Drift::Paused).then_some(true),
                };
                let answer = self.upstream.change_hook(access, &hook.id, &change).await?;
                let left = self.written(number, access, answer, known).await?;
                if left.is_empty() {
                    tracing::warn!(number = %number.name, ?drift, "the webhook had been changed; it was repaired");
                }
                left
            }
            (None, _, _) => {
                let created = self.upstream.create_hook(access, &name, number.upstream_id.as_deref()).await?;
                if drift.is_empty() {
                    tracing::info!(number = %number.name, id = created.id, "the webhook was registered");
                } else {
                    tracing::warn!(number = %number.name, id = created.id, "the webhook had been deleted; it was registered again");
                }
                self.written(number, access, created, known).await?
            }
        };
        let is_there = !left.contains(&Drift::Deleted);
        self.tell_drift(number, left, known);
        Ok(known.id.clone().filter(|_| is_there))
    }

    /// Takes what the answer to a write says as what stands; returns what it left undone.
    async fn written(
        &self,
        number: &Number,
        access: &HookAccess<'_>,
        answer: Hook,
        known: &mut Known,
    ) -> Result<Vec<Drift>, RegistrationError> {
        self.change(&number.name, |state| state.writes += 1);
        known.id = Some(answer.id.clone());
        known.log_is_due = true;
        // Until its answer is read, nothing is known to stand.
        known.stands = None;
        let is_whole = answer.events.is_some() && answer.active.is_some() && answer.url.is_some();
        let hook = if is_whole { answer } else { self.upstream.hook(access, &answer.id).await? };
        let wanted = Wanted::at(access.url);
        let events = hook.events.clone().unwrap_or_else(|| wanted.events.clone());
        let dropped: Vec<&String> = wanted.events.difference(&events).collect();
        if !dropped.is_empty() {
            tracing::info!(number = %number.name, ?dropped, "pilot status does not offer these events for the number");
        }
        // An address that was not taken as it was written is not the gateway's.
        let stands = Wanted { events, ..wanted };
        let left = stands.drift(&hook);
        known.stands = Some(stands);
        Ok(left)
    }

    fn tell_drift(&self, number: &Number, drift: Vec<Drift>, known: &mut Known) {
        if drift != known.drift {
            if drift.is_empty() {
                // It was not as it should be, and events may have been missed until now.
                known.log_is_due = true;
                tracing::info!(number = %number.name, "the webhook is as it should be again");
            } else {
                tracing::warn!(number = %number.name, ?drift, "the webhook is not as it should be");
            }
            known.drift.clone_from(&drift);
        }
        let id = known.id.clone();
        self.change(&number.name, |state| (state.id, state.drift) = (id, drift));
    }

    fn tell_others(&self, number: &Number, others: Vec<String>, known: &mut Known) {
        if others != known.others {
            if !others.is_empty() {
                tracing::warn!(
                    number = %number.name, ?others,
                    "further webhooks look like the gateway's own; they are left alone, delete them if they are"
                );
            }
            known.others.clone_from(&others);
        }
        self.change(&number.name, |state| state.others = others);
    }
}
