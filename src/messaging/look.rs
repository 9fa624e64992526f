//! Looking a message up.

use super::Messaging;
use crate::{
    domain::{
        ids::{CorrelationId, ExternalId, MessageId, NumberName, UpstreamId},
        message::Message,
    },
    identity::Visibility,
    store::{Key, StoreError},
};

/// Why a message was not told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LookError {
    /// There is none that the caller may see.
    #[error("no such message")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Messaging {
    /// The message with our id, if the caller may see it.
    pub async fn by_id(&self, sight: &Visibility, id: MessageId) -> Result<Message, LookError> {
        let found = self.store.message(id).await?;
        found.filter(|message| is_seen(sight, message)).ok_or(LookError::NotFound)
    }

    /// The message that Pilot Status or the provider knows by `id`, if the caller may see it.
    pub async fn by_foreign_id(&self, sight: &Visibility, number: &NumberName, id: &str) -> Result<Message, LookError> {
        let keys = [
            UpstreamId::from_text(id).ok().map(Key::Upstream),
            CorrelationId::from_text(id).ok().map(Key::Correlation),
            ExternalId::from_text(id).ok().map(Key::External),
        ];
        for key in keys.into_iter().flatten() {
            if let Some(message) = self.store.find(number, key).await?
                && is_seen(sight, &message)
            {
                return Ok(message);
            }
        }
        Err(LookError::NotFound)
    }
}

fn is_seen(sight: &Visibility, message: &Message) -> bool {
    sight.sees(&message.origins.caller, &message.origins.number)
}
