//! Which entries of the log a stream carries.

use std::collections::{BTreeSet, HashSet};

use crate::{
    domain::{
        event::{Event, Payload, Update},
        ids::{CallerName, MessageId, NumberName},
        inbound::{Inbound, InboundKind},
        message::Message,
        signed::Fingerprint,
        status::Status,
    },
    identity::{InboxSight, Visibility},
};

/// A caller's sight, narrowed by what it asked for. An empty set narrows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    choice: Choice,
    fingerprint: Fingerprint,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Updates(Updates),
    Inbox(Inbox),
}

/// Which status updates.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Updates {
    sight: Visibility,
    numbers: HashSet<NumberName>,
    messages: HashSet<MessageId>,
    statuses: HashSet<Status>,
    labels: HashSet<String>,
}

/// Which inbound events.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Inbox {
    sight: InboxSight,
    numbers: HashSet<NumberName>,
    kinds: HashSet<InboundKind>,
}

impl Filter {
    /// Status updates.
    pub fn updates(
        sight: Visibility,
        numbers: HashSet<NumberName>,
        messages: HashSet<MessageId>,
        statuses: HashSet<Status>,
        labels: HashSet<String>,
    ) -> Self {
        let updates = Updates { sight, numbers, messages, statuses, labels };
        Self { fingerprint: updates.fingerprint(), choice: Choice::Updates(updates) }
    }

    /// Inbound events.
    pub fn inbox(sight: InboxSight, numbers: HashSet<NumberName>, kinds: HashSet<InboundKind>) -> Self {
        let inbox = Inbox { sight, numbers, kinds };
        Self { fingerprint: inbox.fingerprint(), choice: Choice::Inbox(inbox) }
    }

    /// Whether the entry passes.
    pub fn passes(&self, event: &Event) -> bool {
        match (&self.choice, &event.payload) {
            (Choice::Updates(updates), Payload::Update(update)) => updates.passes(update),
            (Choice::Inbox(inbox), Payload::Inbound(inbound)) => inbox.passes(inbound),
            (Choice::Updates(_), Payload::Inbound(_)) | (Choice::Inbox(_), Payload::Update(_)) => false,
        }
    }

    /// The messages asked for by id.
    pub fn messages(&self) -> impl Iterator<Item = MessageId> + '_ {
        let messages = match &self.choice {
            Choice::Updates(updates) => Some(&updates.messages),
            Choice::Inbox(_) => None,
        };
        messages.into_iter().flatten().copied()
    }

    /// Whether the update is of a message asked for by id.
    pub fn names(&self, update: &Update) -> bool {
        match &self.choice {
            Choice::Updates(updates) => updates.messages.contains(&update.origins.message_id),
            Choice::Inbox(_) => false,
        }
    }

    /// Whether the message may be seen at all.
    pub fn sees(&self, message: &Message) -> bool {
        match &self.choice {
            Choice::Updates(updates) => updates.sight.sees(&message.origins.caller, &message.origins.number),
            Choice::Inbox(_) => false,
        }
    }

    /// Who asked.
    pub const fn caller(&self) -> &CallerName {
        match &self.choice {
            Choice::Updates(updates) => updates.sight.caller(),
            Choice::Inbox(inbox) => inbox.sight.caller(),
        }
    }

    /// What stands for it in a cursor: the same for the same caller and sets, in whatever order they were given.
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Updates {
    fn passes(&self, update: &Update) -> bool {
        let origins = &update.origins;
        (self.messages.is_empty() || self.messages.contains(&origins.message_id))
            && (self.numbers.is_empty() || self.numbers.contains(&origins.number))
            && (self.statuses.is_empty()
                || update.observed.status().is_some_and(|status| self.statuses.contains(&status)))
            && (self.labels.is_empty() || origins.labels.iter().any(|label| self.labels.contains(label)))
            && self.sight.sees(&origins.caller, &origins.number)
    }

    fn fingerprint(&self) -> Fingerprint {
        let numbers: BTreeSet<_> = self.numbers.iter().collect();
        let messages: BTreeSet<_> = self.messages.iter().collect();
        let statuses: BTreeSet<_> = self.statuses.iter().collect();
        let labels: BTreeSet<_> = self.labels.iter().collect();
        let caller = std::iter::once((0, self.sight.caller().as_str().as_bytes()));
        let parts = caller
            .chain(numbers.into_iter().map(|number| (1, number.as_str().as_bytes())))
            .chain(messages.into_iter().map(|id| (2, &id.as_bytes()[..])))
            .chain(statuses.into_iter().map(|status| (3, status.as_str().as_bytes())))
            .chain(labels.into_iter().map(|label| (4, label.as_bytes())));
        Fingerprint::of(parts)
    }
}

impl Inbox {
    fn passes(&self, inbound: &Inbound) -> bool {
        (self.numbers.is_empty() || self.numbers.contains(&inbound.number))
            && (self.kinds.is_empty() || self.kinds.contains(&inbound.what.kind()))
            && self.sight.reaches(&inbound.number)
    }

    /// Its kinds of parts are none of those of status updates.
    fn fingerprint(&self) -> Fingerprint {
        let numbers: BTreeSet<_> = self.numbers.iter().collect();
        let kinds: BTreeSet<_> = self.kinds.iter().map(|kind| *kind as u8).collect();
        let kinds: Vec<u8> = kinds.into_iter().collect();
        let caller = std::iter::once((5, self.sight.caller().as_str().as_bytes()));
        let numbers = numbers.into_iter().map(|number| (6, number.as_str().as_bytes()));
        Fingerprint::of(caller.chain(numbers).chain(std::iter::once((7, kinds.as_slice()))))
    }
}
