//! The log: whatever its records say, with right checksums, replaying it finds just that.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir_in("/dev/shm").expect("there is memory"));

fuzz_target!(|bytes: &[u8]| cachemere::fuzzing::log(DIR.path(), bytes));
