//! Listing a caller's own messages, newest first, page by page.
//!
//! A page is a walk down the caller's ids. The filter is applied on the way, so that a call that hardly anything passes
//! ends after [`MOST_ROWS`], with the place from which the next one goes on.

use std::{collections::BTreeSet, ops::Range};

use jiff::{SignedDuration, Timestamp};

use super::Messaging;
use crate::{
    domain::{
        ids::{MessageId, NumberName},
        message::Message,
        signed::{Fingerprint, SigningKey},
        status::Status,
    },
    identity::Visibility,
    store::{Listing, StoreError},
};

/// One call looks at this many messages at most.
const MOST_ROWS: usize = 20_000;

/// Messages read at a time once it has turned out that not all of them pass. Others may read in between.
const STEP: usize = 1_000;

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 16 + 8;

/// A caller's own messages, narrowed by what it asked for. An empty set narrows nothing.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// What the caller sees.
    pub sight: Visibility,
    /// The numbers.
    pub numbers: BTreeSet<NumberName>,
    /// Where the messages stand.
    pub statuses: BTreeSet<Status>,
    /// Labels, of which a message has one at least.
    pub labels: BTreeSet<String>,
    /// None accepted before this time.
    pub start: Option<Timestamp>,
    /// None accepted at this time or later.
    pub end: Option<Timestamp>,
}

/// Which page a caller wants.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Of which messages.
    pub filter: ListFilter,
    /// At most so many; at least 1.
    pub page_size: usize,
    /// Token of the page; `None` for the first one.
    pub page_token: Option<String>,
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// The messages, newest first.
    pub messages: Vec<Message>,
    /// The last message looked at; `None` if nothing lies behind it.
    pub last: Option<MessageId>,
}

/// Why there was no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The token is none, or not one for this list.
    #[error(transparent)]
    PageToken(#[from] PageTokenError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a text is no page token for this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    /// Not made by this gateway, or changed since.
    #[error("not a page token of this gateway")]
    NotOurs,
    /// Made for a list with another filter or caller.
    #[error("a page token of a list with another filter")]
    OtherFilter,
}

/// Makes and reads the page tokens of one list.
pub struct PageTokens {
    key: SigningKey,
    filter: Fingerprint,
}

impl Messaging {
    /// The page tokens of lists with this filter.
    pub fn page_tokens(&self, filter: &ListFilter) -> PageTokens {
        PageTokens {
            key: SigningKey::of(&self.store.cursor_key(), b"pilotgate page token"),
            filter: filter.fingerprint(),
        }
    }

    /// A page of the caller's own messages. It may be shorter than asked, or empty, although others lie behind it.
    pub async fn list(&self, request: ListRequest) -> Result<Listed, ListError> {
        let ListRequest { filter, page_size, page_token } = request;
        let mut ids = filter.ids();
        if let Some(token) = page_token {
            ids.end = self.page_tokens(&filter).decode(&token)?;
        }
        let mut messages = Vec::new();
        let mut unread = MOST_ROWS;
        // One more than asked for tells whether anything lies behind the page.
        let mut step = page_size.saturating_add(1);
        loop {
            let limit = step.min(unread);
            let listing = Listing { caller: filter.sight.caller().clone(), ids: ids.clone(), limit };
            let read = self.store.list(listing).await?;
            unread -= read.len().min(unread);
            let is_end = read.len() < limit;
            for message in read {
                if messages.len() == page_size {
                    return Ok(Listed { messages, last: Some(ids.end) });
                }
                ids.end = message.origins.message_id;
                if filter.passes(&message) {
                    messages.push(message);
                }
            }
            if is_end {
                return Ok(Listed { messages, last: None });
            }
            if unread == 0 {
                return Ok(Listed { messages, last: Some(ids.end) });
            }
            step = STEP;
        }
    }
}

impl ListFilter {
    fn passes(&self, message: &Message) -> bool {
        let origins = &message.origins;
        (self.numbers.is_empty() || self.numbers.contains(&origins.number))
            && (self.statuses.is_empty() || self.statuses.contains(&message.status))
            && (self.labels.is_empty() || origins.labels.iter().any(|label| self.labels.contains(label)))
            && self.start.is_none_or(|start| start <= origins.create_time)
            && self.end.is_none_or(|end| origins.create_time < end)
            && self.sight.sees(&origins.caller, &origins.number)
    }

    /// The ids that messages accepted between the times may have. An id tells the millisecond and no more, so a few at
    /// both ends may belong to others.
    fn ids(&self) -> Range<MessageId> {
        let next_millisecond = |end: Timestamp| end.checked_add(SignedDuration::from_nanos(999_999)).unwrap_or(end);
        let start = self.start.map_or(MessageId::LEAST, MessageId::least_at);
        let end = self.end.map_or(MessageId::GREATEST, |end| MessageId::least_at(next_millisecond(end)));
        start..end
    }

    fn fingerprint(&self) -> Fingerprint {
        let [start, end] = [self.start, self.end].map(|time| time.map(|time| time.as_nanosecond().to_be_bytes()));
        let parts = std::iter::once((0, self.sight.caller().as_str().as_bytes()))
            .chain(self.numbers.iter().map(|number| (1, number.as_str().as_bytes())))
            .chain(self.statuses.iter().map(|status| (3, status.as_str().as_bytes())))
            .chain(self.labels.iter().map(|label| (4, label.as_bytes())))
            .chain(start.iter().map(|time| (5, &time[..])))
            .chain(end.iter().map(|time| (6, &time[..])));
        Fingerprint::of(parts)
    }
}

impl PageTokens {
    /// The token of the page behind this message.
    pub fn encode(&self, last: MessageId) -> String {
        let mut bytes = [0; SIGNED];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(last.as_bytes());
        bytes[17..].copy_from_slice(&self.filter.0);
        self.key.sign(&bytes)
    }

    fn decode(&self, text: &str) -> Result<MessageId, PageTokenError> {
        let bytes: [u8; SIGNED] = self.key.open(text).ok_or(PageTokenError::NotOurs)?;
        let last = MessageId::from_slice(&bytes[1..17]).map_err(|_| PageTokenError::NotOurs)?;
        if bytes[0] != VERSION {
            return Err(PageTokenError::NotOurs);
        }
        if bytes[17..] == self.filter.0 { Ok(last) } else { Err(PageTokenError::OtherFilter) }
    }
}
