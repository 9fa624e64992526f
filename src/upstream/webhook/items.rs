//! How much one body may make.
//!
//! Whoever knows the path may send bodies. What such a body costs in memory, on disk and in the log stays within a few times
//! its length.

use std::io;

use serde_json::value::RawValue;

use super::{Item, meta};

/// A body that holds more items than this is taken over as one.
pub(super) const MOST_ITEMS: usize = 5_000;

/// What a body makes is at most so many times as long as it is, and so many bytes. A body of Meta in which every message is
/// told as briefly as can be makes three times its length.
const MOST_TIMES: usize = 8;
const MOST_BESIDE: usize = 64 * 1024;

/// Whether a body holds too many items. Told before anything is made of them: what they are made into is much larger.
pub(super) fn too_many(whole: &str, parts: &[&RawValue]) -> bool {
    // Each takes two bytes at the least.
    if whole.len() < 2 * MOST_ITEMS {
        return false;
    }
    parts.len() > MOST_ITEMS || parts.iter().map(|part| meta::count(part)).sum::<usize>() > MOST_ITEMS
}

/// The items of a body, as long as they are not too many or too much.
pub(super) struct Items {
    items: Vec<Item>,
    /// So many bytes may still be made; `None` if there was no room for one.
    room: Option<usize>,
}

impl Items {
    /// None yet, of this body.
    pub(super) fn of(whole: &str) -> Self {
        Self { items: Vec::new(), room: Some(MOST_TIMES * whole.len() + MOST_BESIDE) }
    }

    pub(super) fn push(&mut self, item: Item) {
        let room = if self.items.len() < MOST_ITEMS { self.room } else { None };
        self.room = room.and_then(|room| room.checked_sub(length(&item)));
        match self.room {
            Some(_) => self.items.push(item),
            None => self.items = Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// `None` if they are too many or too much.
    pub(super) fn into_vec(self) -> Option<Vec<Item>> {
        self.room.map(|_| self.items)
    }
}

/// How long it is where it is kept. Statuses repeat nothing of what stands around them.
fn length(item: &Item) -> usize {
    match item {
        Item::Status(_) => 0,
        Item::Event(inbound, _) => {
            let mut length = Length(0);
            serde_json::to_writer(&mut length, inbound).map_or(usize::MAX, |()| length.0)
        }
    }
}

/// Counts what is written.
struct Length(usize);

impl io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
