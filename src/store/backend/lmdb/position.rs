//! Places in the log.

use twox_hash::XxHash3_64;

use crate::error::{Error, Result};

/// A place in the log: between two records, or at its very beginning. Later places are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) segment: u32,
    /// Bytes from the start of the segment's file.
    pub(super) offset: u32,
}

impl Position {
    /// As one number, in the same order. Records are a multiple of 8 bytes long, so its last three bits are zero.
    pub(super) fn to_word(self) -> u64 {
        u64::from(self.segment) << 32 | u64::from(self.offset)
    }

    pub(super) fn from_word(word: u64) -> Position {
        Position { segment: (word >> 32) as u32, offset: word as u32 }
    }
}

/// A place in the log with the checksum of the record that ends there, which tells one history from another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Point {
    pub(super) at: Position,
    pub(super) checksum: u64,
}

impl Point {
    /// Where the log of a store begins that has none yet. Above all that LMDB has counted, since stamps must not repeat.
    pub(super) fn origin(last_txn: u64) -> Point {
        Point { at: Position { segment: (last_txn >> 32) as u32 + 1, offset: 0 }, checksum: 0 }
    }

    /// With a checksum of its own: by a wrong point the log would be lost without a word.
    pub(super) fn encode(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let (point, own) = bytes.split_at_mut(16);
        let word =
            u128::from(self.checksum) << 64 | u128::from(self.at.offset) << 32 | u128::from(self.at.segment);
        point.copy_from_slice(&word.to_le_bytes());
        own.copy_from_slice(&XxHash3_64::oneshot(point).to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Point> {
        let Some((point, own)) = bytes.split_first_chunk::<16>() else {
            return Err(Error::damaged("the record of the fold has a wrong length"));
        };
        if own != XxHash3_64::oneshot(point).to_le_bytes() {
            return Err(Error::damaged("the record of the fold has a wrong checksum"));
        }
        let word = u128::from_le_bytes(*point);
        let at = Position { segment: word as u32, offset: (word >> 32) as u32 };
        Ok(Point { at, checksum: (word >> 64) as u64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_keep_their_order_as_words_and_points_survive_being_stored() {
        let at = |segment, offset| Position { segment, offset };
        assert!(at(1, u32::MAX).to_word() < at(2, 0).to_word());
        assert_eq!(Position::from_word(at(7, 136).to_word()), at(7, 136));
        let point = Point { at: at(7, 136), checksum: 0xfeed_f00d_dead_beef };
        assert_eq!(Point::decode(&point.encode()).unwrap(), point);
        for len in [0, 15, 16, 23] {
            assert!(Point::decode(&point.encode()[..len]).unwrap_err().is_damaged());
        }
        for at in 0..24 {
            let mut bytes = point.encode();
            bytes[at] ^= 1;
            assert!(Point::decode(&bytes).unwrap_err().is_damaged());
        }
    }

    #[test]
    fn the_log_of_an_older_store_begins_above_all_that_lmdb_has_counted() {
        for txn in [0, 9, u64::from(u32::MAX), 1 << 40] {
            assert!(Point::origin(txn).at.to_word() > txn);
        }
    }
}
