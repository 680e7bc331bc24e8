//! Writing many new entries at once into a store that has none: in the order of the tree, each behind the last, so
//! that nothing is searched for and all pages are full.
//!
//! Entries sort before everything else. So the few other records are taken out, the tree is emptied, and they are
//! written again where they belong, all in the one transaction.

use std::collections::VecDeque;

use super::format::layout::{NamespaceId, counters_key, kind};
use super::format::records::Counters;
use super::transaction::Writer;
use crate::error::Result;

/// A store with more records than this beside its entries is written to as any other.
const MOST_OTHERS: usize = 10_000;

/// The records that are still to be written where they belong.
pub(crate) struct Others(VecDeque<(Vec<u8>, Vec<u8>)>);

impl Others {
    /// Leaves a record out: another one is appended in its place.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.0.retain(|(other, _)| other != key);
    }
}

impl Writer<'_> {
    /// Empties the tree to be written anew, if the store has no entries and little else.
    pub(crate) fn begin_appending(&mut self) -> Result<Option<Others>> {
        let mut others = VecDeque::new();
        for record in self.view().range(&[0], &[u8::MAX])? {
            let (key, value) = record?;
            // Counters are the only records of the order that stay when there are no entries.
            let is_of_entries = match key.first() {
                Some(&kind::ORDER) => !key.ends_with(&[u8::MAX; 8]),
                first => matches!(first, Some(&(kind::ENTRY | kind::EXPIRY | kind::RECENCY))),
            };
            if is_of_entries || others.len() == MOST_OTHERS {
                return Ok(None);
            }
            others.push_back((key.to_vec(), value.to_vec()));
        }
        self.clear_tree()?;
        Ok(Some(Others(others)))
    }

    /// Writes a record that sorts behind all records written since [`begin_appending`](Self::begin_appending), and
    /// before it the others that belong there.
    #[inline]
    pub(crate) fn append(&mut self, others: &mut Others, key: &[u8], value: &[u8]) -> Result<()> {
        while others.0.front().is_some_and(|(other, _)| other.as_slice() < key) {
            if let Some((key, value)) = others.0.pop_front() {
                self.put_behind(&key, &value)?;
            }
        }
        self.put_behind(key, value)
    }

    /// Writes the others that are left.
    pub(crate) fn end_appending(&mut self, others: Others) -> Result<()> {
        others.0.into_iter().try_for_each(|(key, value)| self.put_behind(&key, &value))
    }

    /// Sets a namespace's counters.
    pub(crate) fn set_counters(&mut self, namespace: NamespaceId, counters: Counters) -> Result<()> {
        self.put(&counters_key(namespace), &counters.encode())
    }
}
