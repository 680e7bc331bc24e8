//! Folding under a limit: changes are written so that the pages of the tree stay nearly full.
//!
//! LMDB splits a page in the middle, and joins none that is a quarter full. Of entries of 1 KB a page takes three, so that
//! two are what is left of that. So before changes are written, the pages around each are looked at as they are now. Where a
//! few of them, with the changes, find room in one page less than LMDB would use, their records are removed and written
//! again, in order and each page full. In that LMDB helps as well as it can be made to: it splits a page before the last
//! record if another is added at its end. A short record that is put there for a moment, the *wedge*, is what it takes over.
//!
//! Where pages end is seen from where records lie in memory, which is right for a committed tree. If it were wrong the
//! pages would only be less full: records are removed and written by their keys.

use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use super::env::Tree;
use super::segment::Change;

/// Pages looked at around a change, and those before it among them.
const WINDOW: usize = 8;
const BEFORE: usize = 4;
/// Records that are enough: of small ones a few pages have slack for another page.
const ENOUGH: usize = 256;
/// Pages of large records that are copied for that at most.
const LARGE: usize = 4;
/// What LMDB has of a page for itself.
const PAGE_HEADER: usize = 16;
/// What a record takes beside key and value.
const NODE: usize = 10;

#[derive(Clone, Copy)]
struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
}

/// A leaf as it is, and what is to be in it.
#[derive(Default)]
struct Leaf<'a> {
    old: Vec<Record<'a>>,
    changes: &'a [Change<'a>],
    new: Vec<Record<'a>>,
}

pub(super) struct Packer<'a> {
    pub(super) tree: Tree,
    /// The tree as it was before the transaction that is written to.
    pub(super) old: &'a RoTxn<'a>,
    pub(super) page_size: usize,
}

impl<'a> Packer<'a> {
    /// Writes the first changes: those that are near each other. `done` is the key up to which that was done before.
    /// Returns how many they were, and how many pages were written anew for them.
    pub(super) fn apply(
        &self,
        txn: &mut RwTxn<'_>,
        changes: &'a [Change<'a>],
        done: &mut Vec<u8>,
    ) -> heed::Result<(usize, usize)> {
        let Some(first) = changes.first() else { return Ok((0, 0)) };
        let (mut leaves, end) = self.leaves_around(first.key, done)?;
        let count = match end {
            Some(end) => changes.partition_point(|change| change.key < end),
            None => changes.len(),
        };
        let (now, _) = changes.split_at(count);
        done.clear();
        done.extend_from_slice(end.unwrap_or(&[0xff; 32]));
        let mut rest = now;
        for at in 0..leaves.len() {
            let next = leaves.get(at + 1).and_then(|next| next.old.first()).map(|first| first.key);
            let of_leaf = next.map_or(rest.len(), |next| rest.partition_point(|change| change.key < next));
            let (of_leaf, others) = rest.split_at(of_leaf);
            rest = others;
            if let Some(leaf) = leaves.get_mut(at) {
                leaf.changes = of_leaf;
                leaf.new = merge(&leaf.old, of_leaf);
            }
        }
        Ok((count, self.write(txn, &leaves)?))
    }

    /// Writes what some leaves are to have; how many were written anew.
    fn write(&self, txn: &mut RwTxn<'_>, leaves: &[Leaf<'_>]) -> heed::Result<usize> {
        let groups = (0..leaves.len()).filter_map(|at| Some((at, self.group_at(leaves, at)?)));
        if let Some((at, count)) = groups.min_by_key(|(_, count)| *count) {
            let (before, rest) = leaves.split_at(at);
            let (group, behind) = rest.split_at(count);
            let packed = self.write(txn, before)?;
            self.write_anew(txn, group)?;
            return Ok(packed + count + self.write(txn, behind)?);
        }
        for change in leaves.iter().flat_map(|leaf| leaf.changes) {
            match change.value {
                Some(value) => self.tree.put(txn, change.key, value)?,
                None => drop(self.tree.delete(txn, change.key)?),
            }
        }
        Ok(0)
    }

    /// The leaves around a key, behind `done`, and the first key behind them.
    fn leaves_around(&self, key: &[u8], done: &[u8]) -> heed::Result<(Vec<Leaf<'a>>, Option<&'a [u8]>)> {
        let page_of = |key: &[u8]| key.as_ptr() as usize / self.page_size;
        let (mut pages, mut records, mut last_page) = (0, 0, 0);
        let mut from = key.to_vec();
        if done < key {
            let bounds = (Bound::Included(done), Bound::Included(key));
            for record in self.tree.rev_range(self.old, &bounds)? {
                let (key, _) = record?;
                if page_of(key) != last_page {
                    if pages == BEFORE || records >= ENOUGH / 2 {
                        break;
                    }
                    (pages, last_page) = (pages + 1, page_of(key));
                }
                records += 1;
                from.clear();
                from.extend_from_slice(key);
            }
        }
        let mut leaves: Vec<Leaf<'a>> = Vec::with_capacity(WINDOW);
        let (mut records, mut last_page) = (0, 0);
        let bounds = (Bound::Included(from.as_slice()), Bound::Unbounded);
        for record in self.tree.range(self.old, &bounds)? {
            let (found, value) = record?;
            if page_of(found) != last_page {
                let is_behind = found > key;
                if is_behind && !leaves.is_empty() && (leaves.len() >= WINDOW || records >= ENOUGH) {
                    return Ok((leaves, Some(found)));
                }
                last_page = page_of(found);
                leaves.push(Leaf::default());
            }
            records += 1;
            if let Some(leaf) = leaves.last_mut() {
                leaf.old.push(Record { key: found, value });
            }
        }
        if leaves.is_empty() {
            leaves.push(Leaf::default());
        }
        Ok((leaves, None))
    }

    /// How many leaves, from one on, are to be written anew: the fewest that save a page by that.
    fn group_at(&self, leaves: &[Leaf<'_>], at: usize) -> Option<usize> {
        let mut plain = 0;
        let mut packed = Pages { room: self.page_size - PAGE_HEADER, pages: 0, used: 0 };
        let (mut is_changed, mut large) = (false, 0);
        for (leaf, count) in leaves.iter().skip(at).zip(1..) {
            plain += self.pages_of(&leaf.new);
            large += leaf.old.iter().map(|record| self.own_pages_of(record)).sum::<usize>();
            if large > LARGE {
                return None;
            }
            is_changed |= !leaf.changes.is_empty();
            for record in &leaf.new {
                packed.add(self.size_of(record));
            }
            if count > 1 && is_changed && packed.pages < plain {
                return Some(count);
            }
        }
        None
    }

    /// The pages that LMDB would use for what is in one leaf now.
    fn pages_of(&self, records: &[Record<'_>]) -> usize {
        records
            .iter()
            .map(|record| self.size_of(record))
            .sum::<usize>()
            .div_ceil(self.page_size - PAGE_HEADER)
    }

    /// The room that a record takes in a leaf.
    fn size_of(&self, record: &Record<'_>) -> usize {
        let in_leaf = if self.own_pages_of(record) == 0 { record.value.len() } else { 8 };
        (NODE + record.key.len() + in_leaf).next_multiple_of(2)
    }

    /// The pages of its own that a large record has.
    fn own_pages_of(&self, record: &Record<'_>) -> usize {
        let most = ((self.page_size - PAGE_HEADER) / 2) & !1;
        match NODE + record.key.len() + record.value.len() > most {
            true => (PAGE_HEADER + record.value.len()).div_ceil(self.page_size),
            false => 0,
        }
    }

    /// Writes the records of some leaves that are beside each other anew.
    fn write_anew(&self, txn: &mut RwTxn<'_>, leaves: &[Leaf<'_>]) -> heed::Result<()> {
        let mut old = leaves.iter().flat_map(|leaf| &leaf.old);
        let mut new = leaves.iter().flat_map(|leaf| &leaf.new);
        // From the last on: so what LMDB takes from the page before, where one has become empty, comes to be removed, too,
        // and what is left is one page.
        let left = old.next();
        for record in old.rev() {
            self.tree.delete(txn, record.key)?;
        }
        let mut pages = Pages { room: self.page_size - PAGE_HEADER, pages: 0, used: 0 };
        let mut wedge: Option<Vec<u8>> = None;
        let first = new.next();
        if let Some(first) = first {
            self.tree.put(txn, first.key, first.value)?;
            pages.add(self.size_of(first));
        }
        if let Some(left) = left.filter(|left| first.is_none_or(|first| first.key != left.key)) {
            self.tree.delete(txn, left.key)?;
        }
        let mut last = first.map_or(&[][..], |first| first.key);
        for record in new {
            let size = self.size_of(record);
            if pages.add(size) {
                // This one does not go into the present page.
                if let Some(wedge) = wedge.take() {
                    self.tree.delete(txn, &wedge)?;
                }
                let key = [last, &[0]].concat();
                if key.as_slice() < record.key && key.len() <= WEDGE_KEY {
                    self.tree.put(txn, &key, &[])?;
                    wedge = Some(key);
                }
                self.tree.put(txn, record.key, record.value)?;
            } else {
                self.tree.put(txn, record.key, record.value)?;
                if let Some(wedge) = wedge.take() {
                    self.tree.delete(txn, &wedge)?;
                }
            }
            last = record.key;
        }
        match wedge {
            Some(wedge) => self.tree.delete(txn, &wedge).map(drop),
            None => Ok(()),
        }
    }
}

/// The longest key that a wedge gets: all keys but names of namespaces are shorter.
const WEDGE_KEY: usize = 32;
/// The room that is left for it in each page.
const WEDGE: usize = NODE + WEDGE_KEY;

/// Counts the pages that records take, one behind the other.
struct Pages {
    room: usize,
    pages: usize,
    used: usize,
}

impl Pages {
    /// Adds a record. Returns `true` if it is the first of another page.
    fn add(&mut self, size: usize) -> bool {
        let is_new = self.pages == 0 || self.used + size + WEDGE > self.room;
        if is_new {
            (self.pages, self.used) = (self.pages + 1, 0);
        }
        self.used += size;
        is_new
    }
}

/// What a leaf has once it is changed.
fn merge<'a>(old: &[Record<'a>], changes: &[Change<'a>]) -> Vec<Record<'a>> {
    let mut merged = Vec::with_capacity(old.len() + changes.len());
    let mut old = old.iter().copied().peekable();
    for change in changes {
        while let Some(record) = old.next_if(|record| record.key < change.key) {
            merged.push(record);
        }
        old.next_if(|record| record.key == change.key);
        merged.extend(change.value.map(|value| Record { key: change.key, value }));
    }
    merged.extend(old);
    merged
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::env::{EnvSlot, Use};
    use super::*;

    /// Xorshift: every sequence of one test is the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, most: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % most as u64) as usize
        }
    }

    /// Changes a tree again and again, and a map in the same way; returns how many pages the leaves take, and how many they
    /// would if all were full.
    fn churn(len: impl Fn(&mut Dice) -> usize, records: usize) -> (usize, usize) {
        let dir = tempfile::tempdir().unwrap();
        let (env, tree) = EnvSlot::open(dir.path(), 64 << 20, Use::Copy).unwrap();
        let mut dice = Dice(88_172_645_463_325_252);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut ages = std::collections::VecDeque::new();
        for round in 0..400 {
            let mut changed: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for _ in 0..records / 40 {
                let key = dice.below(usize::MAX).to_be_bytes().repeat(2);
                let value = vec![round as u8; len(&mut dice)];
                ages.push_back(key.clone());
                changed.insert(key, Some(value));
                // Also one that is there with another length, and one that is not there.
                if let Some((key, _)) = model.iter().nth(dice.below(records)) {
                    changed.insert(key.clone(), Some(vec![round as u8; len(&mut dice)]));
                }
                changed.insert(dice.below(usize::MAX).to_be_bytes().to_vec(), None);
            }
            while ages.len() > records {
                changed.insert(ages.pop_front().unwrap(), None);
            }
            let changes: Vec<_> =
                changed.iter().map(|(key, value)| Change { key, value: value.as_deref() }).collect();
            let mut txn = env.write_txn().unwrap();
            let old = env.read_txn().unwrap();
            let packer = Packer { tree, old: &old, page_size: 4096 };
            let (mut rest, mut done) = (changes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let (count, _) = packer.apply(&mut txn, rest, &mut done).unwrap();
                rest = &rest[count..];
            }
            drop(old);
            txn.commit().unwrap();
            for (key, value) in changed {
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
            }
        }
        let txn = env.read_txn().unwrap();
        let found: Vec<_> = tree.iter(&txn).unwrap().map(|record| record.unwrap()).collect();
        assert!(
            found.iter().copied().eq(model.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
        );
        let packer = Packer { tree, old: &txn, page_size: 4096 };
        let mut pages = Pages { room: 4096 - PAGE_HEADER, pages: 0, used: 0 };
        for (key, value) in found {
            pages.add(packer.size_of(&Record { key, value }));
        }
        (tree.stat(&txn).unwrap().leaf_pages, pages.pages)
    }

    #[test]
    fn leaves_stay_nearly_full_whatever_is_written_and_removed() {
        let (one, full) = churn(|_| 1_124, 600);
        assert!(one * 100 <= full * 112, "{one} pages, {full} if they were full");
        let (small, full) = churn(|_| 200, 2_000);
        assert!(small * 100 <= full * 125, "{small} pages, {full} if they were full");
        let (mixed, full) = churn(|dice| 1 + dice.below(2_000), 600);
        assert!(mixed * 100 <= full * 125, "{mixed} pages, {full} if they were full");
        // Of large records only a part is in leaves.
        churn(|dice| 1 + dice.below(20_000), 200);
        // Such that two fill a page to the last byte.
        churn(|dice| 2_000 + dice.below(40), 200);
    }
}
