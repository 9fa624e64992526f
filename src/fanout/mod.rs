//! Following the log: from a place, through a filter, for as long as it is wanted.
//!
//! A follower is a position and a filter. Behind the head of the log it reads page by page and holds at most one page; at
//! the head it takes frames that were made once for all who have the same filter. So being slow costs a follower time and
//! never data, and costs the others nothing. Knows no protobuf: what frames look like is handed in as a [`Wire`]. Called
//! by `api`.

mod cursor;
mod filter;
mod follow;
mod group;
mod live;
mod ring;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{Semaphore, TryAcquireError};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::live::Live;
pub use self::{
    cursor::{CursorError, Cursors},
    filter::Filter,
    follow::{Follow, Frame, Idle, Notice},
};
pub use crate::domain::signed::Fingerprint;
use crate::{
    domain::{event::Event, position::Position, sources::Sources},
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
}

impl Default for Options {
    fn default() -> Self {
        Self { max_streams: 10_000, page: 128, live_bytes: 16 << 20, drain_spread: Duration::from_secs(5) }
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
    /// The process ends.
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
        Self { store, live, _reading: Arc::new(reading), cursors, sources, options, places, draining }
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
        let (start, expired) = self.locate(&request).await?;
        let mut follow = Follow::at(self.clone(), place, start, expired, request);
        follow.look_for_final().await?;
        Ok(follow)
    }

    /// The position to begin behind, and where the missing part began if there is one.
    async fn locate(&self, request: &FollowRequest) -> Result<(Position, Option<Position>), FollowError> {
        let (oldest, oldest_time) = self.store.oldest().await?;
        let head = *self.store.head().borrow();
        let wanted = match &request.start {
            Start::Latest => head,
            Start::Earliest => oldest,
            Start::Time(time) => self.store.position_before(*time).await?,
            Start::Cursor(text) => self.cursors.decode(text, request.filter.fingerprint(), head)?,
        };
        if wanted >= oldest {
            return Ok((wanted, None));
        }
        match request.on_expired {
            OnExpired::Earliest => Ok((oldest, Some(wanted))),
            OnExpired::Fail => Err(self.expired(request.filter.fingerprint(), oldest, oldest_time)),
        }
    }

    fn expired(&self, filter: Fingerprint, oldest: Position, oldest_time: Option<Timestamp>) -> FollowError {
        FollowError::Expired { oldest: self.cursors.encode(oldest, filter), oldest_time }
    }
}
