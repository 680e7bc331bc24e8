//! The log's tail: what is appended beside readers, and what comes after a writer that was killed.
//!
//! The words of the control file and the ways of `append`, `mend`, `resume` and `replay` are the engine's. Around them stand
//! files in memory whose records loom watches: it reports a record that is read while it may be written.
//!
//! Not here is how snapshots pin a transaction of LMDB: that rests on one order of all `SeqCst` operations, which loom does
//! not know. `tests/never_stale.rs` and `tests/kill_points.rs` try it with processes.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};

use crate::error::Result;
use append::Lmdb;
use control::Control;
use position::Position;
use segment::{Change, Segment};

/// Names of places at which a writer can be killed, as in the engine.
pub(crate) const DEATHS: [&str; 6] = [
    "there is room for a record",
    "a record is written but for its checksum",
    "a record is written",
    "the tail is to be moved",
    "the tail is moved",
    "a segment is begun",
];

mod fault {
    use std::cell::Cell;

    /// What ends a thread in place of SIGKILL.
    pub(super) struct Killed;

    loom::thread_local! {
        static DEATH: Cell<Option<&'static str>> = Cell::new(None);
    }

    /// Runs a writer that ends at a place; returns whether it came to it.
    pub(super) fn killed_at(name: &'static str, writer: impl FnOnce()) -> bool {
        DEATH.with(|death| death.set(Some(name)));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(writer));
        DEATH.with(|death| death.set(None));
        match ended {
            Ok(()) => false,
            Err(why) if why.is::<Killed>() => true,
            Err(why) => std::panic::resume_unwind(why),
        }
    }

    pub(super) fn point(name: &str) {
        if DEATH.with(Cell::get) == Some(name) {
            std::panic::resume_unwind(Box::new(Killed));
        }
    }

    pub(super) fn breaks(_: &str) -> bool {
        false
    }
}

mod map {
    use super::*;

    #[derive(Clone, Copy)]
    pub(super) enum Mode {
        Shared,
    }

    /// As much of the control file as is used.
    pub(super) struct Map {
        words: Vec<(usize, AtomicU64)>,
        half_words: Vec<(usize, AtomicU32)>,
    }

    impl Map {
        pub(super) fn new(words: &[usize], half_words: &[usize]) -> Map {
            Map {
                words: words.iter().map(|at| (*at, AtomicU64::new(0))).collect(),
                half_words: half_words.iter().map(|at| (*at, AtomicU32::new(0))).collect(),
            }
        }

        pub(super) fn word(&self, at: usize) -> &AtomicU64 {
            &self.words.iter().find(|(place, _)| *place == at).expect("a word that is used").1
        }

        pub(super) fn half_word(&self, at: usize) -> &AtomicU32 {
            &self.half_words.iter().find(|(place, _)| *place == at).expect("a word that is used").1
        }
    }
}

mod room {
    pub(super) const DISK: u32 = 1;
    pub(super) const MAP: u32 = 2;
}

mod position {
    include!(concat!(env!("OUT_DIR"), "/position.rs"));
}

mod control {
    use super::map::Map;
    use super::position::Position;
    use super::*;

    include!(concat!(env!("OUT_DIR"), "/places.rs"));

    pub(super) struct Control {
        map: Map,
    }

    include!(concat!(env!("OUT_DIR"), "/control.rs"));

    impl Control {
        pub(super) fn new() -> Control {
            let words = [TAIL_AT, SETTINGS_AT, CHECKSUM_AT, LOGGED_AT, BARRIER_AT];
            let half_words = [APPENDING_AT, OPEN_SEGMENT_AT, NEXT_NUMBER_AT];
            Control { map: Map::new(&words, &half_words) }
        }

        pub(super) fn check_poison(&self) -> Result<()> {
            Ok(())
        }
    }
}

pub(crate) mod segment {
    use super::position::{Point, Position};
    use super::*;
    use crate::error::Error;

    pub(super) const HEADER: u32 = 128;
    const RECORD: u32 = 16;

    #[derive(Clone, Copy)]
    pub(super) struct Change<'a> {
        pub(super) key: &'a [u8],
    }

    pub(super) fn record_len<'a>(_: impl Iterator<Item = Change<'a>>) -> Option<u32> {
        Some(RECORD)
    }

    pub(super) enum Unusable {
        Blank,
        Refused(Error),
    }

    /// The records of a file: a number each, and a checksum.
    pub(super) struct Records(Vec<(UnsafeCell<u64>, UnsafeCell<u64>)>);

    #[derive(Clone)]
    pub(crate) struct Segment {
        pub(super) number: u32,
        pub(super) previous: Point,
        start: (u32, u64),
        records: Arc<Records>,
    }

    fn checksum(number: u64, seed: u64) -> u64 {
        (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    impl Segment {
        pub(super) fn begin(number: u32, previous: Point) -> Segment {
            let records = (0..4).map(|_| (UnsafeCell::new(0), UnsafeCell::new(0))).collect();
            let seed = checksum(previous.checksum, number.into());
            Segment { number, previous, start: (HEADER, seed), records: Arc::new(Records(records)) }
        }

        pub(super) fn open(
            dir: &crate::store::directory::store_dir::StoreDir,
            number: u32,
            _: &[u8; 16],
            _: map::Mode,
        ) -> std::result::Result<Segment, Unusable> {
            dir.files().iter().find(|one| one.number == number).cloned().ok_or(Unusable::Blank)
        }

        pub(super) fn behind(mut self, folded: Point) -> Segment {
            if folded.at.segment == self.number && folded.at.offset >= HEADER {
                self.start = (folded.at.offset, folded.checksum);
            }
            self
        }

        pub(super) fn first(&self) -> Point {
            Point { at: Position { segment: self.number, offset: HEADER }, checksum: self.start.1 }
        }

        fn record(&self, at: u32) -> Option<&(UnsafeCell<u64>, UnsafeCell<u64>)> {
            self.records.0.get((at.checked_sub(HEADER)? / RECORD) as usize)
        }

        pub(super) fn has_room(&self, end: u32, _: u32, _: usize) -> bool {
            self.record(end).is_some()
        }

        pub(super) fn is_half_full(&self, _: u32) -> bool {
            false
        }

        pub(super) fn append<'a>(
            &self,
            at: u32,
            _: u32,
            seed: u64,
            mut changes: impl Iterator<Item = Change<'a>>,
        ) -> u64 {
            let (number, sum) = self.record(at).expect("it has room");
            let written: u64 = changes.next().map_or(0, |change| change.key[0].into());
            // SAFETY: loom watches who reads or writes it.
            let before = number.with_mut(|number| unsafe { std::mem::replace(&mut *number, written) });
            assert_eq!(before, 0, "what a writer has begun is written over");
            fault::point("a record is written but for its checksum");
            let checksum = checksum(written, seed);
            // SAFETY: as above.
            sum.with_mut(|sum| unsafe { *sum = checksum });
            fault::point("a record is written");
            checksum
        }

        pub(super) fn record_at(&self, at: u32, seed: u64) -> Option<(u32, u64)> {
            let (number, sum) = self.record(at)?;
            // SAFETY: as in `append`.
            let (number, sum) = unsafe { (number.with(|number| *number), sum.with(|sum| *sum)) };
            (sum == checksum(number, seed)).then_some((RECORD, sum))
        }

        pub(super) fn checksum_at(&self, end: u32) -> Option<u64> {
            let (mut at, mut checksum) = self.start;
            while at < end {
                let (len, next) = self.record_at(at, checksum)?;
                (at, checksum) = (at + len, next);
            }
            (at == end).then_some(checksum)
        }

        /// What the records before `end` are, all of which must hold.
        pub(super) fn numbers(&self, end: u32) -> Vec<u64> {
            let (mut at, mut seed) = self.start;
            let mut found = Vec::new();
            while at < end {
                let (len, next) = self.record_at(at, seed).expect("a record before the tail is complete");
                // SAFETY: as in `append`.
                found.push(self.record(at).expect("there is one").0.with(|number| unsafe { *number }));
                (at, seed) = (at + len, next);
            }
            found
        }

        pub(super) fn unlist(&self) {}

        pub(super) fn list_record(&self, _: u32, _: u32) -> Result<()> {
            Ok(())
        }
    }
}

mod segment_file {
    use super::*;

    pub(super) fn list(dir: &crate::store::directory::store_dir::StoreDir) -> Result<Vec<u32>> {
        Ok(dir.files().iter().map(|one| one.number).collect())
    }

    pub(super) fn name(number: u32) -> String {
        number.to_string()
    }
}

mod segments {
    use super::position::{Point, Position};
    use super::segment::Segment;
    use super::*;

    pub(super) struct Part {
        pub(super) segment: Arc<Segment>,
        pub(super) end: u32,
    }

    /// What a process has mapped: here all of the log.
    #[derive(Clone)]
    pub(super) struct Segments {
        pub(super) folded: Point,
        pub(super) list: Vec<(Arc<Segment>, u32)>,
    }

    impl Segments {
        pub(super) fn newest(&self) -> Option<&Arc<Segment>> {
            self.list.last().map(|(segment, _)| segment)
        }

        pub(super) fn with(&self, segment: Arc<Segment>) -> Segments {
            let tail = segment.previous.at;
            let mut list = self.list.clone();
            list.retain(|(one, _)| one.number <= tail.segment);
            if let Some((_, end)) = list.last_mut() {
                *end = tail.offset;
            }
            list.push((segment, u32::MAX));
            Segments { folded: self.folded, list }
        }

        pub(super) fn view(&self, to: Position) -> View<'_> {
            let ends = self.list.iter().filter(|(segment, _)| segment.number <= to.segment);
            let ended = |segment: &Segment, end| if segment.number == to.segment { to.offset } else { end };
            View(ends.map(|(segment, end)| (segment, HEADER, ended(segment, *end))).collect())
        }
    }

    const HEADER: u32 = super::segment::HEADER;

    pub(super) struct View<'t>(Vec<(&'t Arc<Segment>, u32, u32)>);

    impl<'t> View<'t> {
        pub(super) fn parts(self) -> std::vec::IntoIter<(&'t Arc<Segment>, u32, u32)> {
            self.0.into_iter()
        }
    }
}

mod replay {
    include!(concat!(env!("OUT_DIR"), "/replay.rs"));
}

mod append {
    use super::control::Control;
    use super::map::Mode;
    use super::position::{Point, Position};
    use super::replay::replay;
    use super::segment::{Change, Segment, record_len};
    use super::segments::Segments;
    use super::*;
    use crate::error::Error;
    use crate::store::directory::store_dir::StoreDir;
    use crate::tracing;

    pub(super) struct Shared {
        pub(super) control: Control,
    }

    /// The lock of one process's own mappings. It goes with the process, so who comes after the dead has another.
    struct Mapping;
    struct Held;

    fn lock(_: &Mapping) -> Held {
        Held
    }

    /// The segments that a process has mapped.
    pub(super) struct Mapped(Mutex<Arc<Segments>>);

    impl Mapped {
        pub(super) fn load(&self) -> Arc<Segments> {
            self.0.lock().unwrap().clone()
        }

        fn store(&self, segments: Arc<Segments>) {
            *self.0.lock().unwrap() = segments;
        }
    }

    pub(super) struct Snapshot {
        segments: Arc<Segments>,
        tail: Position,
    }

    impl Snapshot {
        fn segments(&self) -> &Arc<Segments> {
            &self.segments
        }

        fn tail(&self) -> Position {
            self.tail
        }
    }

    pub(super) struct Lmdb {
        pub(super) shared: Shared,
        pub(super) segments: Mapped,
        mapping: Mapping,
        is_half_full: AtomicBool,
        dir: Arc<StoreDir>,
    }

    include!(concat!(env!("OUT_DIR"), "/facts.rs"));
    include!(concat!(env!("OUT_DIR"), "/append.rs"));

    fn too_large() -> Error {
        unreachable!("no record is")
    }

    impl Lmdb {
        /// A store with one empty segment.
        pub(super) fn new() -> Lmdb {
            let origin = Point { at: Position { segment: 1, offset: 0 }, checksum: 0 };
            let control = Control::new();
            let first = Segment::begin(2, origin);
            control.set_tail(origin.at);
            control.open_segment().store(2, Ordering::SeqCst);
            control.next_number().store(3, Ordering::SeqCst);
            let list = vec![(Arc::new(first.clone()), u32::MAX)];
            Lmdb {
                shared: Shared { control },
                segments: Mapped(Mutex::new(Arc::new(Segments { folded: origin, list }))),
                mapping: Mapping,
                is_half_full: AtomicBool::new(false),
                dir: Arc::new(StoreDir::with(first)),
            }
        }

        fn begin_segment(&self, shared: &Shared, previous: Point, _: u32, _: Facts) -> Result<Segment> {
            let number = shared.control.next_number().fetch_add(1, Ordering::SeqCst);
            let segment = Segment::begin(number, previous);
            self.dir.add(segment.clone());
            Ok(segment)
        }

        fn snapshot(&self) -> Result<Snapshot> {
            Ok(Snapshot { segments: self.segments.load(), tail: self.shared.control.tail() })
        }

        fn store_id(&self) -> Result<&[u8; 16]> {
            Ok(&[0; 16])
        }

        fn sync_data(&self, _: &Control) -> Result<()> {
            Ok(())
        }

        /// Appends one number as a transaction does. The caller holds the append lock.
        pub(super) fn write(&self, number: u8, has_settings: bool) {
            self.mend(&self.shared).expect("it can be mended");
            let key = [number];
            let changes = std::iter::once(Change { key: &key });
            let facts = Facts { count: 1, adds: true, has_settings };
            self.append(&self.shared, self.shared.control.tail(), changes, facts).expect("there is room");
        }
    }
}

/// A store, and the lock under which is appended. It outlives its holder, as that of the engine does.
struct Store {
    lmdb: Lmdb,
    lock: Mutex<()>,
}

impl Store {
    fn new() -> Arc<Store> {
        Arc::new(Store { lmdb: Lmdb::new(), lock: Mutex::new(()) })
    }

    fn control(&self) -> &Control {
        &self.lmdb.shared.control
    }

    fn write(&self, number: u8, has_settings: bool) {
        let _lock = self.lock.lock().unwrap();
        self.lmdb.write(number, has_settings);
    }

    /// All that is in the log.
    fn numbers(&self) -> Vec<u64> {
        let tail = self.control().tail();
        let segments = self.lmdb.segments.load();
        segments.view(tail).parts().flat_map(|(segment, _, end)| segment.numbers(end)).collect()
    }
}

/// What a reader sees that has mapped the first segment before: by the tail alone, without any lock.
fn seen(control: &Control, first: &Segment) -> Vec<u64> {
    match control.tail() {
        Position { segment, offset } if segment == first.number => first.numbers(offset),
        _ => Vec::new(),
    }
}

pub(crate) fn readers_see_whole_records() {
    let store = Store::new();
    let first = store.lmdb.segments.load().newest().expect("there is one").clone();
    let writer = loom::thread::spawn({
        let store = store.clone();
        move || {
            store.write(1, false);
            store.write(2, false);
        }
    });
    let (one, two) = (seen(store.control(), &first), seen(store.control(), &first));
    assert!([&[][..], &[1], &[1, 2]].contains(&&two[..]), "{two:?}");
    assert!(two.starts_with(&one), "{two:?} after {one:?}");
    writer.join().unwrap();
    assert_eq!(store.numbers(), [1, 2]);
}

pub(crate) fn writers_take_turns() {
    let store = Store::new();
    let other = loom::thread::spawn({
        let store = store.clone();
        move || {
            store.write(1, false);
            assert!(store.numbers().contains(&1), "a write that has returned is not seen");
        }
    });
    store.write(2, false);
    assert!(store.numbers().contains(&2), "a write that has returned is not seen");
    other.join().unwrap();
    let mut all = store.numbers();
    all.sort_unstable();
    assert_eq!(all, [1, 2]);
}

pub(crate) fn settings_have_a_number() {
    let store = Store::new();
    let first = store.lmdb.segments.load().newest().expect("there is one").clone();
    let writer = loom::thread::spawn({
        let store = store.clone();
        move || store.write(1, true)
    });
    // As a snapshot takes them.
    let snapshot = || {
        let before = store.control().settings();
        let numbers = seen(store.control(), &first);
        let now = store.control().settings();
        (before.is_multiple_of(2) && before == now).then_some((before, numbers))
    };
    let taken = [snapshot(), snapshot()];
    writer.join().unwrap();
    let last = snapshot().expect("nobody changes them");
    for (number, numbers) in taken.into_iter().flatten() {
        let is_same = numbers == last.1;
        assert_eq!(number == last.0, is_same, "settings {number} are {numbers:?}, {} {:?}", last.0, last.1);
    }
}

/// For each place: what was acknowledged stays, what was not is there as a whole or not at all, and the log goes on.
pub(crate) fn killed_writer(place: &'static str) {
    let store = Store::new();
    let first = store.lmdb.segments.load().newest().expect("there is one").clone();
    store.write(1, false);
    let killed = loom::thread::spawn({
        let store = store.clone();
        move || {
            // Whoever takes the lock next has it from the dead.
            let _lock = store.lock.lock().unwrap();
            if place == "a segment is begun" {
                store.control().open_segment().store(0, Ordering::SeqCst);
            }
            assert!(fault::killed_at(place, || store.lmdb.write(2, true)), "{place}: never come to");
        }
    });
    let next = loom::thread::spawn({
        let store = store.clone();
        move || store.write(3, false)
    });
    let one = seen(store.control(), &first);
    killed.join().unwrap();
    next.join().unwrap();
    assert!(one.is_empty() || one[0] == 1, "{one:?}");
    // The next may have been the first of the two; then nobody has mended it yet.
    store.write(4, false);
    let all = store.numbers();
    let without = |gone: u64| all.iter().copied().filter(|number| *number != gone).collect::<Vec<_>>();
    assert_eq!(without(2), [1, 3, 4], "{place}: {all:?}");
    let is_whole = matches!(place, "a record is written" | "the tail is to be moved" | "the tail is moved");
    assert_eq!(all.contains(&2), is_whole, "{place}: {all:?}");
    assert_eq!(store.control().appending().load(Ordering::SeqCst), 0);
    assert!(store.control().settings().is_multiple_of(2), "{place}: the settings are taken for changing");
}
