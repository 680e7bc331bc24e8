//! Finding one entry, or several in one snapshot.

use std::ops::Range;

use super::{Entries, EntryInfo, Scratch};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::pipeline::unpack;
use crate::store::{
    Found, Header, KeyBuffer, KeyHash, Live, NamespaceId, ReadView, STAGE_NAMED, STAGE_NONE, Stamp,
    is_expired,
};

/// An entry that was found; its payload is in the scratch's buffers.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) hash: KeyHash,
    pub(crate) header: Header,
    /// The snapshot it was read in.
    pub(crate) snapshot: u64,
    pub(crate) stored_size: usize,
    payload: Payload,
}

#[derive(Clone, Debug)]
enum Payload {
    /// The caller knew the value by its stamp, so nothing was copied.
    Known,
    InBody(Range<usize>),
    Unpacked,
}

impl Read {
    /// Whether the value is the one the caller already has.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self.payload, Payload::Known)
    }

    pub(crate) fn payload<'s>(&self, scratch: &'s Scratch) -> &'s [u8] {
        match &self.payload {
            Payload::Known => &[],
            Payload::InBody(range) => scratch.body.get(range.clone()).unwrap_or_default(),
            Payload::Unpacked => &scratch.payload,
        }
    }
}

impl Entries {
    /// Finds the entry of the key in the scratch. `known` is the stamp of a value the caller has.
    ///
    /// Counts neither hits nor accesses.
    pub(crate) fn find(
        &self,
        scratch: &mut Scratch,
        known: Option<(KeyHash, Stamp)>,
    ) -> Result<Option<Read>> {
        let live = self.store.live()?;
        self.find_in(&live, scratch, known)
    }

    pub(crate) fn find_in(
        &self,
        live: &Live,
        scratch: &mut Scratch,
        known: Option<(KeyHash, Stamp)>,
    ) -> Result<Option<Read>> {
        let Scratch { key, body, .. } = scratch;
        let guessed = self.namespace.last_id();
        let guess = key.hash(&live.unlocked.hasher, guessed);
        let found = live.read(|view| {
            let namespace = self.namespace.id(live, view)?;
            let hash = if namespace == guessed { guess } else { key.hash(&live.unlocked.hasher, namespace) };
            let Some(found) = self.visible(live, view, namespace, hash)? else { return Ok(None) };
            let is_known = known == Some((hash, found.header.stamp));
            if !is_known {
                if !holds_key(&found, key.key()) {
                    // Of another key with the same hash, if it is what was written.
                    return live.unlocked.check(&found).map(|()| None);
                }
                self.sealing(live).copy(&found, body)?;
            }
            let size = found.bytes.len();
            Ok(Some((
                Read {
                    hash,
                    header: found.header,
                    snapshot: live.token_of(view.id()),
                    stored_size: size,
                    payload: Payload::Known,
                },
                is_known,
            )))
        })?;
        match found {
            None => Ok(None),
            Some((read, true)) => Ok(Some(read)),
            Some((read, false)) => self.opened(live, read, scratch),
        }
    }

    /// The entry under a hash, if it is of the namespace and not expired.
    pub(super) fn visible<'t>(
        &self,
        live: &Live,
        view: &ReadView<'t>,
        namespace: NamespaceId,
        hash: KeyHash,
    ) -> Result<Option<Found<'t>>> {
        let Some(found) = view.entry(hash)? else { return Ok(None) };
        // The exact clock is read only where it matters.
        let expired =
            found.header.due().is_some() && is_expired(live, hash, &found.header, live.config.clock.now());
        if expired || found.header.namespace != namespace {
            // Nothing is absent because of an accident.
            return live.unlocked.check(&found).map(|()| None);
        }
        Ok(Some(found))
    }

    /// Opens the body in the scratch. The key in it decides whether it is the entry asked for.
    fn opened(&self, live: &Live, mut read: Read, scratch: &mut Scratch) -> Result<Option<Read>> {
        let parts = self.sealing(live).open(&read.header, read.hash, &mut scratch.body)?;
        if scratch.body.get(parts.key) != Some(scratch.key.key()) {
            return Ok(None);
        }
        read.payload = Payload::InBody(parts.payload);
        self.unpacked(read, scratch).map(Some)
    }

    /// Decompresses the payload, if it is compressed.
    fn unpacked(&self, mut read: Read, scratch: &mut Scratch) -> Result<Read> {
        let Scratch { body, payload, .. } = scratch;
        if let Payload::InBody(range) = &read.payload {
            payload.clear();
            if self.decompress(&read.header, body.get(range.clone()).unwrap_or_default(), payload)? {
                read.payload = Payload::Unpacked;
            }
        }
        Ok(read)
    }

    /// Decompresses `packed` into `out` if the header says it is compressed; whether it was.
    pub(super) fn decompress(&self, header: &Header, packed: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        match (header.compressor, &self.compressor) {
            (STAGE_NONE, _) => Ok(false),
            (STAGE_NAMED, Some(compressor)) => unpack(&**compressor, packed, out).map(|()| true),
            (id, _) => Err(Error::UnknownStage { kind: "compressor", name: id.to_string() }),
        }
    }

    /// To be called when a value found by [`find`](Self::find) is given to the user.
    pub(crate) fn was_read(&self, live: &Live, read: &Read) {
        self.note_read(live, read);
        self.count(true);
    }

    pub(crate) fn contains(&self, scratch: &mut Scratch) -> Result<bool> {
        Ok(self.info(scratch)?.is_some())
    }

    /// Reads an entry's header. For an encrypted entry the key is decrypted, too, to be sure that it is the one.
    pub(crate) fn info(&self, scratch: &mut Scratch) -> Result<Option<EntryInfo>> {
        let live = self.store.live()?;
        let Some(read) = self.find_header(&live, scratch)? else { return Ok(None) };
        let pending = live.access.pending(read.hash).unwrap_or(Time::ZERO);
        Ok(Some(EntryInfo::new(&read.header, pending.max(read.header.accessed), read.stored_size)))
    }

    fn find_header(&self, live: &Live, scratch: &mut Scratch) -> Result<Option<Read>> {
        if live.unlocked.keys.is_some() {
            return self.find_in(live, scratch, None);
        }
        let key = &mut scratch.key;
        live.read(|view| {
            let namespace = self.namespace.id(live, view)?;
            let hash = key.hash(&live.unlocked.hasher, namespace);
            let Some(found) = self.visible(live, view, namespace, hash)? else { return Ok(None) };
            if !holds_key(&found, key.key()) {
                return live.unlocked.check(&found).map(|()| None);
            }
            Ok(Some(Read {
                hash,
                header: found.header,
                snapshot: live.token_of(view.id()),
                stored_size: found.bytes.len(),
                payload: Payload::Known,
            }))
        })
    }

    /// Reads the values of several keys in one snapshot, in the order of the tree, and hands each to `each` with its
    /// place in `keys`, after the snapshot is let go.
    pub(crate) fn get_many(
        &self,
        keys: &mut [KeyBuffer],
        mut each: impl FnMut(usize, &[u8], &Read) -> Result<()>,
    ) -> Result<()> {
        let live = self.store.live()?;
        let mut bodies = Vec::with_capacity(keys.len());
        live.read(|view| {
            let namespace = self.namespace.id(&live, view)?;
            let hasher = &live.unlocked.hasher;
            let mut order: Vec<(KeyHash, usize)> = keys
                .iter_mut()
                .enumerate()
                .map(|(place, key)| (key.hash(hasher, namespace), place))
                .collect();
            order.sort_unstable();
            for (hash, place) in order {
                let Some(found) = self.visible(&live, view, namespace, hash)? else { continue };
                let mut copied = Vec::new();
                self.sealing(&live).copy(&found, &mut copied)?;
                let (header, stored_size) = (found.header, found.bytes.len());
                let read = Read {
                    hash,
                    header,
                    snapshot: live.token_of(view.id()),
                    stored_size,
                    payload: Payload::Known,
                };
                bodies.push((place, read, copied));
            }
            Ok(())
        })?;
        let mut unpacked = Vec::new();
        let mut hits = 0;
        for (place, read, mut copied) in bodies {
            let parts = self.sealing(&live).open(&read.header, read.hash, &mut copied)?;
            if copied.get(parts.key) != keys.get(place).map(KeyBuffer::key) {
                continue;
            }
            let packed = copied.get(parts.payload).unwrap_or_default();
            unpacked.clear();
            let payload =
                if self.decompress(&read.header, packed, &mut unpacked)? { &unpacked } else { packed };
            self.note_read(&live, &read);
            hits += 1;
            each(place, payload, &read)?;
        }
        self.hits.fetch_add(hits, std::sync::atomic::Ordering::Relaxed);
        self.misses.fetch_add(keys.len() as u64 - hits, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

/// Whether a plain entry is of this key; of an encrypted one it is found out when it is opened.
pub(super) fn holds_key(found: &Found<'_>, key: &[u8]) -> bool {
    found.header.cipher != STAGE_NONE || found.body.get(..found.header.key_len as usize) == Some(key)
}
