//! Mappings in RocksDB, with Python keys and values: the module `cachemere._rocks`.
//!
//! `ordered` and `keys` define the bytes of keys, `values` those of values, `lent` is how functions of the user's get to see
//! bytes. `mapping` joins them to a database, `scanner` walks over one, and `loading` fills one.

mod functions;
mod keys;
mod loading;
mod mapping;
mod options;
mod ordered;
mod scanner;
mod values;

use pyo3::prelude::*;

/// The module `cachemere._rocks`.
pub(crate) fn module(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let module = PyModule::new(py, "cachemere._rocks")?;
    module.add_class::<mapping::MappingBase>()?;
    module.add_class::<scanner::Scanner>()?;
    module.add_function(wrap_pyfunction!(loading::load_files, &module)?)?;
    module.add_function(wrap_pyfunction!(loading::build_sst_file, &module)?)?;
    module.add_function(wrap_pyfunction!(loading::ingest_sst_files, &module)?)?;
    Ok(module)
}
