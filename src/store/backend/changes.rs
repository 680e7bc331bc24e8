//! What a transaction has changed so far, kept in memory until it commits.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::{Bound, Range};
use std::sync::Mutex;

use smallvec::SmallVec;

use super::merged::Direction;
use crate::store::format::layout::kind;
use crate::sync::lock;

/// All keys but names of namespaces are that short, so a change of one allocates nothing of its own.
type Key = SmallVec<[u8; 32]>;

/// Changes by key: a value that was written, or `None` for a record that was removed.
#[derive(Default)]
pub(crate) struct Changes {
    by_key: BTreeMap<Key, Option<Range<usize>>>,
    values: Vec<u8>,
    has_settings: bool,
}

/// The memory of the last transaction's changes, for those of the next.
#[derive(Default)]
pub(crate) struct Spare(Mutex<Changes>);

impl Spare {
    pub(crate) fn take(&self) -> Changes {
        std::mem::take(&mut *lock(&self.0))
    }

    pub(crate) fn put(&self, mut changes: Changes) {
        changes.clear();
        *lock(&self.0) = changes;
    }
}

/// Changes on the way through a range.
pub(crate) struct Changed<'t> {
    /// `None`: nothing was changed.
    range: Option<btree_map::Range<'t, Key, Option<Range<usize>>>>,
    values: &'t [u8],
    direction: Direction,
}

impl Changes {
    /// What became of a record; `None` if nothing has.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.by_key.get(key).map(|value| self.value(value))
    }

    /// Writes a record whose value is `head` and `body`, one behind the other.
    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) {
        let start = self.values.len();
        self.values.reserve(head.len() + body.len());
        self.values.extend_from_slice(head);
        self.values.extend_from_slice(body);
        self.change(key, Some(start..self.values.len()));
    }

    pub(crate) fn delete(&mut self, key: &[u8]) {
        self.change(key, None);
    }

    fn change(&mut self, key: &[u8], value: Option<Range<usize>>) {
        self.has_settings |= matches!(key.first(), Some(&(kind::STATE | kind::NAMESPACE)));
        self.by_key.insert(Key::from_slice(key), value);
    }

    /// Forgets all, and keeps the room for as much, unless that is much.
    pub(crate) fn clear(&mut self) {
        const KEEP: usize = 64 << 10;
        self.by_key.clear();
        self.values.clear();
        self.values.shrink_to(KEEP);
        self.has_settings = false;
    }

    /// Whether it changes how the store or a namespace is set.
    pub(crate) fn has_settings(&self) -> bool {
        self.has_settings
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.by_key.iter().map(|(key, value)| (key.as_slice(), self.value(value)))
    }

    /// Changes from `from` up to but without `to`, if there is a transaction that changes anything.
    pub(crate) fn range<'t>(
        changes: Option<&'t Changes>,
        from: &[u8],
        to: &[u8],
        direction: Direction,
    ) -> Changed<'t> {
        // An empty range, or one that is none, is an error to a map.
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let range = changes.filter(|_| from < to).map(|changes| changes.by_key.range::<[u8], _>(bounds));
        Changed { range, values: changes.map_or(&[], |changes| &changes.values), direction }
    }

    fn value(&self, range: &Option<Range<usize>>) -> Option<&[u8]> {
        range.clone().map(|range| self.values.get(range).unwrap_or_default())
    }
}

impl<'t> Iterator for Changed<'t> {
    type Item = (&'t [u8], Option<&'t [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.range.as_mut()?;
        let (key, value) = match self.direction {
            Direction::Up => range.next(),
            Direction::Down => range.next_back(),
        }?;
        Some((key.as_slice(), value.clone().map(|range| self.values.get(range).unwrap_or_default())))
    }
}
