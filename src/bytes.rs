//! The byte-level face: for programs that serialize by themselves, and for other languages.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::ByteBuilder;
use crate::entries::{
    Direction, Entries, EntryInfo, Expect, Life, Position, Raw, Read, Scratch, Stats, VerifyReport, Written,
    lifetime,
};
use crate::error::Result;
use crate::secret::Secret;
use crate::store::{KeyBuffer, KeyHash, Lead, Stamp, Turn};

/// A persistent cache from canonical key bytes to payload bytes.
///
/// It has no front: whoever decodes the payloads knows best what to keep. For that it tells for each payload its
/// [`Version`], and [`token`](Self::token) tells in nanoseconds whether anything in the store has changed at all.
/// Beside its payload an entry carries a *tag*, a byte that the caller may use as it likes (for the kind of its
/// serialization, say); it is authenticated in encrypted stores.
///
/// ```
/// # fn main() -> cachemere::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use cachemere::ByteCache;
///
/// let cache = ByteCache::builder(dir.path().join("store")).open()?;
/// cache.insert(b"key", b"payload", 7, None)?;
/// let found = cache.get(b"key")?.unwrap();
/// assert_eq!((found.payload.as_slice(), found.tag), (&b"payload"[..], 7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ByteCache {
    entries: Arc<Entries>,
}

/// Identifies one written value of one key: as long as an entry's version is the same, so is its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    hash: KeyHash,
    stamp: Stamp,
}

/// A payload that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Payload {
    /// The bytes that were inserted.
    pub payload: Vec<u8>,
    /// The tag that was inserted with them.
    pub tag: u8,
    /// Which writing of the key this is.
    pub version: Version,
    /// The snapshot it was read in: if [`ByteCache::token`] gives this number, it is still the key's value.
    pub snapshot: u64,
    /// Microseconds since the epoch at which the entry expires if it is not read before; `None` for never.
    pub due: Option<u64>,
}

/// An entry met by [`ByteCache::scan`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RawEntry {
    /// The canonical key.
    pub key: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
    /// Times, size and tag.
    pub info: EntryInfo,
    /// Which writing of the key this is.
    pub version: Version,
}

/// How far a scan has come, from both ends.
#[derive(Clone, Copy, Debug)]
pub struct ScanPosition(Position);

impl Default for ScanPosition {
    fn default() -> Self {
        ScanPosition(Position::START)
    }
}

/// The right to load the value of one key, from [`ByteCache::lead`], until dropped.
pub struct LoadGuard {
    _lead: Lead,
}

/// What a conditional insert expects of the key's present entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Condition {
    /// That there is none, or only an expired one.
    Absent,
    /// That it is this writing of the key.
    Version(Version),
}

impl Condition {
    fn expect(self) -> Expect {
        match self {
            Condition::Absent => Expect::Absent,
            Condition::Version(version) => Expect::Value(version.stamp),
        }
    }
}

impl ByteCache {
    /// Starts to describe the cache to open.
    pub fn builder(path: impl AsRef<Path>) -> ByteBuilder {
        ByteBuilder::new(path.as_ref())
    }

    pub(crate) fn new(entries: Entries) -> ByteCache {
        ByteCache { entries: Arc::new(entries) }
    }

    /// The last committed transaction of any process: a payload read in this snapshot is still good. About 15 ns.
    pub fn token(&self) -> Result<u64> {
        Ok(self.entries.store.live()?.token())
    }

    /// The payload of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Payload>> {
        with_key(key, |scratch| {
            let read = self.entries.get(scratch)?;
            Ok(read.map(|read| payload(&read, scratch)))
        })
    }

    /// As [`get`](Self::get), for a caller that has the payload of version `known`: the answer is `None` in place of the
    /// payload while it is still that, and nothing is copied or decrypted.
    pub fn get_unless(&self, key: &[u8], known: Version) -> Result<Option<(Option<Payload>, u64)>> {
        with_key(key, |scratch| {
            let live = self.entries.store.live()?;
            let read = self.entries.find_in(&live, scratch, Some((known.hash, known.stamp)))?;
            let Some(read) = read else {
                self.entries.count(false);
                return Ok(None);
            };
            self.entries.was_read(&live, &read);
            let new = (!read.is_known()).then(|| payload(&read, scratch));
            Ok(Some((new, read.snapshot)))
        })
    }

    /// The payloads of several keys, in the order of the keys, from one snapshot.
    pub fn get_many<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Vec<Option<Payload>>> {
        let mut buffers: Vec<KeyBuffer> = keys.into_iter().map(KeyBuffer::from_key).collect();
        let mut found = vec![None; buffers.len()];
        self.entries.get_many(&mut buffers, |place, bytes, read| {
            if let Some(slot) = found.get_mut(place) {
                *slot = Some(describe(read, bytes.to_vec()));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Inserts a payload; with a `ttl` that one, else the cache's own time to live.
    pub fn insert(&self, key: &[u8], payload: &[u8], tag: u8, ttl: Option<Duration>) -> Result<()> {
        self.put(key, payload, tag, ttl, Expect::Anything).map(drop)
    }

    /// Inserts a payload if the key's present entry is as expected; whether it was.
    pub fn insert_if(
        &self,
        key: &[u8],
        payload: &[u8],
        tag: u8,
        ttl: Option<Duration>,
        condition: Condition,
    ) -> Result<bool> {
        Ok(self.put(key, payload, tag, ttl, condition.expect())? != Written::Refused)
    }

    fn put(
        &self,
        key: &[u8],
        payload: &[u8],
        tag: u8,
        ttl: Option<Duration>,
        expect: Expect,
    ) -> Result<Written> {
        let life = self.life(ttl)?;
        with_key(key, |scratch| self.entries.put(scratch, payload, tag, life, expect, |_| ()))
    }

    fn life(&self, ttl: Option<Duration>) -> Result<Life> {
        match ttl {
            Some(ttl) => self.entries.life.with_ttl(ttl),
            None => Ok(self.entries.life),
        }
    }

    /// Inserts all payloads in one transaction, all with the same tag and time to live.
    pub fn insert_many<'i>(
        &self,
        items: impl IntoIterator<Item = (&'i [u8], &'i [u8])>,
        tag: u8,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let items =
            items.into_iter().map(|(key, payload)| (KeyBuffer::from_key(key), payload.to_vec())).collect();
        self.entries.put_many(items, tag, self.life(ttl)?, |_| ())
    }

    /// Removes a key; whether it was there.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        with_key(key, |scratch| self.entries.remove(scratch, Expect::Anything, |_| ()))
    }

    /// Removes a key if its entry is still the one of this version; whether it was.
    pub fn remove_if(&self, key: &[u8], version: Version) -> Result<bool> {
        with_key(key, |scratch| self.entries.remove(scratch, Expect::Value(version.stamp), |_| ()))
    }

    /// Whether the key has an entry that is not expired. Not an access.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        with_key(key, |scratch| self.entries.contains(scratch))
    }

    /// What an entry's header tells. Not an access.
    pub fn info(&self, key: &[u8]) -> Result<Option<EntryInfo>> {
        with_key(key, |scratch| self.entries.info(scratch))
    }

    /// Lets the entry live from now on as if just inserted, with `ttl` or the cache's own lifetime; whether there is one.
    pub fn touch(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let life = match ttl {
            Some(ttl) => Life { ttl: lifetime("ttl", ttl)?, ..self.entries.life },
            None => self.entries.life,
        };
        with_key(key, |scratch| self.entries.touch(scratch, life, |_| ()))
    }

    /// Notes that a payload the caller kept in memory was read, so that it counts as an access.
    pub fn note_access(&self, version: Version) -> Result<()> {
        let live = self.entries.store.live()?;
        live.access.note_cold(version.hash, live.access_time());
        Ok(())
    }

    /// The next entries in the order of insertion, some hundred at a time; empty at the end.
    pub fn scan(&self, position: &mut ScanPosition) -> Result<Vec<Result<RawEntry>>> {
        self.scan_from(position, Direction::Oldest)
    }

    /// As [`scan`](Self::scan), newest first.
    pub fn scan_back(&self, position: &mut ScanPosition) -> Result<Vec<Result<RawEntry>>> {
        self.scan_from(position, Direction::Newest)
    }

    fn scan_from(&self, position: &mut ScanPosition, direction: Direction) -> Result<Vec<Result<RawEntry>>> {
        let chunk = self.entries.walk(&mut position.0, direction, usize::MAX)?;
        Ok(chunk.into_iter().map(|raw| raw.map(raw_entry)).collect())
    }

    /// Removes the entry that was inserted first, and returns it.
    pub fn pop_oldest(&self) -> Result<Option<RawEntry>> {
        self.entries.pop(Direction::Oldest, |raw| Ok(raw_entry(raw.clone())), |_| ())
    }

    /// Removes the entry that was inserted last, and returns it.
    pub fn pop_newest(&self) -> Result<Option<RawEntry>> {
        self.entries.pop(Direction::Newest, |raw| Ok(raw_entry(raw.clone())), |_| ())
    }

    /// Waits until no other thread or process loads this key, and takes the right to do so. `None`: another thread of this
    /// process has just finished; look again.
    pub fn lead(&self, key: &[u8]) -> Result<Option<LoadGuard>> {
        let (flights, hash) = with_key(key, |scratch| {
            let live = self.entries.store.live()?;
            let hash = scratch.key.hash(&live.unlocked.hasher, self.entries.namespace.last_id());
            Ok((live.flights.clone(), hash))
        })?;
        Ok(match flights.enter(hash)? {
            Turn::Lead(lead) => Some(LoadGuard { _lead: lead }),
            Turn::Waited => None,
        })
    }

    /// The number of entries that are not expired.
    pub fn len(&self) -> Result<u64> {
        self.entries.len()
    }

    /// Whether there is no entry that is not expired.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries of the namespace, at once for everybody.
    pub fn clear(&self) -> Result<()> {
        self.entries.clear(|_| ())
    }

    /// Counts and sizes; those of a front are zero.
    pub fn stats(&self) -> Result<Stats> {
        self.entries.stats()
    }

    /// See [`Cache::sweep`](crate::Cache::sweep).
    pub fn sweep(&self) -> Result<u64> {
        self.entries.sweep()
    }

    /// See [`Cache::checkpoint`](crate::Cache::checkpoint).
    pub fn checkpoint(&self) -> Result<()> {
        self.entries.checkpoint()
    }

    /// See [`Cache::compact`](crate::Cache::compact).
    pub fn compact(&self) -> Result<()> {
        self.entries.store.compact()
    }

    /// See [`Cache::backup`](crate::Cache::backup).
    pub fn backup(&self, to: impl AsRef<Path>) -> Result<()> {
        self.entries.store.backup(to.as_ref())
    }

    /// See [`Cache::verify`](crate::Cache::verify).
    pub fn verify(&self) -> Result<VerifyReport> {
        self.entries.verify()
    }

    /// See [`Cache::change_secret`](crate::Cache::change_secret).
    pub fn change_secret(&self, old: &Secret, new: &Secret) -> Result<()> {
        self.entries.store.change_secret(old, new)
    }

    /// See [`Cache::reencrypt`](crate::Cache::reencrypt).
    pub fn reencrypt(&self, old: &Secret, new: &Secret) -> Result<()> {
        self.entries.store.reencrypt(old, new)
    }

    /// Closes this handle and its clones; see [`Cache::close`](crate::Cache::close).
    pub fn close(&self) -> Result<()> {
        self.entries.store.close()
    }

    /// The store's directory.
    pub fn path(&self) -> &Path {
        self.entries.store.dir()
    }
}

fn with_key<T>(key: &[u8], work: impl FnOnce(&mut Scratch) -> Result<T>) -> Result<T> {
    Scratch::with(|scratch| {
        scratch.key.start().extend_from_slice(key);
        work(scratch)
    })
}

fn payload(read: &Read, scratch: &Scratch) -> Payload {
    describe(read, read.payload(scratch).to_vec())
}

fn describe(read: &Read, payload: Vec<u8>) -> Payload {
    Payload {
        payload,
        tag: read.header.tag,
        version: Version { hash: read.hash, stamp: read.header.stamp },
        snapshot: read.snapshot,
        due: read.header.due().map(|due| due.0),
    }
}

fn raw_entry(raw: Raw) -> RawEntry {
    let version = Version { hash: raw.hash, stamp: raw.stamp };
    RawEntry { key: raw.key, payload: raw.payload, info: raw.info, version }
}

impl fmt::Debug for ByteCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteCache").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl fmt::Debug for LoadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadGuard").finish_non_exhaustive()
    }
}
