//! Which backend a run of the tests is for.

use cachemere::BackendKind;

/// LMDB, unless the environment variable `CACHEMERE_TEST_BACKEND` names another: the tests of what every backend does run
/// once for each.
pub(crate) fn backend() -> BackendKind {
    match std::env::var("CACHEMERE_TEST_BACKEND").as_deref() {
        Err(_) | Ok("lmdb") => BackendKind::Lmdb,
        Ok("rocksdb") => BackendKind::RocksDb,
        Ok(other) => panic!("CACHEMERE_TEST_BACKEND={other}: lmdb or rocksdb"),
    }
}
