//! What the cache costs, against heed (LMDB) used by itself, in one run.
//!
//! `cargo bench --bench costs` prints a Markdown table. Arguments pick sections by name (`reads`, `fronts`, `sealing`,
//! `writes`, `sustained`, `opening`, `large`, `processes`); `CACHEMERE_BENCH_QUICK=1` makes everything small, to see that it
//! works.
//!
//! Both sides hold the same values under the same keys, in their own directories of one file system, and are measured
//! by turns: raw, ours, ours, raw, and so on. A row has the median of each side, and the median of the turns' ratios
//! with the smallest and the largest. Raw heed: `WithTls`, `NO_SYNC`, a transaction per operation, the key's bytes as
//! LMDB key, nothing but the value's bytes as value. Ours: everything at its default, so with checksums, times,
//! insertion order and, while something is written, a checkpoint each second that syncs the disk in the background.
//! "Decoded" is the same MessagePack with field names on both sides.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
mod counting;
mod fronts;
mod large;
mod opening;
mod processes;
mod reads;
mod sealing;
mod sustained;
mod table;
mod writes;

use table::Table;

/// How much is measured.
#[derive(Clone, Copy)]
struct Scale {
    /// Entries in the stores that are read and written.
    entries: usize,
    /// Entries that are all in the front.
    hot: usize,
    /// Entries in the large store.
    large: usize,
    /// Entries in the small store that the large one is compared with.
    small: usize,
    turns: usize,
    /// Operations in a turn.
    reads: usize,
    inserts: usize,
    synced: usize,
    /// Inserts in a row.
    sustained: usize,
    /// Bytes in the log of the store that is opened.
    log: usize,
    /// How long the reader processes read.
    milliseconds: u64,
}

const FULL: Scale = Scale {
    entries: 100_000,
    hot: 30_000,
    large: 1_000_000,
    small: 10_000,
    turns: 9,
    reads: 20_000,
    inserts: 5_000,
    synced: 200,
    sustained: 300_000,
    log: 16 << 20,
    milliseconds: 500,
};
const QUICK: Scale = Scale {
    entries: 2_000,
    hot: 2_000,
    large: 4_000,
    small: 2_000,
    turns: 3,
    reads: 500,
    inserts: 200,
    synced: 5,
    sustained: 3_000,
    log: 1 << 20,
    milliseconds: 50,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == processes::CHILD) {
        return processes::child(&arguments[1..]);
    }
    if arguments.first().is_some_and(|first| first == opening::CHILD) {
        return opening::child(&arguments[1..]);
    }
    let scale = if std::env::var_os("CACHEMERE_BENCH_QUICK").is_some() { QUICK } else { FULL };
    let wanted = |section: &str| {
        // Cargo itself passes `--bench`.
        let mut named = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|name| name == section)
    };
    let mut table = Table::default();
    if wanted("reads") {
        reads::run(scale, &mut table);
    }
    if wanted("fronts") {
        fronts::run(scale, &mut table);
    }
    if wanted("sealing") {
        sealing::run(scale, &mut table);
    }
    if wanted("writes") {
        writes::run(scale, &mut table);
    }
    if wanted("sustained") {
        sustained::run(scale, &mut table);
    }
    if wanted("opening") {
        opening::run(scale, &mut table);
    }
    if wanted("large") {
        large::run(scale, &mut table);
    }
    if wanted("processes") {
        processes::run(scale, &mut table);
    }
    println!("{table}");
}

/// A directory on the disk where the crate is built, removed when dropped.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}
