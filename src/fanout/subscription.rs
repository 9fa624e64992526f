//! Named subscriptions: a durable place in the log for a caller's stream, and the one stream that each carries.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as Turn, OwnedSemaphorePermit};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{CursorError, Fanout, Follow, FollowError, FollowRequest, Start};
use crate::{
    domain::{
        ids::{CallerName, SubscriptionName},
        position::Position,
        signed::Fingerprint,
    },
    store::{Begin, Commit, Committed, StoreError, Subscribe, Subscribed, SubscriptionKey},
};

/// An acknowledgement as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The cursor behind which the subscription resumes.
    pub cursor: String,
    /// How many entries lie ahead of it.
    pub backlog: u64,
}

/// Why an acknowledgement was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The caller has no such subscription.
    #[error("no such subscription")]
    Unknown,
    /// The cursor is none, or not one of this subscription.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fanout {
    /// Acknowledges everything up to the cursor. It is on disk when this returns.
    pub async fn commit(
        &self,
        caller: &CallerName,
        name: SubscriptionName,
        cursor: &str,
    ) -> Result<Acknowledged, CommitError> {
        let head = *self.store.head().borrow();
        let (position, filter) = self.cursors.read(cursor, head)?;
        let key = SubscriptionKey { caller: caller.clone(), name };
        let at = self.sources.now();
        let commit = Commit { key: key.clone(), filter, position, at };
        match self.store.commit(commit).await? {
            Committed::Unknown => Err(CommitError::Unknown),
            Committed::OtherFilter => Err(CursorError::OtherFilter.into()),
            Committed::UpTo(position) => {
                self.carried.note(&key, filter, position, at);
                Ok(Acknowledged {
                    cursor: self.cursors.encode(position, filter),
                    backlog: u64::try_from(head.0 - position.0).unwrap_or_default(),
                })
            }
        }
    }

    /// Begins to follow for a subscription, and ends the stream that it carries so far once nothing can be refused any more.
    pub(super) async fn follow_named(
        &self,
        place: OwnedSemaphorePermit,
        request: FollowRequest,
        name: SubscriptionName,
    ) -> Result<Follow, FollowError> {
        let key = SubscriptionKey { caller: request.filter.caller().clone(), name };
        let (filter, at) = (request.filter.fingerprint(), self.sources.now());
        let most = self.options.max_subscriptions;
        let open = async |begin| {
            let subscribe = Subscribe { key: key.clone(), filter, begin, at, most };
            match self.store.subscribe(subscribe).await? {
                Subscribed::Committed(position) => Ok(position),
                Subscribed::OtherFilter => Err(FollowError::OtherFilter),
                Subscribed::TooMany => Err(FollowError::TooManySubscriptions),
            }
        };
        // Before the subscription is touched: a stream that is refused leaves it as it was.
        if request.until_final {
            self.named(&request.filter).await?;
        }
        // Who opens it last in the store is who carries it.
        let _turn = self.carried.turn(&key).lock().await;
        let held = self.carried.enter(key.clone(), filter, at);
        let head = *self.store.head().borrow();
        let (beginning, committed) = if request.start == Start::Committed {
            let committed = open(Begin::Resume(head)).await?;
            (self.begin(&request, Some(committed)).await?, committed)
        } else {
            let beginning = self.begin(&request, self.wanted(&request, head).await?).await?;
            // A gap that was not told yet is not acknowledged either.
            (beginning, open(Begin::At(beginning.gap.unwrap_or(beginning.after))).await?)
        };
        held.carrier.note(committed, at);
        let carrier = Arc::clone(&held.carrier);
        let mut follow = Follow::at(self.clone(), place, beginning, Some(held), request);
        follow.look_for_final().await?;
        self.carried.take_over(&key, &carrier);
        Ok(follow)
    }

    /// Acknowledgements that say nothing new. They keep retention from subscriptions that carry a stream: those of which
    /// the store has heard nothing for half of `age`.
    pub fn in_use(&self, age: SignedDuration) -> Vec<Commit> {
        let at = self.sources.now();
        let since = at.checked_sub(age / 2).unwrap_or(Timestamp::MIN).as_microsecond();
        let places = self.carried.lock();
        let carriers = places.iter().flat_map(|(key, carriers)| carriers.iter().map(move |carrier| (key, carrier)));
        let quiet = carriers.filter(|(_, carrier)| carrier.used_at.load(Ordering::Relaxed) < since);
        let used = quiet.map(|(key, carrier)| {
            carrier.used_at.store(at.as_microsecond(), Ordering::Relaxed);
            Commit { key: key.clone(), filter: carrier.filter, position: carrier.committed(), at }
        });
        used.collect()
    }
}

/// How many subscriptions can be opened at once. Those of one name never are.
const TURNS: usize = 64;

/// The subscriptions that carry a stream now.
#[derive(Clone)]
pub(super) struct Carried(Arc<Places>);

struct Places {
    turns: [Turn<()>; TURNS],
    hashes: RandomState,
    /// Who carries it, and whoever is about to.
    carriers: Mutex<HashMap<SubscriptionKey, Vec<Arc<Carrier>>>>,
}

/// One that does.
struct Carrier {
    filter: Fingerprint,
    /// Tells the stream when it does no more.
    taken_over: CancellationToken,
    /// That is because an administrator has moved or deleted the subscription.
    moved: AtomicBool,
    committed: AtomicI64,
    /// When the store last heard of it, in microseconds since 1970.
    used_at: AtomicI64,
}

/// A stream's hold on its subscription.
pub(super) struct Held {
    carried: Carried,
    key: SubscriptionKey,
    taken_over: Pin<Box<WaitForCancellationFutureOwned>>,
    carrier: Arc<Carrier>,
}

impl Carried {
    pub(super) fn none() -> Self {
        let turns = std::array::from_fn(|_| Turn::new(()));
        Self(Arc::new(Places { turns, hashes: RandomState::new(), carriers: Mutex::default() }))
    }

    pub(super) fn turn(&self, key: &SubscriptionKey) -> &Turn<()> {
        &self.0.turns[self.0.hashes.hash_one(key) as usize % TURNS]
    }

    /// A new stream that is about to carry it. It misses no acknowledgement from here on.
    fn enter(&self, key: SubscriptionKey, filter: Fingerprint, at: Timestamp) -> Held {
        let token = CancellationToken::new();
        let taken_over = Box::pin(token.clone().cancelled_owned());
        let (committed, used_at) = (AtomicI64::new(Position::START.0), AtomicI64::new(at.as_microsecond()));
        let carrier =
            Arc::new(Carrier { filter, taken_over: token, moved: AtomicBool::new(false), committed, used_at });
        self.lock().entry(key.clone()).or_default().push(Arc::clone(&carrier));
        Held { carried: self.clone(), key, taken_over, carrier }
    }

    /// Gives the subscription to the new stream. The older one gives nothing more from here on.
    fn take_over(&self, key: &SubscriptionKey, newest: &Arc<Carrier>) {
        if let Some(carriers) = self.lock().get_mut(key) {
            for older in carriers.extract_if(.., |carrier| !Arc::ptr_eq(carrier, newest)) {
                older.taken_over.cancel();
            }
        }
    }

    /// Ends the stream that carries it, because the subscription is no longer where it was.
    pub(super) fn move_away(&self, key: &SubscriptionKey) {
        for carrier in self.lock().remove(key).into_iter().flatten() {
            carrier.moved.store(true, Ordering::Release);
            carrier.taken_over.cancel();
        }
    }

    /// Whether a stream carries it now.
    pub(super) fn is_carried(&self, key: &SubscriptionKey) -> bool {
        self.lock().contains_key(key)
    }

    /// Notes an acknowledgement for the heartbeats of whoever carries it now.
    fn note(&self, key: &SubscriptionKey, filter: Fingerprint, position: Position, at: Timestamp) {
        for carrier in self.lock().get(key).into_iter().flatten().filter(|carrier| carrier.filter == filter) {
            carrier.note(position, at);
        }
    }

    /// Every change is a single step, so that a panic leaves the map whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<SubscriptionKey, Vec<Arc<Carrier>>>> {
        self.0.carriers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Carrier {
    fn note(&self, position: Position, at: Timestamp) {
        self.committed.fetch_max(position.0, Ordering::Relaxed);
        self.used_at.fetch_max(at.as_microsecond(), Ordering::Relaxed);
    }

    fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Relaxed))
    }
}

impl Held {
    /// Up to where the subscription is acknowledged.
    pub(super) fn committed(&self) -> Position {
        self.carrier.committed()
    }

    /// Why the stream carries it no more, if it does not.
    pub(super) fn lost(&self) -> Option<FollowError> {
        let why =
            || if self.carrier.moved.load(Ordering::Acquire) { FollowError::Moved } else { FollowError::TakenOver };
        self.carrier.taken_over.is_cancelled().then(why)
    }

    /// Ready once another stream carries it.
    pub(super) fn poll_taken_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.taken_over.as_mut().poll(context)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut places = self.carried.lock();
        if let Some(carriers) = places.get_mut(&self.key) {
            carriers.retain(|carrier| !Arc::ptr_eq(carrier, &self.carrier));
            if carriers.is_empty() {
                places.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_takeovers_leave_nothing_behind() {
        let (carried, filter, at) = (Carried::none(), Fingerprint([1; 8]), Timestamp::UNIX_EPOCH);
        let (caller, name) = ("orders".to_owned().try_into().unwrap(), "s".to_owned().try_into().unwrap());
        let key = SubscriptionKey { caller, name };
        let mut older = Vec::new();
        for _ in 0..100 {
            let newer = carried.enter(key.clone(), filter, at);
            carried.take_over(&key, &newer.carrier);
            assert_eq!(carried.lock()[&key].len(), 1);
            older.push(newer);
        }
        let newest = older.pop().unwrap();
        assert!(older.iter().all(|held| held.lost() == Some(FollowError::TakenOver)) && newest.lost().is_none());
        // They let go of nothing but their own hold.
        drop(older);
        carried.note(&key, filter, Position(7), at);
        carried.note(&key, Fingerprint([2; 8]), Position(9), at);
        assert_eq!(newest.committed(), Position(7));
        drop(newest);
        assert!(carried.lock().is_empty());
    }
}
