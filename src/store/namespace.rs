//! Namespaces: independent mappings inside a store, each with its own pipeline.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::Store;
use super::layout::{MAX_NAMESPACE_NAME, NamespaceId, kind, namespace_key};
use super::limits::EntryLimit;
use super::live::Live;
use super::records::NamespaceRecord;
use super::transaction::{ReadView, Writer};
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
    /// A clear gives the namespace a new id, so the id must be looked up again in every other snapshot.
    seen: Seen,
    record: NamespaceRecord,
}

impl Namespace {
    /// Opens a namespace, and makes it if it does not exist and the store may be written.
    pub(crate) fn open(store: &Store, request: &NamespaceRequest<'_>) -> Result<Namespace> {
        let key = namespace_key(request.name);
        let decode = |bytes: Option<&[u8]>| bytes.map(NamespaceRecord::decode).transpose();
        let existing = store.live()?.read(|view| decode(view.get(&key)?))?;
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
                let record = match decode(writer.view().get(&key)?)? {
                    Some(record) => {
                        check(store, request, &record)?;
                        NamespaceRecord {
                            max_entries: request.max_entries.unwrap_or(record.max_entries),
                            ..record
                        }
                    }
                    None => new_record(request, writer.new_namespace_id()?),
                };
                writer.put(&key, &record.encode())?;
                Ok(record)
            })?,
        };
        if record.max_entries != 0 && !store.is_read_only() {
            store.live_for_writing()?.build_recency()?;
        }
        Ok(Namespace { key, seen: Seen::new(record.id), record })
    }

    /// The name of the compressor the namespace was made with; empty for none.
    pub(crate) fn compressor(&self) -> &str {
        &self.record.compressor
    }

    pub(crate) fn max_entries(&self) -> u64 {
        self.record.max_entries
    }

    /// The id as last seen, which may have changed since.
    pub(crate) fn last_id(&self) -> NamespaceId {
        self.seen.id()
    }

    /// The id in this snapshot. Costs a lookup if this handle has not looked at the same snapshot before.
    pub(crate) fn id(&self, live: &Live, view: &ReadView<'_>) -> Result<NamespaceId> {
        let snapshot = live.token_of(view.id());
        if let Some(id) = self.seen.in_snapshot(snapshot) {
            return Ok(id);
        }
        let id = self.look_up(view)?;
        self.seen.set(snapshot, id);
        Ok(id)
    }

    /// The id in a write transaction, which may itself have changed it.
    pub(crate) fn id_for_writing(&self, writer: &Writer<'_>) -> Result<NamespaceId> {
        self.look_up(&writer.view())
    }

    /// The id and the limit as recorded now, which another handle may have changed.
    pub(crate) fn limit(&self, writer: &Writer<'_>) -> Result<EntryLimit> {
        let record = writer.view().get(&self.key)?.and_then(NamespaceRecord::peek_limit);
        let (namespace, max_entries) = record.unwrap_or((NamespaceId(0), 0));
        Ok(EntryLimit { namespace, max_entries })
    }

    fn look_up(&self, view: &ReadView<'_>) -> Result<NamespaceId> {
        Ok(view.get(&self.key)?.and_then(NamespaceRecord::peek_id).unwrap_or(NamespaceId(0)))
    }

    /// Gives the namespace a new id, so that all its entries are gone at once; they are to be collected.
    pub(crate) fn renew(&self, writer: &mut Writer<'_>) -> Result<()> {
        let record = writer.view().get(&self.key)?.map(NamespaceRecord::decode).transpose()?;
        let record = record.ok_or_else(|| Error::damaged("a namespace's record is missing"))?;
        let id = writer.new_namespace_id()?;
        writer.put(&self.key, &NamespaceRecord { id, ..record.clone() }.encode())?;
        writer.bury(record.id)
    }
}

/// A namespace's id as it was seen last, with the snapshot in which that was.
struct Seen {
    /// Odd while it is being changed.
    version: AtomicU64,
    snapshot: AtomicU64,
    id: AtomicU32,
}

impl Seen {
    fn new(id: NamespaceId) -> Seen {
        // No snapshot has the number 0 in which there is a namespace.
        Seen { version: AtomicU64::new(0), snapshot: AtomicU64::new(0), id: AtomicU32::new(id.0) }
    }

    fn id(&self) -> NamespaceId {
        NamespaceId(self.id.load(Ordering::Relaxed))
    }

    fn in_snapshot(&self, snapshot: u64) -> Option<NamespaceId> {
        let version = self.version.load(Ordering::Acquire);
        let (seen, id) = (self.snapshot.load(Ordering::Relaxed), self.id());
        fence(Ordering::Acquire);
        let whole = version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        (whole && seen == snapshot).then_some(id)
    }

    /// Another thread that is at it at this moment knows as well.
    fn set(&self, snapshot: u64, id: NamespaceId) {
        let version = self.version.load(Ordering::Relaxed);
        let begun = version.is_multiple_of(2)
            && self
                .version
                .compare_exchange(version, version + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if begun {
            fence(Ordering::Release);
            self.snapshot.store(snapshot, Ordering::Relaxed);
            self.id.store(id.0, Ordering::Relaxed);
            self.version.store(version + 2, Ordering::Release);
        }
    }
}

/// All namespaces with their names, in the order of these.
pub(crate) fn list_namespaces(view: &ReadView<'_>) -> Result<Vec<(String, NamespaceRecord)>> {
    let mut all = Vec::new();
    for record in view.range(&[kind::NAMESPACE], &[kind::NAMESPACE + 1])? {
        let (key, record) = record?;
        let name = key.get(1..).and_then(|name| std::str::from_utf8(name).ok());
        let name = name.ok_or_else(|| Error::damaged("a namespace has a name that is not text"))?;
        all.push((name.to_owned(), NamespaceRecord::decode(record)?));
    }
    Ok(all)
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
