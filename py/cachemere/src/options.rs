//! The options of a store, as `cachemere._core.options` gives them.

use std::path::PathBuf;

use cachemere::{BackendKind, Maintenance};
use pyo3::prelude::*;

use crate::names::Names;
use crate::policy::Policy;
use crate::settings::{self, Settings};
use crate::times::seconds;

type Serializers = Option<(Py<PyAny>, Py<PyAny>)>;

/// Each by its name.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct StoreOptions<'py> {
    path: PathBuf,
    namespace: String,
    backend: Option<String>,
    ttl: Option<f64>,
    idle: Option<f64>,
    max_bytes: Option<u64>,
    max_entries: Option<u64>,
    compression: Option<bool>,
    secret: Option<Bound<'py, PyAny>>,
    secret_from: Option<String>,
    durability: String,
    maintenance: Option<String>,
    read_only: bool,
    read_only_if_unwritable: bool,
    allow_foreign_owner: bool,
    allow_unsupported_file_system: bool,
    serializer: String,
    pub(crate) memory_bytes: u64,
    pack: Py<PyAny>,
    unpack: Py<PyAny>,
    canonical: Py<PyAny>,
    pickle: Serializers,
    value_serializers: Serializers,
    key_serializers: Serializers,
    pickle_keys: bool,
}

impl StoreOptions<'_> {
    /// What the store is opened with, and what is done with its objects.
    pub(crate) fn split(self, origin: Option<&Settings>) -> PyResult<(Settings, Policy)> {
        let origin = origin.filter(|origin| origin.path == self.path);
        let settings = Settings {
            path: self.path,
            namespace: self.namespace,
            backend: self.backend.map(|name| match name.as_str() {
                "rocksdb" => BackendKind::RocksDb,
                _ => BackendKind::Lmdb,
            }),
            ttl: seconds("ttl", self.ttl)?,
            idle: seconds("idle", self.idle)?,
            max_bytes: self.max_bytes,
            max_entries: self.max_entries,
            compression: self.compression,
            secret_from: self.secret_from,
            secret: self.secret.as_ref().map(settings::secret).transpose()?,
            admission: origin.map(|origin| origin.admission.clone()).unwrap_or_default(),
            sync: self.durability == "sync",
            maintenance: match self.maintenance.as_deref() {
                Some("inline") => Some(Maintenance::Inline),
                Some("manual") => Some(Maintenance::Manual),
                _ => None,
            },
            read_only: self.read_only,
            read_only_if_unwritable: self.read_only_if_unwritable,
            allow_foreign_owner: self.allow_foreign_owner,
            allow_unsupported_file_system: self.allow_unsupported_file_system,
            serializer: self.serializer,
        };
        let policy = Policy {
            pack: self.pack,
            unpack: self.unpack,
            canonical: self.canonical,
            pickle: self.pickle,
            values: self.value_serializers,
            keys: self.key_serializers,
            pickle_keys: self.pickle_keys,
            names: Names::default(),
        };
        Ok((settings, policy))
    }
}
