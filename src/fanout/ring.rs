//! The newest frames of one filter, as they go over the wire.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::domain::position::Position;

/// How many bytes of frames go into one piece, save that each piece has one frame at least. A piece is what a connection
/// takes at a time, and so what it holds of a subscriber that has stopped reading beyond the window that this one granted.
pub(super) const PIECE: usize = 16 * 1024;

/// Frames of entries that follow each other in the log, except for those that the filter leaves out.
pub(super) struct Piece {
    frames: Bytes,
    /// Each entry, and where its frame ends.
    ends: Box<[(Position, usize)]>,
}

/// A piece in the making.
#[derive(Default)]
pub(super) struct Draft {
    frames: Vec<u8>,
    ends: Vec<(Position, usize)>,
}

/// What a place in a ring has before it.
pub(super) enum Ahead {
    /// Frames, and the last entry among them.
    Frames(Bytes, Position),
    /// Nothing yet.
    Nothing,
    /// Entries that the ring does not have.
    Elsewhere,
}

/// A stretch of the log that ends at its head: all that the filter lets pass behind `base`.
pub(super) struct Ring {
    base: Position,
    pieces: VecDeque<Piece>,
}

impl Draft {
    /// Adds the frame that `write` appends.
    pub(super) fn add(&mut self, position: Position, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.frames);
        self.ends.push((position, self.frames.len()));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) const fn is_full(&self) -> bool {
        self.frames.len() >= PIECE
    }

    /// The frames alone.
    pub(super) fn into_frames(self) -> Bytes {
        Bytes::from(self.frames)
    }
}

impl Piece {
    /// Of a draft that is not empty.
    pub(super) fn of(draft: Draft) -> Self {
        // Without room to spare, so that what is counted is what is held.
        Self { frames: Bytes::from(draft.frames.into_boxed_slice()), ends: draft.ends.into_boxed_slice() }
    }

    /// Memory that it holds.
    pub(super) const fn bytes(&self) -> usize {
        self.frames.len() + self.ends.len() * size_of::<(Position, usize)>() + size_of::<Self>()
    }

    /// The last entry.
    pub(super) fn last(&self) -> Position {
        self.ends.last().map_or(Position::START, |(position, _)| *position)
    }

    fn behind(&self, after: Position) -> Bytes {
        match self.ends.partition_point(|(position, _)| *position <= after) {
            0 => self.frames.clone(),
            seen => self.frames.slice(self.ends[seen - 1].1..),
        }
    }
}

impl Ring {
    /// Empty, and beginning here.
    pub(super) const fn at(base: Position) -> Self {
        Self { base, pieces: VecDeque::new() }
    }

    /// What lies behind `after`, at most one piece of it.
    pub(super) fn ahead(&self, after: Position) -> Ahead {
        if after < self.base {
            return Ahead::Elsewhere;
        }
        // Nearly everyone stands behind the last piece, or behind the last but one.
        let mut newest = self.pieces.iter().rev();
        let piece = match (newest.next(), newest.next()) {
            (None, _) => None,
            (Some(last), _) if last.last() <= after => None,
            (Some(last), Some(before)) if before.last() <= after => Some(last),
            _ => self.pieces.get(self.pieces.partition_point(|piece| piece.last() <= after)),
        };
        piece.map_or(Ahead::Nothing, |piece| Ahead::Frames(piece.behind(after), piece.last()))
    }

    /// Takes in what follows.
    pub(super) fn extend(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        self.pieces.extend(pieces);
    }

    /// Lets go of everything up to here.
    pub(super) fn cut(&mut self, up_to: Position) {
        while self.pieces.front().is_some_and(|piece| piece.last() <= up_to) {
            self.pieces.pop_front();
        }
        self.base = self.base.max(up_to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(positions: &[i64]) -> Piece {
        let mut draft = Draft::default();
        for position in positions {
            draft.add(Position(*position), |frames| frames.extend(position.to_be_bytes()));
        }
        Piece::of(draft)
    }

    /// The positions whose frames lie ahead, piece by piece, to the end.
    fn walk(ring: &Ring, mut after: Position) -> Option<Vec<Vec<i64>>> {
        let mut walked = Vec::new();
        loop {
            match ring.ahead(after) {
                Ahead::Frames(frames, last) => {
                    let (words, _) = frames.as_chunks::<8>();
                    walked.push(words.iter().map(|word| i64::from_be_bytes(*word)).collect());
                    after = last;
                }
                Ahead::Nothing => return Some(walked),
                Ahead::Elsewhere => return None,
            }
        }
    }

    #[test]
    fn a_ring_gives_what_lies_behind_a_place_and_no_part_of_it_twice() {
        let mut ring = Ring::at(Position(2));
        ring.extend([piece(&[4, 5, 9]), piece(&[10]), piece(&[20, 22])]);
        assert_eq!(walk(&ring, Position(1)), None);
        let all = [vec![4, 5, 9], vec![10], vec![20, 22]];
        assert_eq!(walk(&ring, Position(2)).unwrap(), all);
        assert_eq!(walk(&ring, Position(3)).unwrap(), all);
        assert_eq!(walk(&ring, Position(4)).unwrap(), [vec![5, 9], vec![10], vec![20, 22]]);
        assert_eq!(walk(&ring, Position(8)).unwrap(), [vec![9], vec![10], vec![20, 22]]);
        assert_eq!(walk(&ring, Position(9)).unwrap(), [vec![10], vec![20, 22]]);
        assert_eq!(walk(&ring, Position(21)).unwrap(), [vec![22]]);
        assert_eq!(walk(&ring, Position(30)).unwrap(), Vec::<Vec<i64>>::new());

        ring.cut(Position(9));
        assert_eq!(walk(&ring, Position(8)), None);
        assert_eq!(walk(&ring, Position(9)).unwrap(), [vec![10], vec![20, 22]]);
        ring.cut(Position(40));
        assert_eq!(walk(&ring, Position(39)), None);
        assert_eq!(walk(&ring, Position(40)).unwrap(), Vec::<Vec<i64>>::new());
    }
}
