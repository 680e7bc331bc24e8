//! A way out of a damaged store: what can be read of it is copied into a new one, which is verified before anybody sees it.
//!
//! ```text
//! data file, log -> gather (the newest of each record) -> mend (what proves itself, listed anew) -> verify -> in place
//! ```
//!
//! The damaged files are read as files and never mapped, and nothing of them is changed. Whoever does this has the gate, so
//! that nobody opens the store meanwhile, and nobody has it open.

mod gather;
mod mend;
mod swap;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::gather::gather;
use self::mend::Mending;
use super::Store;
use super::backend::lmdb::remains;
use super::backend::{BackendKind, NewData, not_in_rocks};
use super::config::Request;
use super::copy::{Partial, remove_unfinished};
use super::directory::locks::{Gate, Member, Role};
use super::directory::making::{REPAIRED, make_directory, sync_directory};
use super::directory::store_dir::StoreDir;
use super::fault;
use super::opening::{open_first, prepare_directory};
use crate::clock::ClockSource;
use crate::error::{Error, Result};
use crate::pipeline::{Cipher, XChaCha20Poly1305};

/// Where the records are brought together, in the directory of the new store.
const GATHERED: &str = "gathered.tmp";
/// So many problems are described, and so many keys named.
const DESCRIBED: usize = 100;
const NAMED: usize = 1000;

/// What was copied and what was not.
#[derive(Default, Debug)]
pub(crate) struct Report {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    /// Namespaces and canonical keys.
    pub(crate) lost_keys: Vec<(String, Vec<u8>)>,
    pub(crate) may_be_old: bool,
    pub(crate) problems: u64,
    pub(crate) described: Vec<String>,
}

impl Report {
    fn problem(&mut self, text: String) {
        self.problems += 1;
        if self.described.len() < DESCRIBED {
            self.described.push(text);
        }
    }

    fn lost_key(&mut self, namespace: &str, key: &[u8]) {
        if self.lost_keys.len() < NAMED {
            self.lost_keys.push((namespace.to_owned(), key.to_vec()));
        }
    }
}

/// Copies what can be read of a store into a new directory, which is complete or absent afterwards.
pub(crate) fn salvage(request: &Request, to: &Path) -> Result<Report> {
    let held = Held::take(request)?;
    let partial = Partial::beside(to, "path to salvage to")?;
    make_directory(&partial.within())?;
    let report = held.copy(request, &partial.within())?;
    partial.put_within_in_place(to)?;
    Ok(report)
}

/// Puts what can be read of a store in its place, and keeps the damaged files beside it; where is returned.
pub(crate) fn repair(request: &Request) -> Result<(Report, PathBuf)> {
    let held = Held::take(request)?;
    let made = held.dir.path().join(REPAIRED);
    remove_unfinished(&made)?;
    make_directory(&made)?;
    let repaired = held.copy(request, &made).and_then(|report| {
        fault::point("a repaired store is verified");
        Ok((report, swap::put_in_place(&held.dir, &made)?))
    });
    // Whatever stays of it the next process to open the store removes.
    drop(std::fs::remove_dir_all(&made));
    repaired
}

/// Puts nothing in the place of a store that cannot be opened for damage, and keeps its files beside it; where is returned.
pub(crate) fn set_aside(request: &Request) -> Result<Option<PathBuf>> {
    // So that what another process has put there since is not taken for what could not be opened.
    let seen = BackendKind::identity_at(&request.path);
    match Store::open(request) {
        Ok(_) => return Ok(None),
        Err(error) if error.is_damaged() || error.is_tampered() => {}
        Err(error) => return Err(error),
    }
    let held = Held::take(request)?;
    if BackendKind::identity_at(held.dir.path()) != seen {
        return Ok(None);
    }
    let made = held.dir.path().join(REPAIRED);
    remove_unfinished(&made)?;
    make_directory(&made)?;
    let begun = || {
        let new = NewData::with_map_size(&made, Request::MAP_SIZE)?;
        let highest = remains::highest(&held.dir)?;
        new.batch().finish(&remains::new_log(highest, None, 0)?)?;
        new.sync()?;
        swap::put_in_place(&held.dir, &made)
    };
    let kept = begun();
    drop(std::fs::remove_dir_all(&made));
    kept.map(Some)
}

/// A store that nobody has open, and that nobody can open.
struct Held {
    dir: Arc<StoreDir>,
    _member: Member,
    _gate: Gate,
}

impl Held {
    fn take(request: &Request) -> Result<Held> {
        if let Some(secret) = &request.secret {
            secret.check()?;
        }
        let path = prepare_directory(&Request { read_only: true, ..request.clone() })?;
        let (gate, dir) = Gate::of(&path, None)?;
        if BackendKind::found(&path) == Some(BackendKind::RocksDb) {
            return Err(not_in_rocks());
        }
        if !remains::are_there(&dir)? {
            return Err(Error::NotFound { path });
        }
        let member = Member::join(&dir)?;
        if !member.is_only(Role::User)? {
            let detail = "it is open; close it in all processes first, this one too";
            return Err(Error::Busy { path, detail: detail.into() });
        }
        Ok(Held { dir, _member: member, _gate: gate })
    }

    /// Makes a store of what can be read, and verifies it.
    fn copy(&self, request: &Request, to: &Path) -> Result<Report> {
        let mut report = Report::default();
        let scratch = to.join(GATHERED);
        make_directory(&scratch)?;
        let size = remains::bytes(&self.dir)?.saturating_mul(4).min(usize::MAX as u64) as usize;
        let map_size = Request::MAP_SIZE.max(size.next_multiple_of(64 << 10));
        let from = NewData::with_map_size(&scratch, map_size)?;
        let gathered = gather(&self.dir, &from, &mut report)?;
        let into = NewData::with_map_size(to, map_size)?;
        let cipher = request.cipher.clone().unwrap_or_else(|| Arc::new(XChaCha20Poly1305) as Arc<dyn Cipher>);
        let clock = ClockSource::default();
        let mending = Mending {
            path: self.dir.path(),
            from: &from,
            gathered,
            secret: request.secret.as_ref(),
            cipher: &*cipher,
            clock: &clock,
        };
        mending.mend(&into, &mut report)?;
        into.sync()?;
        drop(from);
        std::fs::remove_dir_all(&scratch).map_err(|e| Error::io("removing what was gathered", e))?;
        verify(request, to)?;
        sync_directory(to)?;
        Ok(report)
    }
}

/// Looks at all of a new store that nobody else knows of.
fn verify(request: &Request, path: &Path) -> Result<()> {
    let dir = path.canonicalize().map_err(|e| Error::io("resolving the store's path", e))?;
    let request = Request { path: dir.clone(), read_only: true, ..request.clone() };
    let shared = open_first(dir, &request)?;
    let Some(live) = shared.current.swap(None) else { return Err(Error::Closed) };
    let findings = live.verify()?;
    drop(live);
    match findings.described.into_iter().next() {
        None => Ok(()),
        Some(problem) => Err(Error::damaged(format!("what was copied does not hold: {problem}"))),
    }
}
