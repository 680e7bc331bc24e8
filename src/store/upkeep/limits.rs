//! Keeping a store within its limits: eviction by least recent access.
//!
//! Under `max_bytes` are the data file and the log. What entries take is known as of the last fold, from LMDB's own count
//! of its pages, and what has been written since is added; the rest of the limit is for the copies that copy-on-write
//! makes while the log is moved into LMDB. A large entry is for a time both in the log and in LMDB, beside those that
//! were evicted for it; so room is made for it before it is written, in transactions of their own.

use super::oldest::Lists;
use crate::error::{Error, Result};
use crate::store::format::layout::{KeyHash, NamespaceId, kind, parse_recency_key, recency_key};
use crate::store::format::records::Recency;
use crate::store::live::Live;
use crate::store::transaction::{Fate, Writer};

/// The smallest size limit a store works well with: below it, the segments of the log would be smaller than they can be.
pub(crate) const MIN_MAX_BYTES: u64 = 4 << 20;
/// Expired entries removed on the way before anything is evicted.
const EXPIRED_FIRST: usize = 64;
/// Transactions that only make room for a large entry, while others use up what they make.
const TRIES: u32 = 100;
/// Entries evicted in one transaction.
const EVICTED_AT_ONCE: usize = 64;
/// Records looked at for one eviction, where this process has read entries since their access was written down.
const LOOKS: usize = 2000;

/// Bytes of entries rewritten in one transaction for new access times: other writers wait meanwhile, and under a limit
/// the log must not grow much by it.
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
    max_bytes / 4
}

impl Live {
    /// Bytes that entries and log may take under the limit, if there is one.
    fn target_bytes(&self) -> Option<u64> {
        let most = self.backend.most_bytes();
        // What the log and the copies take cannot be made smaller with the limit.
        let part = |max: u64| if max < 16 << 20 { 86 } else { 92 };
        self.max_bytes.map(|max| max.min(most)).map(|max| max / 100 * part(max))
    }

    /// Evicts until so many bytes can be written, twice, and moves the log into LMDB. Others may use the room before the
    /// caller does.
    #[cold]
    pub(in crate::store) fn make_room(&self, bytes: u64, tries: u32) -> Result<()> {
        let Some((target, max)) = self.target_bytes().zip(self.max_bytes) else { return Ok(()) };
        if bytes > target / 2 {
            let detail =
                format!("what is written at once may take two fifths of that, and this has {bytes} bytes");
            return Err(Error::StoreFull { limit: max, detail: detail.into() });
        }
        // More at each try, should what is free not be where it is needed.
        let wanted = target.saturating_sub(2 * bytes + max / 64 * u64::from(tries));
        if tries == TRIES {
            let detail = "no room could be made for an entry so large: others write as fast, or a snapshot is kept open; \
                          try again";
            return Err(Error::StoreFull { limit: max, detail: detail.into() });
        }
        while self.write_quietly(|writer| writer.evict_down_to(wanted))? > 0 {}
        self.backend.make_room()
    }
}

impl Writer<'_> {
    /// Evicts what is over the limits, after an insert and in the same transaction.
    pub(crate) fn enforce_limits(&mut self, limit: EntryLimit) -> Result<()> {
        let excess = self.excess_entries(limit)?;
        let over_size = self.bytes_over()?;
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
        let target = self.live().target_bytes().unwrap_or(u64::MAX);
        if self.used_bytes()? > target {
            // Some more, so that this is not done at every insert.
            self.evict_down_to(target - (target / 256).min(16 << 10))?;
        }
        Ok(())
    }

    fn excess_entries(&self, limit: EntryLimit) -> Result<u64> {
        if limit.max_entries == 0 {
            return Ok(0);
        }
        Ok(self.view().counters(limit.namespace)?.entries.saturating_sub(limit.max_entries))
    }

    fn bytes_over(&self) -> Result<u64> {
        match self.live().target_bytes() {
            None => Ok(0),
            Some(target) => Ok(self.used_bytes()?.saturating_sub(target)),
        }
    }

    /// Evicts, over all namespaces, until about so many bytes are used, or some have been evicted; how many.
    fn evict_down_to(&mut self, bytes: u64) -> Result<usize> {
        let mut evicted = 0;
        while evicted < EVICTED_AT_ONCE && self.used_bytes()? > bytes {
            let Some((namespace, at, hash)) = self.least_recent_of_all()? else { break };
            self.evict(namespace, hash, at)?;
            evicted += 1;
        }
        Ok(evicted)
    }

    fn evict(&mut self, namespace: NamespaceId, hash: KeyHash, accessed: u64) -> Result<()> {
        let header = self.header_to_remove(hash)?;
        match header.filter(|header| header.namespace == namespace && header.accessed.0 == accessed) {
            Some(header) => {
                self.remove_as(Fate::Evicted, hash, &header)?;
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

    /// The least recently accessed entry of the store.
    fn least_recent_of_all(&self) -> Result<Option<(NamespaceId, u64, KeyHash)>> {
        let mut oldest = self.live().oldest.lock();
        self.look_around(&mut oldest)?;
        let mut has_begun = false;
        loop {
            let Some((namespace, (at, hash))) = oldest.take_first() else {
                // All that was known has gone. What has come since is found by the next tour.
                if oldest.begin_tour() && std::mem::replace(&mut has_begun, true) {
                    return Ok(None);
                }
                self.look_around(&mut oldest)?;
                continue;
            };
            let end = recency_key(namespace, u64::MAX, KeyHash([0xff; 16]));
            let Some(found) = self.first_to_go(&recency_key(namespace, at, hash), &end)? else { continue };
            if oldest.note(namespace, found.first, found.accessed) {
                return Ok(Some((namespace, found.listed, found.hash)));
            }
        }
    }

    /// Looks at some namespaces that are next in the present tour.
    fn look_around(&self, oldest: &mut Lists) -> Result<()> {
        for _ in 0..oldest.looks() {
            let Some(from) = oldest.next_of_tour() else { break };
            let from = recency_key(from, 0, KeyHash([0; 16]));
            let first = self.view().range(&from, &[kind::RECENCY + 1])?.next().transpose()?;
            match first.and_then(|(key, _)| parse_recency_key(key)) {
                Some((namespace, at, hash)) => oldest.found(namespace, (at, hash)),
                None => oldest.end_tour(),
            }
        }
        Ok(())
    }

    /// The least recently accessed entry of those listed in a range.
    ///
    /// Accesses of this process that are not written yet count; they are looked up and not written first, because that
    /// takes as much room as all those entries do.
    fn first_to_go(&self, from: &[u8], to: &[u8]) -> Result<Option<Candidate>> {
        let mut first: Option<Candidate> = None;
        let mut begin = None;
        for record in self.view().range(from, to)?.take(LOOKS) {
            let (key, _) = record?;
            let Some((_, listed, hash)) = parse_recency_key(key) else { continue };
            let begin = *begin.get_or_insert((listed, hash));
            // Nothing behind it was accessed earlier than it is listed.
            if first.is_some_and(|first| first.accessed <= listed) {
                break;
            }
            let accessed = self.live().access.pending(hash).map_or(listed, |pending| pending.0.max(listed));
            if first.is_none_or(|first| accessed < first.accessed) {
                first = Some(Candidate { hash, listed, accessed, first: begin });
            }
        }
        Ok(first)
    }
}

/// An entry that may be evicted.
#[derive(Clone, Copy)]
struct Candidate {
    hash: KeyHash,
    /// The access it is listed with.
    listed: u64,
    /// Its last access.
    accessed: u64,
    /// The first entry that is listed.
    first: (u64, KeyHash),
}

impl Live {
    /// Lists the entries that were written before anybody asked for a limit, in batches.
    pub(crate) fn build_recency(&self) -> Result<()> {
        const BATCH: usize = 1000;
        if self.state()?.recency == Recency::On {
            return Ok(());
        }
        self.write_quietly(|writer| {
            let state = writer.state();
            writer
                .set_state(crate::store::format::records::StateRecord { recency: Recency::Building, ..state })
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
                        crate::store::format::header::Header::parse(entry).ok().map(|(header, _)| header),
                    ));
                }
                for (key, header) in &batch {
                    let hash = key.get(1..).and_then(crate::store::format::layout::parse_hash);
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
            writer.set_state(crate::store::format::records::StateRecord { recency: Recency::On, ..state })
        })
    }
}
