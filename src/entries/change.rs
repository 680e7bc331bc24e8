//! Writing: inserting, replacing under a condition, removing.

use super::read::holds_key;
use super::{At, Entries, Life, Read, Scratch, Space};
use crate::clock::{Span, Time};
use crate::error::{Error, Result};
use crate::pipeline::{MAX_ENTRY, pack};
use crate::store::body::Sealing;
use crate::store::{
    ENTRY_VERSION_1, Found, Header, Inserted, KeyBuffer, KeyHash, Live, NamespaceId, NewEntry, Number,
    STAGE_NAMED, STAGE_NONE, Sound, Stamp, Writer, checksum, largest_entry,
};

/// What must hold for a write to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    Anything,
    /// No entry, or an expired one.
    Absent,
    /// The value with this stamp.
    Value(Stamp),
}

/// What a conditional write did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    Inserted,
    Replaced,
    /// The condition did not hold; nothing was written.
    Refused,
}

/// A value on its way into the store.
pub(super) struct Outgoing<'a> {
    pub(super) key: &'a mut KeyBuffer,
    /// Compressed already, if the header says so.
    pub(super) payload: &'a [u8],
    pub(super) body: &'a mut Vec<u8>,
    pub(super) header: Header,
    pub(super) hash: KeyHash,
    pub(super) body_checksum: u64,
}

impl Outgoing<'_> {
    /// Makes the body for the namespace's present id and a creation time, both of which a cipher authenticates.
    pub(super) fn seal(&mut self, sealing: Sealing<'_>, namespace: NamespaceId, created: Time) -> Result<()> {
        self.header.namespace = namespace;
        self.header.created = created;
        self.hash = self.key.hash(&sealing.unlocked.hasher, namespace);
        sealing.seal(&mut self.header, self.hash, self.key.key(), self.payload, self.body)?;
        self.body_checksum = checksum(self.body);
        Ok(())
    }

    /// Writes what was sealed, sealing again where the transaction finds other facts than were foreseen.
    fn insert(
        &mut self,
        sealing: Sealing<'_>,
        namespace: NamespaceId,
        writer: &mut Writer<'_>,
    ) -> Result<Inserted> {
        if self.header.namespace != namespace {
            self.seal(sealing, namespace, self.header.created)?;
        }
        loop {
            let entry = NewEntry {
                hash: self.hash,
                header: self.header,
                body: self.body,
                body_checksum: self.body_checksum,
            };
            match writer.insert(&entry)? {
                Inserted::WrongCreation(created) => self.seal(sealing, namespace, created)?,
                done => return Ok(done),
            }
        }
    }
}

impl Entries {
    /// Writes a value for the key in the scratch.
    pub(crate) fn put(
        &self,
        scratch: &mut Scratch,
        payload: &[u8],
        tag: u8,
        life: Life,
        expect: Expect,
    ) -> Result<Written> {
        check_key(scratch.key.key())?;
        self.at_for_writing()?.put(scratch, payload, (tag, life), expect)
    }

    /// Writes the entry of the key in the scratch again, unchanged but for how long it lives from now on. Its payload is
    /// taken as it is stored; it is encrypted anew, since a cipher authenticates the times. Whether there was one, as
    /// expected.
    pub(crate) fn touch(&self, scratch: &mut Scratch, life: Life, expect: Expect) -> Result<bool> {
        self.at_for_writing()?.touch(scratch, life, expect)
    }

    /// Removes the entry of the key in the scratch. Returns `true` if there was one that had not expired.
    pub(crate) fn remove(&self, scratch: &mut Scratch, expect: Expect) -> Result<bool> {
        check_key(scratch.key.key())?;
        self.at_for_writing()?.remove(scratch, expect)
    }
}

impl At<'_> {
    fn put(
        &self,
        scratch: &mut Scratch,
        payload: &[u8],
        (tag, life): (u8, Life),
        expect: Expect,
    ) -> Result<Written> {
        let At { space, live } = self;
        check_size(live, scratch.key.key().len() + payload.len())?;
        let Scratch { key, body, payload: packed, .. } = scratch;
        let compressed = space.compress(payload, packed)?;
        let payload = if compressed { packed } else { payload };
        let now = live.config.clock.now();
        let header = new_header(now, life, tag, compressed);
        self.write_one(key, payload, body, header, expect)
    }

    fn touch(&self, scratch: &mut Scratch, life: Life, expect: Expect) -> Result<bool> {
        let live = &self.live;
        loop {
            let Some(read) = self.find_packed(scratch, None)? else { return Ok(false) };
            if matches!(expect, Expect::Value(stamp) if stamp != read.origin.header.stamp) {
                return Ok(false);
            }
            let new = new_header(live.config.clock.now(), life, read.origin.header.tag, false);
            let Header { modified, compressor, .. } = read.origin.header;
            let header = Header { modified, compressor, ..new };
            // What is stored lies in one buffer, what is to be stored comes into the other.
            let Scratch { key, body: old, payload: body, .. } = &mut *scratch;
            let payload = read.stored(old);
            let expect = Expect::Value(read.origin.header.stamp);
            let done = self.write_one(key, payload, body, header, expect)?;
            if done != Written::Refused {
                return Ok(true);
            }
        }
    }

    fn write_one(
        &self,
        key: &mut KeyBuffer,
        payload: &[u8],
        body: &mut Vec<u8>,
        header: Header,
        expect: Expect,
    ) -> Result<Written> {
        let At { space, live } = self;
        let mut out = Outgoing { key, payload, body, header, hash: KeyHash([0; 16]), body_checksum: 0 };
        let namespace = space.namespace.last_id();
        // Encrypting takes longer than a commit for large values, so it is done before other writers are locked out,
        // for the creation time that the entry is going to have.
        let created = match live.unlocked.keys {
            Some(_) => self.creation(out.key, header.created)?,
            None => header.created,
        };
        let sealing = self.sealing();
        out.seal(sealing, namespace, created)?;
        self.commit(out.body.len() as u64, |writer| {
            let limit = space.namespace.limit(writer.live(), &writer.view())?;
            let namespace = limit.namespace;
            let hash = out.key.hash(&live.unlocked.hasher, namespace);
            if !holds(writer, namespace, hash, expect)? {
                return Ok(Written::Refused);
            }
            let inserted = out.insert(sealing, namespace, writer)?;
            writer.enforce_limits(limit)?;
            Ok(if inserted == Inserted::Replaced { Written::Replaced } else { Written::Inserted })
        })
    }

    /// The creation time an entry of this key will have: its own if it is there, else now.
    fn creation(&self, key: &mut KeyBuffer, now: Time) -> Result<Time> {
        let At { space, live } = self;
        live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            let hash = key.hash(&live.unlocked.hasher, namespace);
            match self.visible(view, namespace, hash) {
                // One that is not what was written is not there any more when the new one is.
                Err(Error::Damaged { .. } | Error::Tampered { .. }) => Ok(now),
                found => Ok(found?.map_or(now, |found| found.header.created)),
            }
        })
    }

    fn remove(&self, scratch: &mut Scratch, expect: Expect) -> Result<bool> {
        let At { space, live } = self;
        let key = &mut scratch.key;
        self.commit(0, |writer| {
            let namespace = space.namespace.id(writer.live(), &writer.view())?;
            let hash = key.hash(&live.unlocked.hasher, namespace);
            let of_key = |found: &Found<'_>| holds_key(found, key.key()).then_some(found.header);
            let header = match writer.sound(hash, of_key)? {
                Sound::Yes(Some(header)) => header,
                Sound::Yes(None) | Sound::Absent => return Ok(false),
                Sound::No(error) => match (expect, error) {
                    (Expect::Anything, Error::Damaged { .. } | Error::Tampered { .. }) => {
                        return writer.discard(hash).map(|()| true);
                    }
                    (_, error) => return Err(error),
                },
            };
            if header.namespace != namespace {
                return Ok(false);
            }
            if matches!(expect, Expect::Value(stamp) if stamp != header.stamp) {
                return Ok(false);
            }
            Ok(!writer.remove_or_expire(hash, &header)?)
        })
    }
}

impl Space {
    /// Compresses into `packed` if there is a compressor and it pays.
    pub(super) fn compress(&self, payload: &[u8], packed: &mut Vec<u8>) -> Result<bool> {
        packed.clear();
        match &self.compressor {
            Some(compressor) => pack(&**compressor, payload, packed),
            None => Ok(false),
        }
    }
}

fn holds(writer: &Writer<'_>, namespace: NamespaceId, hash: KeyHash, expect: Expect) -> Result<bool> {
    if expect == Expect::Anything {
        return Ok(true);
    }
    let view = writer.view();
    let there = view.entry(hash)?.map(|found| found.header);
    let there = there.filter(|header| header.namespace == namespace && !writer.is_expired(hash, header));
    Ok(match (expect, there) {
        (Expect::Value(stamp), Some(header)) => header.stamp == stamp,
        (Expect::Value(_), None) => false,
        (_, there) => there.is_none(),
    })
}

pub(crate) fn new_header(now: Time, life: Life, tag: u8, compressed: bool) -> Header {
    Header {
        version: ENTRY_VERSION_1,
        compressor: if compressed { STAGE_NAMED } else { STAGE_NONE },
        cipher: STAGE_NONE,
        tag,
        namespace: NamespaceId(0),
        key_len: 0,
        created: now,
        modified: now,
        expires: if life.ttl == Span(0) { Time::ZERO } else { now.saturating_add(life.ttl) },
        idle: life.idle,
        number: Number::FIRST,
        stamp: Stamp(0),
        accessed: now,
    }
}

pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

pub(super) fn check_size(live: &Live, size: usize) -> Result<()> {
    let size = size as u64;
    if size > MAX_ENTRY {
        return Err(Error::TooLarge { size, limit: MAX_ENTRY });
    }
    match live.max_bytes {
        Some(max) if size > largest_entry(max) => Err(Error::StoreFull {
            limit: max,
            detail: format!("an entry may take a quarter of that, and this one has {size} bytes").into(),
        }),
        _ => Ok(()),
    }
}

impl Read {
    /// What a write must find in order to replace just what was read.
    pub(crate) fn expectation(read: Option<&Read>) -> Expect {
        match read {
            Some(read) => Expect::Value(read.origin.header.stamp),
            None => Expect::Absent,
        }
    }
}
