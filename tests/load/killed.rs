//! A load that is killed leaves the store as it was, and what it leaves beside it is removed by the next.

use std::path::Path;
use std::time::{Duration, Instant};

use cachemere::load::{Existing, Load};

use super::collected::tab_separated;
use super::store::{as_it_is, builder, listed, only_its_own_files};
use super::support::{self, Part, Random, Role, Test, rounds, say};

const RECORDS: u64 = 150_000;

pub(crate) const ROLES: &[Part<'_>] = &[("load", load_in_child)];

pub(crate) const TESTS: &[Test] =
    &[("a_load_that_is_killed_leaves_the_store_as_it_was_and_nothing_behind", || {
        let mut random = Random::new();
        for round in 0..rounds(5, 50) {
            let (dir, path) = support::store();
            let file = dir.path().join("file");
            let text: String = (0..RECORDS).map(|n| format!("loaded {n}\t{round} {n}\n")).collect();
            std::fs::write(&file, text).unwrap();
            let kind = if round % 2 == 0 { "plain" } else { "encrypted" };
            // Into an empty store and into one that has entries, which are written to in different ways.
            let before: u64 = if round % 4 < 2 { 0 } else { 1000 };
            let cache = builder(&path, kind).open().unwrap();
            for n in 0..before {
                cache.insert(format!("loaded {}", n * 100).as_bytes(), b"old", 0, None).unwrap();
            }
            cache.close().unwrap();

            let whole = time_of_a_load(&file, &path.with_extension("whole"), kind);
            let mut child = Role::start("load", &[file.to_str().unwrap(), path.to_str().unwrap(), kind]);
            child.expect("begins");
            std::thread::sleep(whole.mul_f64(random.below(1200) as f64 / 1000.0));
            child.kill();
            let is_done = child.rest().contains(&"done".to_owned());

            let cache = builder(&path, kind).open().unwrap();
            let len = cache.len().unwrap();
            assert!(
                len == before && !is_done || len == RECORDS,
                "{len} entries, {before} before, done: {is_done}"
            );
            let all = listed(&cache);
            assert_eq!(all.len() as u64, len);
            let of_load = all.iter().filter(|(_, value)| value != "old").count() as u64;
            assert!(of_load == 0 || of_load == RECORDS, "{of_load} of {RECORDS} were loaded");
            let report = cache.verify().unwrap();
            assert!(report.is_clean(), "{report:?}");
            load(&file, &path, kind);
            only_its_own_files(&path);
            assert_eq!(cache.len().unwrap(), RECORDS);
        }
    })];

fn load(file: &Path, store: &Path, kind: &str) {
    let cache = builder(store, kind).open().unwrap();
    // So small that it spills.
    let load = Load::new([file], tab_separated(), store).options(|options| options.memory_budget(4 << 20));
    let summary = cache.load(load, Existing::Replace, None, &as_it_is, &mut ()).unwrap();
    assert!(summary.bytes_spilled > 0);
}

fn time_of_a_load(file: &Path, store: &Path, kind: &str) -> Duration {
    let begun = Instant::now();
    load(file, store, kind);
    begun.elapsed()
}

fn load_in_child(arguments: &[String]) {
    let [file, store, kind] = arguments else { panic!("three arguments") };
    say("begins");
    load(Path::new(file), Path::new(store), kind);
    say("done");
    support::hear_the_end();
}
