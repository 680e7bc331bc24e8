//! Folding: moving what is in the log into LMDB, in one synchronous transaction that also says up to where.
//!
//! Whoever folds holds the gate. LMDB knows nothing of its readers here, and takes for its next transaction pages that no
//! reader of the newest one can need; so a fold waits until nobody reads an older one, or is put off.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use heed::{DatabaseStat, RwTxn};

use super::append::growth;
use super::control::{Control, PINS};
use super::env::lmdb_error;
use super::pack::Packer;
use super::position::{Point, Position};
use super::room::{DISK, MAP, PAGE, cost_of};
use super::segment::{Change, HEADER};
use super::segments::{LogView, Segments};
use super::shared_lock::SharedGuard;
use super::{Lmdb, Shared, reserve, segment_file};
use crate::error::{Error, Result};
use crate::store::format::layout::{FOLD_KEY, kind};

/// How long a fold waits for readers of an older transaction. They read for microseconds, unless they copy the store or are
/// stopped.
const FOR_READERS: Duration = Duration::from_millis(50);
/// Bytes of the log that are folded at once at most, unless a single transaction has more: LMDB keeps the pages that they go
/// into in memory until it commits.
const AT_ONCE: u64 = 32 << 20;
/// The same for a writer who folds because nobody else does: its write waits for it, a twentieth of a second or so.
const BY_A_WRITER: u64 = 1 << 20;

/// What a fold may cost where there is hardly any room.
const FEW: u64 = 3 * PAGE;

/// How much of the log to fold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// What is in segments that are not written to any more, or a part of that.
    Ended,
    /// A small part of that.
    Little,
    /// Everything up to the tail of the moment, or a part of that.
    All,
}

/// What of the log is committed.
#[derive(Clone, Copy)]
enum Upto {
    /// Everything up to a point.
    All(Point),
    /// Some of what is in it before a place.
    Part(Position),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Folded {
    Nothing,
    Something,
    /// A snapshot is kept open that is older than the newest transaction.
    PutOff,
}

impl Lmdb {
    /// Folds if nobody else is at it.
    pub(super) fn try_fold(&self, extent: Extent) -> Result<Folded> {
        let shared = self.shared()?;
        match shared.gate.try_lock(&shared.control)? {
            Some(gate) => self.fold(shared, &gate, extent),
            None => Ok(Folded::Nothing),
        }
    }

    /// Folds everything that is in the log now, as far as snapshots that are kept open let it.
    pub(super) fn fold_all(&self, shared: &Shared, gate: &SharedGuard<'_>) -> Result<Folded> {
        loop {
            match self.fold(shared, gate, Extent::All)? {
                Folded::Something => {}
                done => return Ok(done),
            }
        }
    }

    pub(super) fn fold(&self, shared: &Shared, _gate: &SharedGuard<'_>, extent: Extent) -> Result<Folded> {
        let control = &shared.control;
        let (folded, was_full) = match self.fold_slice(control, extent, self.most_folded(control)) {
            Err(error) if error.is_full() => (self.fold_without_room(control, extent), true),
            folded => (folded, control.full().load(Ordering::Relaxed) != 0),
        };
        let full = match &folded {
            Err(Error::DiskFull { .. }) => DISK,
            Err(Error::StoreFull { .. }) => MAP,
            Ok(Folded::Something | Folded::Nothing) => 0,
            _ => return folded,
        };
        control.full().store(full, Ordering::SeqCst);
        if was_full {
            // It may have been given up.
            self.keep_reserve(control)?;
        }
        if folded? == Folded::Something {
            self.keep_within_limit(control)?;
            return Ok(Folded::Something);
        }
        Ok(Folded::Nothing)
    }

    /// Again, with all the room there is to be had, and as little at once as can be.
    #[cold]
    fn fold_without_room(&self, control: &Control, extent: Extent) -> Result<Folded> {
        // What was written in vain lies on free pages and behind the last.
        self.reclaim(control, u64::MAX)?;
        let is_full = |folded: &Result<Folded>| folded.as_ref().is_err_and(Error::is_full);
        let mut folded = self.fold_slice(control, extent, FEW);
        if is_full(&folded) {
            self.reclaim(control, u64::MAX)?;
            if self.fold_removals(control)? {
                folded = self.fold_slice(control, extent, FEW);
            }
        }
        if is_full(&folded) {
            self.reclaim(control, u64::MAX)?;
        }
        folded
    }

    /// Removes from LMDB what the log removes, before what it inserts: that frees room. The reserve is given up for it. Returns whether there was anything.
    fn fold_removals(&self, control: &Control) -> Result<bool> {
        let (segments, tail) = self.log()?;
        let mut changes = newest_changes(segments.view(tail));
        changes.retain(|change| change.value.is_none());
        if !changes.iter().any(|change| change.key.first() == Some(&kind::ENTRY)) {
            return Ok(false);
        }
        reserve::release(&self.dir)?;
        // A part of what is in the log, as below.
        self.sync_up_to(tail)?;
        let folded = self.commit_parts(control, changes, FEW, Upto::Part(tail))?;
        self.reclaim(control, u64::MAX)?;
        // Before what was inserted takes it.
        reserve::keep(&self.dir, self.reserve_size())?;
        Ok(folded == Folded::Something)
    }

    /// The log as it is now, kept open without a snapshot of LMDB.
    fn log(&self) -> Result<(Arc<Segments>, Position)> {
        let snapshot = self.snapshot()?;
        Ok((snapshot.segments().clone(), snapshot.tail()))
    }

    /// Folds the next transactions, as many as cost no more than `most` together, or one.
    fn fold_slice(&self, control: &Control, extent: Extent, most: u64) -> Result<Folded> {
        control.check_poison()?;
        let newest = self.settle(control)?;
        if !wait_for_readers(control, newest, FOR_READERS)? {
            control.stuck().fetch_max(1, Ordering::Relaxed);
            return Ok(Folded::PutOff);
        }
        control.stuck().store(0, Ordering::Relaxed);
        // What the last fold left over the limit, if there were readers then.
        self.keep_within_limit(control)?;
        super::fault::point("a fold begins");
        // Before the tail is looked at: what is appended meanwhile counts as not folded.
        let logged = control.logged().load(Ordering::SeqCst);
        let (segments, tail) = self.log()?;
        let Some(upto) = self.slice(segments.view(tail), tail, extent, most) else {
            // Whoever folded last may have been killed before it could.
            let folded_logged = logged.saturating_sub(bytes_of(segments.view(tail)));
            self.folded_to(control, segments.folded.at, folded_logged)?;
            return Ok(Folded::Nothing);
        };
        let left = bytes_of(segments.view(tail)) - bytes_of(segments.view(upto.at));
        let changes = newest_changes(segments.view(upto.at));
        let folded = self.commit_parts(control, changes, most, Upto::All(upto))?;
        if folded == Folded::Something {
            self.folded_to(control, upto.at, logged.saturating_sub(left))?;
        }
        Ok(folded)
    }

    /// Writes changes to LMDB, in several commits if they cost much more than `most`.
    ///
    /// A part of what is in the log does no harm to those who read: the log tells them the same of these keys, until it is
    /// known that LMDB has all of it. But the log has to be on the disk before that part is.
    fn commit_parts(
        &self,
        control: &Control,
        changes: Vec<Change<'_>>,
        most: u64,
        upto: Upto,
    ) -> Result<Folded> {
        let mut changes = changes.as_slice();
        loop {
            let mut grown = 0;
            let mut txn =
                self.env.write_txn().map_err(|e| self.env.failed(e, "opening a write transaction"))?;
            let applied = self.apply(&mut txn, &mut changes, most, &mut grown);
            let is_all = applied.and_then(|is_all| {
                match upto {
                    Upto::All(upto) if is_all => self.put_folded(&mut txn, upto)?,
                    Upto::All(Point { at, .. }) | Upto::Part(at) => self.sync_up_to(at)?,
                }
                Ok(is_all)
            });
            let is_all = is_all?;
            super::fault::point("a fold is to be committed");
            if let (Upto::All(upto), true) = (upto, super::fault::breaks("commit, then remove")) {
                self.forget_folded(control, upto.at)?;
            }
            let pages = self.tree.stat(&txn).map_err(|e| lmdb_error(e, "committing"))?;
            txn.commit().map_err(|e| self.env.failed(e, "committing"))?;
            super::fault::point("a fold is committed");
            // The one before, if nothing changed.
            let newest = self.env.info().last_txn_id as u64;
            if super::fault::breaks("what is punched is free on the disk") {
                self.punch_free(newest, u64::MAX)?;
            }
            self.publish(control, newest)?;
            super::fault::point("a fold is published");
            self.note_tree(control, &pages);
            control.folded_grown().fetch_add(grown as u64, Ordering::Relaxed);
            if is_all {
                return Ok(Folded::Something);
            }
            if !wait_for_readers(control, newest, FOR_READERS)? {
                control.stuck().fetch_max(1, Ordering::Relaxed);
                return Ok(Folded::PutOff);
            }
            match most {
                // So that each part needs no more room than the one before.
                FEW => self.reclaim(control, u64::MAX)?,
                _ => self.keep_within_limit(control)?,
            }
        }
    }

    /// Where the next fold is to end: behind the transactions that cost no more than `most` together, but behind one at
    /// least.
    fn slice(&self, log: LogView<'_>, tail: Position, extent: Extent, most: u64) -> Option<Point> {
        let (mut upto, mut cost, mut bytes) = (None, 0, 0u64);
        let at_once = if extent == Extent::Little { BY_A_WRITER } else { AT_ONCE };
        for (segment, start, end) in log.parts() {
            if extent != Extent::All && segment.number >= tail.segment {
                break;
            }
            if end == HEADER {
                upto = Some(segment.first());
            }
            for record in segment.records(start, end) {
                let changes = segment.changes(record.start, record.end).map(|listed| listed.change);
                cost += changes.map(|change| cost_of(&change, self.page_size)).sum::<u64>();
                bytes += u64::from(record.end - record.start);
                if upto.is_some() && (cost > most || bytes > at_once) {
                    return upto;
                }
                let at = Position { segment: segment.number, offset: record.end };
                upto = Some(Point { at, checksum: record.checksum });
            }
        }
        upto
    }

    /// Makes known that LMDB has the log up to a place, durably, and removes what is not needed any more.
    /// `logged` is what of the bytes that were ever logged it has; not a sum of what each fold had, as that lacks folds
    /// whose processes were killed.
    pub(super) fn folded_to(&self, control: &Control, upto: Position, logged: u64) -> Result<()> {
        control.folded().fetch_max(upto.to_word(), Ordering::SeqCst);
        control.synced().fetch_max(upto.to_word(), Ordering::SeqCst);
        control.folded_logged().store(logged, Ordering::Relaxed);
        super::fault::point("a fold is told of");
        self.forget_folded(control, upto)
    }

    /// Writes changes until they have cost much more than `most`. Returns `true` if that was all. Counts by what they let the tree
    /// grow, where that matters. Nothing was written by the transaction before.
    fn apply<'c>(
        &self,
        txn: &mut RwTxn<'_>,
        changes: &mut &'c [Change<'c>],
        most: u64,
        grown: &mut i64,
    ) -> Result<bool> {
        let failed = |e| self.env.failed(e, "moving the log into the data file");
        let old = self.env.read_txn().map_err(failed)?;
        let page_size = self.page_size as usize;
        // Where there is hardly any room, none is spent to save some.
        let is_packed = self.limit().is_some() && most != FEW;
        let packer = is_packed.then(|| Packer { tree: self.tree, old: &old, page_size });
        let is_counted = self.is_counted();
        let (mut cost, mut done) = (0, Vec::new());
        while !changes.is_empty() && cost <= most.saturating_mul(2) {
            let (count, packed) = match &packer {
                Some(packer) => packer.apply(txn, changes, &mut done).map_err(failed)?,
                None => (1, 0),
            };
            let (now, others) = changes.split_at(count.max(1));
            *changes = others;
            for change in now {
                if is_counted {
                    let old = self.tree.get(&old, change.key).map_err(failed)?;
                    *grown += growth(change.key, old.map(<[u8]>::len), change.value.map(<[u8]>::len));
                }
                if packer.is_none() {
                    self.apply_one(txn, change)?;
                }
                cost += cost_of(change, self.page_size);
            }
            cost += packed as u64 * PAGE;
        }
        Ok(changes.is_empty())
    }

    pub(super) fn apply_one(&self, txn: &mut RwTxn<'_>, change: &Change<'_>) -> Result<()> {
        let applied = match change.value {
            Some(value) => self.tree.put(txn, change.key, value),
            None => self.tree.delete(txn, change.key).map(drop),
        };
        applied.map_err(|e| self.env.failed(e, "moving the log into the data file"))
    }

    /// Writes up to where LMDB has the log.
    pub(super) fn put_folded(&self, txn: &mut RwTxn<'_>, upto: Point) -> Result<()> {
        let put = self.tree.put(txn, FOLD_KEY, &upto.encode());
        put.map_err(|e| self.env.failed(e, "moving the log into the data file"))
    }

    /// Tells how many pages the records take.
    pub(super) fn note_tree(&self, control: &Control, stat: &DatabaseStat) {
        // A damaged meta page can say anything.
        let pages = stat.branch_pages.saturating_add(stat.leaf_pages).saturating_add(stat.overflow_pages);
        control.tree_pages().store(pages as u64, Ordering::Relaxed);
    }

    /// By what a part of the log will let the tree grow. Nobody folds meanwhile.
    pub(super) fn growth_of(&self, log: LogView<'_>) -> Result<i64> {
        let failed = |e| lmdb_error(e, "reading");
        let txn = self.env.read_txn().map_err(failed)?;
        let changes = newest_changes(log);
        changes.iter().try_fold(0, |grown, change| {
            let old = self.tree.get(&txn, change.key).map_err(failed)?;
            Ok(grown + growth(change.key, old.map(<[u8]>::len), change.value.map(<[u8]>::len)))
        })
    }

    /// Tells readers of a commit, and returns when that is on the disk. Until it is, the log still has all of it.
    pub(super) fn publish(&self, control: &Control, txn: u64) -> Result<()> {
        control.newest().store(txn, Ordering::SeqCst);
        super::fault::point("a commit is told of and not synced");
        self.sync_newest(control, txn)
    }

    pub(super) fn sync_newest(&self, control: &Control, txn: u64) -> Result<()> {
        self.sync_data(control)?;
        control.newest_synced().store(txn, Ordering::SeqCst);
        Ok(())
    }

    /// Returns when all that was committed to LMDB is on the disk.
    pub(super) fn sync_data(&self, control: &Control) -> Result<()> {
        let synced = match super::fault::breaks("LMDB is synced") {
            true => Ok(()),
            false => self.env.force_sync(),
        };
        synced.map_err(|error| {
            // What the system could not write it may have dropped: a second try would say that all is well.
            control.poison();
            lmdb_error(error, "syncing the data file")
        })
    }

    /// With the gate held nobody writes a meta page: what they say is the newest. Its writer may have been killed before
    /// it could say so, or before it was on the disk.
    pub(super) fn settle(&self, control: &Control) -> Result<u64> {
        let newest = self.env.info().last_txn_id as u64;
        if control.newest().load(Ordering::SeqCst) != newest {
            control.newest().store(newest, Ordering::SeqCst);
        }
        if control.newest_synced().load(Ordering::SeqCst) != newest {
            self.sync_newest(control, newest)?;
        }
        Ok(newest)
    }

    /// Removes the segments that LMDB has, on the disk.
    pub(super) fn forget_folded(&self, control: &Control, folded: Position) -> Result<()> {
        let open = control.open_segment().load(Ordering::Acquire);
        let tail = control.tail();
        // All of the last one that was folded is, if the log goes on from there elsewhere.
        let has_ended = || {
            let segments = self.segments.load();
            tail <= folded || segments.view(tail).parts().any(|(segment, ..)| segment.previous.at == folded)
        };
        for number in segment_file::list(&self.dir)? {
            if number < folded.segment || (number == folded.segment && number != open && has_ended()) {
                segment_file::remove(&self.dir, number)?;
            }
        }
        Ok(())
    }
}

/// The newest version of each key that a part of the log changes, in the order of the tree, and the bytes of that part.
pub(super) fn newest_changes(log: LogView<'_>) -> Vec<Change<'_>> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    for (segment, start, end) in log.parts() {
        changes.extend(segment.changes(start, end).map(|listed| listed.change));
    }
    // Stable: of equal keys the last is the newest.
    changes.sort_by(|a, b| a.key.cmp(b.key));
    changes.dedup_by(|next, kept| {
        let is_same = next.key == kept.key;
        if is_same {
            *kept = *next;
        }
        is_same
    });
    changes
}

/// Bytes of the records in a part of the log.
fn bytes_of(log: LogView<'_>) -> u64 {
    log.parts().map(|(_, start, end)| u64::from(end - start.max(HEADER))).sum()
}

/// The first process that reads in a snapshot which is so old.
pub(super) fn reader(control: &Control, newest: u64) -> Option<u64> {
    let reads = |slot: &usize| {
        (0..PINS).any(|pin| (1..=newest).contains(&control.pin(*slot, pin).load(Ordering::SeqCst)))
    };
    (0..control.slots_used()).find(reads).map(|slot| control.process_of(slot))
}

/// Returns whether nobody reads a transaction older than this one, after waiting for those who do. The caller holds the gate,
/// so nobody begins to.
pub(super) fn wait_for_readers(control: &Control, newest: u64, most: Duration) -> Result<bool> {
    let until = Instant::now() + most;
    for slot in 0..control.slots_used() {
        for pin in 0..PINS {
            let word = control.pin(slot, pin);
            let mut spins = 0;
            loop {
                let pinned = word.load(Ordering::SeqCst);
                // A pin is a transaction and one.
                if pinned == 0 || pinned > newest {
                    break;
                }
                spins += 1;
                if spins < 100 {
                    std::hint::spin_loop();
                    continue;
                }
                if control.if_dead(slot, || ())?.is_some() {
                    break;
                }
                if Instant::now() > until {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    }
    Ok(true)
}
