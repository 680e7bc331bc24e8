//! Reading all files into sorted runs: who reads, who takes apart and sorts, and when runs go to the disk.
//!
//! Every thread does what is there to be done: it reads a block of a file that nobody else is reading, or takes a
//! block that was read apart. Reading goes first while blocks are short, since the next block of a compressed file
//! can be found only behind the last; so one large file keeps one thread decompressing and all others at work with
//! what it gives.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::Setup;
use super::batch::Batch;
use super::blocks::{Block, Blocks, Cut};
use super::format::OnError;
use super::merge::Stopped;
use super::parse::{Parser, Spot};
use super::place::{Place, Ties};
use super::record::{Encode, Encoded, Record, Refusal};
use super::sorted::{Part, describe};
use super::spill::{DiskRun, SpillFile};
use super::watch::Counts;
use super::workspace::Workspace;
use crate::error::{Error, Result};
use crate::sync::lock;

/// Bad records that are described in the summary.
const DESCRIBED: usize = 10;

/// What reading all files came to.
#[derive(Default)]
pub(super) struct Runs {
    pub(super) memory: Vec<Batch>,
    pub(super) disk: Vec<DiskRun>,
    pub(super) workspace: Option<Workspace>,
    pub(super) duplicates: u64,
    pub(super) bytes_spilled: u64,
    pub(super) skipped: u64,
    pub(super) bad: Vec<(Place, String)>,
    /// Bytes of each file, decompressed.
    pub(super) lengths: Vec<u64>,
}

/// Reads and sorts all files.
pub(super) fn sort(setup: &Setup, parser: &Parser, encode: &dyn Encode, counts: &Counts) -> Result<Runs> {
    let threads = setup.options.threads;
    // The rest is for blocks, buffers, and what the allocator makes of it.
    let memory = setup.options.memory_budget / 2;
    let state = State {
        unopened: (0..setup.files.len()).collect(),
        idle: VecDeque::new(),
        reading: 0,
        queue: VecDeque::new(),
        used: 0,
        spilling: 0,
        spills: Vec::new(),
        spills_made: 0,
        edges: Vec::new(),
        failed: None,
        runs: Runs { lengths: vec![0; setup.files.len()], ..Runs::default() },
    };
    let work = Sorting {
        setup,
        parser,
        encode,
        counts,
        memory,
        batch_size: (memory / (4 * threads)).min((4 << 20).max(memory / 64)),
        state: Mutex::new(state),
        changed: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| work.run());
        }
        work.run();
    });
    let state = work.state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = state.failed {
        return Err(error);
    }
    check_edges(setup, parser, state.edges)?;
    Ok(state.runs)
}

struct Sorting<'a> {
    setup: &'a Setup,
    parser: &'a Parser,
    encode: &'a dyn Encode,
    counts: &'a Counts,
    /// Bytes that batches may take together.
    memory: usize,
    /// Bytes of one batch. Those of all threads take a quarter of the memory at most, so there is always room for one
    /// when no finished batch is in memory. Small ones are sorted in the processor's cache.
    batch_size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    unopened: VecDeque<usize>,
    idle: VecDeque<Blocks>,
    /// Files that some thread is reading.
    reading: usize,
    queue: VecDeque<Block>,
    /// Bytes of all batches: collected, finished or being spilled.
    used: usize,
    spilling: usize,
    spills: Vec<SpillFile>,
    spills_made: usize,
    /// First and last keys of blocks that are said to be sorted.
    edges: Vec<Edge>,
    failed: Option<Error>,
    runs: Runs,
}

struct Edge {
    file: usize,
    block: u64,
    first: (Vec<u8>, Spot),
    last: Vec<u8>,
}

enum Task {
    Open(usize),
    Read(Blocks),
    Parse(Block),
}

/// What one thread collects.
#[derive(Default)]
struct Own {
    batch: Option<Batch>,
    out: Encoded,
    skipped: u64,
    bad: Vec<(Place, String)>,
}

/// Ends the work of the others when this thread panics.
struct Alarm<'a, 'b>(&'b Sorting<'a>);

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::Cancelled);
        }
    }
}

impl Sorting<'_> {
    fn run(&self) {
        let _alarm = Alarm(self);
        let mut own = Own::default();
        while let Some(task) = self.next_task() {
            if let Err(error) = self.perform(task, &mut own) {
                self.fail(error);
            }
        }
        if let Err(error) = self.finish(&mut own) {
            self.fail(error);
        }
        let mut state = lock(&self.state);
        state.runs.skipped += own.skipped;
        state.runs.bad.append(&mut own.bad);
    }

    fn fail(&self, error: Error) {
        lock(&self.state).failed.get_or_insert(error);
        self.changed.notify_all();
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn next_task(&self) -> Option<Task> {
        let threads = self.setup.options.threads;
        let mut state = lock(&self.state);
        loop {
            if state.failed.is_some() {
                return None;
            }
            if state.queue.len() < threads {
                let idle = state.idle.pop_front();
                let mut unopened = || (state.reading < threads).then(|| state.unopened.pop_front()).flatten();
                let task = idle.map(Task::Read).or_else(|| unopened().map(Task::Open));
                if task.is_some() {
                    state.reading += 1;
                    return task;
                }
            }
            if let Some(block) = state.queue.pop_front() {
                return Some(Task::Parse(block));
            }
            if state.reading == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn perform(&self, task: Task, own: &mut Own) -> Result<()> {
        self.counts.go_on()?;
        match task {
            Task::Open(file) => self.read(self.open(file)?, file),
            Task::Read(blocks) => {
                let file = blocks.file();
                self.read(blocks, file)
            }
            Task::Parse(block) => self.parse(&block, own),
        }
    }

    fn open(&self, file: usize) -> Result<Blocks> {
        let cut = Cut::of(&self.setup.format.records);
        let bytes_read = self.counts.bytes_read.clone();
        Blocks::open(self.setup.path(file), file, cut, self.setup.block_sizes(), bytes_read)
    }

    fn read(&self, mut blocks: Blocks, file: usize) -> Result<()> {
        let block = blocks.next(self.setup.path(file))?;
        let mut state = lock(&self.state);
        state.reading -= 1;
        match block {
            Some(block) => {
                state.queue.push_back(block);
                state.idle.push_front(blocks);
            }
            None => {
                if let Some(length) = state.runs.lengths.get_mut(file) {
                    *length = blocks.bytes();
                }
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    fn parse(&self, block: &Block, own: &mut Own) -> Result<()> {
        let (file, path) = (block.file, self.setup.path(block.file));
        let is_sorted = self.setup.format.is_sorted;
        let (mut records, mut looks) = (0u64, 0u32);
        let mut edge: Option<Edge> = None;
        self.parser.each(block, |spot, record| {
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(4096) {
                self.counts.go_on()?;
            }
            own.out.key.clear();
            own.out.value.clear();
            let encoded = record.and_then(|record: Record<'_>| self.encode.encode(&record, &mut own.out));
            let place = Place::new_in(file, path, spot.offset)?;
            match encoded {
                Ok(()) => {}
                Err(Refusal::Load(error)) => return Err(error),
                Err(Refusal::Record(reason)) => {
                    let error = self.parser.bad(path, spot, reason);
                    if self.setup.options.on_error == OnError::Fail {
                        return Err(error);
                    }
                    own.skipped += 1;
                    if own.bad.len() < DESCRIBED {
                        own.bad.push((place, error.to_string()));
                    }
                    return Ok(());
                }
            }
            if is_sorted {
                match &mut edge {
                    None => {
                        let first = (own.out.key.clone(), spot);
                        edge = Some(Edge { file, block: block.number, first, last: own.out.key.clone() });
                    }
                    Some(edge) if own.out.key < edge.last => {
                        return Err(self.parser.bad(path, spot, UNSORTED.into()));
                    }
                    Some(edge) => edge.last.clone_from(&own.out.key),
                }
            }
            records += 1;
            self.add(own, place)
        })?;
        self.counts.records.fetch_add(records, Relaxed);
        if let Some(edge) = edge {
            lock(&self.state).edges.push(edge);
        }
        Ok(())
    }

    fn add(&self, own: &mut Own, place: Place) -> Result<()> {
        let (key, value) = (&own.out.key, &own.out.value);
        let has_room = own.batch.as_ref().is_some_and(|batch| batch.has_room(key, value, self.batch_size));
        if !has_room {
            self.finish(own)?;
            self.make_room()?;
        }
        own.batch.get_or_insert_default().add(&own.out.key, &own.out.value, place);
        Ok(())
    }

    /// Sorts what was collected, and makes a run of it.
    fn finish(&self, own: &mut Own) -> Result<()> {
        let Some(mut batch) = own.batch.take() else { return Ok(()) };
        batch.sort(Ties::of(self.setup.options.duplicates), self.setup.format.is_sorted);
        let mut state = lock(&self.state);
        state.used = (state.used + batch.size()).saturating_sub(self.batch_size);
        state.runs.memory.push(batch);
        Ok(())
    }

    /// Sets memory for another batch aside, and spills finished ones until there is enough.
    fn make_room(&self) -> Result<()> {
        let mut state = lock(&self.state);
        loop {
            if state.failed.is_some() {
                return Err(Error::Cancelled);
            }
            if state.used + self.batch_size <= self.memory
                || state.spilling == 0 && state.runs.memory.is_empty()
            {
                state.used += self.batch_size;
                return Ok(());
            }
            if state.runs.memory.is_empty() {
                state = self.wait(state);
                continue;
            }
            let batches = std::mem::take(&mut state.runs.memory);
            state.spilling += 1;
            let spilled = self.spill(state, &batches);
            let freed: usize = batches.iter().map(Batch::size).sum();
            drop(batches);
            state = lock(&self.state);
            state.spilling -= 1;
            state.used = state.used.saturating_sub(freed);
            self.changed.notify_all();
            spilled?;
        }
    }

    fn spill(&self, mut state: MutexGuard<'_, State>, batches: &[Batch]) -> Result<()> {
        let mut file = match state.spills.pop() {
            Some(file) => file,
            None => {
                let workspace = match state.runs.workspace.take() {
                    Some(workspace) => workspace,
                    None => Workspace::create(&self.setup.options.directory)?,
                };
                state.spills_made += 1;
                let name = format!("spilled-{}", state.spills_made);
                SpillFile::create(state.runs.workspace.insert(workspace), &name)?
            }
        };
        drop(state);
        let part = Part { memory: batches, disk: &[], setup: self.setup, counts: self.counts };
        let (run, duplicates) = match part.spill(&mut file, 0) {
            Ok(done) => done,
            Err(Stopped::Error(error)) => return Err(error),
            Err(Stopped::Duplicate(first, second)) => {
                let (key, first) = describe(self.setup, self.parser, first)?;
                let (_, second) = describe(self.setup, self.parser, second)?;
                return Err(Error::DuplicateKey { key, first, second });
            }
        };
        let mut state = lock(&self.state);
        state.runs.duplicates += duplicates;
        state.runs.bytes_spilled += run.bytes();
        state.runs.disk.push(run);
        state.spills.push(file);
        Ok(())
    }
}

const UNSORTED: &str = "its key sorts before the one in front of it, but the file was said to be sorted";

/// Whether blocks that are sorted follow each other in order.
fn check_edges(setup: &Setup, parser: &Parser, mut edges: Vec<Edge>) -> Result<()> {
    edges.sort_unstable_by_key(|edge| (edge.file, edge.block));
    for (before, after) in edges.iter().zip(edges.iter().skip(1)) {
        if before.file == after.file && after.first.0 < before.last {
            return Err(parser.bad(setup.path(after.file), after.first.1, UNSORTED.into()));
        }
    }
    Ok(())
}
