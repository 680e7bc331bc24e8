//! What a store and its namespaces are, as their records say.

use std::time::SystemTime;

use super::{At, Entries};
use crate::error::Result;
use crate::store::{BackendKind, count_expired, list_namespaces, read_state, store_record};

/// What a store is, whatever is in it. See [`store_info`](crate::Cache::store_info).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StoreInfo {
    /// What keeps its records.
    pub backend: BackendKind,
    /// The version of the store format that it has.
    pub format_version: u32,
    /// Random, and kept by copies of the store, so that it tells these from other stores.
    pub id: [u8; 16],
    /// When it was made.
    pub created: SystemTime,
    /// The name of the cipher; `None`: it is not encrypted.
    pub cipher: Option<String>,
    /// The bytes it may take on the disk; `None`: any number.
    pub max_bytes: Option<u64>,
}

/// A namespace of a store. Serializers and compressor are the names of the stages it was made with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct NamespaceInfo {
    /// Its name.
    pub name: String,
    /// Its entries that are not expired.
    pub entries: u64,
    /// What turns keys into bytes.
    pub key_serializer: String,
    /// What turns values into bytes.
    pub serializer: String,
    /// What compresses values; `None`: they are not compressed.
    pub compressor: Option<String>,
    /// The entries it may have; `None`: any number.
    pub max_entries: Option<u64>,
}

impl Entries {
    pub(crate) fn store_info(&self) -> Result<StoreInfo> {
        self.at()?.store_info()
    }

    /// All namespaces of the store, in the order of their names.
    pub(crate) fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        self.at()?.namespaces()
    }
}

impl At<'_> {
    fn store_info(&self) -> Result<StoreInfo> {
        let live = &self.live;
        let (record, state) =
            live.read(|view| Ok((store_record(view)?, read_state(view, &live.unlocked)?)))?;
        Ok(StoreInfo {
            backend: live.config.backend,
            format_version: record.version,
            id: record.id,
            created: record.created.to_system(),
            cipher: (!record.cipher.is_empty()).then_some(record.cipher),
            max_bytes: (state.max_bytes != 0).then_some(state.max_bytes),
        })
    }

    fn namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        let live = &self.live;
        let now = live.config.clock.now();
        live.read(|view| {
            let expired = count_expired(live, view, now, |_| true)?;
            let mut all = Vec::new();
            for (name, record) in list_namespaces(view, &live.unlocked)? {
                let expired = expired.get(&record.id).copied().unwrap_or(0);
                all.push(NamespaceInfo {
                    name,
                    entries: view.counters(record.id)?.entries.saturating_sub(expired),
                    key_serializer: record.key_codec,
                    serializer: record.serializer,
                    compressor: (!record.compressor.is_empty()).then_some(record.compressor),
                    max_entries: (record.max_entries != 0).then_some(record.max_entries),
                });
            }
            Ok(all)
        })
    }
}
