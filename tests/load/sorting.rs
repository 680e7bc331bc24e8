//! Sorting: in memory and spilled, by ranges, duplicates, files that are sorted already, cancellation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cachemere::load::{Duplicates, Load, Options, Progress, RawBytes, Watch};
use cachemere::{Error, load};

use super::collected::{Collected, collect, collect_by, file, gzip, pairs, tab_separated};
use super::support::{Random, Test};

pub(crate) const TESTS: &[Test] = &[
    ("records_come_out_as_an_ordered_map_would_have_them", || {
        let (dir, files, last, first) = random_files();
        for budget in [4 << 20, 256 << 20] {
            // Many threads get small windows, so that runs on the disk must be merged before.
            for (threads, ranges) in [(1, 1), (2, 3), (16, 16)] {
                for (rule, expected) in [(Duplicates::Last, &last), (Duplicates::First, &first)] {
                    let load = |temporary: &Path| {
                        let load = Load::new(&files, tab_separated(), temporary);
                        load.options(|options| {
                            options.memory_budget(budget).threads(threads).duplicates(rule)
                        })
                    };
                    let (summary, loaded) = collect_by(ranges, load).unwrap();
                    assert_eq!(summary.bytes_spilled > 0, budget < 100 << 20);
                    assert_eq!(loaded.len(), expected.len());
                    assert!(loaded.iter().map(|(key, value)| (key, value)).eq(expected.iter()));
                }
            }
        }
        drop(dir);
    }),
    ("ranges_have_about_as_many_records_each", || {
        let text: String = (0..100_000u64).map(|n| format!("key {}\t{n}\n", n * 7919 % 100_003)).collect();
        let (_dir, path) = file("file", text.as_bytes());
        let temporary = tempfile::tempdir().unwrap();
        for budget in [4 << 20, 64 << 20] {
            let load = Load::new([&path], tab_separated(), temporary.path());
            let load = load.options(|options| options.memory_budget(budget));
            let sorted = load.sort(&RawBytes::default(), &mut ()).unwrap();
            let ranges = sorted.ranges(4);
            assert_eq!(ranges.len(), 4);
            for range in &ranges {
                let mut merge = sorted.merge(range, 1).unwrap();
                let mut records = 0;
                while merge.next().unwrap().is_some() {
                    records += 1;
                }
                assert!((10_000..50_000).contains(&records), "{records}");
            }
        }
    }),
    ("a_key_that_is_there_twice_is_an_error_with_both_places_if_asked_for", || {
        let filler: String = (0..200_000).map(|n| format!("filler {n}\t{n}\n")).collect();
        let (_a, first) = file("first", format!("{filler}twice\t1\n").as_bytes());
        let (_b, second) = file("second", &gzip(b"x\t1\ntwice\t2\n"));
        for budget in [4 << 20, 256 << 20] {
            let load = |dir: &Path| {
                let load = Load::new([&first, &second], tab_separated(), dir);
                load.options(|options| options.memory_budget(budget).duplicates(Duplicates::Error))
            };
            let error = collect(load).unwrap_err();
            let told = error.to_string();
            assert!(matches!(error, Error::DuplicateKey { .. }), "{told}");
            assert!(told.contains("key twice") && told.contains("first, line 200001"), "{told}");
            assert!(told.contains("second, line 2;"), "{told}");
        }
    }),
    ("files_that_are_said_to_be_sorted_are_checked", || {
        let lines: Vec<String> = (0..300_000).map(|n| format!("{n:06}\t{n}\n")).collect();
        let sorted = |lines: &[String]| {
            let (_dir, path) = file("sorted", lines.concat().as_bytes());
            let options = |options: Options| options.memory_budget(16 << 20);
            collect(|dir| Load::new([&path], tab_separated().sorted(), dir).options(options))
        };
        let (summary, loaded) = sorted(&lines).unwrap();
        assert_eq!((summary.records, loaded.len()), (300_000, 300_000));
        for (a, b) in [(0, 1), (7, 250_000), (299_998, 299_999)] {
            let mut swapped = lines.clone();
            swapped.swap(a, b);
            let error = sorted(&swapped).unwrap_err();
            assert!(
                matches!(error, Error::BadRecord { .. }) && error.to_string().contains("sorted"),
                "{error}"
            );
        }
    }),
    ("long_records_are_loaded_and_too_long_ones_refused", || {
        let long = |len: usize| format!("a\t{}\nb\t1\n", "x".repeat(len));
        let load = |len| {
            let (_dir, path) = file("long", long(len).as_bytes());
            collect(|dir| Load::new([&path], tab_separated(), dir).options(|o| o.memory_budget(8 << 20)))
        };
        assert_eq!(load(900_000).unwrap().1.len(), 2);
        let error = load(4 << 20).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("longer"), "{error}");
    }),
    ("a_cancelled_load_ends_soon_and_leaves_nothing", || {
        struct After(u32);
        impl Watch for After {
            fn progress(&mut self, progress: &Progress) {
                assert!(progress.bytes_read <= progress.bytes_total && progress.written <= progress.records);
            }
            fn is_cancelled(&mut self) -> bool {
                self.0 = self.0.saturating_sub(1);
                self.0 == 0
            }
        }
        let text: String =
            (0..2_000_000u64).map(|n| format!("key {}\t{n}\n", n * 7919 % 2_000_003)).collect();
        let (_dir, path) = file("file", text.as_bytes());
        let temporary = tempfile::tempdir().unwrap();
        let sink = Collected::by_ranges(2);
        let begun = std::time::Instant::now();
        let load = Load::new([&path; 8], tab_separated(), temporary.path());
        let load = load.options(|options| options.memory_budget(16 << 20));
        let ended =
            load.sort(&RawBytes::default(), &mut After(3)).and_then(|sorted| sorted.write(&sink, &mut ()));
        assert!(matches!(ended, Err(Error::Cancelled)));
        assert!(begun.elapsed().as_secs() < 5);
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }),
    ("a_panic_of_an_encoder_is_handed_on_and_leaves_nothing", || {
        let text: String = (0..500_000).map(|n| format!("{n}\t{n}\n")).collect();
        let (_dir, path) = file("file", text.as_bytes());
        let temporary = tempfile::tempdir().unwrap();
        let encode = |record: &load::Record<'_>, out: &mut load::Encoded| {
            assert!(record.key.raw() != b"499999", "as the test wants it");
            out.key.extend_from_slice(record.key.raw());
            out.value.resize(200, 7);
            Ok(())
        };
        let load = Load::new([&path], tab_separated(), temporary.path());
        let load = load.options(|options| options.memory_budget(8 << 20));
        let ended = std::panic::catch_unwind(|| load.sort(&encode, &mut ()).map(drop));
        assert!(ended.is_err());
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }),
    ("two_rules_of_duplicates_are_what_they_say", || {
        let (_dir, path) = file("file", b"a\t1\nb\t2\na\t3\n");
        let load =
            |rule| collect(|dir| Load::new([&path], tab_separated(), dir).options(|o| o.duplicates(rule)));
        assert_eq!(load(Duplicates::Last).unwrap().1, pairs(&[("a", "3"), ("b", "2")]));
        assert_eq!(load(Duplicates::First).unwrap().1, pairs(&[("a", "1"), ("b", "2")]));
        assert_eq!(load(Duplicates::Last).unwrap().0.duplicates, 1);
    }),
];

type Map = BTreeMap<String, String>;

/// Files with many duplicates, and what a map that is filled in their order has, keeping the last or the first.
fn random_files() -> (tempfile::TempDir, Vec<PathBuf>, Map, Map) {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    let (mut files, mut last, mut first) = (Vec::new(), Map::new(), Map::new());
    for n in 0..5 {
        let mut text = String::new();
        for line in 0..20_000 {
            let key = format!("{:x}", random.below(70_000));
            let value = format!("{n} {line} {}", "x".repeat(random.below(100) as usize));
            text += &format!("{key}\t{value}\n");
            first.entry(key.clone()).or_insert_with(|| value.clone());
            last.insert(key, value);
        }
        let path = dir.path().join(n.to_string());
        let bytes = if n % 2 == 0 { text.into_bytes() } else { gzip(text.as_bytes()) };
        std::fs::write(&path, bytes).unwrap();
        files.push(path);
    }
    (dir, files, last, first)
}
