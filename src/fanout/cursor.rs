//! Cursors: a position in one log, for one filter, signed.

use crate::domain::{
    position::{Epoch, Position},
    signed::{Fingerprint, SigningKey},
};

const VERSION: u8 = 1;
const SIGNED: usize = 1 + 8 + 8 + 8;

/// Makes and reads the cursors of one log.
#[derive(Clone)]
pub struct Cursors {
    epoch: Epoch,
    key: SigningKey,
}

/// Why a text is no cursor for this stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Not made by this gateway, or changed since.
    #[error("not a cursor of this gateway")]
    NotOurs,
    /// Made by this gateway for another log: one that was replaced.
    #[error("a cursor of another log")]
    OtherLog,
    /// Made for a stream with another filter or caller. Resuming would skip what that filter left out.
    #[error("a cursor of a stream with another filter")]
    OtherFilter,
}

impl Cursors {
    /// For the log with this identity.
    pub(super) fn of(epoch: Epoch, key: &[u8; 32]) -> Self {
        // The version that every cursor begins with sets them apart from all texts that have a label.
        Self { epoch, key: SigningKey::of(key, &[]) }
    }

    /// The cursor behind which a stream with this filter resumes.
    pub fn encode(&self, position: Position, filter: Fingerprint) -> String {
        let mut bytes = [0; SIGNED];
        bytes[0] = VERSION;
        bytes[1..9].copy_from_slice(&self.epoch.0.to_be_bytes());
        bytes[9..17].copy_from_slice(&position.0.to_be_bytes());
        bytes[17..25].copy_from_slice(&filter.0);
        self.key.sign(&bytes)
    }

    /// The position of a cursor made for this log and filter. None lies behind `head`.
    pub fn decode(&self, text: &str, filter: Fingerprint, head: Position) -> Result<Position, CursorError> {
        let (position, made_for) = self.read(text, head)?;
        if made_for == filter { Ok(position) } else { Err(CursorError::OtherFilter) }
    }

    /// The position of a cursor made for this log, and the filter it was made for.
    pub(super) fn read(&self, text: &str, head: Position) -> Result<(Position, Fingerprint), CursorError> {
        let bytes: [u8; SIGNED] = self.key.open(text).ok_or(CursorError::NotOurs)?;
        if bytes[0] != VERSION {
            return Err(CursorError::NotOurs);
        }
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            word
        };
        let position = Position(i64::from_be_bytes(word(9)));
        if word(1) != self.epoch.0.to_be_bytes() || position > head {
            return Err(CursorError::OtherLog);
        }
        Ok((position, Fingerprint(word(17))))
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    const HEAD: Position = Position(i64::MAX);
    const SIGNATURE: usize = 16;

    fn cursors(epoch: u64, key: u8) -> Cursors {
        Cursors::of(Epoch(epoch), &[key; 32])
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_as_its_position(position in 0..i64::MAX, epoch: u64, filter: [u8; 8]) {
            let (cursors, filter) = (cursors(epoch, 1), Fingerprint(filter));
            let text = cursors.encode(Position(position), filter);
            prop_assert_eq!(cursors.decode(&text, filter, HEAD), Ok(Position(position)));
        }

        #[test]
        fn one_changed_bit_is_noticed(position in 0..i64::MAX, bit in 0..(SIGNED + SIGNATURE) * 8) {
            let (cursors, filter) = (cursors(7, 1), Fingerprint([3; 8]));
            let mut bytes = URL_SAFE_NO_PAD.decode(cursors.encode(Position(position), filter)).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let text = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(cursors.decode(&text, filter, HEAD), Err(CursorError::NotOurs));
        }
    }

    #[test]
    fn foreign_cursors_are_told_apart() {
        let (ours, filter) = (cursors(7, 1), Fingerprint([3; 8]));
        let text = ours.encode(Position(5), filter);
        assert_eq!(cursors(8, 1).decode(&text, filter, HEAD), Err(CursorError::OtherLog));
        assert_eq!(cursors(7, 2).decode(&text, filter, HEAD), Err(CursorError::NotOurs));
        assert_eq!(ours.decode(&text, Fingerprint([4; 8]), HEAD), Err(CursorError::OtherFilter));
        assert_eq!(ours.decode(&text, filter, Position(4)), Err(CursorError::OtherLog));
        assert_eq!(ours.decode("", filter, HEAD), Err(CursorError::NotOurs));
        assert_eq!(ours.decode("not base64!", filter, HEAD), Err(CursorError::NotOurs));
    }
}
