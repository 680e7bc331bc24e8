//! Opening a store after its last process was killed, with as much in the log as the largest segment holds.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use cachemere::{Cache, Maintenance};
use rustix::process::{Signal, getpid, kill_process};

use crate::Scale;
use crate::common::measure::{alternate, time};
use crate::common::raw::Raw;
use crate::common::values::{Document, document, encode, key};
use crate::directory;
use crate::table::Table;

/// The first argument of a child.
pub(crate) const CHILD: &str = "--writer";

pub(crate) fn run(scale: Scale, table: &mut Table) {
    let dir = directory();
    let path = dir.path().join("store");
    // Segments grow with the store.
    let cache: Cache<str, Document> = Cache::builder(&path).open().unwrap();
    for batch in (0..scale.entries as u64).collect::<Vec<_>>().chunks(1_000) {
        let items: Vec<(String, Document)> = batch.iter().map(|n| (key(*n), document(*n))).collect();
        cache.insert_many(items.iter().map(|(key, value)| (key.as_str(), value))).unwrap();
    }
    cache.close().unwrap();

    // The raw side opens the very same data file.
    let inserts = scale.log / encode(&document(0)).len();
    let pair = alternate(
        scale.turns,
        |_| {
            let mut raw = None;
            time(1, || {
                let raw = raw.insert(Raw::open(&path, false));
                raw.get("absent", |_| ());
            })
        },
        |turn| {
            let first = (1 << 40) + (turn * inserts) as u64;
            kill_a_writer(&path, first, inserts);
            assert!(log_bytes(&path) >= scale.log as u64, "the log was folded");
            let wanted = key(first + inserts as u64 / 2);
            let mut cache = None;
            time(1, || {
                let cache: &Cache<str, Document> = cache.insert(Cache::builder(&path).open().unwrap());
                cache.get(&wanted).unwrap().unwrap();
            })
        },
    );
    let log = scale.log >> 20;
    table.pair(
        &format!("open a store after a kill that left {log} MiB in the log, and get one of these"),
        &pair,
    );
}

fn kill_a_writer(path: &Path, first: u64, inserts: usize) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg(CHILD).arg(path).args([first, inserts as u64].map(|n| n.to_string()));
    assert_eq!(child.status().unwrap().signal(), Some(Signal::KILL.as_raw()));
}

/// A writer: leaves all that it inserts in the log, and dies.
pub(crate) fn child(arguments: &[String]) {
    let [path, first, inserts] = arguments else { panic!("three arguments") };
    let (first, inserts): (u64, u64) = (first.parse().unwrap(), inserts.parse().unwrap());
    let cache = Cache::builder(path).maintenance(Maintenance::Manual);
    let cache: Cache<str, Document> = cache.open().unwrap();
    (first..first + inserts).for_each(|n| cache.insert(&key(n), &document(n)).unwrap());
    kill_process(getpid(), Signal::KILL).unwrap();
}

fn log_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path).unwrap().map(Result::unwrap);
    let segments = files.filter(|file| file.file_name().to_string_lossy().starts_with("log-"));
    segments.map(|file| file.metadata().unwrap().len()).sum()
}
