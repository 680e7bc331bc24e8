//! Finding one entry, or several in one snapshot.

use std::ops::Range;

use super::{At, Entries, EntryInfo, Held, Origin, Scratch, Space};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::pipeline::unpack;
use crate::store::{
    Found, Header, KeyBuffer, KeyHash, NamespaceId, ReadView, STAGE_NAMED, STAGE_NONE, Stamp, is_expired,
};

/// An entry that was found; its payload is in the scratch's buffers.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) origin: Origin,
    payload: Payload,
}

#[derive(Clone, Debug)]
enum Payload {
    /// The caller holds it, so nothing was copied.
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
            Payload::Unpacked => &scratch.payload,
            _ => self.stored(&scratch.body),
        }
    }

    /// The payload of an entry found by [`Entries::find_packed`], out of its body.
    pub(super) fn stored<'s>(&self, body: &'s [u8]) -> &'s [u8] {
        match &self.payload {
            Payload::InBody(range) => body.get(range.clone()).unwrap_or_default(),
            _ => &[],
        }
    }
}

impl Entries {
    /// Finds the entry of the key in the scratch. Counts neither hits nor accesses.
    pub(crate) fn find(&self, scratch: &mut Scratch) -> Result<Option<Read>> {
        self.at()?.find(scratch, None)
    }

    /// The payloads of several keys in one snapshot, each with its place in `keys`.
    pub(crate) fn get_many(&self, keys: &mut [KeyBuffer]) -> Result<Vec<(usize, Read, Vec<u8>)>> {
        self.at()?.get_many(keys)
    }

    pub(crate) fn contains(&self, scratch: &mut Scratch) -> Result<bool> {
        Ok(self.info(scratch)?.is_some())
    }

    /// Reads an entry's header. For an encrypted entry the key is decrypted, too, to be sure that it is the one.
    pub(crate) fn info(&self, scratch: &mut Scratch) -> Result<Option<EntryInfo>> {
        self.at()?.info(scratch)
    }
}

impl At<'_> {
    /// See [`Entries::find`]. If what the caller holds is still the key's, it is current again.
    pub(crate) fn find(&self, scratch: &mut Scratch, held: Option<&Held>) -> Result<Option<Read>> {
        // A claim that ended, or is of another environment, would not be current however often it is confirmed.
        let known = held.and_then(|held| held.known(self.live.generation));
        let Some(read) = self.find_packed(scratch, known)? else { return Ok(None) };
        if let Some(held) = held.filter(|_| read.is_known()) {
            held.confirm(read.origin.snapshot, &read.origin.header);
        }
        self.unpacked(read, scratch).map(Some)
    }

    /// The entry of the key, with the payload as it is stored: compressed, if the header says so. `known`: that of the
    /// caller.
    pub(super) fn find_packed(
        &self,
        scratch: &mut Scratch,
        known: Option<(KeyHash, Stamp)>,
    ) -> Result<Option<Read>> {
        let At { space, live } = self;
        let Scratch { key, body, .. } = scratch;
        let guessed = space.namespace.last_id();
        let guess = key.hash(&live.unlocked.hasher, guessed);
        let drops = self.ledger().drops();
        let found = live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            let hash = if namespace == guessed { guess } else { key.hash(&live.unlocked.hasher, namespace) };
            let Some(found) = self.visible(view, namespace, hash)? else { return Ok(None) };
            let is_known = known == Some((hash, found.header.stamp));
            if !is_known {
                if !holds_key(&found, key.key()) {
                    // Of another key with the same hash, if it is what was written.
                    return live.unlocked.check(&found).map(|()| None);
                }
                self.sealing().copy(&found, body)?;
            }
            Ok(Some((
                Read { origin: self.origin(drops, view, hash, &found), payload: Payload::Known },
                is_known,
            )))
        })?;
        match found {
            None => Ok(None),
            Some((read, true)) => Ok(Some(read)),
            Some((read, false)) => self.opened(read, scratch),
        }
    }

    fn origin(&self, drops: u64, view: &ReadView<'_>, hash: KeyHash, found: &Found<'_>) -> Origin {
        Origin {
            hash,
            header: found.header,
            stored_size: found.bytes.len(),
            snapshot: self.live.token_of(view.id()),
            drops,
            environment: self.live.generation,
        }
    }

    /// The entry under a hash, if it is of the namespace and not expired.
    pub(super) fn visible<'t>(
        &self,
        view: &ReadView<'t>,
        namespace: NamespaceId,
        hash: KeyHash,
    ) -> Result<Option<Found<'t>>> {
        let live = &self.live;
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
    fn opened(&self, mut read: Read, scratch: &mut Scratch) -> Result<Option<Read>> {
        let parts = self.sealing().open(&read.origin.header, read.origin.hash, &mut scratch.body)?;
        if scratch.body.get(parts.key) != Some(scratch.key.key()) {
            return Ok(None);
        }
        read.payload = Payload::InBody(parts.payload);
        Ok(Some(read))
    }

    /// Decompresses the payload, if it is compressed.
    fn unpacked(&self, mut read: Read, scratch: &mut Scratch) -> Result<Read> {
        let Scratch { body, payload, .. } = scratch;
        if let Payload::InBody(range) = &read.payload {
            payload.clear();
            if self.space.decompress(
                &read.origin.header,
                body.get(range.clone()).unwrap_or_default(),
                payload,
            )? {
                read.payload = Payload::Unpacked;
            }
        }
        Ok(read)
    }

    /// To be called when a value found by [`find`](Self::find) is given to the user.
    pub(crate) fn was_read(&self, read: &Read) {
        self.note_read(read);
        self.space.count(true);
    }

    fn info(&self, scratch: &mut Scratch) -> Result<Option<EntryInfo>> {
        let live = &self.live;
        let Some((hash, header, size)) = self.find_header(scratch)? else { return Ok(None) };
        let pending = live.access.pending(hash).unwrap_or(Time::ZERO);
        Ok(Some(EntryInfo::new(&header, pending.max(header.accessed), size)))
    }

    fn find_header(&self, scratch: &mut Scratch) -> Result<Option<(KeyHash, Header, usize)>> {
        let At { space, live } = self;
        if live.unlocked.keys.is_some() {
            let read = self.find(scratch, None)?;
            return Ok(read.map(|Read { origin, .. }| (origin.hash, origin.header, origin.stored_size)));
        }
        let key = &mut scratch.key;
        live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            let hash = key.hash(&live.unlocked.hasher, namespace);
            let Some(found) = self.visible(view, namespace, hash)? else { return Ok(None) };
            if !holds_key(&found, key.key()) {
                return live.unlocked.check(&found).map(|()| None);
            }
            Ok(Some((hash, found.header, found.bytes.len())))
        })
    }

    /// See [`Entries::get_many`]. Read in the order of the tree.
    pub(crate) fn get_many(&self, keys: &mut [KeyBuffer]) -> Result<Vec<(usize, Read, Vec<u8>)>> {
        let At { space, live } = self;
        let mut found = Vec::with_capacity(keys.len());
        let drops = self.ledger().drops();
        live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            let hasher = &live.unlocked.hasher;
            let mut order: Vec<(KeyHash, usize)> = keys
                .iter_mut()
                .enumerate()
                .map(|(place, key)| (key.hash(hasher, namespace), place))
                .collect();
            order.sort_unstable();
            for (hash, place) in order {
                let Some(entry) = self.visible(view, namespace, hash)? else { continue };
                let mut copied = Vec::new();
                self.sealing().copy(&entry, &mut copied)?;
                let origin = self.origin(drops, view, hash, &entry);
                found.push((place, Read { origin, payload: Payload::Known }, copied));
            }
            Ok(())
        })?;
        let mut hits = Vec::with_capacity(found.len());
        for (place, read, mut copied) in found {
            let parts = self.sealing().open(&read.origin.header, read.origin.hash, &mut copied)?;
            if copied.get(parts.key) != keys.get(place).map(KeyBuffer::key) {
                continue;
            }
            let mut unpacked = Vec::new();
            let packed = copied.get(parts.payload.clone()).unwrap_or_default();
            if space.decompress(&read.origin.header, packed, &mut unpacked)? {
                copied = unpacked;
            } else {
                copied.truncate(parts.payload.end);
                copied.drain(..parts.payload.start);
            }
            self.note_read(&read);
            hits.push((place, read, copied));
        }
        space.counts.hits.add(hits.len() as u64);
        space.counts.misses.add((keys.len() - hits.len()) as u64);
        Ok(hits)
    }
}

impl Space {
    /// Decompresses `packed` into `out` and returns `true` if the header says it is compressed.
    pub(super) fn decompress(&self, header: &Header, packed: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        match (header.compressor, &self.compressor) {
            (STAGE_NONE, _) => Ok(false),
            (STAGE_NAMED, Some(compressor)) => unpack(&**compressor, packed, out).map(|()| true),
            (id, _) => Err(Error::UnknownStage { kind: "compressor", name: id.to_string() }),
        }
    }
}

/// Whether a plain entry is of this key; of an encrypted one it is found out when it is opened.
pub(super) fn holds_key(found: &Found<'_>, key: &[u8]) -> bool {
    found.header.cipher != STAGE_NONE || found.body.get(..found.header.key_len as usize) == Some(key)
}
