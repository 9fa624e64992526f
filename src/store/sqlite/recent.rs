//! The newest entries of the log, kept as they were committed, so that those who read along read no disk.

use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use super::super::Page;
use crate::domain::{event::Event, position::Position};

/// A bounded window on the end of the log.
#[derive(Clone)]
pub(super) struct Recent {
    window: Arc<RwLock<Window>>,
    capacity: usize,
}

struct Window {
    /// The position before the first entry.
    before: Position,
    /// In order and without a hole.
    events: VecDeque<Arc<Event>>,
    closed: bool,
}

impl Recent {
    /// An empty window at the end of a log.
    pub(super) fn at(head: Position, capacity: usize) -> Self {
        let window = Window { before: head, events: VecDeque::with_capacity(capacity), closed: false };
        Self { window: Arc::new(RwLock::new(window)), capacity: capacity.max(1) }
    }

    /// At most `limit` entries behind `after`; `None` if the window begins later or is closed, so that storage has to be
    /// asked.
    pub(super) fn behind(&self, after: Position, limit: usize) -> Option<Page> {
        let window = self.window.read().unwrap_or_else(PoisonError::into_inner);
        if window.closed {
            return None;
        }
        let skip = usize::try_from(after.0 - window.before.0).ok()?;
        let skip = skip.min(window.events.len());
        let events = window.events.range(skip..).take(limit).cloned().collect();
        let head = window.events.back().map_or(window.before, |event| event.position);
        Some(Page { events, head })
    }

    /// Lets go of what was just trimmed.
    pub(super) fn trim(&self, up_to: Position) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        while window.events.front().is_some_and(|event| event.position <= up_to) {
            window.events.pop_front();
        }
        window.before = window.before.max(up_to);
    }

    /// Gives no page from now on.
    pub(super) fn close(&self) {
        self.window.write().unwrap_or_else(PoisonError::into_inner).closed = true;
    }

    /// Takes in what was just committed.
    pub(super) fn extend(&self, committed: &mut Vec<Arc<Event>>) {
        let mut window = self.window.write().unwrap_or_else(PoisonError::into_inner);
        for event in committed.drain(..) {
            if window.events.len() == self.capacity {
                window.events.pop_front();
                window.before = window.before.next();
            }
            window.events.push_back(event);
        }
    }
}
