//! Named subscriptions: a durable place in the log for a caller's stream, and the one stream that each carries.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{CursorError, Fanout, FollowError, FollowRequest};
use crate::{
    domain::{
        ids::{CallerName, SubscriptionName},
        position::Position,
        signed::Fingerprint,
    },
    store::{Begin, Commit, Committed, StoreError, Subscribe, Subscribed, SubscriptionKey},
};

/// How often a subscription that is in use is noted as such.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

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
        let commit = Commit { key: key.clone(), filter, position, at: self.sources.now() };
        match self.store.commit(commit).await? {
            Committed::Unknown => Err(CommitError::Unknown),
            Committed::OtherFilter => Err(CursorError::OtherFilter.into()),
            Committed::UpTo(position) => {
                self.carried.note(&key, position);
                Ok(Acknowledged {
                    cursor: self.cursors.encode(position, filter),
                    backlog: u64::try_from(head.0 - position.0).unwrap_or_default(),
                })
            }
        }
    }

    /// Opens the subscription that the request names, and ends the stream that it carries so far. Tells up to where it is
    /// acknowledged.
    pub(super) async fn subscribe(
        &self,
        request: &FollowRequest,
        name: &SubscriptionName,
        begin: Begin,
    ) -> Result<Held, FollowError> {
        let key = SubscriptionKey { caller: request.filter.caller().clone(), name: name.clone() };
        let subscribe = Subscribe {
            key: key.clone(),
            filter: request.filter.fingerprint(),
            begin,
            at: self.sources.now(),
            most: self.options.max_subscriptions,
        };
        match self.store.subscribe(subscribe).await? {
            Subscribed::Committed(position) => Ok(self.carried.carry(key, request.filter.fingerprint(), position)),
            Subscribed::OtherFilter => Err(FollowError::OtherFilter),
            Subscribed::TooMany => Err(FollowError::TooManySubscriptions),
        }
    }

    /// Notes now and then that a subscription is in use, so that retention leaves it.
    pub(super) async fn keep(&self, held: &mut Held) -> Result<(), StoreError> {
        if held.kept_at.elapsed() < KEEP_EVERY {
            return Ok(());
        }
        held.kept_at = Instant::now();
        let (key, filter, position) = (held.key.clone(), held.filter, held.committed());
        let commit = Commit { key, filter, position, at: self.sources.now() };
        self.store.commit(commit).await.map(drop)
    }
}

/// The subscriptions that carry a stream now.
#[derive(Clone, Default)]
pub(super) struct Carried(Arc<Mutex<HashMap<SubscriptionKey, Carrier>>>);

/// One that does.
struct Carrier {
    /// Tells the stream when it does no more.
    taken_over: CancellationToken,
    committed: Arc<AtomicI64>,
}

/// A stream's hold on its subscription.
pub(super) struct Held {
    carried: Carried,
    key: SubscriptionKey,
    filter: Fingerprint,
    token: CancellationToken,
    taken_over: Pin<Box<WaitForCancellationFutureOwned>>,
    committed: Arc<AtomicI64>,
    kept_at: Instant,
}

impl Carried {
    /// Gives the subscription to a new stream. The older one gives nothing more from here on.
    fn carry(&self, key: SubscriptionKey, filter: Fingerprint, committed: Position) -> Held {
        let committed = Arc::new(AtomicI64::new(committed.0));
        let token = CancellationToken::new();
        let carrier = Carrier { taken_over: token.clone(), committed: Arc::clone(&committed) };
        if let Some(older) = self.lock().insert(key.clone(), carrier) {
            older.taken_over.cancel();
        }
        let taken_over = Box::pin(token.clone().cancelled_owned());
        Held { carried: self.clone(), key, filter, token, taken_over, committed, kept_at: Instant::now() }
    }

    /// Notes an acknowledgement for the heartbeats of whoever carries it now.
    fn note(&self, key: &SubscriptionKey, position: Position) {
        if let Some(carrier) = self.lock().get(key) {
            carrier.committed.fetch_max(position.0, Ordering::Relaxed);
        }
    }

    /// Every change is a single step, so that a panic leaves the map whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<SubscriptionKey, Carrier>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Up to where the subscription is acknowledged.
    pub(super) fn committed(&self) -> Position {
        Position(self.committed.load(Ordering::Relaxed))
    }

    /// Whether another stream carries it now.
    pub(super) fn is_taken_over(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Ready once another stream carries it.
    pub(super) fn poll_taken_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.taken_over.as_mut().poll(context)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut carried = self.carried.lock();
        // A newer stream's place stays.
        if carried.get(&self.key).is_some_and(|carrier| Arc::ptr_eq(&carrier.committed, &self.committed)) {
            carried.remove(&self.key);
        }
    }
}
