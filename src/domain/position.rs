//! Places in the log.

/// A place in the log. Entries are numbered from 1 in the order in which they were committed; 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub i64);

impl Position {
    /// Before the first entry ever written.
    pub const START: Self = Self(0);

    /// The next place.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Which log a position belongs to: drawn at random when a log is created, so that positions of another log are
/// recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);
