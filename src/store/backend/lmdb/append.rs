//! A write: a transaction whose changes are appended to the log as one record.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::control::Control;
use super::env::map_full;
use super::map::{Map, Mode};
use super::position::{Point, Position};
use super::replay::replay;
use super::room::{DISK, MAP, backlog};
use super::segment::{Change, Segment, Shape, record_len};
use super::segment_file;
use super::shared_lock::SharedGuard;
use super::snapshot::Snapshot;
use super::view::View;
use super::{Lmdb, Shared, reserve};
use crate::error::{Error, Result};
use crate::store::backend::changes::Changes;
use crate::store::format::layout::kind;
use crate::sync::lock;

/// The size of a segment after a quiet time, and the factor by which they grow while much is written.
const FIRST_SEGMENT: u32 = 256 << 10;
const GROWTH: u32 = 4;
/// Room on the disk that is left for folding what only removes.
const ROOM_TO_FOLD: u64 = 256 << 10;

/// What making room for a transaction's changes depends on.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) count: usize,
    /// Whether it writes any entries.
    pub(super) adds: bool,
    /// Whether it changes how the store or a namespace is set.
    pub(super) has_settings: bool,
}

impl Facts {
    /// Of the empty record behind a transaction that was written to LMDB directly.
    pub(super) const OF_THE_END: Facts = Facts { count: 0, adds: false, has_settings: true };
}

pub(crate) struct Append<'a> {
    // Ended in this order: the snapshot, then the lock.
    snapshot: Snapshot<'a>,
    _lock: SharedGuard<'a>,
    lmdb: &'a Lmdb,
    shared: &'a Shared,
    changes: Changes,
    /// Bytes by which the changes let the tree grow. Counted in stores with a limit only.
    grown: i64,
    /// Whether it writes any entries.
    adds: bool,
}

impl<'a> Append<'a> {
    /// The last commit before this one.
    pub(crate) fn base(&self) -> u64 {
        self.snapshot.tail().to_word()
    }

    pub(crate) fn view(&self) -> View<'_> {
        self.snapshot.view().with(&self.changes)
    }

    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        if self.lmdb.is_counted() {
            let old = self.view().get(key)?.map(<[u8]>::len);
            self.grown += growth(key, old, Some(head.len() + body.len()));
        }
        self.adds |= key.first() == Some(&kind::ENTRY);
        self.changes.put(key, head, body);
        Ok(())
    }

    /// Removes a record if `is_it` holds for its value. Returns `true` if it was removed.
    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        let old = self.view().get(key)?.filter(|value| is_it(value)).map(<[u8]>::len);
        let Some(old) = old else { return Ok(false) };
        self.grown += growth(key, Some(old), None);
        self.changes.delete(key);
        Ok(true)
    }

    /// Bytes that the store takes, where that is counted: the tree as of the last fold, what it will grow by, and the log.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        if !self.lmdb.is_counted() {
            return Ok(0);
        }
        let control = &self.shared.control;
        let tree = self.snapshot.view().used_pages()?.saturating_mul(self.lmdb.page_size);
        let pending = control
            .grown()
            .load(Ordering::Relaxed)
            .wrapping_sub(control.folded_grown().load(Ordering::Relaxed));
        Ok(tree.saturating_add_signed(pending as i64 + self.grown) + backlog(control))
    }

    /// Whether the limit leaves room for so many bytes in the log, and in the data file while they are still in the log.
    pub(crate) fn has_room_for(&self, bytes: u64) -> Result<bool> {
        let Some(limit) = self.lmdb.limit().filter(|_| self.lmdb.is_large(bytes)) else { return Ok(true) };
        // With the lock held nobody else can take it. What is in the log already will take as much in the data file.
        let twice = 2 * (bytes + LARGE_BESIDE) + backlog(&self.shared.control);
        Ok(self.lmdb.file_bytes()?.saturating_add(twice) <= limit)
    }

    /// Appends the changes. A killed process loses nothing of it from then on. Returns the new end of the log.
    pub(crate) fn commit(self) -> Result<u64> {
        self.check_map()?;
        let Append { snapshot, _lock, lmdb, shared, changes, grown, adds } = self;
        let tail = snapshot.tail();
        let append = |changes: &Changes| {
            let changes_of = changes.iter().map(|(key, value)| Change { key, value });
            let facts = Facts { count: changes.len(), adds, has_settings: changes.has_settings() };
            let at = lmdb.append(shared, tail, changes_of, facts)?;
            if grown != 0 {
                shared.control.grown().fetch_add(grown as u64, Ordering::Relaxed);
            }
            lmdb.written.store(true, Ordering::Release);
            Ok(at.to_word())
        };
        match append(&changes) {
            Err(Error::DiskFull { .. }) => {}
            done => {
                drop(snapshot);
                lmdb.spare.put(changes);
                return done;
            }
        }
        // Folding frees room. Nobody may wait for it with the lock held.
        drop(snapshot);
        drop(_lock);
        lmdb.make_room_on_disk(shared)?;
        let _lock = shared.append.lock(&shared.control)?;
        lmdb.mend(shared)?;
        let snapshot = lmdb.snapshot()?;
        match snapshot.tail() == tail {
            true => append(&changes),
            // Somebody was faster, and what the transaction has read may not be so any more.
            false => Err(Error::DiskFull { context: "making room in the log" }),
        }
    }

    /// Refuses what would fill the map, before there is no room left to fold.
    fn check_map(&self) -> Result<()> {
        let map = self.lmdb.map_size;
        if !self.adds
            || self.grown <= 0
            || self.lmdb.measure().is_none()
            || self.used_bytes()? < map / 100 * 95
        {
            return Ok(());
        }
        Err(map_full(map))
    }
}

/// What a large record takes beside its value.
const LARGE_BESIDE: u64 = 16 << 10;

/// By about how many bytes the tree grows when the length of a record's value changes.
pub(super) fn growth(key: &[u8], old: Option<usize>, new: Option<usize>) -> i64 {
    let room = |value: Option<usize>| value.map_or(0, |len| room_in_tree(key, len));
    room(new) - room(old)
}

/// About how many bytes a record takes in LMDB's tree, with the room that is free in its leaf, or the pages of its own that
/// a large one gets.
fn room_in_tree(key: &[u8], value: usize) -> i64 {
    const PAGE: usize = 4096;
    const NODE: usize = 10;
    let bytes = NODE + key.len() + value;
    let room = match bytes > PAGE / 2 {
        true => NODE + key.len() + 8 + (value + 16).next_multiple_of(PAGE),
        false => bytes + bytes / 2,
    };
    room as i64
}

impl Lmdb {
    /// Begins a transaction: the only one, in all processes, until it ends.
    pub(in crate::store::backend) fn begin_append(&self) -> Result<Append<'_>> {
        let shared = self.shared()?;
        let guard = shared.append.lock(&shared.control)?;
        super::fault::point("the lock for writing is held");
        self.mend(shared)?;
        let snapshot = self.snapshot()?;
        let changes = self.spare.take();
        Ok(Append { snapshot, _lock: guard, lmdb: self, shared, changes, grown: 0, adds: false })
    }

    /// Repairs what a holder of the append lock left unfinished. The caller holds the lock.
    pub(super) fn mend(&self, shared: &Shared) -> Result<()> {
        shared.control.check_poison()?;
        match shared.control.appending().load(Ordering::Acquire) {
            0 => Ok(()),
            _ => self.resume(shared),
        }
    }

    /// Rolls the log forward over a record that was complete, and goes on in a new segment, so that nothing is written over
    /// what the former holder may have begun.
    #[cold]
    fn resume(&self, shared: &Shared) -> Result<()> {
        let control = &shared.control;
        let tail = control.tail();
        let (from, folded) = {
            let snapshot = self.snapshot()?;
            let segments = snapshot.segments();
            let ended = segments.view(tail).parts().find(|(segment, ..)| segment.number == tail.segment);
            let checksum = match ended {
                Some((segment, ..)) => segment.checksum_at(tail.offset),
                None => (segments.folded.at == tail).then_some(segments.folded.checksum),
            };
            let checksum =
                checksum.ok_or_else(|| Error::damaged("the end of the log is not where it should be"))?;
            (Point { at: tail, checksum }, segments.folded.at)
        };
        let found = replay(&self.dir, from, self.store_id()?, Mode::Shared, false)?;
        super::fault::point("what a killed writer left is found");
        tracing::info!(store = %self.dir.path().display(), bytes = found.bytes, "a writer was killed; its last record is complete or left out");
        control.next_number().fetch_max(found.highest.saturating_add(1), Ordering::SeqCst);
        control.checksum().store(found.end.checksum, Ordering::SeqCst);
        control.logged().fetch_add(found.bytes, Ordering::SeqCst);
        control.open_segment().store(0, Ordering::SeqCst);
        if !control.is_in_barrier() {
            control.set_tail(found.end.at);
            control.end_settings();
            super::fault::point("what a killed writer left is taken in");
            control.appending().store(0, Ordering::SeqCst);
            return Ok(());
        }
        control.move_barrier(found.end.at);
        super::fault::point("what a killed writer left is taken in");
        // A transaction may have been committed to LMDB directly, or may not: no snapshot from before may pass for one
        // from after it.
        if folded == tail {
            control.last_barrier().store(folded.to_word(), Ordering::SeqCst);
        }
        // It may not be on the disk, and what follows builds on it.
        self.sync_data(control)?;
        // So that all there is of the log is mapped.
        let tail = self.snapshot()?.tail();
        self.append(shared, tail, std::iter::empty(), Facts::OF_THE_END).map(drop)
    }

    /// Appends a record, and moves the tail behind it. The caller holds the append lock and has looked at the log up to the
    /// tail.
    pub(super) fn append<'c>(
        &self,
        shared: &Shared,
        tail: Position,
        changes: impl Iterator<Item = Change<'c>> + Clone,
        facts: Facts,
    ) -> Result<Position> {
        let control = &shared.control;
        let len = record_len(changes.clone()).ok_or_else(too_large)?;
        let before = control.appending().swap(1, Ordering::SeqCst);
        let (segment, from) = match self.room_for(shared, tail, len, facts) {
            Ok(room) => room,
            Err(error) => {
                // Nothing was begun.
                control.appending().store(before, Ordering::SeqCst);
                return Err(error);
            }
        };
        super::fault::point("there is room for a record");
        if facts.has_settings {
            control.begin_settings();
        }
        let checksum = segment.append(from.at.offset, len, from.checksum, changes);
        let is_half_full =
            segment.is_half_full(from.at.offset + len) && !segment.is_half_full(from.at.offset);
        if is_half_full {
            self.is_half_full.store(true, Ordering::Relaxed);
        }
        let end = Position { segment: segment.number, offset: from.at.offset + len };
        control.checksum().store(checksum, Ordering::Release);
        control.logged().fetch_add(len.into(), Ordering::Relaxed);
        super::fault::point("the tail is to be moved");
        control.set_tail(end);
        super::fault::point("the tail is moved");
        if facts.has_settings {
            control.end_settings();
        }
        control.appending().store(0, Ordering::Release);
        Ok(end)
    }

    /// The segment that a record goes into, and where. What it costs to begin a new one is little if it was made ahead.
    pub(super) fn room_for(
        &self,
        shared: &Shared,
        tail: Position,
        len: u32,
        facts: Facts,
    ) -> Result<(Arc<Segment>, Point)> {
        let control = &shared.control;
        let checksum = control.checksum().load(Ordering::Acquire);
        let previous = Point { at: tail, checksum };
        let number = control.open_segment().load(Ordering::Acquire);
        let open = self.segments.load().newest().filter(|segment| segment.number == number).cloned();
        if let Some(segment) = open {
            let from = if tail.segment == number { previous } else { segment.first() };
            if segment.has_room(from.at.offset, len, facts.count) {
                return Ok((segment, from));
            }
        }
        let segment = Arc::new(self.begin_segment(shared, previous, len, facts)?);
        let _mapping = lock(&self.mapping);
        self.segments.store(Arc::new(self.segments.load().with(segment.clone())));
        control.open_segment().store(segment.number, Ordering::SeqCst);
        super::fault::point("a segment is begun");
        let first = segment.first();
        Ok((segment, first))
    }

    fn begin_segment(
        &self,
        shared: &Shared,
        previous: Point,
        len: u32,
        Facts { count, adds, .. }: Facts,
    ) -> Result<Segment> {
        let control = &shared.control;
        match control.full().load(Ordering::Relaxed) {
            // What room there is is needed to remove something.
            DISK if adds => return Err(Error::DiskFull { context: "moving the log into the data file" }),
            MAP if adds => return Err(map_full(self.map_size)),
            _ => {}
        }
        let shape = self.next_shape(control);
        let bigger = shape.size.saturating_mul(GROWTH).min(self.largest_segment());
        let prepared = control.prepared().swap(0, Ordering::AcqRel);
        let fits = |shape: Shape| shape.takes(len, count);
        if prepared != 0 {
            let map = match self.ahead.take(prepared) {
                Some(map) => Some(map),
                None => segment_file::map(&self.dir, prepared, Mode::Shared).ok().flatten(),
            };
            // One with a lower number than another that was begun, and maybe given up, would not be found again.
            let is_newest = prepared > control.begun().load(Ordering::Relaxed);
            match map.map(|map| (Shape::of_size(map.len() as u32), map)) {
                Some((shape, map)) if is_newest && shape.size as usize == map.len() && fits(shape) => {
                    control.begun().store(prepared, Ordering::SeqCst);
                    control.segment_size().store(bigger, Ordering::Relaxed);
                    return Segment::begin(map, prepared, shape, previous, self.store_id()?);
                }
                _ => segment_file::remove(&self.dir, prepared)?,
            }
        }
        let shape = match fits(shape) {
            true => shape,
            false => Shape::for_record(len, count).ok_or_else(too_large)?,
        };
        let (file, number, shape) = self.create_segment(control, shape, fits, adds)?;
        super::fault::point("a segment is made");
        control.begun().fetch_max(number, Ordering::SeqCst);
        control.segment_size().store(bigger, Ordering::Relaxed);
        let map = Map::new(&file, shape.size as usize, Mode::Shared)?;
        Segment::begin(map, number, shape, previous, self.store_id()?)
    }

    /// Makes a file for the next segment, on a disk that is nearly full a smaller one that takes the record as well.
    fn create_segment(
        &self,
        control: &Control,
        mut shape: Shape,
        fits: impl Fn(Shape) -> bool,
        adds: bool,
    ) -> Result<(File, u32, Shape)> {
        if adds {
            self.keep_reserve(control)?;
        }
        loop {
            // What is in the log needs room in the data file before that of the log is free. What removes can be folded
            // with little.
            let smaller = Shape::of_size(shape.size / GROWTH);
            let can_be_smaller = smaller.size < shape.size && fits(smaller);
            let to_fold = match adds {
                true => (backlog(control) + u64::from(shape.size)) * 3 / 2 + 2 * ROOM_TO_FOLD,
                false if can_be_smaller => ROOM_TO_FOLD,
                false => 0,
            };
            if self.dir.free_bytes() >= to_fold + u64::from(shape.size) {
                let number = control.next_number().fetch_add(1, Ordering::SeqCst);
                match segment_file::create(&self.dir, number, shape.size) {
                    Err(Error::DiskFull { .. }) => {}
                    made => return Ok((made?, number, shape)),
                }
            }
            if can_be_smaller {
                shape = smaller;
            } else if adds || !reserve::give(&self.dir, shape.size, self.reserve_size())? {
                return Err(Error::DiskFull { context: "making room in the log" });
            }
        }
    }

    pub(super) fn next_shape(&self, control: &Control) -> Shape {
        let size = control.segment_size().load(Ordering::Relaxed);
        Shape::of_size(size.max(FIRST_SEGMENT).min(self.largest_segment()))
    }

    /// Ends the present segment, if it is larger than the first one after a quiet time is to be.
    pub(super) fn seal_if_large(&self, shared: &Shared, tail: Position) -> Result<()> {
        let control = &shared.control;
        control.segment_size().store(FIRST_SEGMENT, Ordering::Relaxed);
        self.seal_if_above(shared, tail, FIRST_SEGMENT.min(self.largest_segment()))
    }

    /// Ends the present segment, if it is larger than it may be and nothing was written since `tail`.
    pub(super) fn seal_if_above(&self, shared: &Shared, tail: Position, most: u32) -> Result<()> {
        let control = &shared.control;
        let open = control.open_segment().load(Ordering::Acquire);
        let is_large = self
            .segments
            .load()
            .newest()
            .is_some_and(|segment| segment.number == open && segment.size() > most);
        let is_ahead = control.prepared().load(Ordering::Acquire) != 0;
        if !is_large && !is_ahead {
            return Ok(());
        }
        let Some(_lock) = shared.append.try_lock(control)? else { return Ok(()) };
        self.mend(shared)?;
        if control.tail() == tail {
            if is_large {
                control.open_segment().store(0, Ordering::SeqCst);
                super::fault::point("a segment is ended");
            }
            self.drop_prepared(control)?;
        }
        Ok(())
    }
}

fn too_large() -> Error {
    Error::invalid("transaction", "one transaction can write two gigabytes at most")
}
