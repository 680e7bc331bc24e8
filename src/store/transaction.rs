//! Reading and writing records in one transaction, with the indexes kept in step.

use super::backend::{ReadTxn, Records, WriteTxn};
use super::format::header::{Header, STAGE_NONE, Stamp, due};
use super::format::layout::{
    DueEntry, KeyBuffer, KeyHash, Listed, NamespaceId, Number, STATE_KEY, counters_key, entry_key,
    expiry_key, grave_key, kind, order_key, parse_hash, parse_order_key, recency_key,
};
use super::format::records::{Counters, Recency, StateRecord};
use super::live::{Commit, Live};
use crate::clock::{Span, Time};
use crate::error::{Error, Result};

/// A snapshot of the store.
#[derive(Clone, Copy)]
pub(crate) struct ReadView<'t> {
    txn: ReadTxn<'t>,
}

/// An entry as it lies in the tree.
#[derive(Clone, Copy)]
pub(crate) struct Found<'t> {
    pub(crate) header: Header,
    pub(crate) body: &'t [u8],
    /// Header and body.
    pub(crate) bytes: &'t [u8],
}

impl<'t> ReadView<'t> {
    pub(crate) fn new(txn: ReadTxn<'t>) -> ReadView<'t> {
        ReadView { txn }
    }

    /// The snapshot: the id of the last transaction it contains.
    pub(crate) fn id(&self) -> u64 {
        self.txn.id()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<&'t [u8]>> {
        self.txn.get(key)
    }

    pub(crate) fn entry(&self, hash: KeyHash) -> Result<Option<Found<'t>>> {
        self.get(&entry_key(hash))?.map(parse_entry).transpose()
    }

    /// A number that is equal in snapshots which have the same records of the state and of namespaces; `None` where that is
    /// not known.
    pub(crate) fn settings(&self) -> Option<u64> {
        self.txn.settings()
    }

    /// Records from `from` on upwards, up to but without `to`.
    pub(crate) fn range(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        self.txn.range(from, to)
    }

    /// Goes upwards through a range that may be the whole store. What `each` reads by the view it is given is kept in
    /// memory for a part of the way only, in a backend that keeps it there at all.
    pub(crate) fn for_each(
        &self,
        from: &[u8],
        to: &[u8],
        mut each: impl FnMut(&ReadView<'_>, &[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        const PART: usize = 1000;
        const PART_BYTES: usize = 1 << 20;
        let mut from = from.to_vec();
        loop {
            let last = self.txn.nested(|txn| {
                let view = ReadView { txn };
                let (mut records, mut bytes) = (0, 0);
                for record in view.range(&from, to)? {
                    let (key, value) = record?;
                    each(&view, key, value)?;
                    records += 1;
                    bytes += value.len();
                    if records == PART || bytes > PART_BYTES {
                        return Ok(Some(key.to_vec()));
                    }
                }
                Ok(None)
            })?;
            let Some(mut next) = last else { return Ok(()) };
            next.push(0);
            from = next;
        }
    }

    /// Records from just below `to` on downwards, down to and with `from`.
    pub(crate) fn range_back(&self, from: &[u8], to: &[u8]) -> Result<Records<'t>> {
        self.txn.range_back(from, to)
    }

    pub(crate) fn counters(&self, namespace: NamespaceId) -> Result<Counters> {
        match self.get(&counters_key(namespace))? {
            Some(bytes) => Counters::decode(bytes),
            None => Ok(Counters::default()),
        }
    }

    /// For the backend, of its own.
    pub(super) fn snapshot(&self) -> &ReadTxn<'t> {
        &self.txn
    }
}

fn parse_entry(bytes: &[u8]) -> Result<Found<'_>> {
    let (header, body) = Header::parse(bytes)?;
    Ok(Found { header, body, bytes })
}

/// What lies under a hash.
pub(crate) enum Sound<T> {
    Absent,
    Yes(T),
    /// Not what was written, as this says.
    No(Error),
}

/// An entry ready to be written. What the tree decides (insertion number, stamp) is filled in on the way.
pub(crate) struct NewEntry<'a> {
    pub(crate) hash: KeyHash,
    pub(crate) header: Header,
    pub(crate) body: &'a [u8],
    pub(crate) body_checksum: u64,
}

/// What an insert found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inserted {
    New,
    Replaced,
    /// The body was encrypted for another creation time than the entry has: encrypt it for this one.
    WrongCreation(Time),
}

/// What a commit did to an entry that was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// Wrote it anew.
    Written,
    Removed,
    /// Removed it as its time was over.
    Expired,
    /// Removed it for a limit's sake.
    Evicted,
}

pub(crate) struct Writer<'a> {
    txn: WriteTxn<'a>,
    live: &'a Live,
    state: StateRecord,
    dirty: bool,
    now: Time,
    written: Vec<(KeyHash, Fate)>,
    pub(super) expired: u64,
    evicted: u64,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(txn: WriteTxn<'a>, live: &'a Live) -> Result<Writer<'a>> {
        let state = live.state_in(&ReadView::new(txn.view()))?;
        let now = live.config.clock.now();
        Ok(Writer { txn, live, state, dirty: false, now, written: Vec::new(), expired: 0, evicted: 0 })
    }

    pub(crate) fn view(&self) -> ReadView<'_> {
        ReadView::new(self.txn.view())
    }

    pub(crate) fn live(&self) -> &'a Live {
        self.live
    }

    /// The time of this transaction.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn state(&self) -> StateRecord {
        self.state
    }

    pub(crate) fn set_state(&mut self, state: StateRecord) -> Result<()> {
        let unlocked = self.live.unlocked.clone();
        // Nothing that was made up gets a seal.
        if let Some(before) = self.view().get(STATE_KEY)? {
            unlocked.open(STATE_KEY, before)?;
        }
        self.state = state;
        self.put(STATE_KEY, &unlocked.seal(STATE_KEY, state.encode()))
    }

    pub(crate) fn tracks_recency(&self) -> bool {
        self.state.recency != Recency::Off
    }

    /// Bytes that the records take, over all, where the store has a limit.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        self.txn.used_bytes()
    }

    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.state.stamp_base.saturating_add(self.txn.id()))
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.dirty = true;
        self.txn.put(key, value, &[])
    }

    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<bool> {
        let was_there = self.txn.delete(key)?;
        self.dirty |= was_there;
        Ok(was_there)
    }

    /// Empties the tree, to be filled anew.
    #[cfg(feature = "load")]
    pub(super) fn clear_tree(&mut self) -> Result<()> {
        self.dirty = true;
        self.txn.clear()
    }

    /// Writes a record that sorts behind all others.
    #[cfg(feature = "load")]
    #[inline]
    pub(super) fn put_behind(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.txn.append(key, value)
    }

    /// Commits, unless nothing changed.
    pub(crate) fn commit(self) -> Result<Option<Commit>> {
        if !self.dirty {
            return Ok(None);
        }
        let live = self.live;
        let before = live.token_of(self.txn.base());
        let found = live.standing_at(before);
        let (expired, evicted) = (self.expired, self.evicted);
        let txn = self.txn.commit()?;
        let commit = Commit {
            txn,
            token: live.token_of(txn),
            before,
            found,
            written: self.written,
            recency: self.state.recency,
        };
        live.expirations.add(expired);
        live.evictions.add(evicted);
        Ok(Some(commit))
    }

    /// Writes an entry, new or in place of an older one of the same key, which hands on its creation time and its
    /// place in the order.
    pub(crate) fn insert(&mut self, new: &NewEntry<'_>) -> Result<Inserted> {
        let old = self.sound_or_gone(new.hash, |old| (old.header, same_key(old, new)))?;
        let mut header = new.header;
        let mut number = None;
        match old {
            Some((old, true)) if !self.is_expired(new.hash, &old) => {
                if header.created != old.created {
                    if header.cipher != STAGE_NONE {
                        return Ok(Inserted::WrongCreation(old.created));
                    }
                    header.created = old.created;
                }
                number = Some(old.number);
                self.unlist_times(new.hash, &old)?;
            }
            // Expired, or of another key whose hash is the same: as good as not there.
            Some((old, _)) => {
                // It was encrypted for the creation time of the old entry, which expired just now.
                let handed_on = header.created == old.created && header.created != self.now;
                if header.cipher != STAGE_NONE && handed_on {
                    return Ok(Inserted::WrongCreation(self.now));
                }
                self.remove_or_expire(new.hash, &old)?;
            }
            None => {}
        }
        let replaced = number.is_some();
        header.number = match number {
            Some(number) => number,
            None => self.list_newest(new.hash, header.namespace)?,
        };
        header.stamp = self.stamp();
        self.live.access.forget(new.hash);
        self.list_times(new.hash, &header)?;
        self.put_entry(new.hash, &header, new.body, new.body_checksum)?;
        Ok(if replaced { Inserted::Replaced } else { Inserted::New })
    }

    /// Writes an entry of a batch at a place that [`list_new`](Self::list_new) gave out, or at that of the `old` entry of the
    /// same key that this transaction found.
    pub(crate) fn insert_at(
        &mut self,
        new: &NewEntry<'_>,
        number: Number,
        old: Option<&Header>,
    ) -> Result<()> {
        if let Some(old) = old {
            self.unlist_times(new.hash, old)?;
        }
        let header = Header { number, stamp: self.stamp(), ..new.header };
        self.live.access.forget(new.hash);
        self.list_times(new.hash, &header)?;
        self.put_entry(new.hash, &header, new.body, new.body_checksum)
    }

    /// What was written so far need not be remembered one by one: whoever asks for the commit forgets all he knows.
    #[cfg(feature = "load")]
    pub(crate) fn forget_written(&mut self) {
        self.written.clear();
    }

    /// Gives new entries of a batch their places, in the order given.
    pub(crate) fn list_new(&mut self, namespace: NamespaceId, hashes: &[KeyHash]) -> Result<Vec<Number>> {
        if hashes.is_empty() {
            return Ok(Vec::new());
        }
        let mut counters = self.view().counters(namespace)?;
        let numbers: Vec<Number> = (counters.next..).take(hashes.len()).map(Number).collect();
        for (hash, number) in hashes.iter().zip(&numbers) {
            self.put(&order_key(namespace, *number), &hash.0)?;
        }
        counters.next += hashes.len() as u64;
        counters.entries += hashes.len() as u64;
        self.put(&counters_key(namespace), &counters.encode())?;
        Ok(numbers)
    }

    fn put_entry(&mut self, hash: KeyHash, header: &Header, body: &[u8], body_checksum: u64) -> Result<()> {
        self.written.push((hash, Fate::Written));
        self.dirty = true;
        let head = header.encode(body_checksum);
        self.txn.put(&entry_key(hash), &head, body)
    }

    /// Gives the entry the next insertion number and lists it in the order.
    fn list_newest(&mut self, hash: KeyHash, namespace: NamespaceId) -> Result<Number> {
        let mut counters = self.view().counters(namespace)?;
        let number = Number(counters.next);
        counters.next += 1;
        counters.entries += 1;
        self.put(&order_key(namespace, number), &hash.0)?;
        self.put(&counters_key(namespace), &counters.encode())?;
        Ok(number)
    }

    /// Removes an entry with everything that lists it.
    pub(crate) fn remove(&mut self, hash: KeyHash, header: &Header) -> Result<()> {
        self.remove_as(Fate::Removed, hash, header)
    }

    /// Removes an entry, as expired if it is; whether it was.
    pub(crate) fn remove_or_expire(&mut self, hash: KeyHash, header: &Header) -> Result<bool> {
        let is_expired = self.is_expired(hash, header);
        self.remove_as(if is_expired { Fate::Expired } else { Fate::Removed }, hash, header)?;
        Ok(is_expired)
    }

    pub(super) fn remove_as(&mut self, fate: Fate, hash: KeyHash, header: &Header) -> Result<()> {
        match fate {
            Fate::Expired => self.expired += 1,
            Fate::Evicted => self.evicted += 1,
            Fate::Written | Fate::Removed => {}
        }
        let place = order_key(header.namespace, header.number);
        if !self.txn.delete_if(&place, |listed| *listed == hash.0)? {
            // Not that of another entry, which a number made by an accident can name.
            return self.discard(hash);
        }
        self.dirty = true;
        self.written.push((hash, fate));
        self.delete(&entry_key(hash))?;
        self.unlist_times(hash, header)?;
        self.live.access.forget(hash);
        self.count_down(header.namespace)
    }

    /// Counts one entry less.
    pub(super) fn count_down(&mut self, namespace: NamespaceId) -> Result<()> {
        let mut counters = match self.view().counters(namespace) {
            // An insertion fails with this, and `verify` reports it; everything else can go on.
            Err(Error::Damaged { .. }) => return Ok(()),
            counters => counters?,
        };
        counters.entries = counters.entries.saturating_sub(1);
        self.put(&counters_key(namespace), &counters.encode())
    }

    /// The entry under a hash that is to be changed or removed, if its header can be believed: what lists the entry is found
    /// by it.
    ///
    /// The body of a large entry is not read for that, if the header names the key that it lies under, and the place in the
    /// order that it has.
    pub(crate) fn sound<T>(&self, hash: KeyHash, look: impl FnOnce(&Found<'_>) -> T) -> Result<Sound<T>> {
        const LARGE: usize = 4 << 10;
        let view = self.view();
        let found = match view.entry(hash) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Sound::Absent),
            Err(error @ (Error::Damaged { .. } | Error::NewerFormat { .. })) => return Ok(Sound::No(error)),
            Err(error) => return Err(error),
        };
        if found.bytes.len() > LARGE {
            let Header { namespace, number, key_len, cipher, .. } = found.header;
            let mut key = KeyBuffer::from_key(found.body.get(..key_len as usize).unwrap_or_default());
            let has_key = cipher != STAGE_NONE || key.hash(&self.live.unlocked.hasher, namespace) == hash;
            if has_key && view.get(&order_key(namespace, number))?.and_then(parse_hash) == Some(hash) {
                return Ok(Sound::Yes(look(&found)));
            }
        }
        Ok(match self.live.unlocked.check(&found) {
            Ok(()) => Sound::Yes(look(&found)),
            Err(error) => Sound::No(error),
        })
    }

    /// The same of an entry that goes at once if it cannot be believed. One of a newer version is let be.
    pub(crate) fn sound_or_gone<T>(
        &mut self,
        hash: KeyHash,
        look: impl FnOnce(&Found<'_>) -> T,
    ) -> Result<Option<T>> {
        match self.sound(hash, look)? {
            Sound::Yes(seen) => Ok(Some(seen)),
            Sound::Absent => Ok(None),
            Sound::No(error @ Error::NewerFormat { .. }) => Err(error),
            Sound::No(_) => self.discard(hash).map(|()| None),
        }
    }

    /// The header of an entry that is to go: `None` if there is none, or if it could not be believed, and then it is gone now.
    pub(crate) fn header_to_remove(&mut self, hash: KeyHash) -> Result<Option<Header>> {
        match self.sound(hash, |found| found.header)? {
            Sound::Yes(header) => Ok(Some(header)),
            Sound::Absent => Ok(None),
            Sound::No(_) => self.discard(hash).map(|()| None),
        }
    }

    /// Removes an entry whose header cannot be believed. What lists it has to be searched for, through the whole store.
    pub(crate) fn discard(&mut self, hash: KeyHash) -> Result<()> {
        self.written.push((hash, Fate::Removed));
        self.delete(&entry_key(hash))?;
        let mut places = Vec::new();
        for record in self.view().range(&[kind::ORDER], &[kind::ORDER + 1])? {
            let (key, value) = record?;
            places.extend(parse_order_key(key).filter(|_| parse_hash(value) == Some(hash)));
        }
        for (namespace, number) in places {
            self.delete(&order_key(namespace, number))?;
            self.count_down(namespace)?;
        }
        self.unlist_all_times(hash)?;
        self.live.access.forget(hash);
        Ok(())
    }

    /// Removes an entry from the lists by times, wherever it stands in them.
    #[cold]
    fn unlist_all_times(&mut self, hash: KeyHash) -> Result<()> {
        let mut listed = Vec::new();
        for kind in [kind::EXPIRY, kind::RECENCY] {
            for record in self.view().range(&[kind], &[kind + 1])? {
                let (key, _) = record?;
                listed.extend(key.ends_with(&hash.0).then(|| key.to_vec()));
            }
        }
        listed.iter().try_for_each(|key| self.delete(key).map(drop))
    }

    /// Sets when the entry was last read, if that is later than what it has; returns how many bytes were written for it.
    pub(crate) fn set_accessed(&mut self, hash: KeyHash, accessed: Time) -> Result<u64> {
        let older = |found: &Found<'_>| {
            (found.header.accessed < accessed).then(|| (found.header, found.bytes.to_vec()))
        };
        // One that cannot be believed is not made worse, and keeps no others from being written.
        let Sound::Yes(Some((old, mut bytes))) = self.sound(hash, older)? else { return Ok(0) };
        Header::set_accessed(&mut bytes, accessed);
        self.unlist_times(hash, &old)?;
        self.list_times(hash, &Header { accessed, ..old })?;
        self.put(&entry_key(hash), &bytes)?;
        Ok(bytes.len() as u64)
    }

    fn list_times(&mut self, hash: KeyHash, header: &Header) -> Result<()> {
        if let Some(due) = header.due() {
            let listed = Listed { number: header.number, accessed: header.accessed.0 };
            let listed = self.live.removes_expired().then_some(listed);
            let entry = DueEntry { namespace: header.namespace, listed };
            self.put(&expiry_key(due.0, hash), &entry.encode())?;
        }
        if self.tracks_recency() {
            self.put(&recency_key(header.namespace, header.accessed.0, hash), &[])?;
        }
        Ok(())
    }

    fn unlist_times(&mut self, hash: KeyHash, header: &Header) -> Result<()> {
        let mut is_listed = true;
        if let Some(due) = header.due() {
            is_listed &= self.delete(&expiry_key(due.0, hash))?;
        }
        if self.tracks_recency() {
            let was_there = self.delete(&recency_key(header.namespace, header.accessed.0, hash))?;
            // While the list is being built, not all are in it.
            is_listed &= was_there || self.state.recency != Recency::On;
        }
        // Else a time is not what it was when the entry was listed: no checksum has the access time.
        if is_listed { Ok(()) } else { self.unlist_all_times(hash) }
    }

    /// Lists an entry by its last access, where the list is being built.
    pub(crate) fn list_recency(&mut self, hash: KeyHash, header: &Header) -> Result<()> {
        self.put(&recency_key(header.namespace, header.accessed.0, hash), &[])
    }

    /// Whether the entry is expired, counting accesses that are not written yet.
    pub(crate) fn is_expired(&self, hash: KeyHash, header: &Header) -> bool {
        is_expired(self.live, hash, header, self.now)
    }

    /// Makes a namespace id for a new or cleared namespace.
    pub(crate) fn new_namespace_id(&mut self) -> Result<NamespaceId> {
        let id = self.state.next_namespace;
        let next = id.checked_add(1).ok_or_else(|| Error::invalid("namespace", "all ids are used up"))?;
        self.set_state(StateRecord { next_namespace: next, ..self.state })?;
        Ok(NamespaceId(id))
    }

    /// Leaves all entries of a namespace behind, to be removed in batches.
    pub(crate) fn bury(&mut self, namespace: NamespaceId) -> Result<()> {
        self.put(&grave_key(namespace), &[])
    }
}

/// Whether an entry is expired at `now`, counting accesses of this process that are not written yet.
pub(crate) fn is_expired(live: &Live, hash: KeyHash, header: &Header, now: Time) -> bool {
    match header.due() {
        None => false,
        Some(due) if due > now => false,
        // The access log is asked only where it can matter.
        Some(_) if header.idle == Span(0) => true,
        Some(_) => {
            let accessed = live.access.pending(hash).unwrap_or(Time::ZERO).max(header.accessed);
            due(header.expires, header.idle, accessed).is_some_and(|due| due <= now)
        }
    }
}

/// Whether the entry found is of the key to be written. Encrypted keys cannot be compared here; their hashes are keyed,
/// so nobody can make two collide on purpose, and by chance it takes 2^64 keys.
fn same_key(old: &Found<'_>, new: &NewEntry<'_>) -> bool {
    let (a, b) = (old.header.key_len as usize, new.header.key_len as usize);
    old.header.namespace == new.header.namespace && old.body.get(..a) == new.body.get(..b)
}
