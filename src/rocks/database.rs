//! A handle of a database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, Guard};
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, DEFAULT_COLUMN_FAMILY_NAME, IngestExternalFileOptions,
    ReadOptions,
};

use super::batch::Batch;
use super::failure::{forked, tell};
use super::live::{Live, Mode, Open, Opening};
use super::{Encoding, Options, Range};
use crate::store::{TRANSITIONS, watch_forks};
use crate::{Error, Result};

/// An open database. Cloning gives another handle of the same; all of them are closed together.
///
/// A write that has returned survives a kill of the process, not always a power loss; see [`sync`](Self::sync).
///
/// A forked child opens its own, at its first operation, if the handle only reads. One that writes is refused there
/// ([`Busy`](Error::Busy)): its parent still writes.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    opening: Opening,
    current: ArcSwap<Live>,
    /// Kept apart, since a forked child must not touch the lock of its parent's.
    is_closed: AtomicBool,
}

impl Database {
    /// Opens the database in a directory, or makes it if the options say so.
    ///
    /// # Errors
    /// Before anything is changed: [`Busy`](Error::Busy) if a process writes it and this is to be a primary too;
    /// [`Incompatible`](Error::Incompatible) for another encoding, prefix length or comparator than its own;
    /// [`Damaged`](Error::Damaged); [`Foreign`](Error::Foreign) if something else is in the directory;
    /// [`Invalid`](Error::Invalid) for options RocksDB does not take; [`Io`](Error::Io) if there is none.
    pub fn open(
        path: impl AsRef<Path>,
        mode: Mode,
        options: Options,
        encoding: Encoding,
    ) -> Result<Database> {
        watch_forks();
        let opening = Opening { path: path.as_ref().to_owned(), mode, options, encoding };
        // A fork waits until it is open, so that no half of one is inherited.
        let transition = TRANSITIONS.lock(&opening.path)?;
        let live = opening.open()?;
        drop(transition);
        let shared =
            Shared { opening, current: ArcSwap::from_pointee(live), is_closed: AtomicBool::new(false) };
        Ok(Database { shared: Arc::new(shared) })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.opening.path
    }

    /// What it was opened as.
    #[must_use]
    pub fn mode(&self) -> &Mode {
        &self.shared.opening.mode
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    fn live(&self) -> Result<Guard<Arc<Live>>> {
        let live = self.shared.current.load();
        if self.is_closed() {
            return Err(Error::Closed);
        }
        if live.is_of_this_process() { Ok(live) } else { self.reopen() }
    }

    /// In a forked child.
    #[cold]
    fn reopen(&self) -> Result<Guard<Arc<Live>>> {
        if *self.mode() == Mode::Primary {
            return Err(forked(self.path()));
        }
        let _transition = TRANSITIONS.lock(self.path())?;
        let live = self.shared.current.load();
        if live.is_of_this_process() {
            return Ok(live);
        }
        self.shared.current.store(Arc::new(self.shared.opening.open()?));
        Ok(self.shared.current.load())
    }

    fn with<T>(&self, work: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        let live = self.live()?;
        work(live.shared().as_ref().ok_or(Error::Closed)?)
    }

    fn to_write<T>(&self, work: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        self.may_write()?;
        self.with(work)
    }

    /// As [`to_write`](Self::to_write), while no other thread is at work with this database.
    fn alone<T>(&self, work: impl FnOnce(&Open) -> Result<T>) -> Result<T> {
        self.may_write()?;
        let live = self.live()?;
        work(live.alone().as_ref().ok_or(Error::Closed)?)
    }

    fn may_write(&self) -> Result<()> {
        if self.is_closed() {
            return Err(Error::Closed);
        }
        match self.mode() {
            Mode::Primary => Ok(()),
            _ => Err(Error::reads_only(self.path().to_owned())),
        }
    }

    fn told(&self, context: &'static str) -> impl FnOnce(rocksdb::Error) -> Error + '_ {
        move |error| tell(self.path(), context, &error)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// As all operations: [`Closed`](Error::Closed), [`Damaged`](Error::Damaged) where a file is, [`Io`](Error::Io),
    /// [`Busy`](Error::Busy) in a forked child.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.get_with(key, <[u8]>::to_vec)
    }

    /// What is made of the value of a key, without copying it first. The function must not use this database.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_with<T>(&self, key: &[u8], make: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        self.with(|open| {
            Ok(open
                .db
                .get_pinned_opt(key, &open.read)
                .map_err(self.told("reading"))?
                .map(|value| make(&value)))
        })
    }

    /// The values of keys, in their order. Cheaper than one after the other.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Option<Vec<u8>>>> {
        self.with(|open| {
            let Some(all) = open.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME) else { return Err(Error::Closed) };
            let found = open.db.batched_multi_get_cf_opt(all, keys, false, &open.read);
            let copied = |value: Option<rocksdb::DBPinnableSlice<'_>>| value.map(|value| value.to_vec());
            found.into_iter().map(|value| value.map(copied).map_err(self.told("reading"))).collect()
        })
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.get_with(key, |_| ())?.is_some())
    }

    /// Gives a key a value.
    ///
    /// # Errors
    /// As all writes: [`ReadOnly`](Error::ReadOnly), [`DiskFull`](Error::DiskFull). Nothing was written then.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.to_write(|open| open.db.put_opt(key, value, &open.write).map_err(self.told("writing")))
    }

    /// Makes all writes of a batch, or none.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn write(&self, batch: Batch) -> Result<()> {
        self.to_write(|open| open.db.write_opt(batch.0, &open.write).map_err(self.told("writing")))
    }

    /// Gives a key a value if it has none; otherwise what it has.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_if_absent(&self, key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>> {
        self.alone(|open| match open.db.get_opt(key, &open.read).map_err(self.told("reading"))? {
            Some(present) => Ok(Some(present)),
            None => open.db.put_opt(key, value, &open.write).map_err(self.told("writing")).map(|()| None),
        })
    }

    /// Removes a key. Whether it was there, which costs a read.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.alone(|open| {
            let is_there = open.db.get_pinned_opt(key, &open.read).map_err(self.told("reading"))?.is_some();
            if is_there {
                open.db.delete_opt(key, &open.write).map_err(self.told("writing"))?;
            }
            Ok(is_there)
        })
    }

    /// Removes a key if it still has a value. Whether it had.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn remove_if(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        self.alone(|open| {
            let present = open.db.get_pinned_opt(key, &open.read).map_err(self.told("reading"))?;
            let is_it = present.is_some_and(|present| *present == *value);
            if is_it {
                open.db.delete_opt(key, &open.write).map_err(self.told("writing"))?;
            }
            Ok(is_it)
        })
    }

    /// Removes all that is there, in a time that does not depend on how much that is.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn clear(&self) -> Result<()> {
        self.alone(|open| {
            let mut last = open.db.raw_iterator_opt(whole_order());
            last.seek_to_last();
            let Some(key) = last.key() else { return last.status().map_err(self.told("reading")) };
            let mut batch = rocksdb::WriteBatch::default();
            batch.delete_range(&[][..], key);
            batch.delete(key);
            open.db.write_opt(batch, &open.write).map_err(self.told("writing"))
        })
    }

    /// The number of keys in a range, by going through them: some tens of millions a minute.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn count(&self, range: &Range) -> Result<u64> {
        let mut count = 0;
        self.walk(range, false, false, |_, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// The number of keys as RocksDB guesses it: at once, but wrong where keys were overwritten or removed.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn estimated_len(&self) -> Result<u64> {
        Ok(self.int_property("rocksdb.estimate-num-keys")?.unwrap_or(0))
    }

    /// Gives entries of a range, in order or back, to a function until it says no. Whether it never did.
    pub(super) fn walk(
        &self,
        range: &Range,
        is_back: bool,
        keep_in_cache: bool,
        mut meet: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool> {
        if range.is_empty() {
            return Ok(true);
        }
        self.with(|open| {
            let mut options = whole_order();
            options.fill_cache(keep_in_cache);
            if let Some(start) = &range.start {
                options.set_iterate_lower_bound(start.as_slice());
            }
            if let Some(stop) = &range.stop {
                options.set_iterate_upper_bound(stop.as_slice());
            }
            let mut place = open.db.raw_iterator_opt(options);
            if is_back {
                place.seek_to_last()
            } else {
                place.seek_to_first()
            }
            while let Some((key, value)) = place.item() {
                if !meet(key, value) {
                    return Ok(false);
                }
                if is_back { place.prev() } else { place.next() }
            }
            place.status().map_err(self.told("reading")).map(|()| true)
        })
    }

    /// A property of RocksDB that is a number, such as `rocksdb.estimate-num-keys`; `None` if it has no such one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn int_property(&self, name: &str) -> Result<Option<u64>> {
        self.with(|open| open.db.property_int_value(name).map_err(self.told("reading a property")))
    }

    /// A property of RocksDB as text, such as `rocksdb.stats`; `None` if it has no such one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn property(&self, name: &str) -> Result<Option<String>> {
        self.with(|open| open.db.property_value(name).map_err(self.told("reading a property")))
    }

    /// Merges the files that have keys of a range, and gives the space of what was removed back.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn compact(&self, range: &Range) -> Result<()> {
        self.to_write(|open| {
            let mut options = CompactOptions::default();
            // Otherwise a single file would be moved to the last level as it is.
            options.set_bottommost_level_compaction(BottommostLevelCompaction::ForceOptimized);
            open.db.compact_range_opt(range.start.as_deref(), range.stop.as_deref(), &options);
            Ok(())
        })
    }

    /// Merges files as far as they lie over each other. Where none do, as in a database that was loaded once, it is done
    /// at once; see [`compact`](Self::compact) for giving space back.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn merge(&self) -> Result<()> {
        self.to_write(|open| {
            open.db.compact_range::<&[u8], &[u8]>(None, None);
            Ok(())
        })
    }

    /// Takes files in that [`write_sst`](super::write_sst) made: all of them or none, and moves them into the database's
    /// directory if it is on the same disk. Their entries replace those of the same keys, and those of later files those of
    /// earlier ones.
    ///
    /// # Errors
    /// [`Damaged`](Error::Damaged) for a file that is not whole, [`Io`](Error::Io) for one that is not there.
    pub fn ingest<P: AsRef<Path>>(&self, files: &[P]) -> Result<()> {
        if files.is_empty() {
            return self.may_write();
        }
        self.to_write(|open| {
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            let files = files.iter().map(AsRef::as_ref).collect();
            open.db.ingest_external_file_opts(&options, files).map_err(self.told("taking files in"))
        })
    }

    /// Makes files of what is in memory.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn flush(&self) -> Result<()> {
        self.to_write(|open| open.db.flush().map_err(self.told("flushing")))
    }

    /// Makes all that was written safe from a power loss.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn sync(&self) -> Result<()> {
        self.to_write(|open| open.db.flush_wal(true).map_err(self.told("flushing")))
    }

    /// Lets a secondary see what the primary wrote until now.
    ///
    /// # Errors
    /// [`Invalid`](Error::Invalid) if this is not a secondary.
    pub fn catch_up(&self) -> Result<()> {
        if !matches!(self.mode(), Mode::Secondary { .. }) {
            return Err(Error::invalid("catch-up", "only a secondary can: open it as one"));
        }
        self.with(|open| {
            open.db.try_catch_up_with_primary().map_err(self.told("catching up with the primary"))
        })
    }

    /// Closes all handles of it, when what other threads do with it is done. Closing twice is fine.
    ///
    /// What was written stays; the next opening reads it from the log, or call [`flush`](Self::flush) before.
    pub fn close(&self) {
        let live = self.shared.current.load();
        // A fork waits until it is closed, so that no half of one is inherited.
        let Ok(_transition) = crate::waiting::deaf(|| TRANSITIONS.lock(self.path())) else { return };
        if !self.shared.is_closed.swap(true, Ordering::AcqRel) && live.is_of_this_process() {
            drop(live.alone().take());
        }
    }
}

/// In the order of all keys, also where a prefix extractor could leave some out.
fn whole_order() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_total_order_seek(true);
    options
}
