//! foyer: memory before a cache on the disk that makes room as memory does. Inserts return before anything is written, and
//! entries can be missing whenever they are asked for, which a cache may do; it makes them anew as a program would.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
};
use tokio::runtime::Runtime;

use crate::common::values::Document;
use crate::{Item, Store};

/// Room on the disk for all that is written in one run.
const CAPACITY: usize = 1 << 30;

pub(crate) struct Foyer {
    runtime: Runtime,
    /// With hardly any memory, so that it reads from the disk.
    cold: HybridCache<String, Document>,
    hot: foyer::Cache<String, Document>,
    missing: AtomicUsize,
}

impl Foyer {
    pub(crate) fn open(dir: &Path) -> Box<dyn Store> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cold = runtime.block_on(async {
            let device = FsDeviceBuilder::new(dir).with_capacity(CAPACITY).build().unwrap();
            let builder =
                HybridCacheBuilder::new().with_policy(HybridCachePolicy::WriteOnInsertion).memory(1);
            builder.storage().with_engine_config(BlockEngineConfig::new(device)).build().await.unwrap()
        });
        Box::new(Foyer {
            runtime,
            cold,
            hot: foyer::CacheBuilder::new(10_000).build(),
            missing: AtomicUsize::new(0),
        })
    }
}

impl Store for Foyer {
    fn set(&self, (key, value): &Item) {
        drop(self.cold.insert(key.clone(), value.clone()));
    }

    fn set_many(&self, items: &[Item]) -> bool {
        items.iter().for_each(|item| self.set(item));
        // Else what the disk cannot take so fast would be left out.
        self.runtime.block_on(self.cold.storage().wait());
        true
    }

    fn get(&self, key: &String) -> Document {
        match self.runtime.block_on(self.cold.get(key)).unwrap() {
            Some(entry) => entry.value().clone(),
            None => {
                self.missing.fetch_add(1, Ordering::Relaxed);
                crate::common::values::document(0)
            }
        }
    }

    fn get_hot(&self, key: &String) -> Document {
        if let Some(entry) = self.hot.get(key) {
            return entry.value().clone();
        }
        self.hot.insert(key.clone(), self.get(key)).value().clone()
    }
}

impl Drop for Foyer {
    fn drop(&mut self) {
        let missing = self.missing.load(Ordering::Relaxed);
        if missing > 0 {
            eprintln!("foyer had {missing} entries no more when they were asked for");
        }
        self.runtime.block_on(self.cold.close()).unwrap();
    }
}
