//! The newest entries of the log, read once for all followers.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{event::Event, position::Position},
    store::Store,
};

/// How many entries are read from storage at a time.
const READ: usize = 512;

/// After a failed read of the log, the next one waits this long.
const RETRY: Duration = Duration::from_millis(200);

/// A window on the end of the log.
#[derive(Clone)]
pub(super) struct Window {
    recent: Arc<RwLock<Recent>>,
    /// The end of the window. Moves after the entries are there.
    end: watch::Sender<Position>,
    capacity: usize,
}

struct Recent {
    /// The position before the first entry.
    before: Position,
    events: VecDeque<Arc<Event>>,
}

/// What the window holds behind a position.
pub(super) enum Glance {
    /// These, in order, without a hole.
    Events(Vec<Arc<Event>>),
    /// Nothing yet.
    Nothing,
    /// It begins later; storage has the rest.
    Behind,
}

impl Window {
    /// An empty window at a place.
    pub(super) fn at(head: Position, capacity: usize) -> Self {
        let recent = Recent { before: head, events: VecDeque::with_capacity(capacity) };
        Self { recent: Arc::new(RwLock::new(recent)), end: watch::Sender::new(head), capacity }
    }

    /// At most `most` entries behind a position.
    pub(super) fn behind(&self, after: Position, most: usize) -> Glance {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(skip) = usize::try_from(after.0 - recent.before.0) else { return Glance::Behind };
        if skip >= recent.events.len() {
            return Glance::Nothing;
        }
        Glance::Events(recent.events.range(skip..).take(most).cloned().collect())
    }

    /// Tells when the end moves.
    pub(super) fn end(&self) -> watch::Receiver<Position> {
        self.end.subscribe()
    }

    fn push(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last() else { return };
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            // A trim can outrun the reading. What lies before the hole is given up, and followers find it in storage.
            if event.position != Position(recent.before.0 + recent.events.len() as i64).next() {
                recent.events.clear();
                recent.before = Position(event.position.0 - 1);
            }
            if recent.events.len() == self.capacity {
                recent.events.pop_front();
                recent.before = recent.before.next();
            }
            recent.events.push_back(Arc::clone(event));
        }
        drop(recent);
        self.end.send_replace(last.position);
    }
}

/// Reads the log into the window until draining.
pub(super) async fn feed(window: Window, store: Arc<dyn Store>, draining: CancellationToken) {
    let mut head = store.head();
    let mut after = *window.end.borrow();
    loop {
        let more = async {
            while *head.borrow_and_update() <= after {
                if head.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = more => {}
            () = draining.cancelled() => return,
        }
        match store.events(after, READ).await {
            Ok(page) => {
                window.push(&page.events);
                after = page.events.last().map_or(after, |event| event.position);
            }
            Err(error) => {
                tracing::error!(%error, "the log could not be read");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
