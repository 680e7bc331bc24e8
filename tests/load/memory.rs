//! The budget: with ten times as much data the process takes less than twice the budget.

use std::io::Write;
use std::path::Path;

use cachemere::load::{Load, Merge, Range, RawBytes, Sink};

use super::collected::tab_separated;
use super::support::{Part, Random, Role, Test, rounds, say};

pub(crate) const ROLES: &[Part<'_>] = &[("sort_within", sort_within)];

pub(crate) const TESTS: &[Test] = &[("ten_times_the_budget_is_sorted_in_less_than_twice_the_budget", || {
    let budget = rounds(24 << 20, 128 << 20);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let records = write_large(&path, 10 * budget);
    let temporary = dir.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let arguments = [path.to_str().unwrap(), temporary.to_str().unwrap(), &budget.to_string()];
    let child = Role::start("sort_within", &arguments);
    let told = child.line().unwrap();
    let [written, peak] = told.split(' ').map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    assert_eq!(written, records);
    assert!(peak < 2 * budget, "{peak} bytes at most, of a budget of {budget}");
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    child.join();
})];

/// Writes about so many bytes, in random order; returns how many records they are.
pub(crate) fn write_large(path: &Path, bytes: u64) -> u64 {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut random = Random(3);
    let mut records = 0;
    while records * 100 < bytes {
        writeln!(out, "{:032x}{:032x}\t{:034x}", random.next(), records, random.next()).unwrap();
        records += 1;
    }
    out.flush().unwrap();
    records
}

struct Counted;

impl Sink for Counted {
    fn write(&self, _range: Range<'_>, records: &mut Merge<'_>) -> cachemere::Result<u64> {
        let mut count = 0;
        while records.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

fn sort_within(arguments: &[String]) {
    let [path, temporary, budget] = arguments else { panic!("three arguments") };
    let budget = budget.parse().unwrap();
    let load = Load::new([path], tab_separated(), temporary).options(|options| options.memory_budget(budget));
    let sorted = load.sort(&RawBytes::default(), &mut ()).unwrap();
    assert!(sorted.summary().bytes_spilled > 5 * budget as u64);
    let summary = sorted.write(&Counted, &mut ()).unwrap();
    say(&format!("{} {}", summary.written, peak_memory()));
    super::support::hear_the_end();
}

/// The most memory this process has had, in bytes.
pub(crate) fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
