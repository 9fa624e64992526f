//! Looking a message up, and reading it back from Pilot Status.

use super::Messaging;
use crate::{
    domain::{
        ids::{CorrelationId, ExternalId, MessageId, NumberName, UpstreamId},
        merge::Fact,
        message::Message,
        status::{Origin, Status},
    },
    identity::Visibility,
    store::{Key, StoreError},
    upstream::{ReadError, Reading},
};

/// Why a message was not told.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum LookError {
    /// There is none that the caller may see.
    #[error("no such message")]
    NotFound,
    /// Reading it back did not work.
    #[error("not read back: {0}")]
    Upstream(#[from] ReadError),
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

    /// Reads the message from Pilot Status now and merges what it says. A message in doubt is looked for in what the
    /// number has sent; another one that Pilot Status has no id for yet is returned as it is.
    pub async fn refresh(&self, message: Message) -> Result<Message, LookError> {
        let Some(number) = self.keys.get(&message.origins.number) else { return Ok(message) };
        let Some(id) = message.ids.upstream.clone() else {
            return if message.status == Status::InDoubt { self.look_for(message, number).await } else { Ok(message) };
        };
        let reading = self.upstream.message(&number.key, id.as_str()).await?;
        Ok(self.store.merge(message.origins.message_id, self.facts(reading)).await?)
    }

    pub(super) fn facts(&self, reading: Reading) -> Vec<Fact> {
        let observed_at = self.sources.now();
        let Reading { ids, statuses } = reading;
        statuses
            .into_iter()
            .map(|(status, at)| Fact {
                status,
                at: at.unwrap_or(observed_at),
                observed_at,
                origin: Origin::Poll,
                ids: ids.clone(),
            })
            .collect()
    }
}

fn is_seen(sight: &Visibility, message: &Message) -> bool {
    sight.sees(&message.origins.caller, &message.origins.number)
}
