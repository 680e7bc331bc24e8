//! Where a record comes from, in a number that orders all records of a load.

use std::cmp::Ordering;
use std::path::Path;

use super::format::Duplicates;
use crate::error::{Error, Result};

/// A file, by its place among those of the load, and a byte in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place(u64);

/// Bits for the offset: files may have 16 TiB, decompressed.
const OFFSET: u32 = 44;
/// More files cannot be told apart.
pub(super) const MOST_FILES: usize = 1 << (64 - OFFSET);

impl Place {
    pub(super) const FIRST: Place = Place(0);

    /// `None`: the file is longer than can be told.
    pub(super) fn new(file: usize, offset: u64) -> Option<Place> {
        (file < MOST_FILES && offset < 1 << OFFSET).then_some(Place((file as u64) << OFFSET | offset))
    }

    pub(super) fn new_in(file: usize, path: &Path, offset: u64) -> Result<Place> {
        let too_long = || Error::Input { path: path.to_owned(), detail: "it is longer than 16 TiB".into() };
        Place::new(file, offset).ok_or_else(too_long)
    }

    pub(crate) fn file(self) -> usize {
        (self.0 >> OFFSET) as usize
    }

    pub(crate) fn offset(self) -> u64 {
        self.0 & ((1 << OFFSET) - 1)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> Place {
        Place(u64::from_le_bytes(bytes))
    }
}

/// In which order records of one key come out of the merge: the one that is loaded is the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ties {
    FirstPlace,
    LastPlace,
}

impl Ties {
    pub(super) fn of(duplicates: Duplicates) -> Ties {
        match duplicates {
            Duplicates::Last => Ties::LastPlace,
            Duplicates::First | Duplicates::Error => Ties::FirstPlace,
        }
    }

    #[inline]
    pub(super) fn order(self, a: Place, b: Place) -> Ordering {
        match self {
            Ties::FirstPlace => a.cmp(&b),
            Ties::LastPlace => b.cmp(&a),
        }
    }
}
