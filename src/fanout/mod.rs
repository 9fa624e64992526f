//! Following the log: from a place, through a filter, for as long as it is wanted.
//!
//! A follower is a position and a filter. Behind the head of the log it reads page by page and holds at most one page; at
//! the head it takes frames that were made once for all who have the same filter. So being slow costs a follower time and
//! never data, and costs the others nothing. Knows no protobuf: what frames look like is handed in as a [`Wire`]. Called
//! by `api`.

mod cursor;
mod filter;
mod follow;
mod frame;
mod group;
mod line;
mod live;
mod ring;
mod subscription;
mod subscriptions;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, TryAcquireError},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

pub use self::{
    cursor::{CursorError, Cursors},
    filter::Filter,
    follow::Follow,
    frame::{Frame, Idle, Notice},
    line::Line,
    subscription::{Acknowledged, CommitError},
    subscriptions::{SeekError, SubscriptionState},
};
use self::{live::Live, subscription::Carried};
pub use crate::domain::signed::Fingerprint;
use crate::{
    domain::{event::Event, ids::SubscriptionName, message::Message, position::Position, sources::Sources},
    identity::Lapse,
    store::{Store, StoreError},
};

/// How following is bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many followers there may be at once.
    pub max_streams: usize,
    /// How many entries a follower takes at a time: what it holds at most.
    pub page: usize,
    /// How many bytes of frames are kept in memory for those who stand at the head of the log.
    pub live_bytes: usize,
    /// Followers are asked to wait up to this long before they come back after a drain.
    pub drain_spread: Duration,
    /// How many named subscriptions a caller may have.
    pub max_subscriptions: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_streams: 10_000,
            page: 128,
            live_bytes: 16 << 20,
            drain_spread: Duration::from_secs(5),
            max_subscriptions: 1000,
        }
    }
}

/// How frames look, which only the doors know. An entry's frame is its body and the cursor behind it, and the body is the
/// same for everyone.
pub trait Wire: Send + Sync + 'static {
    /// The body of an entry's frame.
    fn body(&self, event: &Event) -> Vec<u8>;

    /// Appends the frame with this cursor and body.
    fn frame(&self, cursor: &str, body: &[u8], frames: &mut Vec<u8>);
}

/// Where a follower begins.
#[derive(Clone, Copy)]
struct Beginning {
    /// The position behind which it begins.
    after: Position,
    /// Where the part began that is missing.
    gap: Option<Position>,
}

/// The shared part of all followers.
#[derive(Clone)]
pub struct Fanout {
    store: Arc<dyn Store>,
    live: Arc<Live>,
    /// Reads the head of the log for as long as anybody follows or may begin to.
    _reading: Arc<AbortOnDropHandle<()>>,
    cursors: Cursors,
    sources: Sources,
    options: Options,
    places: Arc<Semaphore>,
    carried: Carried,
    draining: CancellationToken,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Latest,
    /// With the oldest entry kept.
    Earliest,
    /// With the first entry at or after this time.
    Time(Timestamp),
    /// Behind this cursor.
    Cursor(String),
    /// Behind what its subscription has acknowledged. A new one begins with what comes next.
    Committed,
}

/// What happens when entries behind the start are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExpired {
    /// The follower is refused, or ends.
    Fail,
    /// It goes on with the oldest entry kept, after a gap frame.
    Earliest,
}

/// What a follower wants.
#[derive(Clone, Debug)]
pub struct FollowRequest {
    /// Which entries.
    pub filter: Filter,
    /// From where.
    pub start: Start,
    /// What if that is gone.
    pub on_expired: OnExpired,
    /// Longest silence.
    pub heartbeat: Duration,
    /// End once all messages that the filter names are final.
    pub until_final: bool,
    /// The caller's subscription that the follower carries.
    pub subscription: Option<SubscriptionName>,
    /// When the follower's connection is to end, so that it is asked to come back over another one.
    pub retire_at: Option<Instant>,
}

/// Why following was refused or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// As many follow as may.
    #[error("too many streams")]
    TooMany,
    /// The cursor is none, or not one for this stream.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Entries behind the start are gone.
    #[error("the start lies before the oldest entry kept")]
    Expired {
        /// A cursor at the oldest place.
        oldest: String,
        /// When the oldest entry was logged.
        oldest_time: Option<Timestamp>,
    },
    /// A message named by the filter cannot be seen, so that it would never be final.
    #[error("a message is not known")]
    UnknownMessage,
    /// The subscription was made with another filter.
    #[error("the subscription has another filter")]
    OtherFilter,
    /// The caller has as many subscriptions as it may.
    #[error("too many subscriptions")]
    TooManySubscriptions,
    /// A newer stream carries the subscription.
    #[error("taken over by a newer stream")]
    TakenOver,
    /// An administrator has moved or deleted the subscription.
    #[error("the subscription was moved")]
    Moved,
    /// The caller's right to it has ended.
    #[error(transparent)]
    Lapsed(#[from] Lapse),
    /// The process or the connection ends.
    #[error("draining")]
    Draining,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fanout {
    /// Over this log, with frames that look like this. `draining` ends every follower, each after a drain frame. Starts a
    /// task, so that a runtime is needed.
    pub fn spawn(
        store: Arc<dyn Store>,
        wire: Arc<dyn Wire>,
        sources: Sources,
        options: Options,
        draining: CancellationToken,
    ) -> Self {
        let cursors = Cursors::of(store.epoch(), &store.cursor_key());
        let live = Live::new(Arc::clone(&store), cursors.clone(), wire, draining.clone(), options.live_bytes);
        let live = Arc::new(live);
        let reading = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&live).run()));
        let places = Arc::new(Semaphore::new(options.max_streams.min(Semaphore::MAX_PERMITS)));
        let carried = Carried::none();
        Self { store, live, _reading: Arc::new(reading), cursors, sources, options, places, carried, draining }
    }

    /// Cursors of this log.
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Begins to follow.
    pub async fn follow(&self, request: FollowRequest) -> Result<Follow, FollowError> {
        if self.draining.is_cancelled() {
            return Err(FollowError::Draining);
        }
        let place = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(FollowError::TooMany),
        };
        if let Some(name) = request.subscription.clone() {
            return self.follow_named(place, request, name).await;
        }
        let head = *self.store.head().borrow();
        let beginning = self.begin(&request, self.wanted(&request, head).await?).await?;
        let mut follow = Follow::at(self.clone(), place, beginning, None, request);
        follow.look_for_final().await?;
        Ok(follow)
    }

    /// The messages that the filter names, if all of them can be seen.
    async fn named(&self, filter: &Filter) -> Result<Vec<Message>, FollowError> {
        let named: Vec<_> = filter.messages().collect();
        let count = named.len();
        let known = self.store.messages(named).await?;
        let seen = known.iter().filter(|message| filter.sees(message)).count();
        if seen == count { Ok(known) } else { Err(FollowError::UnknownMessage) }
    }

    /// The position that the start stands for; `None` for the oldest one there is.
    async fn wanted(&self, request: &FollowRequest, head: Position) -> Result<Option<Position>, FollowError> {
        Ok(Some(match &request.start {
            Start::Latest | Start::Committed => head,
            Start::Earliest => return Ok(None),
            Start::Time(time) => self.store.position_before(*time).await?,
            Start::Cursor(text) => self.cursors.decode(text, request.filter.fingerprint(), head)?,
        }))
    }

    /// The position itself, or the oldest one if it is gone.
    async fn begin(&self, request: &FollowRequest, wanted: Option<Position>) -> Result<Beginning, FollowError> {
        // Nothing older is wanted, so that storage need not be asked what there is.
        if let (Start::Latest, Some(after)) = (&request.start, wanted) {
            return Ok(Beginning { after, gap: None });
        }
        let (oldest, oldest_time) = self.store.oldest().await?;
        let wanted = wanted.unwrap_or(oldest);
        if wanted >= oldest {
            return Ok(Beginning { after: wanted, gap: None });
        }
        match request.on_expired {
            OnExpired::Earliest => Ok(Beginning { after: oldest, gap: Some(wanted) }),
            OnExpired::Fail => Err(self.expired(request.filter.fingerprint(), oldest, oldest_time)),
        }
    }

    fn expired(&self, filter: Fingerprint, oldest: Position, oldest_time: Option<Timestamp>) -> FollowError {
        FollowError::Expired { oldest: self.cursors.encode(oldest, filter), oldest_time }
    }
}
