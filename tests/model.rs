//! The cache against a model: random operations on several handles of one store, and after each of them what a plain
//! list with the same clock says must be what the cache says.
//!
//! The clock is a mock. It stands still during an operation and moves a microsecond between two, so that the order of
//! accesses is unambiguous; whole seconds pass only as an operation of their own. `CACHEMERE_TORTURE` runs many more and
//! longer cases.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/backend.rs"]
mod backend;
#[path = "support/front.rs"]
mod front;
#[path = "model/list.rs"]
mod list;
#[path = "model/rare.rs"]
mod rare;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use backend::backend;
use cachemere::{BackendKind, Batch, BoxError, Codec, EntryTimes, Error, Maintenance, Secret, Zstd};
use front::front;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use list::{
    Entry, Handle, IDLE, KEYS, Life, MockClock, SECOND, Space, Value, fast_directory, key, micros,
    mock_clock, system, value,
};

/// A serializer of the user's own.
struct Json;

impl Codec<Value> for Json {
    fn name(&self) -> &str {
        "json"
    }

    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(serde_json::to_writer(out, value)?)
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value, BoxError> {
        Ok(serde_json::from_slice(bytes)?)
    }
}

#[derive(Clone, Copy, Debug)]
struct HandleSetup {
    space: usize,
    front: bool,
    ttl: Option<u64>,
    idle: bool,
}

#[derive(Clone, Debug)]
struct Setup {
    compress: bool,
    encrypt: bool,
    json: bool,
    background: bool,
    limits: [Option<usize>; 2],
    handles: Vec<HandleSetup>,
}

#[derive(Clone, Debug)]
enum Op {
    Get(usize),
    GetShared(usize),
    Insert(usize, u32),
    InsertWithTtl(usize, u32, u64),
    InsertIfAbsent(usize, u32),
    Remove(usize),
    Take(usize),
    Contains(usize),
    Len,
    GetMany(Vec<usize>),
    InsertMany(Vec<(usize, u32)>),
    Write(Vec<(usize, Change)>),
    /// Adds to the number if there is one, else sets it; removes it if asked to.
    Update(usize, Option<u32>),
    CompareAndSet(usize, Expected, Option<u32>),
    Touch(usize),
    TouchWithTtl(usize, u64),
    Info(usize),
    /// From the front (`true`) or the back each time, to the end.
    Iterate(Vec<bool>),
    PopOldest,
    PopNewest,
    Clear,
    GetOrInsert(usize, u32),
    Sweep,
    Checkpoint,
    Compact,
    Backup,
    Verify,
    Stats,
    Reopen,
    ReopenOne,
    Advance(u64),
}

/// One of a batch.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u32),
    InsertWithTtl(u32, u64),
    /// With a creation, an access and an expiry so many seconds from now.
    InsertWithTimes(u32, i64, i64, Option<i64>),
    Remove,
}

#[derive(Clone, Copy, Debug)]
enum Expected {
    Absent,
    Present,
    Wrong,
}

fn setups() -> impl Strategy<Value = Setup> {
    let handle = |space| {
        let ttl = prop::option::weighted(0.4, 1u64..12);
        (any::<bool>(), ttl, prop::bool::weighted(0.4)).prop_map(move |(front, ttl, idle)| HandleSetup {
            space,
            front,
            ttl,
            idle,
        })
    };
    let limit = || prop::option::weighted(0.4, 1usize..6);
    (any::<[bool; 3]>(), prop::bool::weighted(0.15), [limit(), limit()], handle(0), handle(0), handle(1))
        .prop_map(|([compress, encrypt, json], background, limits, a, b, c)| Setup {
            compress,
            encrypt,
            json,
            background,
            limits,
            handles: vec![a, b, c],
        })
}

fn ops(most: usize) -> impl Strategy<Value = Vec<(usize, Op)>> {
    let key = || 0..KEYS;
    let number = || 0u32..1000;
    let change = prop_oneof![
        3 => number().prop_map(Change::Insert),
        1 => (number(), 1u64..12).prop_map(|(v, ttl)| Change::InsertWithTtl(v, ttl)),
        2 => (number(), -15i64..4, -15i64..4, prop::option::of(-2i64..12))
            .prop_map(|(v, created, accessed, expires)| Change::InsertWithTimes(v, created, accessed, expires)),
        2 => Just(Change::Remove),
    ];
    let expected = prop::sample::select(vec![Expected::Absent, Expected::Present, Expected::Wrong]);
    let reads = prop_oneof![
        12 => key().prop_map(Op::Get),
        3 => key().prop_map(Op::GetShared),
        3 => key().prop_map(Op::Contains),
        3 => Just(Op::Len),
        3 => prop::collection::vec(key(), 0..6).prop_map(Op::GetMany),
        4 => key().prop_map(Op::Info),
        4 => prop::collection::vec(any::<bool>(), 1..6).prop_map(Op::Iterate),
        1 => Just(Op::Verify),
        1 => Just(Op::Stats),
    ];
    let writes = prop_oneof![
        12 => (key(), number()).prop_map(|(k, v)| Op::Insert(k, v)),
        4 => (key(), number(), 1u64..12).prop_map(|(k, v, ttl)| Op::InsertWithTtl(k, v, ttl)),
        3 => (key(), number()).prop_map(|(k, v)| Op::InsertIfAbsent(k, v)),
        3 => key().prop_map(Op::Remove),
        2 => key().prop_map(Op::Take),
        4 => prop::collection::vec((key(), number()), 0..8).prop_map(Op::InsertMany),
        4 => prop::collection::vec((key(), change), 0..8).prop_map(Op::Write),
        3 => (key(), prop::option::weighted(0.8, number())).prop_map(|(k, v)| Op::Update(k, v)),
        3 => (key(), expected, prop::option::weighted(0.7, number()))
            .prop_map(|(k, e, v)| Op::CompareAndSet(k, e, v)),
        3 => key().prop_map(Op::Touch),
        2 => (key(), 1u64..12).prop_map(|(k, ttl)| Op::TouchWithTtl(k, ttl)),
        2 => Just(Op::PopOldest),
        1 => Just(Op::PopNewest),
        1 => Just(Op::Clear),
        3 => (key(), number()).prop_map(|(k, v)| Op::GetOrInsert(k, v)),
    ];
    let others = prop_oneof![
        12 => (1u64..15).prop_map(Op::Advance),
        3 => Just(Op::Sweep),
        3 => Just(Op::Checkpoint),
        2 => Just(Op::Compact),
        1 => Just(Op::Backup),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenOne),
    ];
    let op = prop_oneof![10 => reads, 10 => writes, 5 => others];
    prop::collection::vec((0usize..3, op), 1..most)
}

struct Run {
    _dir: tempfile::TempDir,
    path: PathBuf,
    clock: Arc<MockClock>,
    setup: Setup,
    handles: Vec<Handle>,
    /// Hits and misses of each handle.
    counts: Vec<(u64, u64)>,
    spaces: [Space; 2],
    backups: usize,
}

impl Run {
    fn start(setup: Setup) -> Run {
        let dir = fast_directory();
        let path = dir.path().join("store");
        let spaces = setup.limits.map(|limit| Space { limit, ..Space::default() });
        let mut run = Run {
            _dir: dir,
            path,
            clock: mock_clock(),
            setup,
            handles: Vec::new(),
            counts: Vec::new(),
            spaces,
            backups: 0,
        };
        run.open_all();
        run
    }

    fn open_all(&mut self) {
        self.handles = (0..self.setup.handles.len()).map(|index| self.open(index, &self.path)).collect();
        self.counts = vec![(0, 0); self.handles.len()];
    }

    fn open(&self, index: usize, path: &std::path::Path) -> Handle {
        let setup = &self.setup;
        let handle = setup.handles[index];
        let mut builder = Handle::builder(path)
            .backend(backend())
            .namespace(["first", "second"][handle.space])
            .clock(self.clock.clone())
            .front(front())
            .front_bytes(if handle.front { 1 << 20 } else { 0 });
        builder = match setup.background {
            true => builder.maintenance(Maintenance::Background),
            false => builder.maintenance(Maintenance::Manual),
        };
        if let Some(ttl) = handle.ttl {
            builder = builder.time_to_live(Duration::from_secs(ttl));
        }
        if handle.idle {
            builder = builder.time_to_idle(Duration::from_micros(IDLE));
        }
        if let Some(limit) = setup.limits[handle.space] {
            builder = builder.max_entries(limit as u64);
        }
        if setup.encrypt {
            builder = builder.encryption(Secret::key([5; 32]));
        }
        // The second namespace has a pipeline of its own.
        if setup.compress && handle.space == 0 {
            builder = builder.compression(Zstd::default());
        }
        match setup.json && handle.space == 0 {
            true => builder.serializer(Json).open().unwrap(),
            false => builder.open().unwrap(),
        }
    }

    fn life(&self, index: usize) -> Life {
        let handle = self.setup.handles[index];
        Life { ttl: handle.ttl.map(|ttl| ttl * SECOND), idle: handle.idle.then_some(IDLE) }
    }

    /// Access times are exact where eviction goes by them, and else known to the second.
    fn exact_accesses(&self) -> bool {
        self.setup.limits.iter().any(Option::is_some)
    }

    /// After a write to a namespace: expired entries make room first, then the least recently accessed.
    fn enforce(&mut self, index: usize, now: u64) {
        let space = self.setup.handles[index].space;
        let Some(limit) = self.spaces[space].limit else { return };
        if self.spaces[space].entries.len() <= limit {
            return;
        }
        for space in &mut self.spaces {
            space.entries.retain(|entry| entry.lives(now));
        }
        let entries = &mut self.spaces[space].entries;
        let Some(excess) = entries.len().checked_sub(limit).filter(|excess| *excess > 0) else { return };
        let mut times: Vec<u64> = entries.iter().map(|entry| entry.accessed).collect();
        times.sort_unstable();
        let last = times[excess - 1];
        // Among those accessed in the same operation any may go: ask which did, and count them.
        let handle = &self.handles[index];
        let gone = |entry: &Entry| {
            entry.accessed < last || (entry.accessed == last && !handle.contains(&key(entry.key)).unwrap())
        };
        let before = entries.len();
        entries.retain(|entry| !gone(entry));
        assert_eq!(before - entries.len(), excess, "as many are evicted as are over the limit");
    }

    fn step(&mut self, index: usize, op: &Op) {
        self.clock.advance(1);
        let now = self.clock.now();
        let life = self.life(index);
        let handle = self.handles[index].clone();
        let at = self.setup.handles[index].space;
        let space = &mut self.spaces[at];
        let mut counted = (0, 0);
        let mut count = |hit: bool| if hit { counted.0 += 1 } else { counted.1 += 1 };
        match op {
            Op::Get(k) => {
                let found = space.read(*k, now).map(value);
                count(found.is_some());
                assert_eq!(handle.get(&key(*k)).unwrap(), found);
            }
            Op::GetShared(k) => {
                let found = space.read(*k, now).map(value);
                count(found.is_some());
                assert_eq!(handle.get_shared(&key(*k)).unwrap().as_deref(), found.as_ref());
            }
            Op::Insert(k, v) => {
                handle.insert(&key(*k), &value(*v)).unwrap();
                space.write(*k, *v, life, now);
                self.enforce(index, now);
            }
            Op::InsertWithTtl(k, v, ttl) => {
                handle.insert_with_ttl(&key(*k), &value(*v), Duration::from_secs(*ttl)).unwrap();
                space.write(*k, *v, Life { ttl: Some(ttl * SECOND), ..life }, now);
                self.enforce(index, now);
            }
            Op::InsertIfAbsent(k, v) => {
                let absent = space.find(*k, now).is_none();
                assert_eq!(handle.insert_if_absent(&key(*k), &value(*v)).unwrap(), absent);
                if absent {
                    space.write(*k, *v, life, now);
                    self.enforce(index, now);
                }
            }
            Op::Remove(k) => {
                assert_eq!(handle.remove(&key(*k)).unwrap(), space.remove(*k, now).is_some());
            }
            Op::Take(k) => {
                let found = space.find(*k, now).map(|entry| value(entry.value));
                assert_eq!(handle.take(&key(*k)).unwrap(), found);
                if found.is_some() {
                    space.remove(*k, now);
                }
            }
            Op::Contains(k) => {
                assert_eq!(handle.contains(&key(*k)).unwrap(), space.find(*k, now).is_some());
            }
            Op::Len => {
                let living = space.living(now).len() as u64;
                assert_eq!(handle.len().unwrap(), living);
                assert_eq!(handle.is_empty().unwrap(), living == 0);
            }
            Op::GetMany(keys) => {
                let found: Vec<Option<Value>> = keys.iter().map(|k| space.read(*k, now).map(value)).collect();
                found.iter().for_each(|found| count(found.is_some()));
                assert_eq!(handle.get_many(keys.iter().map(|k| key(*k))).unwrap(), found);
            }
            Op::InsertMany(items) => {
                let owned: Vec<(String, Value)> = items.iter().map(|(k, v)| (key(*k), value(*v))).collect();
                handle.insert_many(owned.iter().map(|(k, v)| (k.as_str(), v))).unwrap();
                for (k, v) in items {
                    space.write(*k, *v, life, now);
                }
                if !items.is_empty() {
                    self.enforce(index, now);
                }
            }
            Op::Write(changes) => {
                let mut batch = Batch::new();
                let mut writes = [false; KEYS];
                for (k, change) in changes {
                    space.change(*k, *change, life, now);
                    writes[*k] = space.find(*k, now).is_some();
                    add(&mut batch, &key(*k), *change, now);
                }
                handle.write(&batch).unwrap();
                if writes.contains(&true) {
                    self.enforce(index, now);
                }
            }
            Op::Update(k, v) => {
                let present = space.find(*k, now).map(|entry| entry.value);
                let new = v.map(|v| present.unwrap_or(0) + v);
                let updated = handle
                    .update(&key(*k), |seen| {
                        assert_eq!(seen, present.map(value));
                        new.map(value)
                    })
                    .unwrap();
                assert_eq!(updated, new.map(value));
                match new {
                    Some(new) => {
                        space.write(*k, new, life, now);
                        self.enforce(index, now);
                    }
                    None if present.is_some() => drop(space.remove(*k, now)),
                    None => {}
                }
            }
            Op::CompareAndSet(k, expected, new) => {
                let present = space.find(*k, now).map(|entry| entry.value);
                let expected = match expected {
                    Expected::Absent => None,
                    Expected::Present => present,
                    Expected::Wrong => Some(present.unwrap_or(0) + 5000),
                };
                let set =
                    handle.compare_and_set(&key(*k), expected.map(value).as_ref(), new.map(value).as_ref());
                assert_eq!(set.unwrap(), present == expected);
                if present == expected {
                    match new {
                        Some(new) => {
                            space.write(*k, *new, life, now);
                            self.enforce(index, now);
                        }
                        None if present.is_some() => drop(space.remove(*k, now)),
                        None => {}
                    }
                }
            }
            Op::Touch(k) => self.touch(index, *k, life, None, now),
            Op::TouchWithTtl(k, ttl) => self.touch(index, *k, life, Some(*ttl), now),
            Op::Info(k) => self.check_info(index, *k, now),
            Op::Iterate(ends) => {
                let mut expected: VecDeque<_> = space.living(now).into();
                let mut iter = handle.iter();
                for from_front in ends.iter().cycle().take(expected.len() + 3) {
                    let (found, expected) = match from_front {
                        true => (iter.next(), expected.pop_front()),
                        false => (iter.next_back(), expected.pop_back()),
                    };
                    assert_eq!(found.transpose().unwrap(), expected);
                }
            }
            Op::PopOldest => self.pop(index, now, Handle::pop_oldest, |living| living.first().copied()),
            Op::PopNewest => self.pop(index, now, Handle::pop_newest, |living| living.last().copied()),
            Op::Clear => {
                handle.clear().unwrap();
                space.entries.clear();
            }
            Op::GetOrInsert(k, v) => {
                let found = space.read(*k, now);
                count(found.is_some());
                let mut ran = false;
                let got = handle.get_or_insert_with(&key(*k), || {
                    ran = true;
                    value(*v)
                });
                assert_eq!(got.unwrap(), value(found.unwrap_or(*v)));
                assert_eq!(ran, found.is_none());
                if ran {
                    space.write(*k, *v, life, now);
                    self.enforce(index, now);
                }
            }
            Op::Sweep => {
                let expired: usize =
                    self.spaces.iter().map(|s| s.entries.iter().filter(|e| !e.lives(now)).count()).sum();
                let swept = handle.sweep().unwrap();
                let removed: usize = self.spaces.iter().map(|s| s.removed_expired).sum();
                let swept = swept as usize;
                match (self.setup.background, backend()) {
                    // Any of them may have been removed, and then others not yet to make room.
                    (true, _) => {}
                    (false, BackendKind::Lmdb) => assert_eq!(swept, expired),
                    (false, _) => {
                        // A compaction leaves those counted whose keys were written again, and to make room for them
                        // expired ones may have been removed before.
                        let least = if self.exact_accesses() { 0 } else { expired };
                        let most = expired + removed;
                        assert!((least..=most).contains(&swept), "{swept}, not {least} to {most}");
                    }
                }
                for space in &mut self.spaces {
                    space.entries.retain(|entry| entry.lives(now));
                    space.removed_expired = 0;
                }
            }
            Op::Checkpoint => handle.checkpoint().unwrap(),
            Op::Compact => handle.compact().unwrap(),
            Op::Backup => self.check_backup(index, now),
            Op::Verify => self.check_verify(index, now),
            Op::Stats => {
                let stats = handle.stats().unwrap();
                let (hits, misses) = self.counts[index];
                assert_eq!((stats.hits, stats.misses), (hits, misses));
                assert_eq!(stats.entries, space.living(now).len() as u64);
                let living = self.spaces.each_ref().map(|space| space.living(now).len() as u64);
                let found = handle.namespaces().unwrap();
                let found: Vec<(&str, u64)> = found.iter().map(|it| (it.name.as_str(), it.entries)).collect();
                assert_eq!(found, [("first", living[0]), ("second", living[1])]);
                assert!(stats.front_hits <= stats.hits && stats.file_bytes > 0);
                if !self.setup.handles[index].front {
                    assert_eq!((stats.front_hits, stats.front_entries, stats.front_bytes), (0, 0, 0));
                }
            }
            Op::Reopen => {
                for handle in &self.handles {
                    handle.close().unwrap();
                }
                assert!(matches!(handle.len(), Err(Error::Closed)));
                self.open_all();
            }
            Op::ReopenOne => {
                handle.close().unwrap();
                assert!(matches!(handle.get("a"), Err(Error::Closed)));
                let reopened = self.open(index, &self.path);
                self.handles[index] = reopened;
                self.counts[index] = (0, 0);
            }
            Op::Advance(seconds) => self.clock.advance(seconds * SECOND),
        }
        self.counts[index].0 += counted.0;
        self.counts[index].1 += counted.1;
    }

    fn touch(&mut self, index: usize, k: usize, life: Life, ttl: Option<u64>, now: u64) {
        let handle = &self.handles[index];
        let touched = match ttl {
            Some(ttl) => handle.touch_with_ttl(&key(k), Duration::from_secs(ttl)),
            None => handle.touch(&key(k)),
        };
        let space = &mut self.spaces[self.setup.handles[index].space];
        let entry = space.find_mut(k, now);
        assert_eq!(touched.unwrap(), entry.is_some());
        if let Some(entry) = entry {
            entry.accessed = now;
            entry.expires = ttl.map(|ttl| ttl * SECOND).or(life.ttl).map(|ttl| now + ttl);
            entry.idle = life.idle;
            self.enforce(index, now);
        }
    }

    fn pop(
        &mut self,
        index: usize,
        now: u64,
        pop: impl Fn(&Handle) -> cachemere::Result<Option<(String, Value)>>,
        choose: impl Fn(&[(usize, u32)]) -> Option<(usize, u32)>,
    ) {
        let space = &mut self.spaces[self.setup.handles[index].space];
        let living: Vec<(usize, u32)> =
            space.entries.iter().filter(|e| e.lives(now)).map(|e| (e.key, e.value)).collect();
        let chosen = choose(&living);
        let popped = pop(&self.handles[index]).unwrap();
        assert_eq!(popped, chosen.map(|(k, v)| (key(k), value(v))));
        if let Some((k, _)) = chosen {
            space.remove(k, now);
        }
    }

    fn check_info(&self, index: usize, k: usize, now: u64) {
        let entry = self.spaces[self.setup.handles[index].space].find(k, now);
        let info = self.handles[index].info(&key(k)).unwrap();
        assert_eq!(info.is_some(), entry.is_some());
        let (Some(info), Some(entry)) = (info, entry) else { return };
        assert_eq!(micros(info.created), entry.created);
        assert_eq!(micros(info.modified), entry.modified);
        let accessed = micros(info.accessed);
        match self.exact_accesses() {
            true => assert_eq!(accessed, entry.accessed),
            false => assert_eq!(accessed / SECOND, entry.accessed / SECOND),
        }
        let due = [entry.expires, entry.idle.map(|idle| accessed + idle)].into_iter().flatten().min();
        assert_eq!(info.expires.map(micros), due);
        assert_eq!(info.idle, entry.idle.map(Duration::from_micros));
        assert!(info.stored_size > 80);
        // The shape of a struct, which only the built-in serializer tells.
        let is_json = self.setup.json && self.setup.handles[index].space == 0;
        assert_eq!(info.tag, if is_json { 0 } else { 16 });
    }

    fn check_verify(&self, index: usize, now: u64) {
        let report = self.handles[index].verify().unwrap();
        assert!(report.is_clean(), "{report:?}");
        let stored: usize = self.spaces.iter().map(|space| space.entries.len()).sum();
        let living: usize = self.spaces.iter().map(|space| space.living(now).len()).sum();
        let found = report.entries as usize;
        match (self.setup.background, backend()) {
            (true, _) => assert!(living <= found),
            (false, BackendKind::Lmdb) => assert_eq!(found, stored),
            // A compaction removes what has expired.
            (false, _) => assert!(living <= found && found <= stored, "{living} {found} {stored}"),
        }
    }

    /// A backup is a store of its own with the same entries.
    fn check_backup(&mut self, index: usize, now: u64) {
        // Access times in memory are not in a backup, and with them an idle entry could live longer than its copy.
        self.handles[index].checkpoint().unwrap();
        self.backups += 1;
        let to = self.path.with_file_name(format!("backup {}", self.backups));
        self.handles[index].backup(&to).unwrap();
        assert!(self.handles[index].backup(&to).unwrap_err().is_invalid());
        for index in [0, 2] {
            let copy = self.open(index, &to);
            assert!(copy.verify().unwrap().is_clean());
            let found: Vec<(String, Value)> = copy.iter().collect::<Result<_, _>>().unwrap();
            assert_eq!(found, self.spaces[self.setup.handles[index].space].living(now));
            for entry in self.spaces[self.setup.handles[index].space].entries.iter().filter(|e| e.lives(now))
            {
                let info = copy.info(&key(entry.key)).unwrap().unwrap();
                assert_eq!((micros(info.created), micros(info.modified)), (entry.created, entry.modified));
            }
            // It counts on without repeating itself.
            copy.insert("only in the copy", &value(1)).unwrap();
            assert_eq!(copy.get("only in the copy").unwrap(), Some(value(1)));
            copy.close().unwrap();
        }
        std::fs::remove_dir_all(&to).unwrap();
    }

    /// Everything there is to see, through every handle.
    fn check_everything(&mut self) {
        for index in 0..self.handles.len() {
            self.step(index, &Op::Stats);
            self.step(index, &Op::Verify);
            self.step(index, &Op::Len);
            self.step(index, &Op::Iterate(vec![true]));
            self.step(index, &Op::Iterate(vec![false, true]));
            for k in 0..KEYS {
                self.step(index, &Op::Info(k));
                self.step(index, &Op::Get(k));
            }
            self.step(index, &Op::GetMany((0..KEYS).collect()));
        }
    }
}

/// A time so many seconds from now.
fn seconds_from(now: u64, seconds: i64) -> u64 {
    now.saturating_add_signed(seconds * SECOND as i64)
}

fn add(batch: &mut Batch<str, Value>, key: &str, change: Change, now: u64) {
    let at = |seconds| system(seconds_from(now, seconds));
    match change {
        Change::Insert(v) => batch.insert(key, value(v)),
        Change::InsertWithTtl(v, ttl) => batch.insert_with_ttl(key, value(v), Duration::from_secs(ttl)),
        Change::InsertWithTimes(v, created, accessed, expires) => {
            let times = EntryTimes { created: at(created), accessed: at(accessed), expires: expires.map(at) };
            batch.insert_with_times(key, value(v), times)
        }
        Change::Remove => batch.remove(key),
    };
}

impl Space {
    fn change(&mut self, key: usize, change: Change, life: Life, now: u64) {
        match change {
            Change::Insert(v) => self.write(key, v, life, now),
            Change::InsertWithTtl(v, ttl) => {
                self.write(key, v, Life { ttl: Some(ttl * SECOND), ..life }, now);
            }
            Change::InsertWithTimes(v, created, accessed, expires) => {
                let at = |seconds| seconds_from(now, seconds);
                self.write_aged(key, v, (at(created), at(accessed), expires.map(at)), life, now);
            }
            Change::Remove => drop(self.remove(key, now)),
        }
    }
}

fn run(setup: Setup, ops: &[(usize, Op)]) {
    let mut run = Run::start(setup);
    for (index, op) in ops {
        run.step(*index, op);
    }
    run.check_everything();
    run.step(0, &Op::Reopen);
    run.check_everything();
}

fn torture() -> bool {
    std::env::var_os("CACHEMERE_TORTURE").is_some()
}

fn config(short: u32, long: u32) -> ProptestConfig {
    let cases = if torture() { long } else { short };
    // Opening a database of RocksDB, as each case does, takes longer than all its operations.
    let share = if backend() == BackendKind::Lmdb { 1 } else { 12 };
    ProptestConfig {
        cases: (cases / share).max(1),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

fn length() -> usize {
    if torture() { 300 } else { 60 }
}

proptest! {
    #![proptest_config(config(350, 20_000))]

    #[test]
    fn every_operation_does_what_a_plain_list_would_do(setup in setups(), ops in ops(length())) {
        run(setup, &ops);
    }
}
