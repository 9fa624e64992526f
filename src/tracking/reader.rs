//! Reading messages back from Pilot Status: one by its id, or a text in doubt by what its number has sent.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

use super::reconcile::Pace;
use crate::{
    domain::{
        ids::{MessageId, NumberName},
        inbound::Trust,
        message::{ForeignIds, Message},
        secret::Likeness,
        sources::Sources,
        status::Status,
    },
    keys::KeyRing,
    store::{Key, Recorded, Sighting, Store, StoreError},
    upstream::{Past, PastPage, ReadError, Reading, Slot, Upstream},
    vault::Vault,
};

/// By so much the clocks of both sides may differ.
pub(super) const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// More messages that say the same to the same recipient are not read one by one.
const MOST_ALIKE: usize = 20;

/// A longer history is not looked through for a doubt.
const MOST_PAGES: usize = 10;

/// A message that was read for whoever asked is not read for anybody who asks again within this time.
const AGAIN: Duration = Duration::from_secs(2);

/// Messages at most that are read at once for those who ask, and no more than half of all calls.
const MOST_ASKED: usize = 16;

/// How long to wait for one of these places.
const PLACE_WAIT: Duration = Duration::from_secs(5);

/// Longer than changing a key takes; by then another look at what is due does no harm.
const LONG: Duration = Duration::from_secs(600);

/// Reads messages back. Clones are the same.
#[derive(Clone)]
pub struct Reader {
    pub(super) store: Arc<dyn Store>,
    pub(super) upstream: Upstream,
    pub(super) keys: Arc<KeyRing>,
    pub(super) vault: Vault,
    pub(super) sources: Sources,
    asked: Arc<Asked>,
}

/// What is read for those who ask, so that asking over and over takes nothing from sends.
struct Asked {
    places: Semaphore,
    /// When messages were asked for last.
    last: Mutex<HashMap<MessageId, Instant>>,
}

/// Why a message was not read back.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RefreshError {
    /// Reading it did not work.
    #[error("not read back: {0}")]
    Upstream(#[from] ReadError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who gives leave for a call.
pub(super) enum Leaves<'a> {
    /// Whoever waits for the answer: as soon as a slot is free.
    Asked,
    /// The pace of polling.
    Polled(&'a Pace),
}

impl Reader {
    /// Puts the parts together.
    pub fn new(store: Arc<dyn Store>, upstream: Upstream, keys: Arc<KeyRing>, vault: Vault, sources: Sources) -> Self {
        let places = Semaphore::new((upstream.max_in_flight() / 2).clamp(1, MOST_ASKED));
        let asked = Arc::new(Asked { places, last: Mutex::default() });
        Self { store, upstream, keys, vault, sources, asked }
    }

    /// Reads the message from Pilot Status now and merges what it says. A message in doubt is looked for in what the
    /// number has sent; another one that Pilot Status has no id for yet is returned as it is, and so is one that was asked
    /// for a moment ago, whether or not that was answered.
    pub async fn refresh(&self, message: Message) -> Result<Message, RefreshError> {
        let Some(number) = self.keys.get(&message.origins.number) else { return Ok(message) };
        let asked = message.origins.message_id;
        if !self.asked.is_turn(asked) {
            return Ok(message);
        }
        let Some(_place) = self.asked.place().await else {
            self.asked.last().remove(&asked);
            return Err(ReadError::Unavailable { detail: "too many messages are being read back".to_owned() }.into());
        };
        let Some(id) = readable_id(&message.ids) else {
            let in_doubt = message.status == Status::InDoubt;
            return if in_doubt { self.look_for(message, &number.name, Leaves::Asked).await } else { Ok(message) };
        };
        let reading = self.read(&number.name, &Leaves::Asked, id).await?;
        let facts = reading.into_facts(self.sources.now());
        Ok(self.store.merge(message.origins.message_id, facts).await?)
    }

    /// Settles a text in doubt if exactly one message that its number has sent says the same to the same recipient, and is
    /// not known as another one.
    pub(super) async fn look_for(
        &self,
        message: Message,
        number: &NumberName,
        leaves: Leaves<'_>,
    ) -> Result<Message, RefreshError> {
        let id = message.origins.message_id;
        let Some(likeness) = self.store.likeness(id).await? else { return Ok(message) };
        // One that is too long to be looked through may hold another candidate.
        let Some(mut past) = self.history_since(&message, number, &leaves).await? else { return Ok(message) };
        past.retain(|past| {
            let said = past.said.as_ref();
            said.is_some_and(|(to, text)| self.vault.likeness(number, to, text) == likeness)
        });
        if past.len() > MOST_ALIKE {
            return Ok(message);
        }
        let mut unknown = Vec::new();
        for past in past {
            if self.store.find(number, Key::External(past.external.clone())).await?.is_some() {
                continue;
            }
            let reading = match self.read(number, &leaves, past.external.as_str()).await {
                Ok(reading) => reading,
                // Not one that was asked for over this API.
                Err(ReadError::NotFound) => continue,
                Err(error) => return Err(error.into()),
            };
            let Some(upstream) = reading.ids.upstream.clone() else { continue };
            if self.store.find(number, Key::Upstream(upstream)).await?.is_none() {
                unknown.push(reading);
            }
        }
        if let Some(reading) = unknown.pop().filter(|_| unknown.is_empty()) {
            self.record_found(number, likeness, reading).await?;
        }
        Ok(self.store.message(id).await?.unwrap_or(message))
    }

    /// Records what was read of the only message that may be the one in doubt. Its earliest time tells whether it is, for a
    /// status without a time has that of reading, which may be long after: the others are recorded only if that one was taken.
    async fn record_found(&self, number: &NumberName, likeness: Likeness, reading: Reading) -> Result<(), StoreError> {
        if reading.statuses.iter().all(|(_, told)| told.is_none()) {
            return Ok(());
        }
        let mut facts = reading.into_facts(self.sources.now());
        facts.sort_by_key(|fact| fact.at);
        let sighting = |fact| Sighting { fact, likeness: Some(likeness), trust: Trust::Proven }.into();
        let mut sightings = facts.into_iter().map(sighting);
        let earliest = self.store.record(number, sightings.next().into_iter().collect()).await?;
        if earliest == [Recorded::Appended] {
            self.store.record(number, sightings.collect()).await?;
        }
        Ok(())
    }

    /// What the number has sent since the message was accepted; `None` if that is too much.
    async fn history_since(
        &self,
        message: &Message,
        number: &NumberName,
        leaves: &Leaves<'_>,
    ) -> Result<Option<Vec<Past>>, RefreshError> {
        let from = message.origins.create_time.saturating_sub(CLOCKS).unwrap_or(jiff::Timestamp::MIN);
        let to = self.sources.now().saturating_add(CLOCKS).unwrap_or(jiff::Timestamp::MAX);
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let told = self.history(number, leaves, from..to, page).await?;
            all.extend(told.past);
            if told.behind == 0 {
                return Ok(Some(all));
            }
        }
        Ok(None)
    }

    /// Reads one message by its id.
    pub(super) async fn read(&self, number: &NumberName, leaves: &Leaves<'_>, id: &str) -> Result<Reading, ReadError> {
        let mut asking = self.keys.asking(number, leaves.key_patience());
        loop {
            let leave = self.leave(leaves).await?;
            let Some((leave, in_use)) = asking.key(leave).await? else { continue };
            let answer = self.upstream.message(leave.slot(), in_use.key(), id).await;
            if asking.is_answered(in_use, &answer) {
                return answer;
            }
        }
    }

    /// Reads one page of what a number has sent.
    pub(super) async fn history(
        &self,
        number: &NumberName,
        leaves: &Leaves<'_>,
        span: Range<jiff::Timestamp>,
        page: usize,
    ) -> Result<PastPage, ReadError> {
        let mut asking = self.keys.asking(number, leaves.key_patience());
        loop {
            let leave = self.leave(leaves).await?;
            let Some((leave, in_use)) = asking.key(leave).await? else { continue };
            let answer = self.upstream.history(leave.slot(), in_use.key(), span.clone(), page).await;
            if asking.is_answered(in_use, &answer) {
                return answer;
            }
        }
    }

    async fn leave(&self, leaves: &Leaves<'_>) -> Result<Leave, ReadError> {
        match leaves {
            Leaves::Asked => self.upstream.read_slot().await.map(Leave::Asked),
            Leaves::Polled(pace) => Ok(Leave::Polled(pace.pass(&self.upstream).await)),
        }
    }
}

impl Leaves<'_> {
    /// How long a change of the number's key is waited for. What is polled has nobody who waits for it.
    const fn key_patience(&self) -> Duration {
        match self {
            Self::Asked => PLACE_WAIT,
            Self::Polled(_) => LONG,
        }
    }
}

impl Asked {
    /// Whether a message may be read now; if so, it may not for a while.
    fn is_turn(&self, id: MessageId) -> bool {
        let now = Instant::now();
        let mut last = self.last();
        last.retain(|_, asked| now.duration_since(*asked) < AGAIN);
        let is_turn = !last.contains_key(&id);
        if is_turn {
            last.insert(id, now);
        }
        is_turn
    }

    async fn place(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PLACE_WAIT, self.places.acquire()).await.ok()?.ok()
    }

    fn last(&self) -> MutexGuard<'_, HashMap<MessageId, Instant>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Leave {
    Asked(Slot),
    Polled(super::reconcile::Pass),
}

impl Leave {
    const fn slot(&self) -> &Slot {
        match self {
            Self::Asked(slot) => slot,
            Self::Polled(pass) => pass.slot(),
        }
    }
}

/// The id by which a message can be read: Pilot Status's, the provider's or the business id.
pub(super) fn readable_id(ids: &ForeignIds) -> Option<&str> {
    let upstream = ids.upstream.as_ref().map(|id| id.as_str());
    let external = || ids.external.as_ref().map(|id| id.as_str());
    upstream.or_else(external).or_else(|| ids.correlation.as_ref().map(|id| id.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_asked_for_once_in_a_while_and_few_at_once() {
        let asked = Asked { places: Semaphore::new(1), last: Mutex::default() };
        let id = |n| MessageId::from_uuid(uuid::Uuid::from_u128(n));
        assert_eq!([1, 2, 1, 2].map(|n| asked.is_turn(id(n))), [true, true, false, false]);
        tokio::time::sleep(AGAIN).await;
        assert_eq!([1, 1].map(|n| asked.is_turn(id(n))), [true, false]);
        assert_eq!(asked.last().len(), 1, "those of long ago are forgotten");
        let place = asked.place().await;
        assert!(place.is_some() && asked.place().await.is_none());
        drop(place);
        assert!(asked.place().await.is_some());
    }
}
