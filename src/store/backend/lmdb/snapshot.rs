//! Snapshots: what one reader sees, in LMDB and in the log behind it.
//!
//! LMDB runs without its lock file here, so it does not know its readers. A reader *pins* what it reads in its process's
//! slot of the control file, and whoever writes to LMDB waits until all pins are at the newest transaction. The order is
//! what makes it right: first the pin, then a second look at what is the newest, then the transaction; and of the log,
//! first what LMDB has of it, then its end.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::Guard;
use heed::{RoTxn, WithTls};

use super::control::{Control, PINS};
use super::env::lmdb_error;
use super::gaps::Gaps;
use super::map::Mode;
use super::position::{Point, Position};
use super::segment::{Segment, Unusable};
use super::segments::Segments;
use super::view::View;
use super::{Access, Lmdb};
use crate::error::{Error, Result};
use crate::store::format::layout::FOLD_KEY;
use crate::sync::lock;

/// A transaction of LMDB that is not disturbed while it is open. Ended in the order of the fields.
pub(super) struct Pinned<'e> {
    txn: RoTxn<'e, WithTls>,
    _pin: Option<Pin<'e>>,
}

impl Pinned<'_> {
    pub(super) fn txn(&self) -> &RoTxn<'_> {
        &self.txn
    }
}

struct Pin<'e>(&'e AtomicU64);

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

pub(super) struct Snapshot<'e> {
    pinned: Pinned<'e>,
    tree: super::env::Tree,
    segments: Guard<Arc<Segments>>,
    tail: Position,
    barrier: u64,
    /// Equal for snapshots that have the same settings, where that is known.
    settings: Option<u64>,
    gaps: &'e Gaps,
}

impl Snapshot<'_> {
    pub(super) fn view(&self) -> View<'_> {
        let log = self.segments.view(self.tail).after(self.barrier);
        View::new(&self.pinned.txn, self.tree, Some((log, self.gaps)), self.settings)
    }

    pub(super) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// The end of the log that it sees.
    pub(super) fn tail(&self) -> Position {
        self.tail
    }
}

/// Looks at a transaction that is newer than what is known to be complete, before it is believed to be.
const LOOKS: u32 = 50;
/// Snapshots tried because a fold was faster, before something must be wrong.
const TRIES: u32 = 1000;

thread_local! {
    /// Where this thread looks for a free pin first. Threads with numbers near each other are kept on different cache lines.
    static FIRST_PIN: Cell<usize> = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        const { assert!(PINS == 64) };
        Cell::new((number % 8) * 8 + number / 8 % 8)
    };
}

impl Lmdb {
    /// Opens a snapshot of all that is committed.
    pub(super) fn snapshot(&self) -> Result<Snapshot<'_>> {
        for _ in 0..TRIES {
            let before = self.settings();
            let (pinned, tail) = match &self.access {
                Access::Shared(shared) => (self.pin(&shared.control)?, None),
                Access::Detached(detached) => {
                    let txn = self.env.read_txn().map_err(|e| lmdb_error(e, "opening a read transaction"))?;
                    (Pinned { txn, _pin: None }, Some(detached.tail))
                }
            };
            super::fault::point("a snapshot of the data file is open");
            let mut segments = self.segments.load();
            let known = segments.txn == pinned.txn.id() as u64;
            let folded = match known {
                true => segments.folded,
                false => self.folded_in(&pinned)?,
            };
            // After `folded` is known: so what LMDB lacks is in the log up to here.
            let tail = tail.unwrap_or_else(|| self.tail());
            // But for what was written to LMDB directly since the snapshot was opened.
            let barrier = self.last_barrier();
            let now = self.settings();
            if barrier > folded.at.to_word() {
                continue;
            }
            if !known || !segments.covers(tail) {
                match self.map_segments((pinned.txn.id() as u64, folded), tail)? {
                    Some(found) => segments = Guard::from_inner(found),
                    None => continue,
                }
            }
            super::fault::point("a snapshot is open");
            let settings = Some(before).filter(|before| before.is_multiple_of(2) && *before == now);
            return Ok(Snapshot {
                pinned,
                tree: self.tree,
                segments,
                tail,
                barrier,
                settings,
                gaps: &self.gaps,
            });
        }
        Err(Error::damaged("a part of the log is missing"))
    }

    fn tail(&self) -> Position {
        match &self.access {
            Access::Shared(shared) => shared.control.tail(),
            Access::Detached(detached) => detached.tail,
        }
    }

    fn settings(&self) -> u64 {
        match &self.access {
            Access::Shared(shared) => shared.control.settings(),
            Access::Detached(_) => 0,
        }
    }

    fn last_barrier(&self) -> u64 {
        match &self.access {
            Access::Shared(shared) => shared.control.last_barrier().load(Ordering::Acquire),
            Access::Detached(_) => 0,
        }
    }

    /// Opens a transaction of LMDB and keeps it from being disturbed.
    pub(super) fn pin(&self, control: &Control) -> Result<Pinned<'_>> {
        let mut newest = control.newest().load(Ordering::Acquire);
        super::fault::point("a snapshot is to be pinned");
        let pin = take_pin(control, newest);
        super::fault::point("a snapshot is pinned");
        let word = self.shared_pin(pin)?;
        let mut looks = 0;
        loop {
            let now = control.newest().load(Ordering::SeqCst);
            if now != newest {
                newest = now;
                word.0.store(newest + 1, Ordering::SeqCst);
                looks = 0;
                continue;
            }
            let txn = self.env.read_txn().map_err(|e| lmdb_error(e, "opening a read transaction"))?;
            let id = txn.id() as u64;
            if id == newest {
                return Ok(Pinned { txn, _pin: Some(word) });
            }
            // A meta page that is being written can be seen half. One that has looked the same for a millisecond is not
            // being written: its writer was killed or stopped before it could say so, or is saying so now. Its pages
            // are as safe as those of the pin, which is older.
            if id == newest + 1 && (looks >= LOOKS || self.unpublished.load(Ordering::Relaxed) == id) {
                self.unpublished.store(id, Ordering::Relaxed);
                return Ok(Pinned { txn, _pin: Some(word) });
            }
            drop(txn);
            looks += 1;
            if looks == LOOKS {
                self.publish_for_the_dead(control)?;
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }

    /// Says for a process that was killed before it could what it has committed.
    #[cold]
    fn publish_for_the_dead(&self, control: &Control) -> Result<()> {
        let Access::Shared(shared) = &self.access else { return Ok(()) };
        // Whoever has the gate says so itself. That it is on the disk is seen to by the next who takes it to write.
        if let Some(_gate) = shared.gate.try_lock(control)? {
            control.newest().store(self.env.info().last_txn_id as u64, Ordering::SeqCst);
        }
        Ok(())
    }

    fn shared_pin(&self, (slot, pin): (usize, usize)) -> Result<Pin<'_>> {
        match &self.access {
            Access::Shared(shared) => Ok(Pin(shared.control.pin(slot, pin))),
            Access::Detached(_) => Err(Error::Closed),
        }
    }

    /// Up to where a transaction has the log.
    fn folded_in(&self, pinned: &Pinned<'_>) -> Result<Point> {
        let found = self.tree.get(&pinned.txn, FOLD_KEY).map_err(|e| lmdb_error(e, "reading"))?;
        Point::decode(found.ok_or_else(|| Error::damaged("the record of the fold is missing"))?)
    }

    /// Maps what lies between a snapshot of LMDB and the end of the log; `None` if a part of it has gone meanwhile.
    fn map_segments(&self, (txn, folded): (u64, Point), tail: Position) -> Result<Option<Arc<Segments>>> {
        let _mapping = lock(&self.mapping);
        let present = self.segments.load_full();
        if present.txn == txn && present.covers(tail) {
            return Ok(Some(present));
        }
        super::fault::point("a segment is to be mapped");
        let found = present.up_to((txn, folded), tail, |number| self.open_segment(number, folded))?;
        let Some(found) = found.map(Arc::new) else { return Ok(None) };
        if txn >= present.txn {
            self.segments.store(found.clone());
        }
        Ok(Some(found))
    }

    fn open_segment(&self, number: u32, folded: Point) -> Result<Segment> {
        let opened = Segment::open(&self.dir, number, self.store_id()?, Mode::Shared);
        opened.map(|segment| segment.behind(folded)).map_err(|why| match why {
            Unusable::Refused(error) => error,
            Unusable::Blank => Error::damaged("a part of the log has no header"),
        })
    }
}

/// Takes a free word of this process, with a transaction in it; waits for one if all are taken.
fn take_pin(control: &Control, txn: u64) -> (usize, usize) {
    let slot = control.slot();
    let first = FIRST_PIN.get();
    for step in 0.. {
        let pin = (first + step) % PINS;
        let word = control.pin(slot, pin);
        if word.load(Ordering::Relaxed) == 0
            && word.compare_exchange(0, txn + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        {
            return (slot, pin);
        }
        if step % PINS == PINS - 1 {
            std::thread::yield_now();
        }
    }
    unreachable!("there is no end to the steps")
}
