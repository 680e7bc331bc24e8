//! What a store is opened with.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachemere::{BackendKind, ByteBuilder, ByteCache, Durability, Error, Maintenance, Secret, Zstd};
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
    /// Where it came from, if it was not given as an argument.
    pub(crate) secret_from: Option<String>,
    pub(crate) admission: Admission,
    pub(crate) sync: bool,
    pub(crate) maintenance: Option<Maintenance>,
    pub(crate) read_only: bool,
    pub(crate) read_only_if_unwritable: bool,
    pub(crate) allow_foreign_owner: bool,
    pub(crate) allow_unsupported_file_system: bool,
    pub(crate) serializer: String,
}

/// What lets handles that were made of each other in without the secret, once one of them is open: a passphrase takes a tenth
/// of a second and 64 MiB each time.
#[derive(Clone, Default)]
pub(crate) struct Admission(Arc<Mutex<Option<ByteBuilder>>>);

impl Admission {
    // Where the lock is taken, by another thread or in a child by one that was not forked, the secret does as well.

    fn sibling(&self) -> Option<ByteBuilder> {
        self.0.try_lock().ok()?.clone()
    }

    fn note(&self, open: &ByteCache) {
        if let (Ok(mut known), Ok(sibling)) = (self.0.try_lock(), open.sibling()) {
            *known = Some(sibling);
        }
    }
}

impl Settings {
    /// Opens it, beside a handle of the same store if there is one.
    pub(crate) fn open(&self, beside: Option<&ByteCache>) -> cachemere::Result<ByteCache> {
        let is_same = |open: &&ByteCache| self.path.canonicalize().is_ok_and(|path| path == open.path());
        if let Some(open) = beside.filter(is_same) {
            return self.open_with(open.sibling()?);
        }
        let Some(secret) = &self.secret else { return self.open_with(ByteCache::builder(&self.path)) };
        if let Some(sibling) = self.admission.sibling() {
            match self.open_with(sibling) {
                // It was closed since.
                Err(Error::MissingSecret { .. }) => {}
                opened => return opened,
            }
        }
        let opened = self.open_with(ByteCache::builder(&self.path).encryption(secret.clone()))?;
        self.admission.note(&opened);
        Ok(opened)
    }

    fn open_with(&self, builder: ByteBuilder) -> cachemere::Result<ByteCache> {
        let mut builder =
            builder.namespace(&self.namespace).read_only(self.read_only).serializer_name(&self.serializer);
        builder = builder
            .read_only_if_unwritable(self.read_only_if_unwritable)
            .allow_foreign_owner(self.allow_foreign_owner)
            .allow_unsupported_file_system(self.allow_unsupported_file_system);
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
            Some(false) => builder.no_compression(),
            None => builder,
        };
        if self.sync {
            builder = builder.durability(Durability::Sync);
        }
        if let Some(maintenance) = self.maintenance {
            builder = builder.maintenance(maintenance);
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
