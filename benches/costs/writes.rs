//! Single inserts and removals, batches, synced inserts, and what the files take on the disk.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use cachemere::{Cache, Durability};

use crate::Scale;
use crate::common::measure::{alternate, time};
use crate::common::raw::Raw;
use crate::common::values::{Document, document, encode, key, shuffled};
use crate::counting::allocations;
use crate::directory;
use crate::table::Table;

type Documents = Cache<str, Document>;

/// How long after the last write the files are looked at.
const SETTLED: Duration = Duration::from_secs(5);

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let items: Vec<(String, Document)> = (0..scale.entries as u64).map(|n| (key(n), document(n))).collect();

    // Into an empty store, one by one. The stores of each turn are new; the last ones stay for what follows.
    let mut raw_store = None;
    let mut our_store = None;
    let pair = alternate(
        scale.turns,
        |turn| {
            let raw = raw_store.insert(fresh_raw(dir.path(), &format!("raw-{turn}"), false));
            remove(dir.path(), "raw", turn);
            time(items.len(), || items.iter().for_each(|(key, value)| raw.put(key, &encode(value))))
        },
        |turn| {
            drop(our_store.take());
            remove(dir.path(), "ours", turn);
            let ours: &Documents =
                our_store.insert(Cache::builder(dir.path().join(format!("ours-{turn}"))).open().unwrap());
            time(items.len(), || items.iter().for_each(|(key, value)| ours.insert(key, value).unwrap()))
        },
    );
    let raw = raw_store.unwrap();
    let ours = our_store.unwrap();
    table.pair("insert, from an empty store on", &pair);
    std::thread::sleep(SETTLED);
    let last = scale.turns - 1;
    let [raw_size, our_size] =
        [format!("raw-{last}"), format!("ours-{last}")].map(|name| megabytes(&dir.path().join(name)));
    table.row(
        &format!("what the files take on the disk {} s after that", SETTLED.as_secs()),
        format!("{raw_size:.0} MB"),
        format!("{our_size:.0} MB"),
        format!("{:.2}×", our_size / raw_size),
    );

    // New keys into the full store.
    let m = scale.inserts as u64;
    let mut fresh = 1 << 30;
    let new = |fresh: u64| -> Vec<(String, Document)> {
        (fresh..fresh + m).map(|n| (key(n), document(n))).collect()
    };
    let mut batches = || {
        fresh += m;
        new(fresh)
    };
    let turns: Vec<Vec<(String, Document)>> = (0..scale.turns).map(|_| batches()).collect();
    let pair = alternate(
        scale.turns,
        |turn| {
            time(turns[turn].len(), || {
                turns[turn].iter().for_each(|(key, value)| raw.put(key, &encode(value)))
            })
        },
        |turn| {
            time(turns[turn].len(), || {
                turns[turn].iter().for_each(|(key, value)| ours.insert(key, value).unwrap())
            })
        },
    );
    table.pair("insert of new keys into the full store", &pair);

    let orders: Vec<Vec<usize>> = (0..scale.turns).map(|turn| shuffled(items.len(), turn as u64)).collect();
    let pair = alternate(
        scale.turns,
        |turn| {
            let order = &orders[turn][..scale.inserts];
            time(order.len(), || order.iter().for_each(|n| raw.put(&items[*n].0, &encode(&items[*n].1))))
        },
        |turn| {
            let order = &orders[turn][..scale.inserts];
            time(order.len(), || order.iter().for_each(|n| ours.insert(&items[*n].0, &items[*n].1).unwrap()))
        },
    );
    table.pair("insert in place of the key's present value", &pair);
    let raw_count = allocations(items.len().min(100), || {
        items.iter().take(100).for_each(|(key, value)| raw.put(key, &encode(value)));
    });
    let our_count = allocations(items.len().min(100), || {
        items.iter().take(100).for_each(|(key, value)| ours.insert(key, value).unwrap());
    });
    table.row("allocations: insert", format!("{raw_count:.1}"), format!("{our_count:.1}"), String::new());

    // The keys that were new above.
    let pair = alternate(
        scale.turns,
        |turn| time(turns[turn].len(), || turns[turn].iter().for_each(|(key, _)| raw.remove(key))),
        |turn| {
            time(turns[turn].len(), || {
                turns[turn].iter().for_each(|(key, _)| assert!(ours.remove(key).unwrap()));
            })
        },
    );
    table.pair("remove one key", &pair);

    // A batch in one transaction; ours sorts it by itself.
    for (what, sorted) in [("raw in random order", false), ("raw sorted by key first", true)] {
        let turns: Vec<Vec<(String, Document)>> = (0..scale.turns).map(|_| batches()).collect();
        let pair = alternate(
            scale.turns,
            |turn| {
                let items = &turns[turn];
                per_batch(items, |batch| {
                    let mut encoded: Vec<(&str, Vec<u8>)> =
                        batch.iter().map(|(key, value)| (key.as_str(), encode(value))).collect();
                    if sorted {
                        encoded.sort_unstable_by_key(|(key, _)| *key);
                    }
                    raw.put_many(encoded.iter().map(|(key, value)| (*key, value.as_slice())));
                })
            },
            |turn| {
                per_batch(&turns[turn], |batch| {
                    ours.insert_many(batch.iter().map(|(key, value)| (key.as_str(), value))).unwrap();
                })
            },
        );
        let what = format!("`insert_many` of 1,000 new keys into the full store, per item ({what})");
        table.pair(&what, &pair);
    }
    drop((raw, ours));

    // Safe on the disk when it returns.
    let raw = fresh_raw(dir.path(), "raw-synced", true);
    let ours: Documents =
        Cache::builder(dir.path().join("ours-synced")).durability(Durability::Sync).open().unwrap();
    let items = &items[..(scale.synced * scale.turns).min(items.len())];
    let turns: Vec<_> = items.chunks(scale.synced).collect();
    let pair = alternate(
        turns.len(),
        |turn| {
            time(turns[turn].len(), || {
                turns[turn].iter().for_each(|(key, value)| raw.put(key, &encode(value)))
            })
        },
        |turn| {
            time(turns[turn].len(), || {
                turns[turn].iter().for_each(|(key, value)| ours.insert(key, value).unwrap())
            })
        },
    );
    table.pair("insert, `Durability::Sync` (raw: LMDB's own sync)", &pair);
}

fn fresh_raw(dir: &Path, name: &str, sync: bool) -> Raw {
    let dir = dir.join(name);
    std::fs::create_dir(&dir).unwrap();
    Raw::open(&dir, sync)
}

/// What the files of a directory take on the disk.
fn megabytes(dir: &Path) -> f64 {
    let blocks = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().blocks());
    blocks.sum::<u64>() as f64 * 512.0 / 1e6
}

/// Removes the store of the turn before.
fn remove(dir: &Path, name: &str, turn: usize) {
    if turn > 0 {
        std::fs::remove_dir_all(dir.join(format!("{name}-{}", turn - 1))).unwrap();
    }
}

fn per_batch(items: &[(String, Document)], mut write: impl FnMut(&[(String, Document)])) -> f64 {
    time(items.len(), || items.chunks(1_000).for_each(&mut write))
}
