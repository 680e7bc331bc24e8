//! The byte-level face: for programs that serialize by themselves, and for other languages.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::ByteBatch;
use crate::builder::ByteBuilder;
use crate::entries::{
    Age, Bytes, Change, Changes, Direction, Entries, EntryInfo, Expect, Held, Life, Origin, Position, Raw,
    Scratch, Stats, Written, lifetime,
};
use crate::error::Result;
use crate::face::store_operations;
use crate::store::{Flights, KeyBuffer, KeyHash, Lead, LoadFailure, Stamp, Tried, Turn, Watch};

/// A persistent cache from canonical key bytes to payload bytes.
///
/// It has no front: whoever decodes the payloads knows best what to keep. What is kept can be registered with
/// [`hold`](Self::hold); [`is_current`](Self::is_current) then tells in nanoseconds whether it is still what the store has.
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
///
/// # Errors
///
/// Beside those that are named, all operations have [`Error::Closed`](crate::Error::Closed) after [`close`](Self::close),
/// [`Error::Gone`](crate::Error::Gone) when the store was removed or replaced,
/// [`Error::Interrupted`](crate::Error::Interrupted) and [`Error::Io`](crate::Error::Io).
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

#[cfg(feature = "valkey")]
impl Version {
    pub(crate) fn new(hash: KeyHash, stamp: Stamp) -> Version {
        Version { hash, stamp }
    }

    pub(crate) fn stamp(self) -> Stamp {
        self.stamp
    }
}

/// A payload that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Payload {
    /// The bytes that were inserted.
    pub payload: Vec<u8>,
    /// The tag that was inserted with them.
    pub tag: u8,
    /// Which writing of the key this is.
    pub version: Version,
    /// The snapshot it was read in: as long as [`ByteCache::token`] gives this number, it is the key's payload.
    pub snapshot: u64,
    origin: Origin,
}

impl PartialEq for Payload {
    fn eq(&self, other: &Payload) -> bool {
        (&self.payload, self.tag, self.version) == (&other.payload, other.tag, other.version)
    }
}

impl Eq for Payload {}

/// The answer of [`ByteCache::get_unless`].
#[derive(Debug)]
pub enum Known {
    /// The key has no entry any more.
    Missing,
    /// The payload is still the one that is held, which is current again.
    Same,
    /// The key has another payload now.
    Other(Payload),
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

/// The right to load the value of one key, from [`ByteCache::lead`] or [`ByteCache::try_lead`], until dropped.
#[must_use = "the right to load ends when it is dropped"]
pub struct LoadGuard {
    lead: Lead,
}

impl LoadGuard {
    fn of(lead: Lead) -> LoadGuard {
        LoadGuard { lead: lead.landing_anyhow() }
    }

    /// Ends it with a failure instead of a value. All threads of this process that wait for it get the failure, as
    /// [`LoadTurn::Failed`]; who comes later, and other processes, do not.
    pub fn fail(self, failure: LoadFailure) {
        self.lead.fail(failure);
    }
}

/// Whose turn it is to load the value of a key, from [`ByteCache::turn`].
#[non_exhaustive]
#[derive(Debug)]
pub enum LoadTurn {
    /// The caller's.
    Lead(LoadGuard),
    /// Another thread of this process has just finished; look again.
    Landed,
    /// Another thread of this process has failed.
    Failed(LoadFailure),
    /// The caller did not want to wait any longer.
    GivenUp,
}

/// Of somebody else's load: how it goes.
pub struct LoadWatch(Watch);

impl LoadWatch {
    /// The failure it has ended with. `None`: none yet, or it had none, or it is one of another process.
    #[must_use]
    pub fn failure(&self) -> Option<LoadFailure> {
        self.0.failure()
    }
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

    /// Starts to describe a cache in a directory that goes with its last handle; see
    /// [`Cache::temporary`](crate::Cache::temporary).
    pub fn temporary() -> ByteBuilder {
        ByteBuilder::temporary()
    }

    pub(crate) fn new(entries: Entries) -> ByteCache {
        ByteCache { entries: Arc::new(entries) }
    }

    /// The last committed transaction of any process. About 15 ns.
    ///
    /// # Errors
    ///
    /// Only those of all operations.
    pub fn token(&self) -> Result<u64> {
        Ok(self.entries.at()?.live().token())
    }

    /// The payload of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`](crate::Error::Damaged) or [`Error::Tampered`](crate::Error::Tampered) if the entry is not
    /// what was written. It stays untouched.
    pub fn get(&self, key: &[u8]) -> Result<Option<Payload>> {
        with_key(key, |scratch| {
            let at = self.entries.at()?;
            let read = at.find(scratch, None)?;
            match &read {
                Some(read) => at.was_read(read),
                None => self.entries.space.count(false),
            }
            Ok(read.map(|read| payload(read.origin, read.payload(scratch).to_vec())))
        })
    }

    /// Registers that the caller keeps a payload, or what it decoded from it, for [`is_current`](Self::is_current).
    /// Ends an earlier claim to the same key.
    ///
    /// # Errors
    ///
    /// Only those of all operations.
    pub fn hold(&self, payload: &Payload) -> Result<Held> {
        Ok(self.entries.at()?.ledger().hold(&payload.origin))
    }

    /// Whether what is held is the key's payload, as of now and for all processes, and not expired. If so, it counts as
    /// read. Costs some 10 ns more than [`token`](Self::token), without a lock or system call, and never waits: while the store
    /// is compacted, say, nothing is known to be current. If not,
    /// [`get_unless`](Self::get_unless) tells what is.
    ///
    /// # Errors
    ///
    /// Only those of all operations.
    pub fn is_current(&self, held: &Held) -> Result<bool> {
        let Some(at) = self.entries.at_now()? else { return Ok(false) };
        let is_good = at.is_good(held);
        if is_good {
            at.was_given(held);
        }
        Ok(is_good)
    }

    /// As [`get`](Self::get), for a caller that holds a payload: if it is still the key's, nothing is copied or decrypted.
    /// A claim that another one to the same key ended is answered with the payload, to be held anew.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_unless(&self, key: &[u8], held: &Held) -> Result<Known> {
        with_key(key, |scratch| {
            let at = self.entries.at()?;
            let Some(read) = at.find(scratch, Some(held))? else {
                self.entries.space.count(false);
                return Ok(Known::Missing);
            };
            at.was_read(&read);
            Ok(match read.is_known() {
                true => Known::Same,
                false => Known::Other(payload(read.origin, read.payload(scratch).to_vec())),
            })
        })
    }

    /// The payloads of several keys, in the order of the keys, from one snapshot.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), if it is so for one of them.
    pub fn get_many<'k>(&self, keys: impl IntoIterator<Item = &'k [u8]>) -> Result<Vec<Option<Payload>>> {
        let mut buffers: Vec<KeyBuffer> = keys.into_iter().map(KeyBuffer::from_key).collect();
        let mut found = vec![None; buffers.len()];
        for (place, read, bytes) in self.entries.get_many(&mut buffers)? {
            if let Some(slot) = found.get_mut(place) {
                *slot = Some(payload(read.origin, bytes));
            }
        }
        Ok(found)
    }

    /// Inserts a payload; with a `ttl` that one, else the cache's own time to live.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`](crate::Error::EmptyKey), [`Error::Invalid`](crate::Error::Invalid) for a `ttl` of zero,
    /// [`Error::TooLarge`](crate::Error::TooLarge), [`Error::StoreFull`](crate::Error::StoreFull),
    /// [`Error::DiskFull`](crate::Error::DiskFull), [`Error::ReadOnly`](crate::Error::ReadOnly). Nothing was written
    /// then.
    pub fn insert(&self, key: &[u8], payload: &[u8], tag: u8, ttl: Option<Duration>) -> Result<()> {
        self.put(key, payload, tag, ttl, Expect::Anything).map(drop)
    }

    /// Inserts a payload if the key's present entry is as expected; whether it was.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert).
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
        with_key(key, |scratch| self.entries.put(scratch, payload, tag, life, expect))
    }

    fn life(&self, ttl: Option<Duration>) -> Result<Life> {
        match ttl {
            Some(ttl) => self.entries.space.life.with_ttl(ttl),
            None => Ok(self.entries.space.life),
        }
    }

    /// Inserts all payloads, each with its tag, in one transaction: all of them or none. Of equal keys the last one wins.
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert). Nothing of them was written then.
    pub fn insert_many<'i>(
        &self,
        items: impl IntoIterator<Item = (&'i [u8], Vec<u8>, u8)>,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let age = ttl.map_or(Age::New, Age::Ttl);
        let insert = |(key, payload, tag): (&[u8], Vec<u8>, u8)| {
            (KeyBuffer::from_key(key), Change::Insert(Bytes { payload: payload.into(), tag }, age))
        };
        self.change(items.into_iter().map(insert).collect())
    }

    /// Makes the inserts and removals of a batch in one transaction; see [`Cache::write`](crate::Cache::write).
    ///
    /// # Errors
    ///
    /// As [`insert`](Self::insert). Nothing of it was written then.
    pub fn write(&self, batch: &ByteBatch) -> Result<()> {
        self.change(batch.changes())
    }

    fn change(&self, changes: Changes<'_>) -> Result<()> {
        self.entries.write(changes)
    }

    /// Loads the records of files: all of them, or, on an error or if the process is killed, none.
    ///
    /// `make` turns each record into a key and a payload; several threads call it at once. Records are inserted in the
    /// order of the files, with the `ttl` or the cache's own time to live, counted from the start of the load. For a key
    /// that is in the cache already, `existing` says what to do.
    ///
    /// Reading and sorting does not keep anybody waiting; see [`load`](crate::load) for the memory it takes. Writing
    /// is one transaction, which all other writers wait for: about a microsecond an entry into a store without entries,
    /// several into another one. Beside its budget it takes up to 512 MiB for pages of LMDB.
    ///
    /// # Errors
    ///
    /// Those of [`Load::sort`](crate::load::Load::sort); [`Error::StoreFull`](crate::Error::StoreFull), also if the
    /// records are more than a limit allows, [`Error::DiskFull`](crate::Error::DiskFull),
    /// [`Error::DuplicateKey`](crate::Error::DuplicateKey), [`Error::Busy`](crate::Error::Busy) if the cache was
    /// cleared meanwhile. Nothing was changed.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use cachemere::load::{Existing, Format, Load, Record, Records};
    /// use cachemere::{ByteCache, ByteEntry};
    ///
    /// let file = dir.path().join("capitals.tsv");
    /// std::fs::write(&file, "France\tParis\nPeru\tLima\n").unwrap();
    ///
    /// let cache = ByteCache::builder(dir.path().join("store")).open()?;
    /// let load = Load::new([&file], Format::new(Records::TabSep), cache.path());
    /// let make = |record: &Record<'_>, entry: &mut ByteEntry| {
    ///     entry.key.extend_from_slice(record.key.raw());
    ///     entry.payload.extend_from_slice(record.value.raw());
    ///     Ok(())
    /// };
    /// let summary = cache.load(load, Existing::Replace, None, &make, &mut ())?;
    /// assert_eq!((summary.written, cache.len()?), (2, 2));
    /// assert_eq!(cache.get(b"Peru")?.unwrap().payload, b"Lima");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "load")]
    pub fn load(
        &self,
        load: crate::load::Load,
        existing: crate::load::Existing,
        ttl: Option<Duration>,
        make: &(
             dyn Fn(&crate::load::Record<'_>, &mut crate::ByteEntry) -> Result<(), crate::load::Refusal>
                 + Sync
         ),
        watch: &mut dyn crate::load::Watch,
    ) -> Result<crate::load::Summary> {
        self.entries.load(load, (existing, self.life(ttl)?), make, watch)
    }

    /// Removes a key; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::DiskFull`](crate::Error::DiskFull). Nothing was removed
    /// then.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        with_key(key, |scratch| self.entries.remove(scratch, Expect::Anything))
    }

    /// Removes a key if its entry is still the one of this version; whether it was.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove), and as [`get`](Self::get).
    pub fn remove_if(&self, key: &[u8], version: Version) -> Result<bool> {
        let expect = Expect::Value(version.stamp);
        with_key(key, |scratch| self.entries.remove(scratch, expect))
    }

    /// Whether the key has an entry that is not expired. Not an access.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        with_key(key, |scratch| self.entries.contains(scratch))
    }

    /// What an entry's header tells. Not an access.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn info(&self, key: &[u8]) -> Result<Option<EntryInfo>> {
        with_key(key, |scratch| self.entries.info(scratch))
    }

    /// Lets the entry live from now on as if just inserted, with `ttl` or the cache's own lifetime; whether there is one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`insert`](Self::insert).
    pub fn touch(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let life = match ttl {
            Some(ttl) => Life { ttl: lifetime("ttl", ttl)?, ..self.entries.space.life },
            None => self.entries.space.life,
        };
        with_key(key, |scratch| self.entries.touch(scratch, life, Expect::Anything))
    }

    /// The next entries in the order of insertion, some hundred at a time; empty at the end, which is the newest entry of
    /// the moment of the first call.
    ///
    /// # Errors
    ///
    /// If the entries cannot be listed. One that cannot be read is an error in its place.
    pub fn scan(&self, position: &mut ScanPosition) -> Result<Vec<Result<RawEntry>>> {
        self.scan_from(position, Direction::Oldest)
    }

    /// As [`scan`](Self::scan), newest first.
    ///
    /// # Errors
    ///
    /// As [`scan`](Self::scan).
    pub fn scan_back(&self, position: &mut ScanPosition) -> Result<Vec<Result<RawEntry>>> {
        self.scan_from(position, Direction::Newest)
    }

    fn scan_from(&self, position: &mut ScanPosition, direction: Direction) -> Result<Vec<Result<RawEntry>>> {
        let chunk = self.entries.walk(&mut position.0, direction, usize::MAX)?;
        Ok(chunk.into_iter().map(|raw| raw.map(raw_entry)).collect())
    }

    /// The entry that was inserted last. Give its version to [`remove_if`](Self::remove_if) once it could be decoded:
    /// what [`pop_newest`](Self::pop_newest) gives out is gone, whatever comes of it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn newest(&self) -> Result<Option<RawEntry>> {
        let mut position = Position::START;
        let met = self.entries.walk(&mut position, Direction::Newest, 1)?.pop();
        met.map(|raw| raw.map(raw_entry)).transpose()
    }

    /// Removes the entry that was inserted first, and returns it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get) and [`remove`](Self::remove). An entry that cannot be read stays.
    pub fn pop_oldest(&self) -> Result<Option<RawEntry>> {
        self.entries.pop(Direction::Oldest, |raw| Ok(Some(raw_entry(raw.clone()))))
    }

    /// Removes the entry that was inserted last, and returns it.
    ///
    /// # Errors
    ///
    /// As [`pop_oldest`](Self::pop_oldest).
    pub fn pop_newest(&self) -> Result<Option<RawEntry>> {
        self.entries.pop(Direction::Newest, |raw| Ok(Some(raw_entry(raw.clone()))))
    }

    /// Removes the entries whose key begins with `prefix`; returns how many. Goes through all of them, since an entry is found
    /// by a hash of its key.
    ///
    /// # Errors
    ///
    /// As [`remove`](Self::remove). Those before it were removed then.
    ///
    /// ```
    /// # fn main() -> cachemere::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let cache = cachemere::ByteCache::builder(dir.path().join("store")).open()?;
    /// for key in [&b"a/1"[..], b"a/2", b"b/1"] {
    ///     cache.insert(key, b"payload", 0, None)?;
    /// }
    /// assert_eq!((cache.remove_prefix(b"a/")?, cache.len()?), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn remove_prefix(&self, prefix: &[u8]) -> Result<u64> {
        self.entries.remove_where(|raw| Ok(raw.key.starts_with(prefix)))
    }

    /// Waits until no other thread or process loads this key, and takes the right to do so. `None`: another thread of this
    /// process has just finished; look again.
    ///
    /// # Errors
    ///
    /// [`Error::Gone`](crate::Error::Gone) if what was opened is not what lies at its path any more.
    pub fn lead(&self, key: &[u8]) -> Result<Option<LoadGuard>> {
        Ok(match self.turn(key, || false)? {
            LoadTurn::Lead(guard) => Some(guard),
            _ => None,
        })
    }

    /// As [`lead`](Self::lead), and tells what became of the load that it waited for. It stops waiting when `gives_up` says so,
    /// which is asked every 100 ms. No lock of the store is held then.
    ///
    /// # Errors
    ///
    /// As [`lead`](Self::lead).
    pub fn turn(&self, key: &[u8], gives_up: impl Fn() -> bool) -> Result<LoadTurn> {
        let (flights, hash) = self.flight(key)?;
        Ok(match flights.enter(hash, &gives_up)? {
            Turn::Lead(lead) => LoadTurn::Lead(LoadGuard::of(lead)),
            Turn::Waited => LoadTurn::Landed,
            Turn::Failed(failure) => LoadTurn::Failed(failure),
            Turn::GivenUp => LoadTurn::GivenUp,
        })
    }

    /// Takes the right to load this key if nobody has it, without waiting; for tasks, of which a thread runs many. The
    /// guard may be dropped in another thread. `None`: somebody loads it, perhaps this very thread; look again later.
    ///
    /// # Errors
    ///
    /// As [`lead`](Self::lead).
    pub fn try_lead(&self, key: &[u8]) -> Result<Option<LoadGuard>> {
        Ok(self.try_turn(key)?.ok())
    }

    /// As [`try_lead`](Self::try_lead); if somebody loads it, tells how that goes.
    ///
    /// # Errors
    ///
    /// As [`lead`](Self::lead).
    pub fn try_turn(&self, key: &[u8]) -> Result<std::result::Result<LoadGuard, LoadWatch>> {
        let (flights, hash) = self.flight(key)?;
        Ok(match flights.try_enter(hash)? {
            Tried::Lead(lead) => Ok(LoadGuard::of(lead)),
            Tried::Led(watch) => Err(LoadWatch(watch)),
        })
    }

    /// Takes the rights to load several keys, those that nobody has, without waiting; the caller loads them together. In the
    /// order of the keys. If it loads them in this thread (`in_thread`), a wait within that for one of them is found to be a
    /// circle.
    ///
    /// Rights among processes cost more the more there are: 256 take half a millisecond, 10,000 more than a second. Those
    /// that are not `among_processes` are of this process alone.
    ///
    /// # Errors
    ///
    /// As [`lead`](Self::lead).
    pub fn try_turns<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k [u8]>,
        among_processes: bool,
        in_thread: bool,
    ) -> Result<Vec<std::result::Result<LoadGuard, LoadWatch>>> {
        let (mut flights, mut hashes) = (None, Vec::new());
        for key in keys {
            let (of_store, hash) = self.flight(key)?;
            flights = Some(of_store);
            hashes.push(hash);
        }
        let Some(flights) = flights else { return Ok(Vec::new()) };
        let tried = flights.try_enter_many(&hashes, among_processes, in_thread)?;
        let turns = tried.into_iter().map(|tried| match tried {
            Tried::Lead(lead) => Ok(LoadGuard::of(lead)),
            Tried::Led(watch) => Err(LoadWatch(watch)),
        });
        Ok(turns.collect())
    }

    /// For who is about to compute what is to be kept here, without asking for the right to: not in vain, as far as can be
    /// told.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed); [`Error::Gone`](crate::Error::Gone) if what was opened is not what lies at its path any more.
    pub fn check_place(&self) -> Result<()> {
        self.entries.store.live_for_loading().map(drop)
    }

    fn flight(&self, key: &[u8]) -> Result<(Arc<Flights>, KeyHash)> {
        with_key(key, |scratch| self.entries.flight(scratch))
    }

    /// Removes all entries of the namespace, at once for everybody.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), [`Error::DiskFull`](crate::Error::DiskFull).
    pub fn clear(&self) -> Result<()> {
        self.entries.clear()
    }

    /// Counts and sizes; `front_hits` are the times [`is_current`](Self::is_current) said yes.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn stats(&self) -> Result<Stats> {
        self.entries.stats()
    }

    /// See [`Cache::sibling`](crate::Cache::sibling).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn sibling(&self) -> Result<ByteBuilder> {
        Ok(ByteBuilder::beside(self.entries.at()?.live()))
    }
}

/// Operations on the store as a whole.
impl ByteCache {
    store_operations!(entries);
}

fn with_key<T>(key: &[u8], work: impl FnOnce(&mut Scratch) -> Result<T>) -> Result<T> {
    Scratch::with(|scratch| {
        scratch.key.start().extend_from_slice(key);
        work(scratch)
    })
}

fn payload(origin: Origin, payload: Vec<u8>) -> Payload {
    Payload {
        payload,
        tag: origin.header.tag,
        version: Version { hash: origin.hash, stamp: origin.header.stamp },
        snapshot: origin.snapshot,
        origin,
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

impl fmt::Debug for LoadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadWatch").finish_non_exhaustive()
    }
}

impl fmt::Debug for LoadGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadGuard").finish_non_exhaustive()
    }
}
