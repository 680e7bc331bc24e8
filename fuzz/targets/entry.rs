//! An entry's header: none makes the reader panic, and what is read is what was written.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachemere::fuzzing::entry(bytes));
