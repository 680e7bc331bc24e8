//! Going through a namespace in the order of insertion, a chunk at a time.

use super::{At, Entries, EntryInfo};
use crate::clock::Time;
use crate::error::Result;
use crate::store::{KeyBuffer, KeyHash, NamespaceId, Number, Stamp, order_key, parse_hash, parse_order_key};

/// Entries read in one snapshot.
const CHUNK: usize = 256;
/// A chunk ends early when its entries take so many bytes.
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    Oldest,
    Newest,
}

/// How far a walk has come from both ends: the numbers from `from` up to but without `to` are left.
///
/// Its first chunk sets `to` behind the newest entry that is there: what is inserted after its beginning is not met, or
/// who inserts an entry for each that is met would never come to an end. A walk is over when the namespace is cleared,
/// even if it has been filled again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    namespace: Option<NamespaceId>,
    from: Number,
    to: Number,
}

impl Position {
    pub(crate) const START: Position =
        Position { namespace: None, from: Number::FIRST, to: Number::COUNTERS };
    /// Of who takes but the first and goes no further: the newest is not searched for, which takes long in RocksDB when many
    /// have been removed behind it.
    const OF_ONE: Position =
        Position { namespace: None, from: Number::FIRST, to: Number(Number::COUNTERS.0 - 1) };
}

/// An entry met on a walk, decoded down to its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) hash: KeyHash,
    pub(crate) stamp: Stamp,
    pub(crate) key: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) info: EntryInfo,
}

/// A chunk of a walk.
pub(crate) type Walk = Vec<Result<Raw>>;

impl Entries {
    /// The next chunk from one end, in the order of the walk; empty at its end. Moves the position behind it.
    ///
    /// An entry that cannot be read is an error in its place; the walk goes on behind it.
    pub(crate) fn walk(&self, position: &mut Position, direction: Direction, most: usize) -> Result<Walk> {
        self.at()?.walk(position, direction, most)
    }

    /// Removes the entries that `chosen` wants, each by itself; how many. One that is changed meanwhile stays.
    pub(crate) fn remove_where(&self, chosen: impl Fn(&Raw) -> Result<bool>) -> Result<u64> {
        // Refused before anything is read.
        self.at_for_writing().map(drop)?;
        let mut position = Position::START;
        let mut removed = 0;
        loop {
            let chunk = self.walk(&mut position, Direction::Oldest, usize::MAX)?;
            if chunk.is_empty() {
                return Ok(removed);
            }
            for raw in chunk {
                let raw = raw?;
                if chosen(&raw)? {
                    let mut scratch =
                        super::Scratch { key: KeyBuffer::from_key(&raw.key), ..Default::default() };
                    removed += u64::from(self.remove(&mut scratch, super::Expect::Value(raw.stamp))?);
                }
            }
        }
    }

    /// Takes the first entry from one end that `accept` wants, and removes it; those before it stay. Another process that
    /// changes it in between makes this look again.
    pub(crate) fn pop<T>(
        &self,
        direction: Direction,
        accept: impl Fn(&Raw) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        // Refused before anything is read.
        self.at_for_writing().map(drop)?;
        let mut position = Position::OF_ONE;
        loop {
            let Some(next) = self.walk(&mut position, direction, 1)?.pop() else { return Ok(None) };
            let raw = next?;
            let Some(value) = accept(&raw)? else { continue };
            let mut scratch = super::Scratch { key: KeyBuffer::from_key(&raw.key), ..Default::default() };
            if self.remove(&mut scratch, super::Expect::Value(raw.stamp))? {
                return Ok(Some(value));
            }
            position = Position::OF_ONE;
        }
    }
}

impl At<'_> {
    fn walk(&self, position: &mut Position, direction: Direction, most: usize) -> Result<Walk> {
        let At { space, live } = self;
        let now = live.config.clock.now();
        let removes_expired = live.removes_expired();
        let mut copied = Vec::new();
        live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            if position.to == Number::COUNTERS && direction == Direction::Oldest {
                let (first, behind) =
                    (order_key(namespace, position.from), order_key(namespace, position.to));
                // One that cannot be read is told of in its place.
                if let Some(Ok((place, _))) = view.range_back(&first, &behind)?.next()
                    && let Some((_, newest)) = parse_order_key(place)
                {
                    position.to = Number(newest.0.saturating_add(1));
                }
            }
            if *position.namespace.get_or_insert(namespace) != namespace {
                position.from = position.to;
                return Ok(());
            }
            let (from, to) = (order_key(namespace, position.from), order_key(namespace, position.to));
            let mut bytes = 0;
            let mut visit = |record: Result<(&[u8], &[u8])>| -> Result<bool> {
                let (place, value) = record?;
                let Some((_, number)) = parse_order_key(place) else { return Ok(true) };
                match direction {
                    Direction::Oldest => position.from = Number(number.0.saturating_add(1)),
                    Direction::Newest => position.to = number,
                }
                let Some(hash) = parse_hash(value) else { return Ok(true) };
                let found = match view.entry(hash) {
                    Ok(Some(found)) => found,
                    Ok(None) => return Ok(true),
                    Err(error) => {
                        copied.push(Err(error));
                        return Ok(copied.len() < most.min(CHUNK));
                    }
                };
                // Where an entry was before it vanished and its key was written again.
                if (removes_expired && found.header.number != number)
                    || found.header.namespace != namespace
                    || crate::store::is_expired(live, hash, &found.header, now)
                {
                    // Nothing is left out because of an accident.
                    copied.extend(live.unlocked.check(&found).err().map(Err));
                    return Ok(copied.len() < most.min(CHUNK));
                }
                let mut sealed = Vec::new();
                let entry = self.sealing().copy(&found, &mut sealed);
                bytes += sealed.len();
                copied.push(entry.map(|()| (hash, found.header, sealed, found.bytes.len())));
                Ok(copied.len() < most.min(CHUNK) && bytes < CHUNK_BYTES)
            };
            match direction {
                Direction::Oldest => {
                    for record in view.range(&from, &to)? {
                        if !visit(record)? {
                            return Ok(());
                        }
                    }
                }
                Direction::Newest => {
                    for record in view.range_back(&from, &to)? {
                        if !visit(record)? {
                            return Ok(());
                        }
                    }
                }
            }
            position.from = position.to;
            Ok(())
        })?;
        let mut chunk = Vec::with_capacity(copied.len());
        for entry in copied {
            chunk.push(entry.and_then(|(hash, header, mut sealed, size)| {
                let parts = self.sealing().open(&header, hash, &mut sealed)?;
                let key = sealed.get(parts.key).unwrap_or_default().to_vec();
                let packed = sealed.get(parts.payload).unwrap_or_default();
                let mut payload = Vec::new();
                if !space.decompress(&header, packed, &mut payload)? {
                    payload.extend_from_slice(packed);
                }
                let accessed = live.access.pending(hash).unwrap_or(Time::ZERO).max(header.accessed);
                Ok(Raw {
                    hash,
                    stamp: header.stamp,
                    key,
                    payload,
                    info: EntryInfo::new(&header, accessed, size),
                })
            }));
        }
        Ok(chunk)
    }
}
