//! Bulk loads: every format and compression, sorting within a budget, duplicates, bad records, and what a load that
//! fails or is killed leaves: nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "support/mod.rs"]
mod support;

#[path = "load/collected.rs"]
mod collected;
#[path = "load/files.rs"]
mod files;
#[path = "load/formats.rs"]
mod formats;
#[path = "load/killed.rs"]
mod killed;
#[path = "load/memory.rs"]
mod memory;
#[path = "load/sorting.rs"]
mod sorting;
#[path = "load/store.rs"]
mod store;

use std::process::ExitCode;

fn main() -> ExitCode {
    let tests =
        [formats::TESTS, files::TESTS, sorting::TESTS, memory::TESTS, store::TESTS, killed::TESTS].concat();
    support::run(&[memory::ROLES, killed::ROLES].concat(), &tests)
}
