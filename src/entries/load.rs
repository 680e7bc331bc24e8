//! Loading files into a namespace: all their records in one transaction, or none.
//!
//! Records are sorted by the hash of their key, which is the order of the tree. Into a store without entries they are
//! appended, by two threads: one merges and makes the records of the tree, the other writes them. Else each is looked
//! for first.

mod append;
mod pipeline;

use std::sync::Arc;

pub use self::pipeline::ByteEntry;
pub(crate) use self::pipeline::MakeEntry;
use self::pipeline::{Loaded, Pipeline, reseal};
use super::change::new_header;
use super::{At, Entries, Life};
use crate::error::{Error, Result};
use crate::load::{Existing, KeyRange, Listing, Load, Place, Sorted, Summary, Watch};
use crate::pipeline::MAX_ENTRY;
use crate::store::{
    Counters, ENTRY_VERSION_1, ENTRY_VERSION_2, Header, NewEntry, Number, STAGE_NAMED, STAGE_NONE, Writer,
    checksum, largest_entry, order_key,
};

/// What all entries of a load share, and where they go.
struct Plan<'a> {
    sorted: &'a Sorted,
    template: Header,
    /// For each file, the first insertion number of its records.
    starts: Vec<u64>,
}

impl Plan<'_> {
    /// The insertion number of a record: numbers are in the order of the files, with gaps, so that they need no
    /// counting.
    fn number(&self, place: Place) -> Number {
        Number(self.starts.get(place.file()).copied().unwrap_or(0).saturating_add(place.offset()))
    }
}

#[derive(Clone, Copy, Default)]
struct Done {
    written: u64,
    duplicates: u64,
    kept: u64,
}

impl Entries {
    /// Loads files. The commit tells no keys, so nothing that is in memory is good afterwards.
    pub(crate) fn load(
        &self,
        load: Load,
        (existing, life): (Existing, Life),
        make: MakeEntry<'_>,
        watch: &mut dyn Watch,
    ) -> Result<Summary> {
        if load.format().is_sorted {
            let reason =
                "entries are kept in the order of their hashes, so sorted files are of no use: leave it out";
            return Err(Error::invalid("is_sorted", reason));
        }
        let at = self.at_for_writing()?;
        let live = &at.live;
        // One transaction of RocksDB would keep all in memory.
        live.check_whole()?;
        let namespace = live.read(|view| self.space.namespace.id(live, view))?;
        let unlocked = live.unlocked.clone();
        let mut template = new_header(live.config.clock.now(), life, 0, false);
        template.namespace = namespace;
        (template.version, template.cipher) = match unlocked.keys {
            Some(_) => (ENTRY_VERSION_2, STAGE_NAMED),
            None => (ENTRY_VERSION_1, STAGE_NONE),
        };
        let pipeline = Pipeline {
            space: &self.space,
            make,
            unlocked: unlocked.clone(),
            cipher: live.config.cipher.clone(),
            template,
            largest: live.max_bytes.map_or(MAX_ENTRY, |max| largest_entry(max).min(MAX_ENTRY)),
        };
        // Not held while the files are read, which can take hours.
        drop(at);
        let mut sorted = load.sort(&pipeline, watch)?;
        sorted.prepare_listing()?;
        let begun = std::time::Instant::now();
        let done = sorted.supervised(watch, |sorted| {
            let at = self.at_for_writing()?;
            if !Arc::ptr_eq(&at.live.unlocked, &unlocked) {
                return Err(at.changed("the store was encrypted anew"));
            }
            at.check_limit(sorted)?;
            let write = |writer: &mut Writer<'_>| at.write_loaded(writer, sorted, &template, existing);
            at.live.write_whole(write, |commit| at.space.forget_all(commit))
        })?;
        let mut summary = sorted.into_summary();
        summary.written = done.written;
        summary.duplicates += done.duplicates;
        summary.kept = done.kept;
        summary.writing = begun.elapsed();
        Ok(summary)
    }
}

impl At<'_> {
    fn changed(&self, how: &str) -> Error {
        let detail = format!("{how} while the files were read; nothing was changed, load them again");
        Error::Busy { path: self.live.dir.clone(), detail: detail.into() }
    }

    /// Refuses more than a limited store can hold, before room is made for it by evicting what is there.
    fn check_limit(&self, sorted: &Sorted) -> Result<()> {
        let Some(max) = self.live.max_bytes else { return Ok(()) };
        let mut merge = sorted.merge(&KeyRange::default(), 1)?;
        merge.uncounted();
        let mut bytes = 0;
        while let Some(entry) = merge.next()? {
            // Header, key of the tree, and the entry in the order of insertion.
            bytes += (entry.value.len() + 80 + 17 + 40) as u64;
        }
        if bytes <= max / 4 * 3 {
            return Ok(());
        }
        let detail = format!(
            "what is to be loaded takes {bytes} bytes, and entries may take three quarters of the limit; nothing \
             was changed, raise max_bytes or load less"
        );
        Err(Error::StoreFull { limit: max, detail: detail.into() })
    }

    fn write_loaded(
        &self,
        writer: &mut Writer<'_>,
        sorted: &Sorted,
        template: &Header,
        existing: Existing,
    ) -> Result<Done> {
        let limit = self.space.namespace.limit(writer.live(), &writer.view())?;
        if limit.namespace != template.namespace {
            return Err(self.changed("the namespace was cleared"));
        }
        let before = writer.view().counters(limit.namespace)?;
        let mut starts = sorted.starts();
        starts.iter_mut().for_each(|start| *start = start.saturating_add(before.next));
        let next = starts.last().copied().unwrap_or(before.next);
        let template = Header { stamp: writer.stamp(), ..*template };
        let plan = Plan { sorted, template, starts };
        let done = match writer.begin_appending()? {
            Some(others) => plan.append(writer, others, next)?,
            None => {
                let mut listing = Listing::new(sorted);
                let (done, new) = self.insert_each(writer, &plan, existing, &mut listing)?;
                let mut listed = listing.finish()?;
                while let Some((number, hash)) = listed.next()? {
                    writer.put(&order_key(limit.namespace, Number(number)), &hash)?;
                }
                // Removing what was expired has changed them, too.
                let now = writer.view().counters(limit.namespace)?;
                writer.set_counters(
                    limit.namespace,
                    Counters { entries: now.entries + new, next: next.max(now.next) },
                )?;
                done
            }
        };
        writer.enforce_limits(limit)?;
        writer.forget_written();
        sorted.go_on()?;
        Ok(done)
    }

    /// Writes each entry where it belongs in a store that has others. Also tells how many are new.
    fn insert_each(
        &self,
        writer: &mut Writer<'_>,
        plan: &Plan<'_>,
        existing: Existing,
        listing: &mut Listing<'_>,
    ) -> Result<(Done, u64)> {
        let (mut done, mut new) = (Done::default(), 0);
        let mut sealed = Vec::new();
        let mut merge = plan.sorted.merge(&KeyRange::default(), 1)?;
        while let Some(entry) = merge.next()? {
            let mut loaded = Loaded::read(&plan.template, entry.key, entry.value).ok_or_else(unreadable)?;
            let mut number = plan.number(entry.place);
            let mut replaced = None;
            match writer.sound_or_gone(loaded.hash, |found| found.header)? {
                Some(old)
                    if old.namespace == loaded.header.namespace && !writer.is_expired(loaded.hash, &old) =>
                {
                    match existing {
                        Existing::Keep => {
                            done.kept += 1;
                            continue;
                        }
                        Existing::Error => {
                            let (key, first) = plan.sorted.describe(entry.place)?;
                            return Err(Error::DuplicateKey {
                                key,
                                first,
                                second: "in the store".to_owned(),
                            });
                        }
                        Existing::Replace => (number, replaced) = (old.number, Some(old)),
                    }
                    if loaded.header.cipher != STAGE_NONE {
                        reseal(self.sealing(), &mut loaded, old.created, &mut sealed)?;
                        loaded.body = &sealed;
                        loaded.body_checksum = checksum(&sealed);
                    }
                    loaded.header.created = old.created;
                }
                old => {
                    if let Some(old) = old {
                        writer.remove_or_expire(loaded.hash, &old)?;
                    }
                    listing.add(number.0, loaded.hash.0)?;
                    new += 1;
                }
            }
            let Loaded { hash, header, body, body_checksum } = loaded;
            writer.insert_at(&NewEntry { hash, header, body, body_checksum }, number, replaced.as_ref())?;
            done.written += 1;
            if done.written.is_multiple_of(1024) {
                writer.forget_written();
            }
        }
        done.duplicates = merge.duplicates();
        Ok((done, new))
    }
}

fn unreadable() -> Error {
    Error::Io {
        context: "reading the temporary directory of a load".into(),
        source: std::io::ErrorKind::InvalidData.into(),
    }
}
