//! What a store takes of its process (descriptors, mappings, locks), and what is told by locks to others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    unsafe_code,
    missing_docs
)]

#[path = "locks/circles.rs"]
mod circles;
#[path = "locks/descriptors.rs"]
mod descriptors;
#[path = "locks/removed.rs"]
mod removed;
#[path = "locks/strange.rs"]
mod strange;
#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;

use cachemere::{ByteCache, Cache};

fn main() -> ExitCode {
    support::run(
        &[
            ("count", descriptors::count),
            ("closed", descriptors::closed),
            ("exec", descriptors::exec),
            ("listing", descriptors::listing),
            ("orphan", descriptors::orphan),
            ("try", circles::try_lead),
            ("circle", circles::circle),
            ("write", removed::write),
        ],
        &[
            ("a_store_needs_four_descriptors_for_any_number_of_handles", descriptors::four),
            ("a_closed_handle_keeps_nothing_of_the_store", descriptors::nothing_is_kept),
            ("no_descriptor_of_a_store_survives_exec", descriptors::no_survivors),
            ("an_idle_child_of_a_killed_process_holds_nothing", descriptors::orphans),
            ("a_lead_is_lost_by_no_close_but_its_own", circles::kept),
            ("processes_that_need_each_others_keys_go_on", circles::over_processes),
            ("threads_that_need_each_others_keys_in_two_stores_go_on", circles::over_stores),
            ("there_is_no_file_that_is_only_locked", removed::no_empty_files),
            ("a_file_that_is_none_is_refused_and_nothing_behind_it_touched", strange::refused),
            ("what_is_not_needed_is_not_looked_at", strange::passed_by),
            ("a_backup_goes_where_it_is_to_go", strange::backups),
            ("others_cannot_write_to_the_directory_of_a_store", strange::directories),
            ("nothing_is_lost_when_what_is_no_data_is_removed", removed::while_in_use),
        ],
    )
}

type Words = Cache<str, String>;

fn open(path: &Path) -> Words {
    Words::builder(path).open().unwrap()
}

fn open_bytes(path: &Path) -> ByteCache {
    ByteCache::builder(path).namespace("bytes").open().unwrap()
}
