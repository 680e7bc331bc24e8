"""Tables of Arrow and frames of polars as bytes of Arrow's IPC format, and back."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pickle import PickleBuffer
from typing import Any

from ..errors import DecodeError
from .known_types import Formless, Misshapen, Packed

#: Older ones unpickle what a file tells them to.
_LEAST = (14, 0, 1)


def pack_arrow(it: Any) -> Packed | None:
    """A table or batch of Arrow."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    if type(it) is arrow.Table:
        return "arrow.Table", _bytes_of(_written(it))
    if type(it) is arrow.RecordBatch:
        return "arrow.RecordBatch", _bytes_of(_written(it))
    return None


def _written(it: Any) -> Any:
    import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]

    if it.num_columns == 0 and it.num_rows:
        raise Formless("Arrow does not keep rows without columns")
    sink = pyarrow.BufferOutputStream()
    try:
        with pyarrow.ipc.new_stream(sink, it.schema) as writer:
            writer.write(it)
    except pyarrow.ArrowException as cause:
        raise Formless(f"Arrow does not write it: {cause}") from cause
    return sink.getvalue()


def _bytes_of(written: Any) -> PickleBuffer:
    """Handed on without a copy. Arrow says of its bytes that they are signed."""
    return PickleBuffer(memoryview(written).cast("B"))


def _read(written: Any) -> Any:
    if type(written) is not bytearray:
        raise Misshapen
    pyarrow = _arrow()
    made = pyarrow.ipc.open_stream(pyarrow.py_buffer(written)).read_all()
    # They can be anybody's bytes, and reading trusts what they say of places.
    made.validate(full=True)
    return made


def unpack_table(written: Any) -> Any:
    return _read(written)


def unpack_batch(written: Any) -> Any:
    made = _read(written)
    batches = made.combine_chunks().to_batches()
    if len(batches) > 1:
        raise Misshapen
    return batches[0] if batches else _arrow().RecordBatch.from_pylist([], schema=made.schema)


def _arrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as cause:
        raise DecodeError("the value is of Arrow: install pyarrow to read it") from cause
    version = tuple(int(part) for part in pyarrow.__version__.split(".")[:3] if part.isdigit())
    if version < _LEAST:
        raise DecodeError("the value is of Arrow, which pyarrow before 14.0.1 does not read safely: upgrade pyarrow")
    return pyarrow


# --- columns of pandas ------------------------------------------------------------------------------------------------


def column_bytes(array: Any) -> Any:
    """The bytes of a column of pandas, which are read as the same.

    Raises:
        Formless: Arrow is not there, or does not keep it.
    """
    pandas = sys.modules["pandas"]
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        raise Formless(f"a column of pandas's '{array.dtype}' is kept by Arrow: install pyarrow") from None
    try:
        frame = pandas.DataFrame({"0": pandas.Series(array, copy=False)})
        written = _written(pyarrow.Table.from_pandas(frame, preserve_index=False))
        again = column_of(bytearray(written), str(array.dtype))
    except (pyarrow.ArrowException, NotImplementedError, DecodeError, Misshapen, TypeError, ValueError) as cause:
        raise Formless(f"Arrow does not keep a column of pandas's '{array.dtype}'") from cause
    if type(again) is not type(array) or again.dtype != array.dtype or not array.equals(again):
        raise Formless(f"Arrow gives another column back for one of pandas's '{array.dtype}'")
    return _bytes_of(written)


def array_bytes(array: Any) -> Any:
    """The bytes of a column of pandas that is Arrow's already."""
    import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]

    return _bytes_of(_written(pyarrow.table({"0": array.__arrow_array__()})))


def array_of(written: Any) -> Any:
    """The array of :func:`array_bytes`."""
    made = _read(written)
    if made.num_columns != 1:
        raise Misshapen
    return made.column(0)


def column_of(written: Any, dtype: str) -> Any:
    """The column of :func:`column_bytes`."""
    made = _read(written).to_pandas()
    if made.shape[1] != 1:
        raise Misshapen
    array = made.iloc[:, 0].array
    if str(array.dtype) != dtype:
        raise DecodeError(f"the entry has a column of pandas's {dtype!r}, which this version of pandas does not make")
    return array


# --- polars -----------------------------------------------------------------------------------------------------------


def pack_polars(it: Any) -> Packed | None:
    """A frame or series of polars."""
    polars = sys.modules.get("polars")
    if polars is None:
        return None
    if type(it) is polars.DataFrame:
        return "polars.DataFrame", PickleBuffer(_polars_bytes(it))
    if type(it) is polars.Series:
        return "polars.Series", PickleBuffer(_polars_bytes(it.to_frame()))
    return None


def _polars_bytes(frame: Any) -> bytes:
    if frame.width == 0 and frame.height:
        raise Formless("Arrow does not keep rows without columns")
    if any(dtype == sys.modules["polars"].Object for dtype in frame.dtypes):
        raise Formless("polars does not write a column of its type 'Object'")
    out = io.BytesIO()
    try:
        frame.write_ipc_stream(out)
        again = _read_polars(bytearray(out.getbuffer()))
    except BaseException as cause:
        if not isinstance(cause, Exception) and not _is_panic(cause):
            raise
        raise Formless(f"polars does not write it: {cause}") from None
    if again.schema != frame.schema or not again.equals(frame):
        raise Formless("polars gives another frame back")
    return out.getvalue()


def _read_polars(written: Any) -> Any:
    if type(written) is not bytearray:
        raise Misshapen
    try:
        import polars  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as cause:
        raise DecodeError("the value is of polars: install polars to read it") from cause
    return polars.read_ipc_stream(io.BytesIO(written))


def _is_panic(error: BaseException) -> bool:
    """Whether it is one of polars's for what it was given, which are no exceptions to Python."""
    return type(error).__name__ == "PanicException"


def _for_polars(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def made(written: Any) -> Any:
        try:
            return make(_read_polars(written))
        except BaseException as cause:
            if not _is_panic(cause):
                raise
            raise Misshapen from None

    return made


def _only_column(frame: Any) -> Any:
    if frame.width != 1:
        raise Misshapen
    return frame.to_series()


unpack_polars_frame = _for_polars(lambda frame: frame)
unpack_polars_series = _for_polars(_only_column)
