//! The records beside the entries (of the store, its state, its namespaces, its counters).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cachemere::fuzzing::records(bytes));
