//! Which updates a stream carries.

use std::collections::{BTreeSet, HashSet};

use crate::{
    domain::{
        event::Update,
        ids::{MessageId, NumberName},
        signed::Fingerprint,
        status::Status,
    },
    identity::Visibility,
};

/// A caller's sight, narrowed by what it asked for. An empty set narrows nothing.
#[derive(Clone, Debug)]
pub struct Filter {
    sight: Visibility,
    numbers: HashSet<NumberName>,
    messages: HashSet<MessageId>,
    statuses: HashSet<Status>,
    labels: HashSet<String>,
    fingerprint: Fingerprint,
}

impl Filter {
    /// Combines the parts.
    pub fn of(
        sight: Visibility,
        numbers: HashSet<NumberName>,
        messages: HashSet<MessageId>,
        statuses: HashSet<Status>,
        labels: HashSet<String>,
    ) -> Self {
        let fingerprint = fingerprint(&sight, &numbers, &messages, &statuses, &labels);
        Self { sight, numbers, messages, statuses, labels, fingerprint }
    }

    /// Whether the update passes.
    pub fn passes(&self, update: &Update) -> bool {
        let origins = &update.origins;
        self.names(&origins.message_id)
            && (self.numbers.is_empty() || self.numbers.contains(&origins.number))
            && (self.statuses.is_empty()
                || update.observed.status().is_some_and(|status| self.statuses.contains(&status)))
            && (self.labels.is_empty() || origins.labels.iter().any(|label| self.labels.contains(label)))
            && self.sight.sees(&origins.caller, &origins.number)
    }

    /// Whether the message is one of those asked for.
    pub fn names(&self, id: &MessageId) -> bool {
        self.messages.is_empty() || self.messages.contains(id)
    }

    /// The messages asked for by id.
    pub const fn messages(&self) -> &HashSet<MessageId> {
        &self.messages
    }

    /// Whose sight it is.
    pub const fn sight(&self) -> &Visibility {
        &self.sight
    }

    /// What stands for it in a cursor.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// The same for the same sets, in whatever order they were given.
fn fingerprint(
    sight: &Visibility,
    numbers: &HashSet<NumberName>,
    messages: &HashSet<MessageId>,
    statuses: &HashSet<Status>,
    labels: &HashSet<String>,
) -> Fingerprint {
    let numbers: BTreeSet<_> = numbers.iter().collect();
    let messages: BTreeSet<_> = messages.iter().collect();
    let statuses: BTreeSet<_> = statuses.iter().collect();
    let labels: BTreeSet<_> = labels.iter().collect();
    let caller = std::iter::once((0, sight.caller().as_str().as_bytes()));
    let parts = caller
        .chain(numbers.into_iter().map(|number| (1, number.as_str().as_bytes())))
        .chain(messages.into_iter().map(|id| (2, &id.as_bytes()[..])))
        .chain(statuses.into_iter().map(|status| (3, status.as_str().as_bytes())))
        .chain(labels.into_iter().map(|label| (4, label.as_bytes())));
    Fingerprint::of(parts)
}
