//! What a damaged store still has, brought together by its keys: of each the newest that was found.

use std::collections::{BTreeSet, HashMap};

use super::Report;
use crate::error::Result;
use crate::store::backend::NewData;
use crate::store::backend::lmdb::remains::{Finder, Follower, Origin};
use crate::store::backend::lmdb::{Batch, remains};
use crate::store::directory::store_dir::StoreDir;
use crate::store::format::header::Header;
use crate::store::format::layout::{
    FOLD_KEY, KeyBuffer, KeyHash, KeyHasher, NamespaceId, STATE_KEY, STORE_KEY, kind, parse_hash,
};
use crate::store::format::records::{StateRecord, StoreRecord};

/// What was gathered beside the records.
#[derive(Default)]
pub(super) struct Gathered {
    /// Records of the store, its state and its namespaces from pages that are not of the snapshot.
    pub(super) spare: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// Entries that were found and are not what was written, with the key if that can be told.
    pub(super) broken: HashMap<KeyHash, Option<(NamespaceId, Vec<u8>)>>,
    /// The last file of the log.
    pub(super) highest: u32,
    pub(super) folded: Option<Vec<u8>>,
    /// The largest stamp of an entry.
    pub(super) stamp: u64,
    pub(super) has_encrypted: bool,
}

/// Reads the store in a directory into `into`.
pub(super) fn gather(dir: &StoreDir, into: &NewData, report: &mut Report) -> Result<Gathered> {
    let gathered = Gathered::default();
    let mut gathering = Gathering { batch: into.batch(), gathered, report, base: 0 };
    remains::of_data(dir, &mut gathering)?;
    let folded = gathering.batch.get(FOLD_KEY)?.map(<[u8]>::to_vec);
    // A seal can be behind it.
    let state = gathering.batch.get(STATE_KEY)?.and_then(|state| state.get(..StateRecord::LEN));
    gathering.base =
        state.and_then(|state| StateRecord::decode(state).ok()).map_or(0, |state| state.stamp_base);
    let store = gathering.batch.get(STORE_KEY)?.and_then(StoreRecord::peek_id);
    let highest = remains::of_log(dir, store, folded.as_deref(), &mut gathering)?;
    let Gathering { batch, mut gathered, .. } = gathering;
    (gathered.highest, gathered.folded) = (highest, folded);
    batch.end()?;
    Ok(gathered)
}

struct Gathering<'a> {
    batch: Batch<'a>,
    gathered: Gathered,
    report: &'a mut Report,
    /// What stamps have beside the place in the log.
    base: u64,
}

impl Gathering<'_> {
    /// Takes an entry, unless a newer one was found. Returns whether it did.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<bool> {
        let Some(hash) = key.get(1..).and_then(parse_hash) else { return Ok(false) };
        let Some(header) = sound(value) else {
            self.gathered.broken.insert(hash, key_of(hash, value));
            return Ok(false);
        };
        let stamp_of = |found: &[u8]| Header::parse(found).map_or(0, |(header, _)| header.stamp.0);
        if self.batch.get(key)?.is_some_and(|found| stamp_of(found) > header.stamp.0) {
            return Ok(false);
        }
        self.gathered.stamp = self.gathered.stamp.max(header.stamp.0);
        self.gathered.has_encrypted |= header.cipher != 0;
        self.batch.put(key, value)?;
        Ok(true)
    }

    fn remove_entry(&mut self, key: &[u8], stamp: u64) -> Result<()> {
        let older = |found: &[u8]| Header::parse(found).is_ok_and(|(header, _)| header.stamp.0 < stamp);
        if self.batch.get(key)?.is_some_and(older) {
            self.batch.remove(key)?;
        }
        if let Some(hash) = key.get(1..).and_then(parse_hash) {
            self.gathered.broken.remove(&hash);
        }
        Ok(())
    }
}

impl Finder for Gathering<'_> {
    fn record(&mut self, key: &[u8], value: &[u8], origin: Origin) -> Result<()> {
        match key.first() {
            Some(&kind::ENTRY) if origin != Origin::Old => {
                let taken = self.entry(key, value)?;
                self.report.may_be_old |= taken && origin == Origin::Unsure;
            }
            Some(&(kind::STORE | kind::STATE | kind::NAMESPACE)) if origin != Origin::Current => {
                self.gathered.spare.insert((key.to_vec(), value.to_vec()));
            }
            Some(&(kind::ORDER | kind::GRAVE | kind::FOLD | kind::STORE | kind::STATE | kind::NAMESPACE))
                if origin == Origin::Current && self.batch.get(key)?.is_none() =>
            {
                self.batch.put(key, value)?;
            }
            // The rest is made anew of the entries.
            _ => {}
        }
        Ok(())
    }

    fn problem(&mut self, text: String) {
        self.report.problem(text);
    }
}

impl Follower for Gathering<'_> {
    fn change(&mut self, key: &[u8], value: Option<&[u8]>, tail: u64, sure: bool) -> Result<()> {
        let stamp = self.base.saturating_add(tail).saturating_add(1);
        match (key.first(), value) {
            (Some(&kind::ENTRY), Some(value)) if sound(value).is_some() => drop(self.entry(key, value)?),
            (Some(&kind::ENTRY), Some(value)) => {
                // What there was before is not the key's value any more.
                self.remove_entry(key, stamp)?;
                self.entry(key, value)?;
            }
            (Some(&kind::ENTRY), None) if sure => self.remove_entry(key, stamp)?,
            (
                Some(&(kind::ORDER | kind::GRAVE | kind::STORE | kind::STATE | kind::NAMESPACE)),
                Some(value),
            ) if sure => {
                self.batch.put(key, value)?;
            }
            (Some(&(kind::ORDER | kind::GRAVE | kind::NAMESPACE)), None) if sure => self.batch.remove(key)?,
            _ => {}
        }
        Ok(())
    }

    fn problem(&mut self, text: String) {
        // What it had changed may be as it was before.
        self.report.may_be_old = true;
        self.report.problem(text);
    }
}

fn sound(entry: &[u8]) -> Option<Header> {
    let (header, _) = Header::parse(entry).ok()?;
    Header::checksum_holds(entry).then_some(header)
}

/// The key of a plain entry whose value is damaged: it proves itself by its hash.
fn key_of(hash: KeyHash, entry: &[u8]) -> Option<(NamespaceId, Vec<u8>)> {
    let u32_at = |at: usize| entry.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let (namespace, len) = (NamespaceId(u32_at(8)?), u32_at(12)? as usize);
    let key = entry.get(crate::store::format::header::HEADER_SIZE..)?.get(..len)?;
    let found = KeyBuffer::from_key(key).hash(&KeyHasher::Plain, namespace);
    (found == hash).then(|| (namespace, key.to_vec()))
}
