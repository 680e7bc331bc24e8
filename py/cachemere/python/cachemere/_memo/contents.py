"""Objects of large libraries by what they hold: frames and series, tensors, images. None of them is imported for it.

A name and plain data, with digests of what is large. Two objects that are equal may have other forms (an index that was
reset, a frame in several chunks): then a result is computed once more. None shares one with a different object.
"""

from __future__ import annotations

import hashlib
import io
import sys
from typing import Any

Contents = tuple[str, Any]


def of_contents(it: Any) -> Contents | None:
    """Name and plain data of such an object; `None` if it is another one, or holds what cannot be told."""
    top = type(it).__module__.partition(".")[0] if type(type(it).__module__) is str else ""
    former = _FORMERS.get(top)
    return None if former is None or top not in sys.modules else former(it, sys.modules[top])


def _digest(data: Any) -> str:
    return hashlib.sha256(data).hexdigest()


# --- pandas -----------------------------------------------------------------------------------------------------------


def _pandas(it: Any, pandas: Any) -> Contents | None:
    kind = type(it)
    if kind is pandas.DataFrame:
        columns = [_column(it.iloc[:, place].array, pandas) for place in range(it.shape[1])]
        return "pandas.DataFrame", (it.shape, columns, _index(it.columns, pandas), _index(it.index, pandas))
    if kind is pandas.Series:
        return "pandas.Series", (_column(it.array, pandas), it.name, _index(it.index, pandas))
    if isinstance(it, pandas.Index):
        return "pandas.Index", _index(it, pandas)
    if kind is pandas.Timestamp:
        return "pandas.Timestamp", (it.value, it.unit, str(it.tz), it.fold)
    if kind is pandas.Timedelta:
        return "pandas.Timedelta", (it.value, it.unit)
    if it is pandas.NA or it is pandas.NaT:
        return "pandas", str(it)
    return None


def _index(it: Any, pandas: Any) -> Any:
    if isinstance(it, pandas.RangeIndex):
        # Where it stops can be said in several ways.
        return "range", it.start, len(it), it.step, it.name
    if isinstance(it, pandas.MultiIndex):
        levels = [_column(it.get_level_values(place).array, pandas) for place in range(it.nlevels)]
        return "multi", levels, list(it.names)
    return type(it).__name__, _column(it.array, pandas), it.name, str(getattr(it, "freq", None))


def _column(array: Any, pandas: Any) -> Any:
    dtype = array.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return "categories", _digest(array.codes.tobytes()), _column(array.categories.array, pandas), array.ordered
    if type(array).__name__ in ("NumpyExtensionArray", "PandasArray") and dtype.kind in "biufc":
        items = array.to_numpy()
        return items.dtype.str, _digest(items.data if items.flags.c_contiguous else items.tobytes())
    if hasattr(array, "asi8"):
        return str(dtype), _digest(array.asi8.tobytes())
    items = array.astype(object) if not hasattr(array, "tolist") else array
    return str(dtype), _items(list(items), pandas)


def _items(items: list[Any], pandas: Any) -> Any:
    """Texts by one digest of all, which takes a tenth of what their forms take; anything else as it is."""
    gaps = {type(item) for item in items} - {str}
    if not gaps <= {type(None), type(pandas.NA), float} or any(item == item for item in items if type(item) is float):
        return items
    marks = ",".join([str(len(item)) if type(item) is str else type(item).__name__ for item in items])
    texts = "".join([item for item in items if type(item) is str])
    return _digest(marks.encode()), _digest(texts.encode("utf-8", "surrogatepass"))


# --- polars, Arrow ----------------------------------------------------------------------------------------------------


def _polars(it: Any, polars: Any) -> Contents | None:
    kind = type(it)
    if kind not in (polars.DataFrame, polars.Series):
        return None
    frame = it if kind is polars.DataFrame else it.to_frame()
    if any(dtype == polars.Object for dtype in frame.dtypes):
        return None
    written = _Digest()
    frame.rechunk().write_ipc_stream(written)
    return f"polars.{kind.__name__}", written.hexdigest()


def _pyarrow(it: Any, pyarrow: Any) -> Contents | None:
    if type(it) not in (pyarrow.Table, pyarrow.RecordBatch):
        return None
    written = _Digest()
    with pyarrow.ipc.new_stream(pyarrow.PythonFile(written, mode="w"), it.schema) as stream:
        stream.write(it)
    return f"pyarrow.{type(it).__name__}", written.hexdigest()


class _Digest(io.RawIOBase):
    """A file that keeps no more than the digest of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self._digest = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data) if isinstance(data, bytes) else memoryview(data).nbytes

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


# --- torch, PIL -------------------------------------------------------------------------------------------------------


def _torch(it: Any, torch: Any) -> Contents | None:
    if isinstance(it, (torch.dtype, torch.device)):
        return "torch", str(it)
    if type(it) not in (torch.Tensor, torch.nn.Parameter) or it.layout is not torch.strided or it.is_quantized:
        return None
    flat = it.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    whole = str(it.dtype), tuple(it.shape), str(it.device.type), it.requires_grad, _digest(flat.numpy().data)
    return f"torch.{type(it).__name__}", whole


def _pillow(it: Any, pillow: Any) -> Contents | None:
    images = sys.modules.get("PIL.Image")
    if images is None or not isinstance(it, images.Image):
        return None
    palette = it.getpalette() if it.mode in ("P", "PA") else None
    return "PIL.Image", (type(it).__name__, it.mode, it.size, palette, it.info, _digest(it.tobytes()))


_FORMERS = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "torch": _torch,
    "PIL": _pillow,
}
