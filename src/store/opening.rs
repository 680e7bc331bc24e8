//! Opening: what is checked and recovered before the backend has the files.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;

use super::backend::{Backend, BackendKind, Opened, data_paths};
use super::config::{Config, Request};
use super::directory::filesystem::{check_file_system, check_mode, check_owner, keep_others_out};
use super::directory::locks::{Gate, LockFile, Member};
use super::directory::making::sync_directory;
use super::flight::Flights;
use super::format::layout::{STATE_KEY, STORE_KEY};
use super::format::records::{StateRecord, StoreRecord};
use super::live::{Live, Parts};
use super::process::fork;
use super::process::per_process::PerProcess;
use super::transaction::ReadView;
use super::unlocked::{Unlocked, seal_all};
use super::unused;
use super::upkeep::limits::MIN_MAX_BYTES;
use super::upkeep::sweep;
use super::{Shared, Store};
use crate::address;
use crate::clock::ClockSource;
use crate::error::{Error, Result};
use crate::pipeline::XChaCha20Poly1305;
use crate::secret::{DataKey, Envelope, Seals, Secret};
use crate::sync::lock;

/// A new store's smallest sensible map.
const MIN_MAP_SIZE: usize = 1 << 20;
/// Maps have a multiple of this many bytes, the largest page of any system LMDB runs on.
const MAP_UNIT: usize = 64 << 10;

/// Checks the path and makes the directory if the request may.
pub(super) fn prepare_directory(request: &Request) -> Result<PathBuf> {
    let path = &request.path;
    address::refuse("path", path)?;
    if request.map_size.is_some_and(|size| size < MIN_MAP_SIZE) {
        return Err(Error::invalid("map_size", format!("it must be at least {MIN_MAP_SIZE} bytes")));
    }
    if request.max_bytes.flatten().is_some_and(|max| max < MIN_MAX_BYTES) {
        return Err(Error::invalid("max_bytes", format!("it must be at least {MIN_MAX_BYTES} bytes")));
    }
    if request.checkpoint_interval.is_some_and(|interval| interval.is_zero()) {
        return Err(Error::invalid(
            "checkpoint_interval",
            "it must not be zero; for no loss at all use Durability::Sync",
        ));
    }
    if let Some(secret) = request.secret.as_ref().filter(|_| BackendKind::found(path).is_none()) {
        secret.check()?;
    }
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => return Err(Error::NotADirectory { path: path.clone() }),
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::NotFound && !request.read_only => {
            use std::os::unix::fs::DirBuilderExt;
            let above = nearest_existing(path).to_owned();
            check_file_system(&above, request.allow_unsupported_file_system)?;
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
            made.map_err(|e| match e.kind() {
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    Error::NotADirectory { path: path.clone() }
                }
                _ => Error::io("making the store's directory", e),
            })?;
            sync_names(path, &above);
        }
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(Error::NotFound { path: path.clone() }),
        Err(e) if e.kind() == ErrorKind::NotADirectory => {
            return Err(Error::NotADirectory { path: path.clone() });
        }
        Err(e) => return Err(Error::io("looking at the store's directory", e)),
    }
    check_file_system(path, request.allow_unsupported_file_system)?;
    let found = fs::metadata(path).map_err(|e| Error::io("looking at the store's directory", e))?;
    check_owner(path, &found, request.allow_foreign_owner)?;
    // As it is, be it a link: that is refused when it is opened.
    let data: Vec<_> =
        data_paths(path).into_iter().filter_map(|data| Some((data.symlink_metadata().ok()?, data))).collect();
    for (found, data) in &data {
        check_owner(data, found, request.allow_foreign_owner)?;
    }
    let for_a_store = || {
        let is_empty = || fs::read_dir(path).is_ok_and(|mut names| names.next().is_none());
        !request.read_only && (!data.is_empty() || is_empty())
    };
    check_mode(path, &found, for_a_store, request.allow_foreign_owner)?;
    if data.is_empty() && !request.read_only {
        unused::check(path)?;
    }
    path.canonicalize().map_err(|e| Error::io("resolving the store's path", e))
}

/// So that a power loss does not take a new directory away. Whoever may not look into one above it has to go without.
fn sync_names(path: &Path, above: &Path) {
    for parent in path.ancestors().skip(1) {
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        if let Err(error) = sync_directory(parent) {
            tracing::debug!(%error, directory = %parent.display(), "a new directory may not survive a power loss");
        }
        if parent == above {
            break;
        }
    }
}

fn nearest_existing(path: &Path) -> &Path {
    let existing = path.ancestors().find(|p| p.exists() && !p.as_os_str().is_empty());
    existing.unwrap_or_else(|| Path::new("."))
}

/// Opens a store that this process does not have open.
pub(super) fn open_first(dir: PathBuf, request: &Request) -> Result<Shared> {
    let config = Arc::new(Config {
        backend: BackendKind::settle(&dir, request)?,
        durability: request.durability.unwrap_or_default(),
        maintenance: request.maintenance.unwrap_or_default(),
        checkpoint_interval: request.checkpoint_interval.unwrap_or(Request::CHECKPOINT_INTERVAL),
        map_size: request.map_size.unwrap_or(Request::MAP_SIZE).next_multiple_of(MAP_UNIT),
        clock: request.clock.clone().unwrap_or_default(),
        cipher: request.cipher.clone().unwrap_or_else(|| Arc::new(XChaCha20Poly1305)),
    });
    let mut opened = Opening::start(&dir, config.clone(), request.read_only, None)?;
    let unlocked = match &request.secret {
        Some(secret) if opened.is_new => {
            let (record, unlocked) = encrypted_record(opened.record, secret, config.cipher.name())?;
            opened.record = record;
            unlocked
        }
        secret => unlock(&opened.record, &config, secret.as_ref(), &dir)?,
    };
    let flights = opened.flights();
    let live = opened.finish(Arc::new(unlocked), flights.clone(), request)?;
    // Which the opening can have changed.
    let envelope = live.read(store_record)?.envelope;
    if !request.read_only && !request.allow_foreign_owner {
        keep_others_out(&dir)?;
    }
    let unlocked = live.unlocked.clone();
    Ok(Shared {
        dir,
        config,
        current: ArcSwapOption::new(Some(live)),
        unlocked: Mutex::new(unlocked),
        envelope: Mutex::new(envelope),
        known_in: AtomicU64::new(fork::epoch()),
        flights: Mutex::new(Some(flights)),
        threads: PerProcess::empty(),
        handles: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
        gone: AtomicBool::new(false),
        needs_maintenance: AtomicBool::new(false),
        may_write: AtomicBool::new(false),
        temporary: Mutex::new(None),
    })
}

/// Opens the environment of a known store again, in a forked child or after a compaction.
pub(super) fn open_again(shared: &Shared) -> Result<Arc<Live>> {
    let mut kept = lock(&shared.flights);
    let locks = kept.as_ref().and_then(|flights| flights.locks());
    let start = |read_only| Opening::start(&shared.dir, shared.config.clone(), read_only, locks);
    let has_one_writer = shared.config.backend.has_one_writer();
    // A handle that only reads goes on following the writer.
    let opened = match start(has_one_writer && !shared.may_write.load(Ordering::Relaxed)) {
        // The process that this one was forked from writes it.
        Err(Error::Busy { .. }) if has_one_writer => start(true)?,
        opened => opened?,
    };
    let is_known = shared.known_in.load(Ordering::Relaxed) == fork::epoch();
    if !is_known && opened.record.envelope != *lock(&shared.envelope) {
        return Err(Error::WrongSecret { path: shared.dir.clone() });
    }
    let unlocked = lock(&shared.unlocked).clone();
    let flights = match &*kept {
        // Unless the file in which the others see who loads what is another one by now.
        Some(flights) if flights.uses(opened.locks.as_ref()) => flights.clone(),
        _ => opened.flights(),
    };
    *kept = Some(flights.clone());
    let live = opened.finish_as(unlocked, flights, None)?;
    *lock(&shared.envelope) = live.read(store_record)?.envelope;
    shared.known_in.store(fork::epoch(), Ordering::Relaxed);
    Ok(live)
}

/// A limit in bytes, as errors show it.
fn shown_limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "no limit".into(), |bytes| format!("{bytes} bytes"))
}

/// Checks what another handle of this process asks against what the store is open with.
pub(super) fn check_shared(shared: &Shared, request: &Request) -> Result<()> {
    let differs = |what, stored: String, asked: String| {
        let asked = format!("{asked} while another handle of this process has it open");
        Err(Error::Incompatible { path: shared.dir.clone(), what, stored, asked })
    };
    let Some(live) = &*shared.current.load() else { return Err(Error::Closed) };
    let config = &shared.config;
    match request.durability {
        Some(asked) if asked != config.durability => {
            return differs("durability", format!("{:?}", config.durability), format!("{asked:?}"));
        }
        _ => {}
    }
    match request.maintenance {
        Some(asked) if asked != config.maintenance => {
            return differs("maintenance", format!("{:?}", config.maintenance), format!("{asked:?}"));
        }
        _ => {}
    }
    match request.max_bytes {
        Some(asked) if asked != live.max_bytes => {
            return differs("max_bytes", shown_limit(live.max_bytes), shown_limit(asked));
        }
        _ => {}
    }
    if let Some(asked) = request.backend.filter(|asked| *asked != config.backend) {
        return differs("backend", config.backend.name().into(), asked.name().into());
    }
    if live.is_read_only() && !request.read_only && config.backend.has_one_writer() {
        return Err(Error::Busy {
            path: shared.dir.clone(),
            detail: "this process has it open read-only already, and so follows its writer; close those handles first, \
                     or open it for writing before them"
                .into(),
        });
    }
    if live.is_read_only() && !request.read_only {
        return Err(Error::ReadOnly {
            path: shared.dir.clone(),
            detail: "this process opened it when it could not write to its directory, and has it open still; close those \
                     handles first",
        });
    }
    let record = live.read(store_record)?;
    match &request.cipher {
        Some(asked) if !record.cipher.is_empty() && asked.name() != record.cipher => {
            return differs("cipher", format!("{:?}", record.cipher), format!("{:?}", asked.name()));
        }
        _ => {}
    }
    if request.secret.is_none() && request.is_beside(&lock(&shared.unlocked)) {
        return Ok(());
    }
    unlock(&record, config, request.secret.as_ref(), &shared.dir).map(drop)
}

/// Begins what limits need, once the store is open.
pub(super) fn apply_limits(store: &Store, request: &Request) -> Result<()> {
    let live = store.live()?;
    if live.max_bytes.is_some() && !request.read_only && !live.is_read_only() {
        live.build_recency()?;
    }
    let anything_expires = sweep::time_to_next(&live).is_some();
    if (live.max_bytes.is_some() || anything_expires) && !live.is_read_only() {
        drop(live);
        store.need_maintenance()?;
    }
    Ok(())
}

fn unlock(record: &StoreRecord, config: &Config, secret: Option<&Secret>, dir: &Path) -> Result<Unlocked> {
    match (record.cipher.as_str(), secret) {
        ("", None) => Ok(Unlocked::plain()),
        ("", Some(_)) => Err(Error::NotEncrypted { path: dir.to_owned() }),
        (_, None) => Err(Error::MissingSecret { path: dir.to_owned() }),
        (cipher, Some(_)) if cipher != config.cipher.name() => Err(Error::Incompatible {
            path: dir.to_owned(),
            what: "cipher",
            stored: format!("{cipher:?}"),
            asked: format!("{:?}", config.cipher.name()),
        }),
        (_, Some(secret)) => {
            let (data_key, seals) = data_key(record, secret, dir)?;
            Ok(Unlocked::encrypted(&data_key, seals))
        }
    }
}

/// The data key of an encrypted store, and which of its records have seals.
pub(super) fn data_key(record: &StoreRecord, secret: &Secret, dir: &Path) -> Result<(DataKey, Seals)> {
    let envelope = Envelope::decode(&record.envelope)?;
    Ok((envelope.unlock(secret, &record.head(), dir)?, envelope.seals()))
}

/// An environment on its way to be a [`Live`]: this process has told the others that it uses the store.
struct Opening {
    dir: PathBuf,
    config: Arc<Config>,
    gate: Gate,
    member: Member,
    /// `None`: this process cannot write here.
    locks: Option<Arc<LockFile>>,
    alone: bool,
    backend: Backend,
    record: StoreRecord,
    /// The state record as it is stored, `None` in a new store.
    state: Option<Vec<u8>>,
    is_new: bool,
}

impl Opening {
    /// `kept` is what this process has open already of the file for locks.
    fn start(
        path: &Path,
        config: Arc<Config>,
        read_only: bool,
        kept: Option<&Arc<LockFile>>,
    ) -> Result<Opening> {
        let (gate, dir) = Gate::of(path, kept.map(|kept| kept.dir()))?;
        if read_only && BackendKind::found(path).is_none() {
            return Err(Error::NotFound { path: path.to_owned() });
        }
        if !read_only && !dir.is_writable() {
            return Err(Error::not_permitted(path.to_owned()));
        }
        let member = Member::join(&dir)?;
        let Opened { backend, locks, is_alone: alone } = Backend::open(&config, read_only, &member, kept)?;
        let dir = member.dir().path().to_owned();
        let found = backend.read(|txn| {
            let view = ReadView::new(txn);
            match view.get(STORE_KEY)? {
                Some(bytes) => Ok(Some((StoreRecord::decode(bytes)?, stored_state(&view)?.to_vec()))),
                None => Ok(None),
            }
        })?;
        let is_new = found.is_none();
        let (record, state) = match found {
            Some((record, state)) => (record, Some(state)),
            None if read_only => return Err(Error::NotFound { path: dir }),
            None => (new_record(config.backend.format_version(), &config.clock)?, None),
        };
        Ok(Opening { dir, config, gate, member, locks, alone, backend, record, state, is_new })
    }

    fn flights(&self) -> Arc<Flights> {
        match &self.locks {
            Some(locks) => Flights::shared(locks.clone()),
            None => Flights::local(),
        }
    }

    fn finish(self, unlocked: Arc<Unlocked>, flights: Arc<Flights>, request: &Request) -> Result<Arc<Live>> {
        self.finish_as(unlocked, flights, Some(request))
    }

    /// Writes what a new store begins with, settles the size limit, and lets the next process in.
    fn finish_as(
        self,
        mut unlocked: Arc<Unlocked>,
        flights: Arc<Flights>,
        request: Option<&Request>,
    ) -> Result<Arc<Live>> {
        let recorded = match &self.state {
            Some(stored) => StateRecord::decode(unlocked.open(STATE_KEY, stored)?)?,
            None => StateRecord::NEW,
        };
        let limit = self.settle_limit(recorded.max_bytes, request)?;
        self.backend.set_limit(limit)?;
        let state = StateRecord { max_bytes: limit.unwrap_or(0), ..recorded };
        if self.is_new {
            self.backend.create(&self.record, unlocked.seal(STATE_KEY, state.encode()))?;
        }
        let secret = request.and_then(|request| request.secret.as_ref());
        if let Some(secret) = secret.filter(|_| unlocked.lacks_seals() && !self.backend.is_read_only()) {
            let (data_key, _) = data_key(&self.record, secret, &self.dir)?;
            unlocked = Arc::new(seal_all(&self.backend, &self.record, &data_key, secret)?);
        }
        let live = Live::new(Parts {
            backend: self.backend,
            member: self.member,
            locks: self.locks,
            unlocked,
            config: self.config,
            dir: self.dir,
            flights,
            state,
        });
        if state != recorded && !self.is_new {
            live.write_quietly(|writer| {
                writer.set_state(StateRecord { max_bytes: state.max_bytes, ..writer.state() })
            })?;
        }
        drop(self.gate);
        Ok(live)
    }

    /// The size limit to be in force. It belongs to the store, and all processes must agree on it.
    fn settle_limit(&self, recorded: u64, request: Option<&Request>) -> Result<Option<u64>> {
        let recorded = (recorded != 0).then_some(recorded);
        let Some(asked) = request.and_then(|request| request.max_bytes) else { return Ok(recorded) };
        if asked == recorded || self.locks.is_none() {
            return Ok(recorded);
        }
        if !self.alone && !self.is_new {
            return Err(Error::Incompatible {
                path: self.dir.clone(),
                what: "max_bytes",
                stored: shown_limit(recorded),
                asked: format!("{} while other processes have it open", shown_limit(asked)),
            });
        }
        Ok(asked)
    }
}

/// The record of a new store, which is not encrypted yet.
pub(super) fn new_record(version: u32, clock: &ClockSource) -> Result<StoreRecord> {
    Ok(StoreRecord { version, id: random()?, created: clock.now(), cipher: String::new(), envelope: vec![] })
}

/// Makes a new store's metadata encrypted from the start.
pub(super) fn encrypted_record(
    record: StoreRecord,
    secret: &Secret,
    cipher: &str,
) -> Result<(StoreRecord, Unlocked)> {
    let data_key = DataKey::generate()?;
    let record = StoreRecord { cipher: cipher.to_owned(), ..record };
    let seals = Seals::From(0);
    let mut envelope = Vec::new();
    Envelope::create(secret, &data_key, seals, &record.head())?.encode(&mut envelope);
    Ok((StoreRecord { envelope, ..record }, Unlocked::encrypted(&data_key, seals)))
}

pub(crate) fn store_record(view: &ReadView<'_>) -> Result<StoreRecord> {
    let bytes = view.get(STORE_KEY)?.ok_or_else(|| Error::damaged("the store record is missing"))?;
    StoreRecord::decode(bytes)
}

pub(crate) fn read_state(view: &ReadView<'_>, unlocked: &Unlocked) -> Result<StateRecord> {
    StateRecord::decode(unlocked.open(STATE_KEY, stored_state(view)?)?)
}

fn stored_state<'t>(view: &ReadView<'t>) -> Result<&'t [u8]> {
    view.get(STATE_KEY)?.ok_or_else(|| Error::damaged("the state record is missing"))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Io {
        context: "asking for random bytes".into(),
        source: std::io::Error::other(e),
    })?;
    Ok(bytes)
}
