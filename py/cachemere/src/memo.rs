//! The short way to a memoized result that is in memory: from the arguments as given, without binding them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PyString, PyTuple};

use crate::depth::Deeper;
use crate::errors::is_ours;
use crate::store::Store;

/// So many calls are remembered by their arguments as given, or so many bytes of arguments.
const CALLS: usize = 1 << 16;
const CALL_BYTES: u64 = 32 << 20;

/// Tuples are looked into so deep.
const DEPTH: u32 = 3;

/// Calls of one memoized function: from the arguments as they are given to the canonical key found for them before, and
/// how often that was of use.
///
/// Remembered are calls with plain arguments only, apart from ignored ones, which are left out. Plain objects that are equal have one canonical form (when types are
/// told apart, they are part of what is remembered), so a call found here is the call asked for.
#[pyclass(frozen, module = "cachemere._engine")]
pub(crate) struct Calls {
    typed: bool,
    /// Of ignored parameters: the places, and the names, a frozenset.
    ignored_places: Vec<usize>,
    ignored_names: Py<PyFrozenSet>,
    /// Variables of enclosing functions, and what they held when the keys were made: lists that Python keeps.
    cells: Py<PyList>,
    held: Py<PyList>,
    /// What stands between positional and named arguments.
    mark: Py<PyAny>,
    store: OnceLock<Py<Store>>,
    /// By positional arguments alone, and by positional and named ones.
    positional: Py<PyDict>,
    named: Py<PyDict>,
    bytes: AtomicU64,
    environment: Option<Environment>,
    hits: AtomicU64,
    misses: AtomicU64,
    saved_nanos: AtomicU64,
}

/// The variables that turn the short way off, looked up where `os.environ` keeps them, since asking it would cost more
/// than everything else.
struct Environment {
    variables: Py<PyDict>,
    disable: Py<PyBytes>,
    mode: Py<PyBytes>,
}

impl Environment {
    fn new(py: Python<'_>) -> Option<Environment> {
        let variables = py.import("os").ok()?.getattr("environ").ok()?.getattr("_data").ok()?;
        Some(Environment {
            variables: variables.cast_into::<PyDict>().ok()?.unbind(),
            disable: PyBytes::new(py, b"CACHEMERE_DISABLE").unbind(),
            mode: PyBytes::new(py, b"CACHEMERE_MODE").unbind(),
        })
    }

    fn is_plain(&self, py: Python<'_>) -> PyResult<bool> {
        let variables = self.variables.bind(py);
        Ok(!variables.contains(&self.disable)? && !variables.contains(&self.mode)?)
    }
}

#[pymethods]
impl Calls {
    #[new]
    fn new(
        py: Python<'_>,
        typed: bool,
        ignored_places: Vec<usize>,
        ignored_names: Py<PyFrozenSet>,
        cells: Py<PyList>,
        held: Py<PyList>,
    ) -> PyResult<Calls> {
        Ok(Calls {
            typed,
            ignored_places,
            ignored_names,
            cells,
            held,
            mark: py.get_type::<PyAny>().call0()?.unbind(),
            store: OnceLock::new(),
            positional: PyDict::new(py).unbind(),
            named: PyDict::new(py).unbind(),
            bytes: AtomicU64::new(0),
            environment: Environment::new(py),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            saved_nanos: AtomicU64::new(0),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(store) = self.store.get() {
            visit.call(store)?;
        }
        visit.call(&self.cells)?;
        visit.call(&self.held)?;
        visit.call(&self.positional)?;
        visit.call(&self.named)
    }

    /// Says in which store the results are; at the first call, once.
    fn attach(&self, store: Py<Store>) -> bool {
        self.store.set(store).is_ok()
    }

    /// The canonical key of a call that is remembered, or `None`.
    fn key<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        options: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.call(args, Some(options))? {
            Some((call, _)) => self.table(options.is_empty()).bind(args.py()).get_item(call),
            None => Ok(None),
        }
    }

    /// Remembers the canonical key of a call, if its arguments are plain.
    fn remember(
        &self,
        args: &Bound<'_, PyTuple>,
        options: &Bound<'_, PyDict>,
        key: &Bound<'_, PyTuple>,
    ) -> PyResult<()> {
        let py = args.py();
        let Some((call, bytes)) = self.call(args, Some(options))? else { return Ok(()) };
        let table = self.table(options.is_empty()).bind(py);
        if table.len() >= CALLS || self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > CALL_BYTES {
            self.positional.bind(py).clear();
            self.named.bind(py).clear();
            self.bytes.store(bytes, Ordering::Relaxed);
        }
        table.set_item(call, key)
    }

    /// Counts hits found in another way, that saved so many seconds.
    #[pyo3(signature = (seconds, count=1))]
    fn hit(&self, seconds: f64, count: u64) {
        self.hits.fetch_add(count, Ordering::Relaxed);
        if seconds > 0.0 {
            self.saved_nanos.fetch_add((seconds * 1e9) as u64, Ordering::Relaxed);
        }
    }

    #[pyo3(signature = (count=1))]
    fn miss(&self, count: u64) {
        self.misses.fetch_add(count, Ordering::Relaxed);
    }

    /// Hits, misses, and the seconds the hits saved.
    fn counts(&self) -> (u64, u64, f64) {
        let nanos = self.saved_nanos.load(Ordering::Relaxed);
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed), nanos as f64 / 1e9)
    }

    /// Forgets all calls.
    fn forget(&self, py: Python<'_>) {
        self.positional.bind(py).clear();
        self.named.bind(py).clear();
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Forgets all calls, and begins to count anew.
    fn clear(&self, py: Python<'_>) {
        self.forget(py);
        for counter in [&self.hits, &self.misses, &self.saved_nanos] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Calls {
    fn table(&self, is_positional: bool) -> &Py<PyDict> {
        if is_positional { &self.positional } else { &self.named }
    }

    /// The result of a call, if it is in memory and current. Errors of this package, of a closed store say, are for the long
    /// way to meet again and report.
    fn find<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = args.py();
        let (Some(store), Some(environment)) = (self.store.get(), &self.environment) else { return Ok(None) };
        let is_positional = options.is_none_or(|options| options.is_empty());
        let Some((call, _)) = self.call(args, options)? else { return Ok(None) };
        let Some(key) = self.table(is_positional).bind(py).get_item(call)? else { return Ok(None) };
        if !environment.is_plain(py)? {
            return Ok(None);
        }
        match store.get().resident(&key, |_| true) {
            Ok(Some((value, cost))) => {
                self.hit(cost, 1);
                Ok(Some(value))
            }
            Ok(None) => Ok(None),
            Err(error) if is_ours(py, &error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the function carries what it carried when the keys were made.
    fn holds(&self, py: Python<'_>) -> PyResult<bool> {
        let (cells, held) = (self.cells.bind(py), self.held.bind(py));
        if cells.len() != held.len() {
            return Ok(false);
        }
        for (cell, it) in cells.iter().zip(held.iter()) {
            if !cell.getattr(intern!(py, "cell_contents")).is_ok_and(|content| content.is(&it)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What stands for a call whose arguments are all plain, and roughly how many bytes it has.
    fn call<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<(Bound<'py, PyTuple>, u64)>> {
        let py = args.py();
        if !self.holds(py)? {
            return Ok(None);
        }
        let depth = if self.typed { 0 } else { DEPTH };
        let options = options.filter(|options| !options.is_empty());
        if options.is_none() && !self.typed && self.ignored_places.is_empty() {
            return Ok(plain_items(args, depth).map(|bytes| (args.clone(), bytes)));
        }
        let named = options.map_or(0, |options| options.len());
        let mut parts = Vec::with_capacity(2 * args.len() + 3 * named + 2);
        let mut types = Vec::new();
        let mut bytes = 0;
        for (place, argument) in args.iter().enumerate() {
            if !self.ignored_places.contains(&place) {
                let Some(more) = plain(&argument, depth) else { return Ok(None) };
                bytes += more;
                if self.typed {
                    types.push(argument.get_type().into_any());
                }
                parts.push(argument);
            }
        }
        if let Some(options) = options {
            parts.push(self.mark.bind(py).clone());
            let ignored = self.ignored_names.bind(py);
            for (name, argument) in options.iter() {
                if !ignored.is_empty() && ignored.contains(&name)? {
                    continue;
                }
                let Some(more) = plain(&argument, depth) else { return Ok(None) };
                bytes += more;
                if self.typed {
                    types.push(argument.get_type().into_any());
                }
                parts.extend([name, argument]);
            }
        }
        if self.typed {
            parts.push(self.mark.bind(py).clone());
            parts.append(&mut types);
        }
        Ok(Some((PyTuple::new(py, parts)?, bytes)))
    }
}

/// Roughly how many bytes the items of a tuple have, if they are all plain.
fn plain_items(items: &Bound<'_, PyTuple>, depth: u32) -> Option<u64> {
    let mut bytes = 0;
    for item in items.iter_borrowed() {
        bytes += plain(&item, depth)?;
    }
    Some(bytes)
}

/// Roughly how many bytes an argument has, if it is plain: of a built-in type that cannot be changed, whose equality
/// is known.
fn plain(argument: &Bound<'_, PyAny>, depth: u32) -> Option<u64> {
    if let Ok(text) = argument.cast_exact::<PyString>() {
        return text.len().ok().map(|length| length as u64);
    }
    if argument.is_exact_instance_of::<PyInt>()
        || argument.is_exact_instance_of::<PyFloat>()
        || argument.is_exact_instance_of::<PyBool>()
        || argument.is_none()
    {
        return Some(32);
    }
    if let Ok(bytes) = argument.cast_exact::<PyBytes>() {
        return Some(bytes.as_bytes().len() as u64);
    }
    match argument.cast_exact::<PyTuple>() {
        Ok(tuple) if depth > 0 => plain_items(tuple, depth - 1),
        _ => None,
    }
}

/// Base of what replaces a plain function: answers from memory, and else asks its own `_begin`, with the arguments as a tuple
/// and a dict, what is to be done.
///
/// The function is called from here, so that no frames of Python lie between the calls of one that calls itself: it can
/// do so as deeply as with `functools.lru_cache`.
#[pyclass(subclass, frozen, module = "cachemere._engine")]
pub(crate) struct MemoBase {
    calls: Py<Calls>,
}

#[pymethods]
impl MemoBase {
    #[new]
    #[pyo3(signature = (calls, *_rest))]
    fn new(calls: Py<Calls>, _rest: &Bound<'_, PyTuple>) -> MemoBase {
        MemoBase { calls }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.calls)
    }

    #[pyo3(signature = (*args, **options))]
    fn __call__<'py>(
        slf: &Bound<'py, Self>,
        args: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = slf.get().calls.get().find(args, options)? {
            return Ok(value);
        }
        let none;
        let options = match options {
            Some(options) => options,
            None => {
                none = PyDict::new(args.py());
                &none
            }
        };
        let _deeper = Deeper::begin()?;
        let begun = slf.call_method1(intern!(args.py(), "_begin"), (args, options))?;
        MemoBase::_finish(begun.cast::<PyTuple>()?, args, options)
    }

    /// Ends what was begun: either the result alone, or a function to call, what keeps its result and returns it, and what
    /// gives up, which is given the exception.
    #[staticmethod]
    fn _finish<'py>(
        begun: &Bound<'py, PyTuple>,
        args: &Bound<'py, PyTuple>,
        options: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if begun.len() == 1 {
            return begun.get_item(0);
        }
        let (function, keep, give_up): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>) =
            begun.extract()?;
        match function.call(args, Some(options)) {
            Ok(value) => keep.call1((value,)),
            Err(error) => {
                give_up.call1((error.clone_ref(args.py()).into_value(args.py()),))?;
                Err(error)
            }
        }
    }

    fn __get__<'py>(
        slf: Bound<'py, Self>,
        instance: Bound<'py, PyAny>,
        _owner: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if instance.is_none() {
            return Ok(slf.into_any());
        }
        let bound = BoundMemo { memo: slf.clone().into_any().unbind(), instance: instance.unbind() };
        Ok(Bound::new(slf.py(), bound)?.into_any())
    }
}

/// A memoized function as a method of an object. Its attributes are those of the function, the ones that take its
/// arguments bound to the object; see `_bind` of the function.
#[pyclass(frozen, weakref, module = "cachemere._engine")]
pub(crate) struct BoundMemo {
    memo: Py<PyAny>,
    instance: Py<PyAny>,
}

#[pymethods]
impl BoundMemo {
    #[new]
    fn new(memo: Py<PyAny>, instance: Py<PyAny>) -> BoundMemo {
        BoundMemo { memo, instance }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.memo)?;
        visit.call(&self.instance)
    }

    /// That of the function: a property, where classes otherwise have a text.
    #[classattr]
    fn __doc__(py: Python<'_>) -> PyResult<Py<PyAny>> {
        let of_function = py.import("operator")?.call_method1("attrgetter", ("__func__.__doc__",))?;
        Ok(py.import("builtins")?.call_method1("property", (of_function,))?.unbind())
    }

    #[getter]
    fn __func__(&self, py: Python<'_>) -> Py<PyAny> {
        self.memo.clone_ref(py)
    }

    #[getter]
    fn __self__(&self, py: Python<'_>) -> Py<PyAny> {
        self.instance.clone_ref(py)
    }

    #[pyo3(signature = (*args, **options))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let whole = PyTuple::new(
            py,
            std::iter::once(self.instance.bind(py).clone()).chain(args.iter()).collect::<Vec<_>>(),
        )?;
        let memo = self.memo.bind(py);
        match memo.cast::<MemoBase>() {
            Ok(memo) => MemoBase::__call__(memo, &whole, options),
            Err(_) => memo.call(whole, options),
        }
    }

    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        self.memo.bind(py).call_method1("_bind", (&self.instance, name))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> bool {
        other.cast_exact::<BoundMemo>().is_ok_and(|other| {
            let other = other.get();
            self.memo.is(&other.memo) && self.instance.bind(py).is(&other.instance)
        })
    }

    fn __hash__(&self) -> isize {
        (self.memo.as_ptr() as isize).rotate_right(4) ^ self.instance.as_ptr() as isize
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let name: String = self.memo.bind(py).getattr("__qualname__")?.extract()?;
        let instance: String = self.instance.bind(py).repr()?.extract()?;
        Ok(format!("<bound memoized function {name} of {instance}>"))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let getattr = py.import("builtins")?.getattr("getattr")?;
        let name = self.memo.bind(py).getattr("__name__")?;
        Ok((getattr, (&self.instance, name)).into_pyobject(py)?.into_any())
    }
}
