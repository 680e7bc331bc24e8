//! Records in memory: collected one behind the other, then sorted by an index.

use std::cmp::Ordering;
use std::ops::Range;

use super::place::{Place, Ties};

/// Collected records. Sorted, it is a run of the merge.
#[derive(Default)]
pub(super) struct Batch {
    /// For each record: the length of the value (4 bytes), key, value.
    bytes: Vec<u8>,
    items: Vec<Item>,
}

/// A record in the index: small, and most often enough to compare by.
#[derive(Clone, Copy)]
struct Item {
    /// Of the key, after what all keys of the batch begin with: 8 bytes as a number in their order.
    prefix: u64,
    place: Place,
    at: u32,
    key_len: u32,
}

/// What a record takes beside its key and value.
const OVERHEAD: usize = size_of::<Item>() + 4;

/// Bytes that an index of 32 bits can reach.
const MOST: usize = u32::MAX as usize - (1 << 20);

/// The first 8 bytes as a number that is ordered as they are.
pub(super) fn prefix(key: &[u8]) -> u64 {
    if let Some(head) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(head)
}

impl Batch {
    /// Bytes of memory it takes.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.items.len() * size_of::<Item>()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether a record can be added so that all take no more than `most`. The first one always can.
    pub(super) fn has_room(&self, key: &[u8], value: &[u8], most: usize) -> bool {
        let more = OVERHEAD + key.len() + value.len();
        self.items.is_empty() || self.size() + more <= most && self.bytes.len() + more <= MOST
    }

    /// Adds a record. Whoever adds has asked [`has_room`](Self::has_room), and no record has 4 GiB.
    pub(super) fn add(&mut self, key: &[u8], value: &[u8], place: Place) {
        let at = self.bytes.len() as u32;
        self.items.push(Item { prefix: 0, place, at, key_len: key.len() as u32 });
        self.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    fn key_of(&self, item: &Item) -> &[u8] {
        let start = item.at as usize + 4;
        self.bytes.get(start..start + item.key_len as usize).unwrap_or_default()
    }

    pub(super) fn key(&self, place: usize) -> &[u8] {
        self.items.get(place).map_or(&[], |item| self.key_of(item))
    }

    /// Key, value and place of a record.
    pub(super) fn get(&self, place: usize) -> Option<(&[u8], &[u8], Place)> {
        let item = self.items.get(place)?;
        let (size, rest) = self.bytes.get(item.at as usize..)?.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(item.key_len as usize)?;
        Some((key, rest.get(..u32::from_le_bytes(*size) as usize)?, item.place))
    }

    /// Sorts by key, then by place. `nearly`: most of it is in order, and that is made use of.
    pub(super) fn sort(&mut self, ties: Ties, nearly: bool) {
        let Some(first) = self.items.first() else { return };
        // Keys often have a common beginning, and comparing bytes behind it needs no look at the keys themselves.
        let first = self.key_of(first);
        let common = self.items.iter().fold(first.len(), |common, item| {
            let both = first.iter().zip(self.key_of(item)).take(common);
            both.take_while(|(a, b)| a == b).count()
        });
        let mut items = std::mem::take(&mut self.items);
        for item in &mut items {
            item.prefix = prefix(self.key_of(item).get(common..).unwrap_or_default());
        }
        let order = |a: &Item, b: &Item| match a.prefix.cmp(&b.prefix) {
            Ordering::Equal => self.key_of(a).cmp(self.key_of(b)).then_with(|| ties.order(a.place, b.place)),
            unequal => unequal,
        };
        match nearly {
            true => items.sort_by(order),
            false => items.sort_unstable_by(order),
        }
        self.items = items;
        self.arrange();
    }

    /// Puts the bytes into the order of the index, so that whoever reads them all goes through memory from its start
    /// to its end. Done here while they are in the processor's cache.
    fn arrange(&mut self) {
        if self.items.is_sorted_by_key(|item| item.at) {
            return;
        }
        let mut arranged = Vec::with_capacity(self.bytes.len());
        for item in &mut self.items {
            let at = arranged.len() as u32;
            let record = self.bytes.get(item.at as usize..).unwrap_or_default();
            let value_len = record.first_chunk::<4>().map_or(0, |size| u32::from_le_bytes(*size));
            let len = 4 + item.key_len as usize + value_len as usize;
            arranged.extend_from_slice(record.get(..len).unwrap_or_default());
            item.at = at;
        }
        self.bytes = arranged;
    }

    /// The places, in a sorted batch, of keys from `from` on up to but without `to`.
    pub(super) fn range(&self, from: Option<&[u8]>, to: Option<&[u8]>) -> Range<usize> {
        let at = |key: &[u8]| self.items.partition_point(|item| self.key_of(item) < key);
        from.map_or(0, at)..to.map_or(self.items.len(), at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Duplicates;
    use super::*;

    fn batch(keys: &[&str], duplicates: Duplicates, nearly: bool) -> Vec<(String, u64)> {
        let mut batch = Batch::default();
        for (n, key) in keys.iter().enumerate() {
            batch.add(key.as_bytes(), b"value", Place::new(0, n as u64).unwrap());
        }
        batch.sort(Ties::of(duplicates), nearly);
        (0..batch.len())
            .map(|n| {
                let (key, value, place) = batch.get(n).unwrap();
                assert_eq!(value, b"value");
                (String::from_utf8(key.to_vec()).unwrap(), place.offset())
            })
            .collect()
    }

    #[test]
    fn records_are_in_the_order_of_their_keys_and_those_of_one_key_by_their_places() {
        let keys =
            ["key 10", "key 9", "key", "key 10\0", "key 10", "key 1", "", "key 100000000", "key 1000000000"];
        for keys in [&keys[..], &keys[..6], &["same", "same", "samé"][..]] {
            for nearly in [false, true] {
                let mut expected: Vec<_> =
                    keys.iter().enumerate().map(|(n, key)| ((*key).to_owned(), n as u64)).collect();
                expected.sort();
                assert_eq!(batch(keys, Duplicates::First, nearly), expected);
                expected.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
                assert_eq!(batch(keys, Duplicates::Last, nearly), expected);
            }
        }
    }

    #[test]
    fn ranges_are_found_by_key() {
        let mut batch = Batch::default();
        for key in [b"a", b"c", b"e"] {
            batch.add(key, b"", Place::new(0, 0).unwrap());
        }
        batch.sort(Ties::of(Duplicates::Last), false);
        assert_eq!(batch.range(None, None), 0..3);
        assert_eq!(batch.range(Some(b"b"), Some(b"e")), 1..2);
        assert_eq!(batch.range(Some(b"c"), None), 1..3);
    }
}
