//! What must not depend on the number of entries: opening a store, and sweeping what is expired.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachemere::{ByteCache, Maintenance};

use crate::Scale;
use crate::common::measure::{Pair, alternate, time};
use crate::common::raw::Raw;
use crate::common::values::{document, encode, key};
use crate::directory;
use crate::table::Table;

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let [small, large] = [scale.small, scale.large].map(|entries| filled(dir.path(), entries));

    // From nothing to the first value; closing is not counted. The raw side opens the very same data file.
    for (path, entries) in [(&small, scale.small), (&large, scale.large)] {
        let first = key(1);
        let pair = alternate(
            scale.turns,
            |_| {
                let mut raw = None;
                time(1, || {
                    let raw = raw.insert(Raw::open(path, false));
                    raw.get("absent", |_| ());
                })
            },
            |_| {
                let mut cache = None;
                time(1, || {
                    let cache = cache.insert(open(path));
                    cache.get(first.as_bytes()).unwrap().unwrap();
                })
            },
        );
        table.pair(&format!("open a store of {entries} entries and get one"), &pair);
    }

    // What the same removals cost LMDB alone, with keys as far apart as hashes are.
    let [raw_small, raw_large] = [scale.small, scale.large].map(|entries| raw_filled(dir.path(), entries));
    let remove = |raw: &Raw, turn: usize| {
        let (mut keys, value) = (Vec::new(), encode(&document(1)));
        for n in 0..1_000u64 {
            keys.push(scattered((1 << 50) + turn as u64 * 1_000 + n));
        }
        keys.sort_unstable();
        raw.put_many(keys.iter().map(|key| (key.as_str(), value.as_slice())));
        time(1, || raw.remove_many(&keys))
    };
    remove(&raw_small, scale.turns);
    remove(&raw_large, scale.turns);
    let pair = alternate(scale.turns, |turn| remove(&raw_small, turn), |turn| remove(&raw_large, turn));
    let name = format!(
        "remove 1,000 scattered keys of {} entries (left: of {}; both raw heed)",
        scale.large, scale.small
    );
    table.pair(&name, &pair);

    let sweep = |cache: &ByteCache, turn: usize| {
        let expiring: Vec<(String, Vec<u8>)> = (0..1_000u64)
            .map(|n| (1 << 50) + turn as u64 * 1_000 + n)
            .map(|n| (key(n), encode(&document(n))))
            .collect();
        let items = expiring.iter().map(|(key, value)| (key.as_bytes(), value.clone(), 0));
        cache.insert_many(items, Some(Duration::from_millis(1))).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        let mut swept = 0;
        let took = time(1, || swept = cache.sweep().unwrap());
        assert_eq!(swept, 1_000);
        took
    };
    let (small, large) = (open(&small), open(&large));
    // The first turn is not counted: it has to join the checkpoints.
    sweep(&small, scale.turns);
    sweep(&large, scale.turns);
    let pair: Pair = alternate(scale.turns, |turn| sweep(&small, turn), |turn| sweep(&large, turn));
    let name =
        format!("sweep 1,000 expired of {} entries (left: of {}; both cachemere)", scale.large, scale.small);
    table.pair(&name, &pair);
}

fn open(path: &Path) -> ByteCache {
    ByteCache::builder(path).maintenance(Maintenance::Manual).open().unwrap()
}

fn filled(dir: &Path, entries: usize) -> PathBuf {
    let path = dir.join(entries.to_string());
    let cache = open(&path);
    for batch in (0..entries as u64).collect::<Vec<_>>().chunks(10_000) {
        let items: Vec<(String, Vec<u8>)> = batch.iter().map(|n| (key(*n), encode(&document(*n)))).collect();
        let items = items.iter().map(|(key, value)| (key.as_bytes(), value.clone(), 0));
        cache.insert_many(items, None).unwrap();
    }
    cache.close().unwrap();
    path
}

/// A key of 16 bytes whose place among the others is random, as that of a hash is.
fn scattered(n: u64) -> String {
    format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn raw_filled(dir: &Path, entries: usize) -> Raw {
    let path = dir.join(format!("raw {entries}"));
    std::fs::create_dir(&path).unwrap();
    let raw = Raw::open(&path, false);
    for batch in (0..entries as u64).collect::<Vec<_>>().chunks(10_000) {
        let mut items: Vec<(String, Vec<u8>)> =
            batch.iter().map(|n| (scattered(*n), encode(&document(*n)))).collect();
        items.sort_unstable();
        raw.put_many(items.iter().map(|(key, value)| (key.as_str(), value.as_slice())));
    }
    raw
}
