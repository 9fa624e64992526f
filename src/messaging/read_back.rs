//! Looking for a message in doubt among those that its number has sent.

use jiff::SignedDuration;

use super::{Messaging, look::LookError};
use crate::{
    domain::{inbound::Trust, message::Message},
    keys::Number,
    store::{Key, Sighting},
    upstream::ReadError,
};

/// By so much the clocks of both sides may differ.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// More messages that say the same to the same recipient are not read one by one.
const MOST: usize = 20;

impl Messaging {
    /// Settles a text in doubt if exactly one message that its number has sent says the same to the same recipient, and is
    /// not known as another one.
    pub(super) async fn look_for(&self, message: Message, number: &Number) -> Result<Message, LookError> {
        let id = message.origins.message_id;
        let Some(likeness) = self.store.likeness(id).await? else { return Ok(message) };
        let from = message.origins.create_time.saturating_sub(CLOCKS).unwrap_or(jiff::Timestamp::MIN);
        let to = self.sources.now().saturating_add(CLOCKS).unwrap_or(jiff::Timestamp::MAX);
        // One that is too long to be looked through may hold another candidate.
        let Some(mut past) = self.upstream.history(&number.key, from, to).await? else { return Ok(message) };
        past.retain(|past| self.vault.likeness(&number.name, &past.to, &past.text) == likeness);
        if past.len() > MOST {
            return Ok(message);
        }
        let mut unknown = Vec::new();
        for past in past {
            if self.store.find(&number.name, Key::External(past.external.clone())).await?.is_some() {
                continue;
            }
            let reading = match self.upstream.message(&number.key, past.external.as_str()).await {
                Ok(reading) => reading,
                // Not one that was asked for over this API.
                Err(ReadError::NotFound) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(upstream) = reading.ids.upstream.clone() else { continue };
            if self.store.find(&number.name, Key::Upstream(upstream)).await?.is_none() {
                unknown.push(reading);
            }
        }
        if unknown.len() == 1 {
            let facts = unknown.into_iter().flat_map(|reading| self.facts(reading));
            let sighting = |fact| Sighting { fact, likeness: Some(likeness), trust: Trust::Proven }.into();
            self.store.record(&number.name, facts.map(sighting).collect()).await?;
        }
        Ok(self.store.message(id).await?.unwrap_or(message))
    }
}
