//! Numbers with something small, collected in any order and given out in that of the numbers: for stores that list
//! what they have by when it came.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::place::Place;
use super::sorted::Sorted;
use super::spill::{DiskRun, Reader, SpillFile};
use crate::error::Result;

/// What is listed under a number.
pub(crate) type Item = [u8; 16];

/// Numbers sorted at once.
const PART: usize = 512 << 10;
/// Bytes of a number with its item.
const SIZE: usize = size_of::<(u64, Item)>();
/// Bytes read at once of each part on the disk.
const WINDOW: usize = 64 << 10;

/// Collects. Parts are sorted on the way; when they take more than an eighth of the memory budget, they go to the
/// disk.
pub(crate) struct Listing<'a> {
    sorted: &'a Sorted,
    part: Vec<(u64, Item)>,
    parts: Vec<Part>,
    in_memory: usize,
    spill: Option<SpillFile>,
}

enum Part {
    Memory(Vec<(u64, Item)>),
    Disk(DiskRun),
}

impl<'a> Listing<'a> {
    pub(crate) fn new(sorted: &'a Sorted) -> Listing<'a> {
        Listing { sorted, part: Vec::new(), parts: Vec::new(), in_memory: 0, spill: None }
    }

    pub(crate) fn add(&mut self, number: u64, item: Item) -> Result<()> {
        self.part.push((number, item));
        if self.part.len() == PART { self.end_part() } else { Ok(()) }
    }

    fn end_part(&mut self) -> Result<()> {
        let mut part = std::mem::take(&mut self.part);
        part.sort_unstable_by_key(|(number, _)| *number);
        let bytes = part.len() * SIZE;
        let workspace = self.sorted.made_workspace();
        let Some(workspace) = workspace.filter(|_| self.in_memory + bytes > self.sorted.memory_budget() / 8)
        else {
            self.in_memory += bytes;
            self.parts.push(Part::Memory(part));
            return Ok(());
        };
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(SpillFile::create(workspace, "listing")?),
        };
        let mut run = spill.begin();
        for (number, item) in &part {
            run.add(&number.to_be_bytes(), item, Place::FIRST)?;
        }
        self.parts.push(Part::Disk(run.finish()?));
        // Used again: it is as large as the next.
        part.clear();
        self.part = part;
        Ok(())
    }

    /// Everything, in the order of the numbers.
    pub(crate) fn finish(mut self) -> Result<Listed> {
        self.end_part()?;
        let mut rest = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            rest.push(match part {
                Part::Memory(part) => Rest::Memory(part.into_iter()),
                Part::Disk(run) => Rest::Disk(run.read(None, WINDOW)?),
            });
        }
        let mut listed = Listed { rest, next: BinaryHeap::new() };
        for part in 0..listed.rest.len() {
            listed.take_from(part)?;
        }
        Ok(listed)
    }
}

enum Rest {
    Memory(std::vec::IntoIter<(u64, Item)>),
    Disk(Reader),
}

/// Gives out.
pub(crate) struct Listed {
    rest: Vec<Rest>,
    next: BinaryHeap<Reverse<(u64, usize, Item)>>,
}

impl Listed {
    fn take_from(&mut self, part: usize) -> Result<()> {
        let next = match self.rest.get_mut(part) {
            Some(Rest::Memory(rest)) => rest.next(),
            Some(Rest::Disk(reader)) if !reader.is_done() => {
                let number = reader.key().try_into().map_or(0, u64::from_be_bytes);
                let item = reader.value().try_into().unwrap_or_default();
                reader.advance()?;
                Some((number, item))
            }
            _ => None,
        };
        self.next.extend(next.map(|(number, item)| Reverse((number, part, item))));
        Ok(())
    }

    /// The next number and its item.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Item)>> {
        let Some(Reverse((number, part, item))) = self.next.pop() else { return Ok(None) };
        self.take_from(part)?;
        Ok(Some((number, item)))
    }
}
