//! A transaction that is written to LMDB directly, for what would be too much for the log: filling a whole store.
//!
//! All that is in the log goes along, so that LMDB has everything afterwards. While it commits, the token is that of no
//! snapshot; and a reader whose snapshot of LMDB is from before it looks again, because the log does not tell it what it
//! lacks.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use heed::RwTxn;

use super::append::Facts;
use super::env::lmdb_error;
use super::fold::{newest_changes, reader, wait_for_readers};
use super::position::{Point, Position};
use super::shared_lock::SharedGuard;
use super::view::View;
use super::{Lmdb, Shared};
use crate::error::{Error, Result};

/// How long it waits for whoever reads an older transaction.
const FOR_READERS: Duration = Duration::from_secs(30);
const AT_A_TIME: Duration = Duration::from_millis(20);

pub(crate) struct Whole<'a> {
    // Ended in this order.
    txn: RwTxn<'a>,
    _append: SharedGuard<'a>,
    _gate: SharedGuard<'a>,
    lmdb: &'a Lmdb,
    shared: &'a Shared,
    tail: Position,
    newest: u64,
}

impl Lmdb {
    pub(in crate::store::backend) fn begin_whole(&self) -> Result<Whole<'_>> {
        let shared = self.shared()?;
        let control = &shared.control;
        let gate = shared.gate.lock(control)?;
        let newest = self.settle(control)?;
        let begun = Instant::now();
        while !wait_for_readers(control, newest, AT_A_TIME)? {
            crate::waiting::go_on_waiting()?;
            if begun.elapsed() < FOR_READERS {
                continue;
            }
            let who = reader(control, newest)
                .map_or("another process".into(), |process| format!("process {process}"));
            let detail = format!(
                "{who} keeps a snapshot open, for a backup or because it was stopped while it read; try again when that has \
                 ended"
            );
            return Err(Error::Busy { path: self.dir.path().to_owned(), detail: detail.into() });
        }
        let append = shared.append.lock(control)?;
        self.mend(shared)?;
        let snapshot = self.snapshot()?;
        let tail = snapshot.tail();
        // So that the record that ends it finds room.
        self.room_for(shared, tail, 16, Facts { adds: true, ..Facts::OF_THE_END })?;
        let mut txn = self.env.write_txn().map_err(|e| self.env.failed(e, "opening a write transaction"))?;
        let upto = Point { at: tail, checksum: control.checksum().load(Ordering::Acquire) };
        let changes = newest_changes(snapshot.segments().view(tail));
        let applied = changes.iter().try_for_each(|change| self.apply_one(&mut txn, change));
        applied.and_then(|()| self.put_folded(&mut txn, upto))?;
        drop(snapshot);
        super::fault::point("a whole transaction begins");
        Ok(Whole { txn, _append: append, _gate: gate, lmdb: self, shared, tail, newest })
    }
}

impl Whole<'_> {
    /// The last commit before this one.
    pub(crate) fn base(&self) -> u64 {
        self.tail.to_word()
    }

    pub(crate) fn view(&self) -> View<'_> {
        View::new(&self.txn, self.lmdb.tree, None, None)
    }

    /// Bytes that the store takes.
    pub(crate) fn used_bytes(&self) -> Result<u64> {
        Ok(self.view().used_pages()?.saturating_mul(self.lmdb.page_size))
    }

    pub(crate) fn put(&mut self, key: &[u8], head: &[u8], body: &[u8]) -> Result<()> {
        let put = match body {
            [] => self.lmdb.tree.put(&mut self.txn, key, head),
            body => self.lmdb.tree.put_reserved(&mut self.txn, key, head.len() + body.len(), |space| {
                std::io::Write::write_all(space, head)?;
                std::io::Write::write_all(space, body)
            }),
        };
        put.map_err(|e| self.explained(e, "writing"))
    }

    /// Removes a record. Returns `true` if it was there.
    pub(crate) fn delete_if(&mut self, key: &[u8], is_it: impl FnOnce(&[u8]) -> bool) -> Result<bool> {
        if !self.view().get(key)?.is_some_and(is_it) {
            return Ok(false);
        }
        self.lmdb.tree.delete(&mut self.txn, key).map_err(|e| self.explained(e, "writing"))
    }

    /// Removes all records but the one that says up to where LMDB has the log.
    #[cfg(feature = "load")]
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.lmdb.tree.clear(&mut self.txn).map_err(|e| self.explained(e, "writing"))
    }

    /// Writes a record that sorts behind all others, without searching for its place.
    #[cfg(feature = "load")]
    #[inline]
    pub(crate) fn append(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let put = self.lmdb.tree.put_with_flags(&mut self.txn, heed::PutFlags::APPEND, key, value);
        put.map_err(|e| self.explained(e, "writing"))
    }

    /// Returns when it is on the disk, with the new end of the log.
    pub(crate) fn commit(self) -> Result<u64> {
        let Whole { mut txn, _append, _gate, lmdb, shared, tail, newest } = self;
        let control = &shared.control;
        let upto = Point { at: tail, checksum: control.checksum().load(Ordering::Acquire) };
        // Again, since all may have been removed.
        lmdb.put_folded(&mut txn, upto)?;
        let pages = lmdb.tree.stat(&txn).map_err(|e| lmdb_error(e, "committing"))?;
        control.appending().store(1, Ordering::SeqCst);
        control.begin_settings();
        control.begin_barrier();
        super::fault::point("a whole transaction is to be committed");
        let committed = txn.commit().map_err(|e| lmdb.env.failed(e, "committing"));
        super::fault::point("a whole transaction is committed");
        if super::fault::breaks("a barrier ends when it is on the disk") {
            control.newest().store(newest + 1, Ordering::SeqCst);
            control.last_barrier().store(tail.to_word(), Ordering::SeqCst);
            let end = lmdb.append(shared, tail, std::iter::empty(), Facts::OF_THE_END)?;
            drop(_append);
            std::thread::sleep(Duration::from_millis(3));
            lmdb.publish(control, newest + 1)?;
            return Ok(end.to_word());
        }
        let published = committed.and_then(|()| {
            let published = lmdb.publish(control, newest + 1);
            control.last_barrier().store(tail.to_word(), Ordering::SeqCst);
            published
        });
        super::fault::point("a whole transaction is published");
        let logged = control.logged().load(Ordering::SeqCst);
        // Whatever became of it, the barrier has to end.
        let end = lmdb.append(shared, tail, std::iter::empty(), Facts::OF_THE_END)?;
        published?;
        lmdb.written.store(true, Ordering::Release);
        lmdb.note_tree(control, &pages);
        control.folded_grown().store(control.grown().load(Ordering::Relaxed), Ordering::Relaxed);
        lmdb.folded_to(control, tail, logged)?;
        Ok(end.to_word())
    }

    fn explained(&self, error: heed::Error, context: &'static str) -> Error {
        self.lmdb.env.failed(error, context)
    }
}
