//! Keeping a store within its limits: eviction by least recent access.
//!
//! `max_bytes` is the size of LMDB's map, so the data file cannot grow beyond it whatever happens. What has to be
//! arranged is that there is always room for the next write: entries may take three quarters; the rest is for the copies
//! that copy-on-write makes until a checkpoint lets LMDB reuse the old pages.

use super::backend::Lmdb;
use super::layout::{KeyHash, NamespaceId, kind, parse_recency_key, recency_key};
use super::live::Live;
use super::records::Recency;
use super::transaction::Writer;
use crate::error::Result;

/// Maps have a multiple of this many bytes, the largest page of any system LMDB runs on.
pub(crate) const MAP_UNIT: u64 = 64 << 10;
/// The smallest size limit a store works well with: below it, the quarter kept free for copies is used up by a few commits of
/// several processes before their slowest has synced.
pub(crate) const MIN_MAX_BYTES: u64 = 4 << 20;
/// What counts as a page where there are none.
const PAGE: u64 = 4096;
/// Expired entries removed on the way before anything is evicted.
const EXPIRED_FIRST: usize = 64;
/// Records looked at for one eviction, where this process has read entries since their access was written down.
const LOOKS: usize = 2000;

/// Bytes of entries rewritten in one transaction for new access times: other writers wait meanwhile, and under a limit
/// there must be room for the copies.
pub(crate) fn most_rewritten(max_bytes: Option<u64>) -> u64 {
    max_bytes.map_or(4 << 20, |max| max / 64)
}

/// What a namespace may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryLimit {
    pub(crate) namespace: NamespaceId,
    /// 0: no limit.
    pub(crate) max_entries: u64,
}

/// The largest entry a store with this limit takes.
pub(crate) fn largest_entry(max_bytes: u64) -> u64 {
    max_bytes / 8
}

impl Live {
    pub(super) fn page_size(&self) -> u64 {
        self.backend.lmdb().map_or(PAGE, Lmdb::page_size)
    }

    /// Pages that entries may take under the limit, if there is one.
    fn target_pages(&self) -> Option<u64> {
        let pages = self.max_bytes? / self.page_size();
        Some(pages - (pages / 4).max(48).min(pages / 2))
    }

    /// Whether the file is so near its limit that old snapshots are in the way.
    pub(crate) fn is_pressed(&self) -> bool {
        let (Some(target), Some(lmdb)) = (self.target_pages(), self.backend.lmdb()) else { return false };
        lmdb.last_page() >= target
    }
}

impl Writer<'_> {
    /// Evicts what is over the limits, after an insert and in the same transaction.
    pub(crate) fn enforce_limits(&mut self, limit: EntryLimit) -> Result<()> {
        let excess = self.excess_entries(limit)?;
        let over_size = self.pages_over()?;
        if excess == 0 && over_size == 0 {
            return Ok(());
        }
        self.remove_expired(EXPIRED_FIRST)?;
        self.remove_buried(EXPIRED_FIRST)?;
        if !self.tracks_recency() {
            // Not before the opener of the limit has begun to build the list.
            return Ok(());
        }
        if self.excess_entries(limit)? > 0 {
            // A small batch at once under large limits, so that this is not done at every insert.
            let most = limit.max_entries - limit.max_entries / 64;
            while self.view().counters(limit.namespace)?.entries > most {
                let Some((hash, at)) = self.least_recent(limit.namespace)? else { break };
                self.evict(limit.namespace, hash, at)?;
            }
        }
        let over_size = self.pages_over()?;
        if over_size > 0 {
            self.evict_pages(over_size + self.live().target_pages().unwrap_or(0) / 64)?;
        }
        Ok(())
    }

    fn excess_entries(&self, limit: EntryLimit) -> Result<u64> {
        if limit.max_entries == 0 {
            return Ok(0);
        }
        Ok(self.view().counters(limit.namespace)?.entries.saturating_sub(limit.max_entries))
    }

    fn pages_over(&self) -> Result<u64> {
        match self.live().target_pages() {
            None => Ok(0),
            Some(target) => Ok(self.view().used_pages()?.saturating_sub(target)),
        }
    }

    /// Evicts, over all namespaces, until about `pages` pages are free.
    fn evict_pages(&mut self, pages: u64) -> Result<()> {
        let before = self.view().used_pages()?;
        while self.view().used_pages()? + pages > before {
            let Some((namespace, at, hash)) = self.least_recent_of_all()? else { break };
            self.evict(namespace, hash, at)?;
        }
        Ok(())
    }

    fn evict(&mut self, namespace: NamespaceId, hash: KeyHash, accessed: u64) -> Result<()> {
        let header = self.header_to_remove(hash)?;
        match header.filter(|header| header.namespace == namespace && header.accessed.0 == accessed) {
            Some(header) => {
                self.remove(hash, &header)?;
                self.evicted += 1;
            }
            // A record without its entry, left by damage.
            None => drop(self.delete(&recency_key(namespace, accessed, hash))?),
        }
        Ok(())
    }

    fn least_recent(&self, namespace: NamespaceId) -> Result<Option<(KeyHash, u64)>> {
        let from = recency_key(namespace, 0, KeyHash([0; 16]));
        let to = recency_key(namespace, u64::MAX, KeyHash([0xff; 16]));
        Ok(self.first_to_go(&from, &to)?.map(|found| (found.hash, found.listed)))
    }

    /// The least recently accessed entry of the store. Costs a descent for each namespace.
    fn least_recent_of_all(&self) -> Result<Option<(NamespaceId, u64, KeyHash)>> {
        let mut oldest: Option<Candidate> = None;
        let mut from = vec![kind::RECENCY];
        loop {
            let first = self.view().range(&from, &[kind::RECENCY + 1])?.next().transpose()?;
            let Some((namespace, ..)) = first.and_then(|(key, _)| parse_recency_key(key)) else { break };
            let end = recency_key(namespace, u64::MAX, KeyHash([0xff; 16]));
            if let Some(found) = self.first_to_go(&from, &end)?
                && oldest.is_none_or(|oldest| found.accessed < oldest.accessed)
            {
                oldest = Some(found);
            }
            let Some(next) = namespace.0.checked_add(1) else { break };
            from = recency_key(NamespaceId(next), 0, KeyHash([0; 16])).to_vec();
        }
        Ok(oldest.map(|oldest| (oldest.namespace, oldest.listed, oldest.hash)))
    }

    /// The least recently accessed entry of those listed in a range.
    ///
    /// Accesses of this process that are not written yet count; they are looked up and not written first, because that
    /// takes as much room as all those entries do.
    fn first_to_go(&self, from: &[u8], to: &[u8]) -> Result<Option<Candidate>> {
        let mut first: Option<Candidate> = None;
        for record in self.view().range(from, to)?.take(LOOKS) {
            let (key, _) = record?;
            let Some((namespace, listed, hash)) = parse_recency_key(key) else { continue };
            // Nothing behind it was accessed earlier than it is listed.
            if first.is_some_and(|first| first.accessed <= listed) {
                break;
            }
            let accessed = self.live().access.pending(hash).map_or(listed, |pending| pending.0.max(listed));
            if first.is_none_or(|first| accessed < first.accessed) {
                first = Some(Candidate { namespace, hash, listed, accessed });
            }
        }
        Ok(first)
    }
}

/// An entry that may be evicted.
#[derive(Clone, Copy)]
struct Candidate {
    namespace: NamespaceId,
    hash: KeyHash,
    /// The access it is listed with.
    listed: u64,
    /// Its last access.
    accessed: u64,
}

impl Live {
    /// Evicts a sixteenth of the store, without making room for it first, if entries take more than so many quarters of
    /// what they may take.
    pub(super) fn evict_batch(&self, quarters: u64) -> Result<()> {
        let most = self.target_pages().unwrap_or(0);
        let keep = most / 4 * quarters;
        self.write_once(|writer| {
            let over = writer.view().used_pages()?.saturating_sub(keep);
            if over == 0 {
                return Ok(());
            }
            writer.evict_pages(over.min(most / 16))
        })
    }

    /// Lists the entries that were written before anybody asked for a limit, in batches.
    pub(crate) fn build_recency(&self) -> Result<()> {
        const BATCH: usize = 1000;
        if self.state()?.recency == Recency::On {
            return Ok(());
        }
        self.write_quietly(|writer| {
            let state = writer.state();
            writer.set_state(super::records::StateRecord { recency: Recency::Building, ..state })
        })?;
        let mut from = vec![kind::ENTRY];
        loop {
            let next = self.write_quietly(|writer| {
                let mut batch = Vec::new();
                for record in writer.view().range(&from, &[kind::ENTRY + 1])?.take(BATCH) {
                    let (key, entry) = record?;
                    // What cannot be read cannot be listed, and `verify` tells of it.
                    batch.push((
                        key.to_vec(),
                        super::header::Header::parse(entry).ok().map(|(header, _)| header),
                    ));
                }
                for (key, header) in &batch {
                    let hash = key.get(1..).and_then(super::layout::parse_hash);
                    if let (Some(hash), Some(header)) = (hash, header) {
                        writer.list_recency(hash, header)?;
                    }
                }
                Ok((batch.len() == BATCH).then(|| batch.pop()).flatten().map(|(key, _)| key))
            })?;
            let Some(mut last) = next else { break };
            last.push(0);
            from = last;
        }
        self.write_quietly(|writer| {
            let state = writer.state();
            writer.set_state(super::records::StateRecord { recency: Recency::On, ..state })
        })
    }
}
