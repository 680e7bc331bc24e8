//! What a store tells of itself, as dicts with the names that `cachemere._core.info` has for it.

use cachemere::{BackendKind, NamespaceInfo, Stats, StoreInfo, VerifyReport};
use pyo3::prelude::*;

use crate::times::stamp;

#[derive(IntoPyObject)]
pub(crate) struct Store {
    backend: &'static str,
    format_version: u32,
    id: String,
    created: f64,
    cipher: Option<String>,
    max_bytes: Option<u64>,
    namespaces: Vec<Namespace>,
}

#[derive(IntoPyObject)]
pub(crate) struct Namespace {
    name: String,
    entries: u64,
    key_serializer: String,
    serializer: String,
    compressor: Option<String>,
    max_entries: Option<u64>,
}

#[derive(IntoPyObject)]
pub(crate) struct Counts {
    hits: u64,
    misses: u64,
    memory_hits: u64,
    entries: u64,
    file_bytes: u64,
    evictions: u64,
    expirations: u64,
    record_bytes: u64,
    log_bytes: u64,
    free_bytes: u64,
}

#[derive(IntoPyObject)]
pub(crate) struct Report {
    entries: u64,
    bytes: u64,
    problems: u64,
    described: Vec<String>,
}

pub(crate) fn store(store: StoreInfo, namespaces: Vec<NamespaceInfo>) -> Store {
    Store {
        backend: match store.backend {
            BackendKind::RocksDb => "rocksdb",
            _ => "lmdb",
        },
        format_version: store.format_version,
        id: store.id.iter().map(|byte| format!("{byte:02x}")).collect(),
        created: stamp(store.created),
        cipher: store.cipher,
        max_bytes: store.max_bytes,
        namespaces: namespaces.into_iter().map(namespace).collect(),
    }
}

fn namespace(it: NamespaceInfo) -> Namespace {
    Namespace {
        name: it.name,
        entries: it.entries,
        key_serializer: it.key_serializer,
        serializer: it.serializer,
        compressor: it.compressor,
        max_entries: it.max_entries,
    }
}

pub(crate) fn counts(stats: Stats) -> Counts {
    Counts {
        hits: stats.hits,
        misses: stats.misses,
        memory_hits: stats.front_hits,
        entries: stats.entries,
        file_bytes: stats.file_bytes,
        evictions: stats.evictions,
        expirations: stats.expirations,
        record_bytes: stats.record_bytes,
        log_bytes: stats.log_bytes,
        free_bytes: stats.free_bytes,
    }
}

pub(crate) fn report(report: VerifyReport) -> Report {
    Report {
        entries: report.entries,
        bytes: report.bytes,
        problems: report.problems,
        described: report.described,
    }
}
