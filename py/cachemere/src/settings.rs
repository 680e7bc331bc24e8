//! What a store is opened with.

use std::path::PathBuf;
use std::time::Duration;

use cachemere::{BackendKind, ByteCache, Durability, Maintenance, Secret, Zstd};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// What the store is opened with, at first use.
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) namespace: String,
    pub(crate) backend: Option<BackendKind>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_entries: Option<u64>,
    pub(crate) compression: Option<bool>,
    pub(crate) secret: Option<Secret>,
    pub(crate) sync: bool,
    pub(crate) checkpoint_interval: Option<Duration>,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) map_size: Option<usize>,
    pub(crate) read_only: bool,
    pub(crate) serializer: String,
}

impl Settings {
    /// Opens it, beside a handle of the same store if there is one.
    pub(crate) fn open(&self, beside: Option<&ByteCache>) -> cachemere::Result<ByteCache> {
        let beside = beside.filter(|open| self.path.canonicalize().is_ok_and(|path| path == open.path()));
        let builder = match beside {
            Some(open) => open.sibling()?,
            None => ByteCache::builder(&self.path),
        };
        let mut builder =
            builder.namespace(&self.namespace).read_only(self.read_only).serializer_name(&self.serializer);
        if let Some(backend) = self.backend {
            builder = builder.backend(backend);
        }
        if let Some(ttl) = self.ttl {
            builder = builder.time_to_live(ttl);
        }
        if let Some(idle) = self.idle {
            builder = builder.time_to_idle(idle);
        }
        if let Some(most) = self.max_bytes {
            builder = builder.max_bytes(most);
        }
        if let Some(most) = self.max_entries {
            builder = builder.max_entries(most);
        }
        builder = match self.compression {
            Some(true) => builder.compression(Zstd::default()),
            Some(false) => builder.compression::<Zstd>(None),
            None => builder,
        };
        if let Some(secret) = self.secret.as_ref().filter(|_| beside.is_none()) {
            builder = builder.encryption(secret.clone());
        }
        if self.sync {
            builder = builder.durability(Durability::Sync);
        }
        if let Some(interval) = self.checkpoint_interval {
            builder = builder.checkpoint_interval(interval);
        }
        if let Some(maintenance) = self.maintenance {
            builder = builder.maintenance(maintenance);
        }
        if let Some(bytes) = self.map_size {
            builder = builder.map_size(bytes);
        }
        builder.open()
    }
}

/// A passphrase or 32 bytes.
pub(crate) fn secret(given: &Bound<'_, PyAny>) -> PyResult<Secret> {
    Ok(match given.cast::<PyString>() {
        Ok(phrase) => Secret::passphrase(phrase.to_str()?),
        Err(_) => Secret::key(given.extract::<[u8; 32]>()?),
    })
}
