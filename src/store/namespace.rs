//! Namespaces: independent mappings inside a store, each with its own pipeline.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::Store;
use super::format::layout::{MAX_NAMESPACE_NAME, NamespaceId, kind, namespace_key};
use super::format::records::{Identity, NamespaceRecord};
use super::live::Live;
use super::transaction::{ReadView, Writer};
use super::unlocked::Unlocked;
use super::upkeep::limits::EntryLimit;
use crate::error::{Error, Result};

/// What an open asks of a namespace; `None` is "whatever it has, or the default for a new one".
pub(crate) struct NamespaceRequest<'a> {
    pub(crate) name: &'a str,
    pub(crate) key_codec: &'a str,
    pub(crate) serializer: &'a str,
    /// `Some("")`: not compressed.
    pub(crate) compressor: Option<&'a str>,
    /// `Some(0)`: no limit.
    pub(crate) max_entries: Option<u64>,
    /// Refuses a recorded compressor that was not asked for by name and that the program does not have.
    pub(crate) is_known: &'a dyn Fn(&str) -> Result<()>,
}

/// To be asked before the store is opened, which would make it.
pub(crate) fn check_namespace_name(name: &str) -> Result<()> {
    match name.len() {
        1..=MAX_NAMESPACE_NAME => Ok(()),
        _ => Err(Error::invalid("namespace", "its name must have 1 to 255 bytes")),
    }
}

/// A namespace as one handle knows it.
pub(crate) struct Namespace {
    key: Vec<u8>,
    /// A clear gives the namespace a new id, so it must be looked up again when settings have changed.
    seen: Seen,
    record: NamespaceRecord,
    identity: Identity,
}

impl Namespace {
    /// Opens a namespace, and makes it if it does not exist and the store may be written.
    pub(crate) fn open(store: &Store, request: &NamespaceRequest<'_>) -> Result<Namespace> {
        let key = namespace_key(request.name);
        let live = store.live()?;
        let existing = live.read(|view| namespace_record(view, &live.unlocked, &key))?;
        drop(live);
        if let Some(record) = &existing {
            check(store, request, record)?;
        }
        let limit_changes =
            |record: &NamespaceRecord| request.max_entries.is_some_and(|n| n != record.max_entries);
        let record = match existing {
            Some(record) if store.is_read_only() || !limit_changes(&record) => record,
            None if store.is_read_only() => {
                // Nothing is there to be read, and nothing may be made: an id that no entry has.
                NamespaceRecord { id: NamespaceId(0), ..new_record(request, NamespaceId(0)) }
            }
            _ => store.live_for_writing()?.write_quietly(|writer| {
                let unlocked = writer.live().unlocked.clone();
                let record = match namespace_record(&writer.view(), &unlocked, &key)? {
                    Some(record) => {
                        check(store, request, &record)?;
                        NamespaceRecord {
                            max_entries: request.max_entries.unwrap_or(record.max_entries),
                            ..record
                        }
                    }
                    None => new_record(request, writer.new_namespace_id()?),
                };
                writer.put(&key, &unlocked.seal(&key, record.encode()))?;
                Ok(record)
            })?,
        };
        if record.max_entries != 0 && !store.is_read_only() {
            store.live_for_writing()?.build_recency()?;
        }
        let identity = record.identity(request.name);
        Ok(Namespace { key, seen: Seen::new(record.id), record, identity })
    }

    /// The name of the compressor the namespace was made with; empty for none.
    pub(crate) fn compressor(&self) -> &str {
        &self.record.compressor
    }

    /// What its entries are bound to.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn max_entries(&self) -> u64 {
        self.record.max_entries
    }

    /// The id as last seen, which may have changed since.
    pub(crate) fn last_id(&self) -> NamespaceId {
        self.seen.id()
    }

    /// The id in this snapshot. Costs a lookup if this handle has not looked since a namespace was made, cleared or set
    /// otherwise.
    pub(crate) fn id(&self, live: &Live, view: &ReadView<'_>) -> Result<NamespaceId> {
        Ok(self.limit(live, view)?.namespace)
    }

    /// The id and the limit as recorded in this snapshot, which another handle may have changed.
    pub(crate) fn limit(&self, live: &Live, view: &ReadView<'_>) -> Result<EntryLimit> {
        let settings = view.settings().map(|settings| Settings { generation: live.generation, settings });
        if let Some(limit) = settings.and_then(|settings| self.seen.at(settings)) {
            return Ok(limit);
        }
        let record = view.get(&self.key)?.and_then(NamespaceRecord::peek_limit);
        let (namespace, max_entries) = record.unwrap_or((NamespaceId(0), 0));
        let limit = EntryLimit { namespace, max_entries };
        if let Some(settings) = settings {
            self.seen.set(settings, limit);
        }
        Ok(limit)
    }

    /// Gives the namespace a new id, so that all its entries are gone at once; they are to be collected.
    pub(crate) fn renew(&self, writer: &mut Writer<'_>) -> Result<()> {
        let unlocked = writer.live().unlocked.clone();
        let record = namespace_record(&writer.view(), &unlocked, &self.key)?;
        let record = record.ok_or_else(|| Error::damaged("a namespace's record is missing"))?;
        let id = writer.new_namespace_id()?;
        let renewed = NamespaceRecord { id, ..record.clone() }.encode();
        writer.put(&self.key, &unlocked.seal(&self.key, renewed))?;
        writer.bury(record.id)
    }
}

/// The settings of a store at one time: its opened environment, and their number in that.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Settings {
    generation: u64,
    settings: u64,
}

/// A namespace's id and limit as they were seen last, with the settings in which that was.
struct Seen {
    /// Odd while it is being changed.
    version: AtomicU64,
    generation: AtomicU64,
    settings: AtomicU64,
    id: AtomicU32,
    max_entries: AtomicU64,
}

impl Seen {
    fn new(id: NamespaceId) -> Seen {
        // No environment has the generation 0.
        Seen {
            version: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            settings: AtomicU64::new(0),
            id: AtomicU32::new(id.0),
            max_entries: AtomicU64::new(0),
        }
    }

    fn id(&self) -> NamespaceId {
        NamespaceId(self.id.load(Ordering::Relaxed))
    }

    fn at(&self, wanted: Settings) -> Option<EntryLimit> {
        let version = self.version.load(Ordering::Acquire);
        let generation = self.generation.load(Ordering::Relaxed);
        let seen = Settings { generation, settings: self.settings.load(Ordering::Relaxed) };
        let max_entries = self.max_entries.load(Ordering::Relaxed);
        let limit = EntryLimit { namespace: self.id(), max_entries };
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (whole && seen == wanted).then_some(limit)
    }

    /// Another thread that is at it at this moment knows as well.
    fn set(&self, settings: Settings, limit: EntryLimit) {
        let version = self.version.load(Ordering::Relaxed);
        let begun = version.is_multiple_of(2)
            && self
                .version
                .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if begun {
            fence(Ordering::Release);
            self.generation.store(settings.generation, Ordering::Relaxed);
            self.settings.store(settings.settings, Ordering::Relaxed);
            self.id.store(limit.namespace.0, Ordering::Relaxed);
            self.max_entries.store(limit.max_entries, Ordering::Relaxed);
            self.version.store(version + 2, Ordering::Release);
        }
    }
}

/// The record under a namespace's key.
fn namespace_record(view: &ReadView<'_>, unlocked: &Unlocked, key: &[u8]) -> Result<Option<NamespaceRecord>> {
    view.get(key)?.map(|stored| unlocked.open(key, stored).and_then(NamespaceRecord::decode)).transpose()
}

/// All namespaces with their names, in the order of these.
pub(crate) fn list_namespaces(
    view: &ReadView<'_>,
    unlocked: &Unlocked,
) -> Result<Vec<(String, NamespaceRecord)>> {
    let mut all = Vec::new();
    for found in view.range(&[kind::NAMESPACE], &[kind::NAMESPACE + 1])? {
        let (key, stored) = found?;
        let (name, record) = read_namespace(unlocked, key, stored)?;
        all.push((name.to_owned(), record));
    }
    Ok(all)
}

/// A namespace's name and record.
pub(super) fn read_namespace<'k>(
    unlocked: &Unlocked,
    key: &'k [u8],
    stored: &[u8],
) -> Result<(&'k str, NamespaceRecord)> {
    let record = NamespaceRecord::decode(unlocked.open(key, stored)?)?;
    let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
    Ok((name.ok_or_else(|| Error::damaged("a namespace has a name that is not text"))?, record))
}

fn new_record(request: &NamespaceRequest<'_>, id: NamespaceId) -> NamespaceRecord {
    NamespaceRecord {
        id,
        key_codec: request.key_codec.to_owned(),
        serializer: request.serializer.to_owned(),
        compressor: request.compressor.unwrap_or_default().to_owned(),
        max_entries: request.max_entries.unwrap_or(0),
    }
}

fn check(store: &Store, request: &NamespaceRequest<'_>, record: &NamespaceRecord) -> Result<()> {
    let differs = |what, stored: &str, asked: &str| {
        let say = |name: &str| if name.is_empty() { "none".to_owned() } else { format!("{name:?}") };
        Error::Incompatible { path: store.dir().to_owned(), what, stored: say(stored), asked: say(asked) }
    };
    if record.key_codec != request.key_codec {
        return Err(differs("key serializer", &record.key_codec, request.key_codec));
    }
    if record.serializer != request.serializer {
        return Err(differs("serializer", &record.serializer, request.serializer));
    }
    match request.compressor {
        Some(asked) if asked != record.compressor => Err(differs("compression", &record.compressor, asked)),
        Some(_) => Ok(()),
        None => (request.is_known)(&record.compressor),
    }
}
