//! What can be read of a damaged store, by the settings of a handle that is not open.

use std::path::PathBuf;

use cachemere::{Salvage, Salvaged};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::errors::is_passed_on;
use crate::keys;
use crate::policy::Policy;
use crate::settings::Settings;

/// With the names that `cachemere._core.salvage` has for it.
#[derive(IntoPyObject)]
pub(crate) struct Told<'py> {
    entries: u64,
    bytes: u64,
    lost: u64,
    lost_keys: Vec<(String, Bound<'py, PyAny>)>,
    may_be_old: bool,
    problems: u64,
    described: Vec<String>,
    kept: Option<Bound<'py, PyString>>,
}

impl Settings {
    /// To `to`, or in the place of the store; then where the damaged files are kept comes with it.
    pub(crate) fn salvage(&self, to: Option<PathBuf>) -> cachemere::Result<(Salvaged, Option<PathBuf>)> {
        match to {
            Some(to) => self.of_damaged().to(to).map(|salvaged| (salvaged, None)),
            None => self.of_damaged().repair().map(|repaired| (repaired.salvaged, Some(repaired.kept))),
        }
    }

    pub(crate) fn of_damaged(&self) -> Salvage {
        let salvage = Salvage::of(&self.path)
            .allow_foreign_owner(self.allow_foreign_owner)
            .allow_unsupported_file_system(self.allow_unsupported_file_system);
        match &self.secret {
            Some(secret) => salvage.encryption(secret.clone()),
            None => salvage,
        }
    }
}

impl<'py> Told<'py> {
    pub(crate) fn new(
        py: Python<'py>,
        policy: &Policy,
        (salvaged, kept): (Salvaged, Option<PathBuf>),
    ) -> PyResult<Told<'py>> {
        let mut lost_keys = Vec::with_capacity(salvaged.lost_keys.len());
        for (namespace, key) in salvaged.lost_keys {
            let key = match keys::decode(py, policy, &key) {
                Ok(key) => key,
                Err(error) if is_passed_on(py, &error)? => return Err(error),
                // Of another program, or of a type that is not known here.
                Err(_) => PyBytes::new(py, &key).into_any(),
            };
            lost_keys.push((namespace, key));
        }
        Ok(Told {
            entries: salvaged.entries,
            bytes: salvaged.bytes,
            lost: salvaged.lost,
            lost_keys,
            may_be_old: salvaged.may_be_old,
            problems: salvaged.problems,
            described: salvaged.described,
            kept: kept.map(|kept| kept.as_os_str().into_pyobject(py)).transpose()?,
        })
    }
}
