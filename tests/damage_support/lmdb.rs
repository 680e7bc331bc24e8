//! Reads LMDB's file format, just enough to say what each page is and where an entry's bytes lie.

use std::collections::BTreeMap;
use std::ops::Range;

pub(crate) const PAGE: usize = 4096;
const HEADER: usize = 16;
/// Bytes of a meta page that mean something: header and body.
pub(crate) const META_BYTES: usize = 152;
const NODE_HEADER: usize = 8;
const BIG: u16 = 1;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Meta,
    Branch,
    Leaf,
    /// The first page of a run, and the others.
    Overflow,
    OverflowRest,
    /// Of the tree of free pages.
    FreeTree,
    Unused,
}

/// A record of the main tree: where its value's bytes are in the file.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Range<usize>,
}

/// The newest snapshot in a data file.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) txn: u64,
    pub(crate) newest_meta: usize,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) records: Vec<Record>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_ne_bytes(number(bytes, at)).into()
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(number(bytes, at))
}

/// The transaction id in a meta page.
pub(crate) fn txn_of_meta(file: &[u8], page: usize) -> u64 {
    u64_at(file, page * PAGE + HEADER + 128)
}

impl Snapshot {
    pub(crate) fn of(file: &[u8]) -> Snapshot {
        let newest_meta = usize::from(txn_of_meta(file, 1) > txn_of_meta(file, 0));
        Snapshot::at(file, &file[newest_meta * PAGE + HEADER..][..META_BYTES - HEADER])
    }

    /// The snapshot of a meta page's body.
    pub(crate) fn at(file: &[u8], meta: &[u8]) -> Snapshot {
        let txn = u64_at(meta, 128);
        let mut snapshot = Snapshot {
            txn,
            newest_meta: (txn % 2) as usize,
            kinds: vec![Kind::Unused; file.len() / PAGE],
            records: Vec::new(),
        };
        snapshot.kinds[..2].fill(Kind::Meta);
        let root = |db: usize| Some(u64_at(meta, db + 40)).filter(|root| *root != u64::MAX);
        if let Some(free) = root(24) {
            snapshot.walk(file, free as usize, true);
        }
        if let Some(main) = root(72) {
            snapshot.walk(file, main as usize, false);
        }
        snapshot
    }

    fn walk(&mut self, file: &[u8], page: usize, free: bool) {
        let at = page * PAGE;
        let is_branch = u16_at(file, at + 10) & 1 != 0;
        self.kinds[page] = match (free, is_branch) {
            (true, _) => Kind::FreeTree,
            (_, true) => Kind::Branch,
            (_, false) => Kind::Leaf,
        };
        let nodes = (u16_at(file, at + 12) - HEADER) / 2;
        for node in 0..nodes {
            let node = at + u16_at(file, at + HEADER + node * 2);
            let (low, high, flags) = (u16_at(file, node), u16_at(file, node + 2), u16_at(file, node + 4));
            let key_len = u16_at(file, node + 6);
            if is_branch {
                self.walk(file, low | high << 16 | flags << 32, free);
                continue;
            }
            let key = node + NODE_HEADER..node + NODE_HEADER + key_len;
            let size = low | high << 16;
            let mut value = key.end..key.end + size;
            if flags as u16 & BIG != 0 {
                let first = u64_at(file, key.end) as usize;
                let pages = (HEADER + size).div_ceil(PAGE);
                self.kinds[first] = if free { Kind::FreeTree } else { Kind::Overflow };
                self.kinds[first + 1..first + pages].fill(Kind::OverflowRest);
                value = first * PAGE + HEADER..first * PAGE + HEADER + size;
            }
            if !free {
                self.records.push(Record { key: file[key].to_vec(), value });
            }
        }
    }

    pub(crate) fn pages_of(&self, kind: Kind) -> Vec<usize> {
        (0..self.kinds.len()).filter(|page| self.kinds[*page] == kind).collect()
    }

    /// The entries of the cache, by the hash of their key.
    pub(crate) fn entries(&self) -> BTreeMap<Vec<u8>, Range<usize>> {
        let entries = self.records.iter().filter(|record| record.key.first() == Some(&b'e'));
        entries.map(|record| (record.key[1..].to_vec(), record.value.clone())).collect()
    }
}
