//! The entries of one namespace: canonical keys and payload bytes in, the same out.
//!
//! This is the cache proper, without types. It decides how long entries live, compresses, seals and counts, and keeps the
//! ledger of what is in memory, which it tells of each commit. Above it are the front and the faces, below it pipeline and
//! store.

mod batch;
mod change;
mod description;
mod ledger;
#[cfg(feature = "load")]
mod load;
mod mark;
mod read;
mod scratch;
mod walk;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::batch::EntryTimes;
pub(crate) use self::batch::{Age, Bytes, Change, Changes};
pub(crate) use self::change::{Expect, Written};
#[cfg(feature = "valkey")]
pub(crate) use self::change::{check_key, new_header};
pub use self::description::{NamespaceInfo, StoreInfo};
pub use self::ledger::Held;
pub(crate) use self::ledger::{Ledger, Origin};
#[cfg(feature = "load")]
pub use self::load::ByteEntry;
pub(crate) use self::read::Read;
pub(crate) use self::scratch::{Lent, Scratch};
pub(crate) use self::walk::{Direction, Position, Raw};
use crate::clock::{Span, Time};
use crate::counter::{Counter, Of};
use crate::error::{Error, Result};
use crate::per_environment::{PerEnvironment, Present};
use crate::pipeline::Compressor;
use crate::store::body::Sealing;
use crate::store::{
    Commit, Findings, Flights, Header, KeyHash, Live, LiveRef, Namespace, Store, Writer, collect_graves,
    count_expired, due, flush_accesses, granularity, sweep,
};

/// How long new entries live.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    /// Zero: for ever.
    pub(crate) ttl: Span,
    /// Zero: however idle.
    pub(crate) idle: Span,
}

impl Life {
    /// A lifetime of `ttl` from now.
    pub(crate) fn with_ttl(self, ttl: Duration) -> Result<Life> {
        Ok(Life { ttl: lifetime("ttl", ttl)?, ..self })
    }
}

/// Checks a lifetime given by the user.
pub(crate) fn lifetime(what: &'static str, duration: Duration) -> Result<Span> {
    match Span::from_duration(duration) {
        Span(0) => {
            Err(Error::invalid(what, "it must be at least a microsecond; to keep nothing, do not insert"))
        }
        span => Ok(span),
    }
}

/// What an entry's header tells without reading its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct EntryInfo {
    /// When the key was first inserted. Overwriting keeps it.
    pub created: SystemTime,
    /// When the value was last written; of one that was inserted with [`EntryTimes`], its creation.
    pub modified: SystemTime,
    /// When the entry was last read or written. What other processes read counts once they have written it down:
    /// within 10 s, an eighth of the shortest idle time, or at their close.
    pub accessed: SystemTime,
    /// When the entry will expire if it is not read before.
    pub expires: Option<SystemTime>,
    /// The time without access after which the entry expires.
    pub idle: Option<Duration>,
    /// The bytes the entry takes in the store, with header, key, compression and encryption.
    pub stored_size: u64,
    /// Free for the face; see [`ByteCache`](crate::ByteCache).
    pub tag: u8,
}

impl EntryInfo {
    pub(crate) fn new(header: &Header, accessed: Time, stored_size: usize) -> EntryInfo {
        EntryInfo {
            created: header.created.to_system(),
            modified: header.modified.to_system(),
            accessed: accessed.to_system(),
            expires: due(header.expires, header.idle, accessed).map(Time::to_system),
            idle: (header.idle != Span(0)).then(|| Duration::from_micros(header.idle.0)),
            stored_size: stored_size as u64,
            tag: header.tag,
        }
    }
}

/// Counts of one handle since it was opened, and sizes as of now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Reads that found a value, in the front or in the store.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Reads that found a value which cannot be decoded, because it is of another type or
    /// [schema](crate::Builder::schema); an entry that is met again counts again.
    pub undecodable: u64,
    /// Functions that were run for what was missing, in [`get_or_insert_with`](crate::Cache::get_or_insert_with) and its like.
    pub loads: u64,
    /// Those of the hits that the front answered without looking into the store.
    pub front_hits: u64,
    /// Values in the front. Approximate: the front does part of its bookkeeping later.
    pub front_entries: u64,
    /// Bytes the front's values are counted as. Approximate, too.
    pub front_bytes: u64,
    /// Entries of the namespace that are not expired.
    pub entries: u64,
    /// Bytes the store's files take on the disk, all namespaces together.
    pub file_bytes: u64,
    /// Those of them that the entries take in the data file, with what lists them and the room that is left in their pages.
    /// What was written a moment ago may be in the log only. In RocksDB not told apart: 0.
    pub record_bytes: u64,
    /// Those of them that the log takes, from which entries are moved into the data file. 0 in RocksDB.
    pub log_bytes: u64,
    /// Those of them that the data file takes beside: pages that are used again, and given back to the file system when
    /// nothing is written. 0 in RocksDB.
    pub free_bytes: u64,
    /// Entries this process evicted from the store over a limit, in all namespaces.
    pub evictions: u64,
    /// Expired entries this process removed from the store, in all namespaces.
    pub expirations: u64,
}

/// What [`verify`](crate::Cache::verify) found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Entries looked at, in all namespaces.
    pub entries: u64,
    /// Bytes of entries read.
    pub bytes: u64,
    /// How many problems there are.
    pub problems: u64,
    /// The first hundred of them, described.
    pub described: Vec<String>,
}

impl VerifyReport {
    /// Whether no problem was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems == 0
    }
}

/// A handle's way to the entries.
///
/// Each operation asks for the open environment once, here, and does its work as [`At`], which knows no store to ask for it
/// again: whoever closes or replaces the environment waits until nobody has it, and lets nobody in meanwhile. What runs the
/// user's code (serializers, functions, comparisons) does so between two operations.
pub(crate) struct Entries {
    pub(crate) store: Store,
    pub(crate) space: Space,
}

/// The namespace of a handle, and what the handle wants of it. Knows no store.
pub(crate) struct Space {
    pub(crate) namespace: Namespace,
    pub(crate) life: Life,
    pub(crate) compressor: Option<Arc<dyn Compressor>>,
    /// What is kept in memory.
    pub(crate) ledger: PerEnvironment<Ledger>,
    /// See [`Ledger::new`].
    pub(crate) lists_ended: bool,
    pub(crate) counts: Counts,
}

/// What the reads of a handle came to.
pub(crate) struct Counts {
    /// In the store.
    hits: Counter,
    /// In memory.
    held_hits: Counter,
    misses: Counter,
    /// Values that could not be decoded.
    undecodable: Counter,
    /// Functions that were run for what was missing.
    pub(crate) loads: Counter,
}

/// A namespace in the open environment, for the length of one operation. Runs no code of the user's but compressor and
/// cipher.
pub(crate) struct At<'e> {
    pub(super) space: &'e Space,
    pub(super) live: LiveRef,
}

impl Space {
    pub(crate) fn count(&self, hit: bool) {
        let counter = if hit { &self.counts.hits } else { &self.counts.misses };
        counter.add(1);
    }

    /// Tells the ledger of a commit. If nothing was ever held there is none, and one that is made later starts empty.
    fn committed(&self, commit: &Commit) {
        self.ledger.with_own(|ledger| ledger.committed(commit.found, commit.token, &commit.written));
    }

    /// The same of one that tells no keys.
    fn forget_all(&self, commit: &Commit) {
        self.ledger.with_own(|ledger| ledger.clear(commit.token));
    }
}

impl Counts {
    /// Of a handle that was just opened.
    pub(crate) fn new(of: Of<'_>) -> Counts {
        let counter = |name| Counter::new(name, of);
        Counts {
            hits: counter("cachemere_store_hits_total"),
            held_hits: counter("cachemere_front_hits_total"),
            misses: counter("cachemere_misses_total"),
            undecodable: counter("cachemere_undecodable_total"),
            loads: counter("cachemere_loads_total"),
        }
    }

    /// Whether it is the first value that could not be decoded.
    pub(crate) fn was_undecodable(&self) -> bool {
        self.undecodable.add_one() == 0
    }
}

impl Entries {
    pub(crate) fn at(&self) -> Result<At<'_>> {
        Ok(At { space: &self.space, live: self.store.live()? })
    }

    /// As [`at`](Self::at), for who does not want to wait until it is open.
    pub(crate) fn at_now(&self) -> Result<Option<At<'_>>> {
        Ok(self.store.live_now()?.map(|live| At { space: &self.space, live }))
    }

    pub(super) fn at_for_writing(&self) -> Result<At<'_>> {
        Ok(At { space: &self.space, live: self.store.live_for_writing()? })
    }

    /// Where single flight for the key in the scratch is agreed upon, for who is about to compute what is to be kept here.
    pub(crate) fn flight(&self, scratch: &mut Scratch) -> Result<(Arc<Flights>, KeyHash)> {
        let live = self.store.live_for_loading()?;
        let hash = scratch.key.hash(&live.unlocked.hasher, self.space.namespace.last_id());
        Ok((live.flights.clone(), hash))
    }

    /// The entries that are not expired. Costs a lookup for each that is expired and not removed yet.
    pub(crate) fn len(&self) -> Result<u64> {
        self.at()?.len()
    }

    pub(crate) fn stats(&self) -> Result<Stats> {
        self.at()?.stats()
    }

    /// Removes everything that is expired now, in all namespaces; returns how many entries that were.
    pub(crate) fn sweep(&self) -> Result<u64> {
        let at = self.at_for_writing()?;
        let _span = tracing::debug_span!("cachemere::sweep", store = %at.live.dir.display()).entered();
        sweep(&at.live)
    }

    /// Writes access times and makes everything committed so far durable.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        let at = self.at()?;
        if self.store.is_read_only() {
            return Ok(());
        }
        let _span = tracing::debug_span!("cachemere::checkpoint", store = %at.live.dir.display()).entered();
        flush_accesses(&at.live)?;
        at.live.checkpoint()
    }

    pub(crate) fn verify(&self) -> Result<VerifyReport> {
        let at = self.at()?;
        let _span = tracing::debug_span!("cachemere::verify", store = %at.live.dir.display()).entered();
        let Findings { entries, bytes, problems, described } = at.live.verify()?;
        Ok(VerifyReport { entries, bytes, problems, described })
    }

    /// Empties the namespace: at once for everybody, then the space is freed in batches.
    pub(crate) fn clear(&self) -> Result<()> {
        let at = self.at_for_writing()?;
        at.live.write(0, |writer| at.space.namespace.renew(writer), |commit| at.space.forget_all(commit))?;
        collect_graves(&at.live)
    }
}

impl At<'_> {
    /// What the bodies of entries are made with.
    fn sealing(&self) -> Sealing<'_> {
        self.live.sealing(self.space.namespace.identity())
    }

    /// What has to be told of the environment to who keeps what was read in it.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Writes entries that take so many bytes together. The ledger learns of it before any other writer goes on.
    fn commit<T>(&self, bytes: u64, work: impl FnOnce(&mut Writer<'_>) -> Result<T>) -> Result<T> {
        self.live.write(bytes, work, |commit| self.space.committed(commit))
    }

    pub(crate) fn ledger(&self) -> Present<Ledger> {
        let Space { ledger, lists_ended, .. } = self.space;
        ledger.get(self.live.generation, || Ledger::new(*lists_ended))
    }

    /// Whether what is held may be given out. Touches nothing but memory.
    pub(crate) fn is_good(&self, held: &Held) -> bool {
        held.is_good(&self.live)
    }

    /// To be called when what is held is given to the user.
    pub(crate) fn was_given(&self, held: &Held) {
        self.space.counts.held_hits.add(1);
        held.note_access(&self.live);
    }

    fn len(&self) -> Result<u64> {
        let At { space, live } = self;
        let now = live.config.clock.now();
        live.read(|view| {
            let namespace = space.namespace.id(live, view)?;
            let all = view.counters(namespace)?.entries;
            let expired = count_expired(live, view, now, |of| of == namespace)?;
            Ok(all.saturating_sub(expired.get(&namespace).copied().unwrap_or(0)))
        })
    }

    fn stats(&self) -> Result<Stats> {
        let At { space, live } = self;
        let room = live.room()?;
        let Counts { hits, held_hits, misses, undecodable, loads } = &space.counts;
        let front_hits = held_hits.get();
        Ok(Stats {
            hits: hits.get() + front_hits,
            front_hits,
            misses: misses.get(),
            undecodable: undecodable.get(),
            loads: loads.get(),
            entries: self.len()?,
            file_bytes: live.file_bytes()?,
            record_bytes: room.records,
            log_bytes: room.log,
            free_bytes: room.free,
            evictions: live.evictions.get(),
            expirations: live.expirations.get(),
            ..Stats::default()
        })
    }

    /// Notes that an entry was read, unless its access time barely moves by it.
    pub(crate) fn note_read(&self, read: &Read) {
        let live = &self.live;
        let now = live.access_time();
        let Origin { hash, header, stored_size, .. } = &read.origin;
        crate::store::saw_idle(live, header.idle);
        let grain = granularity(header.idle, *stored_size, live.tracks_recency());
        if now > header.accessed && now.since(header.accessed) >= grain {
            live.access.note_cold(*hash, now);
        }
    }
}
