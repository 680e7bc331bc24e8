//! Single inserts, one after another, until the store is large: what the threads in the background cost, and how long
//! the longest write takes. Raw heed writes the same three records in a transaction: entry, place in the order, counters.

use std::time::Instant;

use cachemere::Cache;
use rustix::time::{ClockId, clock_gettime};

use crate::Scale;
use crate::common::measure::{Pair, alternate, nanos};
use crate::common::raw::Raw;
use crate::common::values::{Document, document, encode, key, mixed};
use crate::directory;
use crate::table::Table;

/// Different values; each is written under many keys.
const DOCUMENTS: u64 = 10_000;
/// Bytes before the key in an entry.
const HEADER: usize = 80;

/// Nanoseconds.
struct Inserts {
    each: f64,
    /// Processor time of all threads, until everything is in the data file.
    processor: f64,
    /// 99.9 of 100 take less.
    tail: f64,
    longest: f64,
}

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let documents: Vec<Document> = (0..DOCUMENTS.min(scale.sustained as u64)).map(document).collect();
    let keys: Vec<String> = (0..scale.sustained as u64).map(key).collect();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    alternate(
        scale.turns.div_ceil(3),
        |_| {
            let dir = directory();
            let store = Raw::open(dir.path(), false);
            let mut number = 0;
            let write = |key: &str, value: &Document| {
                three_records(&store, number, key, value);
                number += 1;
            };
            raw.push(measure(&keys, &documents, write, || ()));
            raw[raw.len() - 1].each
        },
        |_| {
            let dir = directory();
            let cache: Cache<str, Document> = Cache::builder(dir.path().join("store")).open().unwrap();
            let write = |key: &str, value: &Document| cache.insert(key, value).unwrap();
            ours.push(measure(&keys, &documents, write, || cache.close().unwrap()));
            ours[ours.len() - 1].each
        },
    );
    let pair = |of: fn(&Inserts) -> f64| -> Pair {
        Pair::of(&raw.iter().zip(&ours).map(|(raw, ours)| (of(raw), of(ours))).collect::<Vec<_>>())
    };
    let name = format!("{} inserts in a row into an empty store (raw: the same three records)", keys.len());
    table.pair(&name, &pair(|inserts| inserts.each));
    let name = "processor time of all threads for each of these, folds included";
    table.pair(name, &pair(|inserts| inserts.processor));
    table.pair("99.9th percentile of these", &pair(|inserts| inserts.tail));
    let longest = |side: &[Inserts]| nanos(side.iter().map(|inserts| inserts.longest).fold(0.0, f64::max));
    table.row("longest of these, of all turns", longest(&raw), longest(&ours), String::new());
}

fn measure(
    keys: &[String],
    documents: &[Document],
    mut write: impl FnMut(&str, &Document),
    finish: impl FnOnce(),
) -> Inserts {
    // So that what the other side left to be written does not count here.
    rustix::fs::sync();
    let mut took = Vec::with_capacity(keys.len());
    let processor = processor_time();
    let start = Instant::now();
    let mut last = start;
    for (key, value) in keys.iter().zip(documents.iter().cycle()) {
        write(key, value);
        let now = Instant::now();
        took.push((now - last).as_nanos() as f64);
        last = now;
    }
    finish();
    let processor = (processor_time() - processor) / keys.len() as f64;
    let each = (last - start).as_nanos() as f64 / keys.len() as f64;
    took.sort_unstable_by(f64::total_cmp);
    Inserts { each, processor, tail: took[keys.len() * 999 / 1_000], longest: took[keys.len() - 1] }
}

/// Of the lengths that an insert of ours comes to in the tree, and in places as far apart.
fn three_records(store: &Raw, number: u64, key: &str, value: &Document) {
    let mut hash = *b"e________________";
    hash[1..9].copy_from_slice(&mixed(number).to_be_bytes());
    let order = |number: u64| [b"onmsp", &number.to_be_bytes()[..]].concat();
    let entry = [&[0; HEADER], key.as_bytes(), &encode(value)].concat();
    let counters = [number.to_le_bytes(); 2].concat();
    store.put_many([(&hash[..], &entry[..]), (&order(number), &hash[1..]), (&order(u64::MAX), &counters)]);
}

fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
