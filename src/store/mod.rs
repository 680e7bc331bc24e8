//! The store: one directory with an LMDB environment and its side files.
//!
//! A [`Store`] is a handle; all handles of one path in a process share a [`Shared`], and that holds the [`Live`]
//! environment, which is made anew after a fork or a compaction. Everything below this module is about bytes, hashes
//! and times: nothing here knows of value types or of the front.

#[cfg(feature = "load")]
mod append;
mod backend;
pub(crate) mod body;
mod closing;
mod config;
mod copy;
mod directory;
mod fault;
mod flight;
mod format;
#[cfg(fuzzing)]
pub mod fuzzing;
mod live;
mod namespace;
mod opening;
pub(crate) mod process;
mod quiet;
mod rekey;
pub(crate) mod salvage;
mod temporary;
mod transaction;
mod unlocked;
mod unused;
mod upkeep;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use arc_swap::{ArcSwapOption, Guard};

#[cfg(feature = "load")]
pub(crate) use self::append::Others;
pub use self::backend::BackendKind;
use self::config::Config;
pub(crate) use self::config::Request;
pub use self::config::{Durability, Maintenance};
pub use self::flight::LoadFailure;
pub(crate) use self::flight::{Flights, Lead, Tried, Turn, Watch};
#[cfg(feature = "load")]
pub(crate) use self::format::header::ENTRY_VERSION_2;
#[cfg(feature = "valkey")]
pub(crate) use self::format::header::{BAD_CHECKSUM, HEADER_SIZE};
pub(crate) use self::format::header::{
    ENTRY_VERSION_1, Header, STAGE_NAMED, STAGE_NONE, Stamp, checksum, due,
};
pub(crate) use self::format::layout::{
    KeyBuffer, KeyHash, NamespaceId, Number, Prefix, order_key, parse_hash, parse_order_key,
};
#[cfg(feature = "load")]
pub(crate) use self::format::layout::{counters_key, entry_key, expiry_key, recency_key};
#[cfg(feature = "load")]
pub(crate) use self::format::records::Counters;
#[cfg(feature = "valkey")]
pub(crate) use self::format::records::{Identity, NamespaceRecord, StoreRecord};
pub(crate) use self::live::{Commit, Live};
pub(crate) use self::namespace::{Namespace, NamespaceRequest, check_namespace_name, list_namespaces};
pub(crate) use self::opening::{read_state, store_record};
pub(crate) use self::process::disk_threads::Abandoned;
use self::process::disk_threads::DiskThreads;
use self::process::fork;
pub(crate) use self::process::fork::TRANSITIONS;
pub(crate) use self::process::fork::epoch as fork_epoch;
#[cfg(feature = "valkey")]
pub(crate) use self::process::fork::process as this_process;
#[cfg(feature = "rocksdb")]
pub(crate) use self::process::fork::watch as watch_forks;
pub use self::process::fork::{about_to_fork, forked};
use self::process::per_process::PerProcess;
#[cfg(test)]
pub(crate) use self::quiet::QuietRun;
pub(crate) use self::quiet::Standing;
pub(crate) use self::temporary::Temporary;
pub(crate) use self::transaction::{Fate, Found, Inserted, NewEntry, ReadView, Sound, Writer, is_expired};
pub(crate) use self::unlocked::Unlocked;
pub(crate) use self::upkeep::access::{Access, granularity};
use self::upkeep::housekeeper;
pub(crate) use self::upkeep::limits::largest_entry;
pub(crate) use self::upkeep::sweep::{collect_graves, count_expired, flush_accesses, saw_idle, sweep};
pub(crate) use self::upkeep::verify::Findings;
use crate::error::{Error, Result};
use crate::sync::lock;

/// The stores open in this process, by canonical path. Touched only under [`TRANSITIONS`], also in a forked child.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// One store in this process.
pub(crate) struct Shared {
    dir: PathBuf,
    config: Arc<Config>,
    /// `None` while closed, being compacted, or not yet reopened in a forked child.
    current: ArcSwapOption<Live>,
    /// Kept for reopening; replaced when the data key is.
    unlocked: Mutex<Arc<Unlocked>>,
    /// As the store's record had it when the keys were known to be the store's, and in which process that was: whoever this one
    /// was forked from can have changed both since.
    envelope: Mutex<Vec<u8>>,
    known_in: AtomicU64,
    /// Outlives a compaction, since leads do; made anew in a forked child.
    flights: Mutex<Option<Arc<Flights>>>,
    /// For those who must not wait for the disk themselves.
    threads: PerProcess<DiskThreads>,
    handles: AtomicUsize,
    closed: AtomicBool,
    /// It does not lie at its path any more, and was closed for that.
    gone: AtomicBool,
    /// Something can expire or has a limit, so an environment that is opened anew needs its thread at once.
    needs_maintenance: AtomicBool,
    /// Some handle of this process may write. Else nothing does, not even access times at close.
    may_write: AtomicBool,
    /// Of a store that goes with its last handle.
    temporary: Mutex<Option<Temporary>>,
}

/// A handle on a store. When the last one of the process is dropped, the store is closed.
pub(crate) struct Store {
    shared: Arc<Shared>,
    released: AtomicBool,
    read_only: bool,
    /// It was to be written, too, which this process may not.
    is_unwritable: bool,
}

/// Access to the open environment, for the length of one operation. Not to be held while loaders or closures of the
/// user's run: a compaction waits for it, and it must not be taken over a fork.
///
/// Nor while another is asked for, of whatever store: who closes or replaces one waits for the first and keeps the second
/// from being given. So what works with one is given it, and has no [`Store`] to ask; builds for tests look after it.
pub(crate) struct LiveRef {
    live: Guard<Option<Arc<Live>>>,
    _only: Only,
}

impl LiveRef {
    fn wrap(live: Guard<Option<Arc<Live>>>) -> Option<LiveRef> {
        live.is_some().then(|| LiveRef { live, _only: Only::new() })
    }

    pub(crate) fn arc(&self) -> &Arc<Live> {
        match &*self.live {
            Some(live) => live,
            None => unreachable!("a LiveRef is made of a live store only"),
        }
    }
}

impl std::ops::Deref for LiveRef {
    type Target = Live;

    fn deref(&self) -> &Live {
        self.arc()
    }
}

/// Stands for the one reference that a thread may have, and finds the fault of a second one where that is not a deadlock
/// yet.
struct Only;

#[cfg(debug_assertions)]
thread_local! {
    static REFERENCES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

impl Only {
    #[inline]
    fn new() -> Only {
        #[cfg(debug_assertions)]
        {
            // A handler of signals, which runs while an operation waits, does not wait long for another one.
            let held = REFERENCES.replace(REFERENCES.get() + 1);
            assert!(held == 0 || crate::waiting::is_asking(), "a thread asks for a store while it has one");
        }
        Only
    }
}

#[cfg(debug_assertions)]
impl Drop for Only {
    fn drop(&mut self) {
        REFERENCES.set(REFERENCES.get() - 1);
    }
}

impl Store {
    /// Opens, or shares, the store at the requested path.
    pub(crate) fn open(request: &Request) -> Result<Store> {
        if request.is_temporary {
            let temporary = Temporary::make()?;
            let path = temporary.path().to_owned();
            let store = Store::open_at(&Request { path, ..request.clone() })?;
            *lock(&store.shared.temporary) = Some(temporary);
            return Ok(store);
        }
        match Store::open_at(request) {
            Err(refused @ Error::ReadOnly { .. }) if request.read_only_if_unwritable => {
                match Store::open_at(&Request { read_only: true, ..request.clone() }) {
                    Ok(mut store) => {
                        store.is_unwritable = true;
                        Ok(store)
                    }
                    // Nothing is there to be read.
                    Err(Error::NotFound { .. }) => Err(refused),
                    Err(other) => Err(other),
                }
            }
            opened => opened,
        }
    }

    fn open_at(request: &Request) -> Result<Store> {
        fork::watch();
        let _span = tracing::debug_span!("cachemere::open", store = %request.path.display()).entered();
        let dir = opening::prepare_directory(request)?;
        let transition = TRANSITIONS.lock(&dir)?;
        let mut open = lock(&OPEN);
        let shared = match find_open(&mut open, &dir, &transition)? {
            Some(shared) => {
                shared.revive(&transition)?;
                opening::check_shared(&shared, request)?;
                shared
            }
            None => {
                let shared = Arc::new(opening::open_first(dir.clone(), request)?);
                open.insert(dir, Arc::downgrade(&shared));
                shared
            }
        };
        shared.handles.fetch_add(1, Ordering::AcqRel);
        shared.may_write.fetch_or(!request.read_only, Ordering::Relaxed);
        drop(open);
        let store = Store {
            shared,
            released: AtomicBool::new(false),
            read_only: request.read_only,
            is_unwritable: false,
        };
        drop(transition);
        opening::apply_limits(&store, request)?;
        Ok(store)
    }

    /// The open environment: a load and two compares (about 10 ns), but after a fork, where it is opened anew.
    pub(crate) fn live(&self) -> Result<LiveRef> {
        match self.live_now()? {
            Some(live) => Ok(live),
            // Whoever opens it anew waits for those who use it; this one does not any more.
            None => self.shared.reopen(),
        }
    }

    /// The open environment, unless it is to be opened anew, or another thread is replacing it. Never waits.
    pub(crate) fn live_now(&self) -> Result<Option<LiveRef>> {
        if self.released.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        match LiveRef::wrap(self.shared.current.load()) {
            Some(live) if live.forks == fork::epoch() && live.is_usable() => Ok(Some(live)),
            Some(live) if live.is_gone() => Err(Error::Gone { path: self.shared.dir.clone() }),
            _ => Ok(None),
        }
    }

    /// The open environment, for who is about to compute what is to be kept in it: not in vain, as far as can be told.
    pub(crate) fn live_for_loading(&self) -> Result<LiveRef> {
        let live = self.live()?;
        live.check_place()?;
        Ok(live)
    }

    /// The open environment, for writing.
    pub(crate) fn live_for_writing(&self) -> Result<LiveRef> {
        if self.read_only {
            return Err(self.refusal());
        }
        let live = self.live()?;
        live.writable()?;
        housekeeper::ensure(live.arc())?;
        Ok(live)
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Why this handle does not write.
    fn refusal(&self) -> Error {
        let dir = self.dir().to_owned();
        if self.is_unwritable { Error::not_permitted(dir) } else { Error::reads_only(dir) }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// The threads for those who must not wait for the disk themselves.
    pub(crate) fn threads(&self) -> Arc<DiskThreads> {
        self.shared.threads.get()
    }

    /// Starts the background thread, because something in the store can expire or has a limit.
    pub(crate) fn need_maintenance(&self) -> Result<()> {
        if self.read_only {
            return Ok(());
        }
        self.shared.needs_maintenance.store(true, Ordering::Relaxed);
        housekeeper::ensure(self.live()?.arc())
    }

    /// Gives the handle back. The last one writes access times, makes a checkpoint and closes the environment. If a signal
    /// ends that before anything was done, the handle is as before.
    pub(crate) fn close(&self) -> Result<()> {
        if self.released.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _span = tracing::debug_span!("cachemere::close", store = %self.dir().display()).entered();
        let hold_again = |_: &Error| self.released.store(false, Ordering::Release);
        let transition = TRANSITIONS.lock(self.dir()).inspect_err(hold_again)?;
        if self.shared.handles.fetch_sub(1, Ordering::AcqRel) > 1 {
            // Others go on using the store, but what this handle wrote must be safe.
            drop(transition);
            let live = LiveRef::wrap(self.shared.current.load()).filter(|live| live.forks == fork::epoch());
            return match live {
                Some(live) if live.backend.has_unsynced_writes() => live.checkpoint(),
                _ => Ok(()),
            };
        }
        if self.shared.current.load().as_ref().is_some_and(|live| live.has_failed()) {
            // Makes safe what is in the log. If that fails, closing says so.
            drop(self.shared.revive(&transition));
        }
        let live = self.shared.take_drained(&transition).inspect_err(|error| {
            self.shared.handles.fetch_add(1, Ordering::AcqRel);
            hold_again(error);
        })?;
        self.shared.closed.store(true, Ordering::Release);
        // Now and not when the last handle is dropped, which would let go of the locks of one that was opened since.
        *self.shared.fresh_flights() = None;
        // Another one may lie at the path by now.
        lock(&OPEN).retain(|_, shared| shared.as_ptr() != Arc::as_ptr(&self.shared));
        // Goes once it is closed. Nobody will ask for what is in it.
        let temporary = lock(&self.shared.temporary).take();
        let may_write = temporary.is_none() && self.shared.may_write.load(Ordering::Relaxed);
        match live {
            Some(live) => closing::shut(live, may_write),
            None => Ok(()),
        }
    }
}

/// The store that lies in a directory now, if this process has it open. What was opened there before and does not lie there
/// any more is closed on the way: its handles say so from then on.
fn find_open(
    open: &mut HashMap<PathBuf, Weak<Shared>>,
    dir: &Path,
    transition: &fork::ForkLockGuard,
) -> Result<Option<Arc<Shared>>> {
    let here = BackendKind::identity_at(dir);
    let (mut found, mut vanished) = (None, Ok(()));
    open.retain(|path, shared| {
        let Some(shared) = shared.upgrade().filter(|shared| !shared.is_closed()) else { return false };
        let (identity, is_current) = match &*shared.current.load() {
            Some(live) => (Some(live.backend.place().identity()), live.check_place().is_ok()),
            None => (None, true),
        };
        if !is_current && (path == dir || identity == here) {
            let done = shared.vanish(transition);
            let stays = done.is_err();
            vanished = std::mem::replace(&mut vanished, Ok(())).and(done);
            return stays;
        }
        if path == dir || (identity.is_some() && identity == here) {
            found = Some(shared);
        }
        true
    });
    vanished.map(|()| found)
}

impl Drop for Store {
    fn drop(&mut self) {
        // There is nobody to report a signal to, and nobody to close it later.
        if let Err(error) = crate::waiting::deaf(|| self.close()) {
            tracing::warn!(%error, store = %self.shared.dir.display(), "closing failed");
        }
    }
}

impl Shared {
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The environment of a store that was found closed for a while: after a fork, during a compaction, or because it had
    /// failed.
    fn reopen(&self) -> Result<LiveRef> {
        let transition = TRANSITIONS.lock(&self.dir)?;
        self.revive(&transition)?;
        drop(transition);
        LiveRef::wrap(self.current.load()).ok_or(Error::Closed)
    }

    /// Closes the environment of a store that does not lie at its path any more. There is nothing to be kept of it.
    fn vanish(&self, transition: &fork::ForkLockGuard) -> Result<()> {
        drop(self.take_drained(transition)?);
        self.gone.store(true, Ordering::Release);
        *self.fresh_flights() = None;
        Ok(())
    }

    /// Takes the environment from everybody, and waits until nobody uses it any more. An inherited one is abandoned.
    fn take_drained(&self, _transition: &fork::ForkLockGuard) -> Result<Option<Arc<Live>>> {
        let Some(live) = self.current.swap(None) else { return Ok(None) };
        if live.forks != fork::epoch() {
            closing::abandon(live);
            return Ok(None);
        }
        if let Err(error) = closing::drain(&live) {
            self.current.store(Some(live));
            return Err(error);
        }
        Ok(Some(live))
    }

    /// Opens the environment anew if it is not open in this very process.
    fn revive(&self, transition: &fork::ForkLockGuard) -> Result<()> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if self.gone.load(Ordering::Acquire) {
            return Err(Error::Gone { path: self.dir.clone() });
        }
        if let Some(live) = &*self.current.load()
            && live.forks == fork::epoch()
        {
            if !live.has_failed() {
                return Ok(());
            }
            // Else what the disk did not keep would be taken for safe.
            live.backend.check_poison()?;
        }
        let is_inherited = self.current.load().as_ref().is_some_and(|live| live.forks != fork::epoch());
        drop(self.take_drained(transition)?);
        if is_inherited {
            *self.fresh_flights() = None;
        }
        self.reopen_environment()
    }

    fn reopen_environment(&self) -> Result<()> {
        let live = opening::open_again(self)?;
        if self.needs_maintenance.load(Ordering::Relaxed) {
            housekeeper::ensure(&live)?;
        }
        self.current.store(Some(live));
        Ok(())
    }

    /// The flights' mutex could have been held by another thread at a fork, but only for an assignment under
    /// [`TRANSITIONS`], which the fork waited for.
    fn fresh_flights(&self) -> std::sync::MutexGuard<'_, Option<Arc<Flights>>> {
        lock(&self.flights)
    }
}
