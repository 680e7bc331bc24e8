//! heed as one would use it by itself: one environment, one tree, a transaction per operation, no syncs.
#![allow(unsafe_code)]

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions, WithTls};

pub struct Raw {
    env: Env<WithTls>,
    tree: Database<'static, Bytes, Bytes>,
}

impl Raw {
    /// Opens an environment in `dir`, which must exist; `sync` is LMDB's default of syncing each commit.
    pub fn open(dir: &Path, sync: bool) -> Raw {
        let mut options = EnvOpenOptions::new();
        options.map_size(64 << 30).max_readers(1024);
        if !sync {
            // SAFETY: a power loss may destroy the data, which nobody will miss.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: the files are ours alone and changed by LMDB only.
        let env = unsafe { options.open(dir) }.unwrap();
        let txn = env.read_txn().unwrap();
        let opened = env.open_databases_and_commit(txn, |opener, txn| {
            opener.open_database::<Bytes, Bytes>(txn, None).map(CommitOrAbort::<_, ()>::Commit)
        });
        let tree = opened.unwrap().commit().flatten().unwrap();
        Raw { env, tree }
    }

    pub fn put(&self, key: &str, value: &[u8]) {
        let mut txn = self.env.write_txn().unwrap();
        self.tree.put(&mut txn, key.as_bytes(), value).unwrap();
        txn.commit().unwrap();
    }

    /// All in one transaction, in the order given.
    pub fn put_many<'a, K: AsRef<[u8]>>(&self, items: impl IntoIterator<Item = (K, &'a [u8])>) {
        let mut txn = self.env.write_txn().unwrap();
        for (key, value) in items {
            self.tree.put(&mut txn, key.as_ref(), value).unwrap();
        }
        txn.commit().unwrap();
    }

    pub fn remove(&self, key: &str) {
        let mut txn = self.env.write_txn().unwrap();
        assert!(self.tree.delete(&mut txn, key.as_bytes()).unwrap());
        txn.commit().unwrap();
    }

    /// In transactions of 256.
    pub fn remove_many(&self, keys: &[String]) {
        for keys in keys.chunks(256) {
            let mut txn = self.env.write_txn().unwrap();
            for key in keys {
                assert!(self.tree.delete(&mut txn, key.as_bytes()).unwrap());
            }
            txn.commit().unwrap();
        }
    }

    /// Hands the value to `look` while the transaction is open, so that nothing need be copied.
    pub fn get<T>(&self, key: &str, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let txn = self.env.read_txn().unwrap();
        self.tree.get(&txn, key.as_bytes()).unwrap().map(look)
    }
}
