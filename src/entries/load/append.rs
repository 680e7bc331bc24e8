//! Filling a store that has no entries: one thread merges and makes all records of the tree, in its order, and another
//! writes them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::pipeline::Loaded;
use super::{Done, Plan, unreadable};
use crate::error::Result;
use crate::load::{KeyRange, Listing};
use crate::store::{
    Counters, KeyHash, Number, Others, Writer, counters_key, entry_key, expiry_key, order_key, recency_key,
};

/// Entries that are handed from the thread that merges to the one that writes.
const BATCH: usize = 256 << 10;
const BATCHES: usize = 4;

impl Plan<'_> {
    /// Writes all entries into a store that had none.
    pub(super) fn append(&self, writer: &mut Writer<'_>, mut others: Others, next: u64) -> Result<Done> {
        others.remove(&counters_key(self.template.namespace));
        let tracks_recency = writer.tracks_recency();
        let done = std::thread::scope(|scope| {
            let (send, receive) = sync_channel(BATCHES);
            let merging = scope
                .spawn(move || self.send_all(Outlet { ready: Ready::default(), send }, next, tracks_recency));
            let written = append_all(writer, &mut others, &receive);
            // If that has failed, the other thread ends at its next batch.
            drop(receive);
            let merged = merging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(merged)
        })?;
        writer.end_appending(others)?;
        Ok(done)
    }
}

/// Records of the tree, in its order and ready to be written.
#[derive(Default)]
struct Ready {
    /// For each: the length of the key (one byte), key, value.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

/// Hands records to the thread that writes them.
struct Outlet {
    ready: Ready,
    send: SyncSender<Ready>,
}

impl Outlet {
    /// Whether anybody takes it: if not, the other thread has failed, and its error is the one that counts.
    fn put(&mut self, key: &[u8], value: &[&[u8]]) -> bool {
        let bytes = &mut self.ready.bytes;
        // Keys of the tree are short.
        bytes.push(key.len() as u8);
        bytes.extend_from_slice(key);
        value.iter().for_each(|part| bytes.extend_from_slice(part));
        self.ready.ends.push(bytes.len());
        self.ready.bytes.len() < BATCH || self.flush()
    }

    fn flush(&mut self) -> bool {
        let next = Ready { bytes: Vec::with_capacity(BATCH + BATCH / 8), ends: Vec::new() };
        self.send.send(std::mem::replace(&mut self.ready, next)).is_ok()
    }
}

impl Plan<'_> {
    /// Merges, and sends all records that a store without entries gets, in the order of the tree: entries, the order
    /// of insertion with the counters behind it, and the lists by access and by expiry.
    fn send_all(&self, mut outlet: Outlet, next: u64, tracks_recency: bool) -> Result<Done> {
        let namespace = self.template.namespace;
        let mut listing = Listing::new(self.sorted);
        let mut merge = self.sorted.merge(&KeyRange::default(), 1)?;
        let mut done = Done::default();
        while let Some(entry) = merge.next()? {
            let mut loaded = Loaded::read(&self.template, entry.key, entry.value).ok_or_else(unreadable)?;
            loaded.header.number = self.number(entry.place);
            listing.add(loaded.header.number.0, loaded.hash.0)?;
            done.written += 1;
            if !outlet
                .put(&entry_key(loaded.hash), &[&loaded.header.encode(loaded.body_checksum), loaded.body])
            {
                return Ok(done);
            }
        }
        done.duplicates = merge.duplicates();
        drop(merge);
        let mut listed = listing.finish()?;
        while let Some((number, hash)) = listed.next()? {
            if !outlet.put(&order_key(namespace, Number(number)), &[&hash]) {
                return Ok(done);
            }
        }
        outlet.put(&counters_key(namespace), &[&Counters { entries: done.written, next }.encode()]);
        if tracks_recency {
            let at = self.template.accessed.0;
            self.send_hashes(&mut outlet, |hash| recency_key(namespace, at, hash), &[])?;
        }
        if let Some(due) = self.template.due() {
            let value = namespace.0.to_le_bytes();
            self.send_hashes(&mut outlet, |hash| expiry_key(due.0, hash), &value)?;
        }
        outlet.flush();
        Ok(done)
    }

    /// Sends a record for each entry, in the order of their hashes.
    fn send_hashes<const N: usize>(
        &self,
        outlet: &mut Outlet,
        key: impl Fn(KeyHash) -> [u8; N],
        value: &[u8],
    ) -> Result<()> {
        let mut merge = self.sorted.merge(&KeyRange::default(), 1)?;
        merge.uncounted();
        while let Some(entry) = merge.next()? {
            let hash = KeyHash(entry.key.try_into().map_err(|_| unreadable())?);
            if !outlet.put(&key(hash), &[value]) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn append_all(writer: &mut Writer<'_>, others: &mut Others, ready: &Receiver<Ready>) -> Result<()> {
    while let Ok(Ready { bytes, ends }) = ready.recv() {
        let mut start = 0;
        for end in ends {
            let record = bytes.get(start..end).and_then(|record| record.split_first());
            let (len, record) = record.ok_or_else(unreadable)?;
            let (key, value) = record.split_at_checked(usize::from(*len)).ok_or_else(unreadable)?;
            writer.append(others, key, value)?;
            start = end;
        }
    }
    Ok(())
}
