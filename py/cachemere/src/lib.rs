//! The native half of the Python package: from Python objects to bytes and back, and the way to hot entries.
//!
//! `keys` and `values` define the bytes, `residents` keeps decoded objects by their `weights`, `store` joins them to the engine (opened as
//! `options` and `settings` say, walked through by `scanner`, saved by `salvage`, described by `told`), `load` and `plain_json` fill it from files, and `dict` and `memo` are what
//! Python calls most often. Everything else is written in Python.

mod collisions;
mod depth;
mod dict;
mod errors;
mod forks;
mod form;
mod gathered;
mod keys;
mod load;
mod logging;
mod memo;
mod names;
mod options;
mod plain_json;
mod policy;
mod residents;
#[cfg(feature = "rocksdb")]
mod rocks;
mod salvage;
mod scanner;
mod seen;
mod settings;
mod store;
mod times;
mod told;
mod turns;
mod values;
mod weights;

use pyo3::prelude::*;

/// The module `cachemere._engine`.
#[pymodule(gil_used = false)]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::collect();
    errors::hear_signals();
    forks::watch(module.py())?;
    module.add_class::<store::Store>()?;
    module.add_class::<store::Version>()?;
    module.add_class::<scanner::Scanner>()?;
    module.add_class::<gathered::Gathered>()?;
    module.add_class::<store::Lead>()?;
    module.add_class::<store::Leads>()?;
    module.add_class::<store::Watch>()?;
    module.add_class::<dict::DictBase>()?;
    module.add_class::<memo::Calls>()?;
    module.add_class::<memo::MemoBase>()?;
    module.add_class::<memo::BoundMemo>()?;
    #[cfg(feature = "rocksdb")]
    module.setattr("_rocks", rocks::module(module.py())?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
