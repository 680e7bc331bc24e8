//! Removing what is expired or was left behind by `clear`, and writing access times.

use std::collections::HashMap;
use std::time::Duration;

use super::limits::most_rewritten;
use crate::clock::{Span, Time};
use crate::error::Result;
use crate::store::directory::locks::SWEEPER;
use crate::store::format::header::Header;
use crate::store::format::layout::{
    DueEntry, KeyHash, Listed, NamespaceId, Number, expiry_key, kind, order_key, parse_expiry_key,
    parse_hash, parse_order_key, recency_key,
};
use crate::store::live::Live;
use crate::store::transaction::{Fate, ReadView, Writer, is_expired};

/// Entries removed in one transaction: about a millisecond, in which other writers wait.
const BATCH: usize = 256;
/// Access times written in one transaction.
const FLUSH_BATCH: usize = 512;

/// The due times up to `now`, with the entries they are of.
fn expired(view: &ReadView<'_>, now: Time, most: usize) -> Result<Vec<(Time, KeyHash, DueEntry)>> {
    let from = expiry_key(0, KeyHash([0; 16]));
    let to = expiry_key(now.0.saturating_add(1), KeyHash([0; 16]));
    let mut found = Vec::new();
    for record in view.range(&from, &to)?.take(most) {
        let (key, value) = record?;
        if let Some((due, hash)) = parse_expiry_key(key) {
            found.push((Time(due), hash, DueEntry::decode(value)));
        }
    }
    Ok(found)
}

/// How many entries are expired but not removed yet, of each namespace that is wanted and has any.
pub(crate) fn count_expired(
    live: &Live,
    view: &ReadView<'_>,
    now: Time,
    wanted: impl Fn(NamespaceId) -> bool,
) -> Result<HashMap<NamespaceId, u64>> {
    let mut counts = HashMap::new();
    for (_, hash, listed) in expired(view, now, usize::MAX)? {
        if !wanted(listed.namespace) {
            continue;
        }
        // One that cannot be read counts as there, until it is removed.
        let Ok(found) = view.entry(hash) else { continue };
        let expired = found.is_some_and(|found| is_expired(live, hash, &found.header, now));
        if expired || has_vanished(view, hash, listed, found.map(|found| found.header.number))? {
            *counts.entry(listed.namespace).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Whether the backend removed the entry that is listed, and there is no other or a newer one (at the place `now_at`) under
/// its hash: then its place in the order is still taken, and it is still counted.
pub(in crate::store) fn has_vanished(
    view: &ReadView<'_>,
    hash: KeyHash,
    entry: DueEntry,
    now_at: Option<Number>,
) -> Result<bool> {
    let Some(Listed { number, .. }) = entry.listed else { return Ok(false) };
    Ok(now_at != Some(number)
        && view.get(&order_key(entry.namespace, number))?.and_then(parse_hash) == Some(hash))
}

impl Writer<'_> {
    /// Removes up to `most` expired entries; returns how many records it looked at.
    pub(crate) fn remove_expired(&mut self, most: usize) -> Result<usize> {
        let now = self.now();
        let due = expired(&self.view(), now, most)?;
        let mut rewritten = 0;
        for (listed, hash, entry) in &due {
            match self.header_to_remove(*hash)? {
                Some(header) if header.due() == Some(*listed) => {
                    if self.is_expired(*hash, &header) {
                        self.remove_as(Fate::Expired, *hash, &header)?;
                    } else if let Some(accessed) = self.live().access.pending(*hash) {
                        // Read since: this moves it to where it is due now.
                        rewritten += self.set_accessed(*hash, accessed)?;
                        if rewritten > most_rewritten(self.live().max_bytes) {
                            break;
                        }
                    }
                }
                // A record without its entry, left by the backend or by damage.
                other => {
                    if let Some(place) = entry.listed {
                        self.unlist_vanished(*hash, *entry, place, other)?;
                    }
                    self.delete(&expiry_key(listed.0, *hash))?;
                }
            }
        }
        Ok(due.len())
    }

    /// Removes what lists an entry that the backend has removed, but nothing that lists the one that is `there` now under
    /// its hash.
    fn unlist_vanished(
        &mut self,
        hash: KeyHash,
        entry: DueEntry,
        place: Listed,
        there: Option<Header>,
    ) -> Result<()> {
        let namespace = entry.namespace;
        if has_vanished(&self.view(), hash, entry, there.map(|header| header.number))? {
            self.delete(&order_key(namespace, place.number))?;
            self.count_down(namespace)?;
            // One whose key was written again ended with that, as it would have if it had been there.
            self.expired += u64::from(there.is_none());
        }
        // Also where its namespace has been cleared since, and with that its place is gone.
        let shared =
            there.is_some_and(|header| (header.namespace, header.accessed.0) == (namespace, place.accessed));
        if self.tracks_recency() && !shared {
            self.delete(&recency_key(namespace, place.accessed, hash))?;
        }
        Ok(())
    }

    /// Removes up to `most` entries of cleared namespaces; returns how many it removed.
    pub(crate) fn remove_buried(&mut self, most: usize) -> Result<usize> {
        let mut removed = 0;
        // A namespace is work, too, if it has no entries left.
        for namespace in graves(&self.view(), most)? {
            let room = most - removed;
            if room == 0 {
                break;
            }
            let from = order_key(namespace, Number::FIRST);
            let to = order_key(namespace, Number::COUNTERS);
            let mut batch = Vec::new();
            for record in self.view().range(&from, &to)?.take(room) {
                let (key, value) = record?;
                batch.push((parse_order_key(key), parse_hash(value)));
            }
            for (place, hash) in &batch {
                let header = match hash {
                    Some(hash) => self.header_to_remove(*hash)?.map(|header| (*hash, header)),
                    None => None,
                };
                if let Some((hash, header)) = header.filter(|(_, header)| header.namespace == namespace) {
                    self.remove(hash, &header)?;
                }
                // A place without its entry, left by the backend or by damage.
                if let Some((namespace, number)) = place
                    && self.delete(&order_key(*namespace, *number))?
                {
                    self.count_down(*namespace)?;
                }
            }
            removed += batch.len();
            if batch.len() < room {
                self.delete(&crate::store::format::layout::counters_key(namespace))?;
                self.delete(&crate::store::format::layout::grave_key(namespace))?;
            }
        }
        Ok(removed)
    }
}

/// The first `most` of the namespaces that were cleared and have something left.
fn graves(view: &ReadView<'_>, most: usize) -> Result<Vec<NamespaceId>> {
    let mut graves = Vec::new();
    for record in view.range(&[kind::GRAVE], &[kind::GRAVE + 1])?.take(most) {
        let (key, _) = record?;
        if let Some(id) = key.last_chunk::<4>() {
            graves.push(NamespaceId(u32::from_be_bytes(*id)));
        }
    }
    Ok(graves)
}

/// Removes everything that is expired or buried now; returns how many entries were expired.
pub(crate) fn sweep(live: &Live) -> Result<u64> {
    flush_accesses(live)?;
    let mut expired = 0;
    loop {
        let (looked_at, removed) = live.write_quietly(|writer| {
            let looked_at = writer.remove_expired(BATCH)?;
            Ok((looked_at, writer.expired))
        })?;
        expired += removed;
        if looked_at < BATCH {
            break;
        }
    }
    collect_graves(live)?;
    Ok(expired)
}

/// Removes what cleared namespaces left behind, in batches.
pub(crate) fn collect_graves(live: &Live) -> Result<()> {
    while live.read(graves_exist)? {
        live.write_quietly(|writer| writer.remove_buried(BATCH))?;
    }
    Ok(())
}

fn graves_exist(view: &ReadView<'_>) -> Result<bool> {
    Ok(!graves(view, 1)?.is_empty())
}

/// [`sweep`], if anything is due and no other process is at it.
pub(crate) fn sweep_if_due(live: &Live) -> Result<()> {
    let Some(locks) = live.locks.as_ref().filter(|_| !live.is_read_only()) else { return Ok(()) };
    let now = live.config.clock.now();
    if !live.read(|view| Ok(!expired(view, now, 1)?.is_empty() || graves_exist(view)?))? {
        return Ok(());
    }
    if !locks.try_lock(SWEEPER)? {
        return Ok(());
    }
    let swept = sweep(live);
    locks.unlock(SWEEPER);
    swept.map(drop)
}

/// The time until the next entry is due, if any is.
pub(crate) fn time_to_next(live: &Live) -> Option<Duration> {
    let first = live.read(|view| {
        let first = view.range(&[kind::EXPIRY], &[kind::EXPIRY + 1])?.next().transpose()?;
        Ok(first.and_then(|(key, _)| parse_expiry_key(key)).map(|(due, _)| Time(due)))
    });
    let due = first.ok().flatten()?;
    Some(Duration::from_micros(due.since(live.config.clock.now()).0))
}

/// The shortest idle time of any entry this process has seen.
pub(crate) fn shortest_idle(live: &Live) -> Option<Duration> {
    match live.shortest_idle.load(std::sync::atomic::Ordering::Relaxed) {
        u64::MAX => None,
        micros => Some(Duration::from_micros(micros)),
    }
}

pub(crate) fn saw_idle(live: &Live, idle: Span) {
    if idle != Span(0) {
        live.shortest_idle.fetch_min(idle.0, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Writes the access times collected by this process.
pub(crate) fn flush_accesses(live: &Live) -> Result<()> {
    if live.is_read_only() {
        return Ok(());
    }
    let _flush = live.access.begin_flush(&live.dir)?;
    let mut all = live.access.take();
    // In the order of the tree, so that entries on one page are changed together.
    all.sort_unstable();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let written = live.write_access_times(|writer| {
            let (mut done, mut bytes) = (0, 0);
            for (hash, accessed) in rest.iter().take(FLUSH_BATCH) {
                bytes += writer.set_accessed(*hash, *accessed)?;
                done += 1;
                if bytes > most_rewritten(live.max_bytes) {
                    break;
                }
            }
            Ok(done)
        });
        match written {
            Ok(done) => rest = rest.get(done..).unwrap_or_default(),
            Err(error) => {
                live.access.restore(rest);
                return Err(error);
            }
        }
    }
    Ok(())
}
