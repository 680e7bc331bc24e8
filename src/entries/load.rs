//! Loading files into a namespace: all their records in one transaction, or none.
//!
//! Records are sorted by the hash of their key, which is the order of the tree. Into a store without entries they are
//! appended, by two threads: one merges and makes the records of the tree, the other writes them. Else each is looked for
//! first.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Entries, Life};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::load::{
    Encode, Encoded, Existing, KeyRange, Listing, Load, Place, Record, Refusal, Sorted, Summary, Watch,
};
use crate::pipeline::{MAX_ENTRY, pack};
use crate::store::{
    Commit, Counters, Header, KeyBuffer, KeyHash, Live, NewEntry, Number, Others, STAGE_NAMED, STAGE_NONE,
    Unlocked, Writer, body, checksum, counters_key, entry_key, expiry_key, largest_entry, order_key,
    recency_key,
};

/// What a record becomes before it goes through the pipeline.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ByteEntry {
    /// The canonical key, one byte or more.
    pub key: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// The entry's tag.
    pub tag: u8,
}

/// Makes the key and the payload of a record.
pub(crate) type MakeEntry<'a> = &'a (dyn Fn(&Record<'_>, &mut ByteEntry) -> Result<(), Refusal> + Sync);

/// How an entry lies in a sorted run: compressor and tag (a byte each), length of the key (4 bytes), checksum of the body
/// (8 bytes), body.
const HEAD: usize = 14;

/// Entries that are handed from the thread that merges to the one that writes.
const BATCH: usize = 256 << 10;
const BATCHES: usize = 4;

/// Sends records through the namespace's pipeline.
struct Pipeline<'a> {
    entries: &'a Entries,
    make: MakeEntry<'a>,
    unlocked: Arc<Unlocked>,
    cipher: Arc<dyn crate::pipeline::Cipher>,
    template: Header,
    largest: u64,
}

/// Buffers of one thread.
#[derive(Default)]
struct Spare {
    entry: ByteEntry,
    key: KeyBuffer,
    packed: Vec<u8>,
    body: Vec<u8>,
}

thread_local! {
    static SPARE: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

impl Encode for Pipeline<'_> {
    fn encode(&self, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        let mut spare = SPARE.take().unwrap_or_default();
        let encoded = self.encode_with(&mut spare, record, out);
        SPARE.set(Some(spare));
        encoded
    }
}

impl Pipeline<'_> {
    fn encode_with(&self, spare: &mut Spare, record: &Record<'_>, out: &mut Encoded) -> Result<(), Refusal> {
        let Spare { entry, key, packed, body } = spare;
        entry.key.clear();
        entry.payload.clear();
        entry.tag = 0;
        (self.make)(record, entry)?;
        if entry.key.is_empty() {
            return Err(Refusal::record("its key is empty"));
        }
        let size = (entry.key.len() + entry.payload.len()) as u64;
        if size > self.largest {
            return Err(Refusal::record(format!(
                "it has {size} bytes, and an entry {} at most",
                self.largest
            )));
        }
        packed.clear();
        let is_packed = match &self.entries.compressor {
            Some(compressor) => pack(&**compressor, &entry.payload, packed)?,
            None => false,
        };
        let payload = if is_packed { packed.as_slice() } else { entry.payload.as_slice() };
        let compressor = if is_packed { STAGE_NAMED } else { STAGE_NONE };
        let mut header = Header { compressor, tag: entry.tag, ..self.template };
        key.start().extend_from_slice(&entry.key);
        let hash = key.hash(&self.unlocked.hasher, header.namespace);
        body::seal(&self.unlocked, &*self.cipher, &mut header, hash, &entry.key, payload, body)?;
        out.key.extend_from_slice(&hash.0);
        out.value.extend_from_slice(&[header.compressor, header.tag]);
        out.value.extend_from_slice(&header.key_len.to_le_bytes());
        out.value.extend_from_slice(&checksum(body).to_le_bytes());
        out.value.extend_from_slice(body);
        Ok(())
    }
}

/// An entry out of a sorted run.
struct Loaded<'a> {
    hash: KeyHash,
    header: Header,
    body: &'a [u8],
    body_checksum: u64,
}

impl<'a> Loaded<'a> {
    fn read(template: &Header, key: &[u8], value: &'a [u8]) -> Option<Loaded<'a>> {
        let (head, body) = value.split_first_chunk::<HEAD>()?;
        let [compressor, tag, l0, l1, l2, l3, sum @ ..] = *head;
        let key_len = u32::from_le_bytes([l0, l1, l2, l3]);
        let hash = KeyHash(key.try_into().ok()?);
        let header = Header { compressor, tag, key_len, ..*template };
        Some(Loaded { hash, header, body, body_checksum: u64::from_le_bytes(sum) })
    }
}

/// What all entries of a load share, and where they go.
struct Plan<'a> {
    sorted: &'a Sorted,
    template: Header,
    /// For each file, the first insertion number of its records.
    starts: Vec<u64>,
}

impl Plan<'_> {
    /// The insertion number of a record: numbers are in the order of the files, with gaps, so that they need no counting.
    fn number(&self, place: Place) -> Number {
        Number(self.starts.get(place.file()).copied().unwrap_or(0).saturating_add(place.offset()))
    }
}

#[derive(Clone, Copy, Default)]
struct Done {
    written: u64,
    duplicates: u64,
    kept: u64,
}

impl Entries {
    /// Loads files. `committed` learns of the commit, which tells no keys: all are to be forgotten.
    pub(crate) fn load(
        &self,
        load: Load,
        (existing, life): (Existing, Life),
        make: MakeEntry<'_>,
        watch: &mut dyn Watch,
        committed: impl FnOnce(&Commit) + Send,
    ) -> Result<Summary> {
        if load.format().is_sorted {
            let reason =
                "entries are kept in the order of their hashes, so sorted files are of no use: leave it out";
            return Err(Error::invalid("is_sorted", reason));
        }
        let live = self.store.live_for_writing()?;
        // One transaction of RocksDB would keep all in memory.
        live.lmdb()?;
        let namespace = live.read(|view| self.namespace.id(&live, view))?;
        let unlocked = live.unlocked.clone();
        let mut template = self.new_header(live.config.clock.now(), life, 0, false);
        template.namespace = namespace;
        template.cipher = if unlocked.keys.is_some() { STAGE_NAMED } else { STAGE_NONE };
        let pipeline = Pipeline {
            entries: self,
            make,
            unlocked: unlocked.clone(),
            cipher: live.config.cipher.clone(),
            template,
            largest: live.max_bytes.map_or(MAX_ENTRY, |max| largest_entry(max).min(MAX_ENTRY)),
        };
        // Not held while the files are read, which can take hours.
        drop(live);
        let mut sorted = load.sort(&pipeline, watch)?;
        sorted.prepare_listing()?;
        let begun = std::time::Instant::now();
        let done = sorted.supervised(watch, |sorted| {
            let live = self.store.live_for_writing()?;
            if !Arc::ptr_eq(&live.unlocked, &unlocked) {
                return Err(self.changed("the store was encrypted anew"));
            }
            self.check_limit(&live, sorted)?;
            let write =
                |writer: &mut Writer<'_>| self.write_loaded(&live, writer, sorted, &template, existing);
            live.write(write, committed)
        })?;
        let mut summary = sorted.into_summary();
        summary.written = done.written;
        summary.duplicates += done.duplicates;
        summary.kept = done.kept;
        summary.writing = begun.elapsed();
        Ok(summary)
    }

    fn changed(&self, how: &str) -> Error {
        let detail = format!("{how} while the files were read; nothing was changed, load them again");
        Error::Busy { path: self.store.dir().to_owned(), detail: detail.into() }
    }

    /// Refuses more than a limited store can hold, before room is made for it by evicting what is there.
    fn check_limit(&self, live: &Live, sorted: &Sorted) -> Result<()> {
        let Some(max) = live.max_bytes else { return Ok(()) };
        let mut merge = sorted.merge(&KeyRange::default(), 1)?;
        merge.uncounted();
        let mut bytes = 0;
        while let Some(entry) = merge.next()? {
            // Header, key of the tree, and the entry in the order of insertion.
            bytes += (entry.value.len() + 80 + 17 + 40) as u64;
        }
        if bytes <= max / 4 * 3 {
            return Ok(());
        }
        let detail = format!(
            "what is to be loaded takes {bytes} bytes, and entries may take three quarters of the limit; nothing \
             was changed, raise max_bytes or load less"
        );
        Err(Error::StoreFull { limit: max, detail: detail.into() })
    }

    fn write_loaded(
        &self,
        live: &Live,
        writer: &mut Writer<'_>,
        sorted: &Sorted,
        template: &Header,
        existing: Existing,
    ) -> Result<Done> {
        let limit = self.namespace.limit(writer)?;
        if limit.namespace != template.namespace {
            return Err(self.changed("the namespace was cleared"));
        }
        let before = writer.view().counters(limit.namespace)?;
        let mut starts = sorted.starts();
        starts.iter_mut().for_each(|start| *start = start.saturating_add(before.next));
        let next = starts.last().copied().unwrap_or(before.next);
        let template = Header { stamp: writer.stamp(), ..*template };
        let plan = Plan { sorted, template, starts };
        let done = match writer.begin_appending()? {
            Some(others) => self.append(writer, others, &plan, next)?,
            None => {
                let mut listing = Listing::new(sorted);
                let (done, new) = self.insert_each(live, writer, &plan, existing, &mut listing)?;
                let mut listed = listing.finish()?;
                while let Some((number, hash)) = listed.next()? {
                    writer.put(&order_key(limit.namespace, Number(number)), &hash)?;
                }
                // Removing what was expired has changed them, too.
                let now = writer.view().counters(limit.namespace)?;
                writer.set_counters(
                    limit.namespace,
                    Counters { entries: now.entries + new, next: next.max(now.next) },
                )?;
                done
            }
        };
        writer.enforce_limits(limit)?;
        writer.forget_written();
        sorted.go_on()?;
        Ok(done)
    }

    /// Writes all entries into a store that had none.
    fn append(
        &self,
        writer: &mut Writer<'_>,
        mut others: Others,
        plan: &Plan<'_>,
        next: u64,
    ) -> Result<Done> {
        others.remove(&counters_key(plan.template.namespace));
        let tracks_recency = writer.tracks_recency();
        let done = std::thread::scope(|scope| {
            let (send, receive) = sync_channel(BATCHES);
            let merging = scope
                .spawn(move || plan.send_all(Outlet { ready: Ready::default(), send }, next, tracks_recency));
            let written = append_all(writer, &mut others, &receive);
            // If that has failed, the other thread ends at its next batch.
            drop(receive);
            let merged = merging.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            written.and(merged)
        })?;
        writer.end_appending(others)?;
        Ok(done)
    }

    /// Writes each entry where it belongs in a store that has others. Also tells how many are new.
    fn insert_each(
        &self,
        live: &Live,
        writer: &mut Writer<'_>,
        plan: &Plan<'_>,
        existing: Existing,
        listing: &mut Listing<'_>,
    ) -> Result<(Done, u64)> {
        let (mut done, mut new) = (Done::default(), 0);
        let mut sealed = Vec::new();
        let mut merge = plan.sorted.merge(&KeyRange::default(), 1)?;
        while let Some(entry) = merge.next()? {
            let mut loaded = Loaded::read(&plan.template, entry.key, entry.value).ok_or_else(unreadable)?;
            let mut number = plan.number(entry.place);
            match writer.view().entry(loaded.hash)?.map(|found| found.header) {
                Some(old)
                    if old.namespace == loaded.header.namespace && !writer.is_expired(loaded.hash, &old) =>
                {
                    match existing {
                        Existing::Keep => {
                            done.kept += 1;
                            continue;
                        }
                        Existing::Error => {
                            let (key, first) = plan.sorted.describe(entry.place)?;
                            return Err(Error::DuplicateKey {
                                key,
                                first,
                                second: "in the store".to_owned(),
                            });
                        }
                        Existing::Replace => number = old.number,
                    }
                    if loaded.header.cipher != STAGE_NONE {
                        reseal(live, &mut loaded, old.created, &mut sealed)?;
                        loaded.body = &sealed;
                        loaded.body_checksum = checksum(&sealed);
                    }
                    loaded.header.created = old.created;
                }
                old => {
                    if let Some(old) = old {
                        writer.expired += u64::from(writer.is_expired(loaded.hash, &old));
                        writer.remove(loaded.hash, &old)?;
                    }
                    listing.add(number.0, loaded.hash.0)?;
                    new += 1;
                }
            }
            let Loaded { hash, header, body, body_checksum } = loaded;
            writer.insert_at(&NewEntry { hash, header, body, body_checksum }, number)?;
            done.written += 1;
            if done.written.is_multiple_of(1024) {
                writer.forget_written();
            }
        }
        done.duplicates = merge.duplicates();
        Ok((done, new))
    }
}

fn unreadable() -> Error {
    Error::Io {
        context: "reading the temporary directory of a load".into(),
        source: std::io::ErrorKind::InvalidData.into(),
    }
}

/// Encrypts an entry anew for the creation time of the one it replaces, which the cipher authenticates.
fn reseal(live: &Live, loaded: &mut Loaded<'_>, created: Time, sealed: &mut Vec<u8>) -> Result<()> {
    let (unlocked, cipher) = (&live.unlocked, &*live.config.cipher);
    let mut plain = loaded.body.to_vec();
    let parts = body::open(unlocked, cipher, &loaded.header, loaded.hash, &mut plain)?;
    let (key, payload) =
        (plain.get(parts.key).unwrap_or_default(), plain.get(parts.payload).unwrap_or_default());
    loaded.header.created = created;
    body::seal(unlocked, cipher, &mut loaded.header, loaded.hash, key, payload, sealed)
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
    /// Merges, and sends all records that a store without entries gets, in the order of the tree: entries, the order of
    /// insertion with the counters behind it, and the lists by access and by expiry.
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
