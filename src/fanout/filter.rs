//! Which updates a stream carries.

use std::collections::{BTreeSet, HashSet};

use sha2::{Digest, Sha256};

use crate::{
    domain::{
        event::Update,
        ids::{MessageId, NumberName},
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

/// Stands for a filter and its caller inside a cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 8]);

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

/// The same for the same sets, in whatever order they were given. Each part is preceded by its kind and length.
fn fingerprint(
    sight: &Visibility,
    numbers: &HashSet<NumberName>,
    messages: &HashSet<MessageId>,
    statuses: &HashSet<Status>,
    labels: &HashSet<String>,
) -> Fingerprint {
    let mut digest = Sha256::new();
    let mut part = |kind: u8, bytes: &[u8]| {
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(0, sight.caller().as_str().as_bytes());
    numbers.iter().collect::<BTreeSet<_>>().into_iter().for_each(|number| part(1, number.as_str().as_bytes()));
    messages.iter().collect::<BTreeSet<_>>().into_iter().for_each(|id| part(2, id.as_bytes()));
    statuses.iter().collect::<BTreeSet<_>>().into_iter().for_each(|status| part(3, status.as_str().as_bytes()));
    labels.iter().collect::<BTreeSet<_>>().into_iter().for_each(|label| part(4, label.as_bytes()));
    let mut short = [0; 8];
    short.copy_from_slice(&digest.finalize()[..8]);
    Fingerprint(short)
}
