//! What the gateway talks about: ids, recipients, content, statuses and their merge, events, rights and secrets.
//!
//! Everything here is a value that was checked when it was made. Nothing here knows protobuf, HTTP, SQL or a runtime;
//! every other room builds on it.

pub mod audit;
pub mod caller;
pub mod content;
pub mod event;
pub mod failure;
pub mod ids;
pub mod inbound;
pub mod intent;
pub mod merge;
pub mod message;
pub mod position;
pub mod principal;
pub mod quota;
pub mod read_back;
pub mod recipient;
pub mod record;
pub mod secret;
pub mod signed;
pub mod sources;
pub mod status;

/// Why a value was refused, as text for whoever supplied it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// A refusal with this text: lowercase, no full stop.
    pub fn because(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
