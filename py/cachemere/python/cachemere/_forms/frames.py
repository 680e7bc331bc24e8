"""Frames, series and indexes of pandas as plain data and arrays, and back: exactly as they were, or not at all.

A column of one of numpy's types is its array, and one of objects a list, by the rules of their own types. Categories,
times with zones and texts are taken apart. What else pandas has columns of is written by Arrow, and read again at
once: where Arrow gives another column back, the frame is refused instead of being changed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ..errors import DecodeError
from . import arrow_data
from .known_types import Formless, Misshapen, Packed, pack_numpy, shaped, zone_form, zone_of

_TEXT = (str, type(None))


def pack_pandas(it: Any) -> Packed | None:
    """An object of pandas; `None` for one of another class than the three that have a form."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    kind = type(it)
    if kind is pandas.DataFrame:
        columns = [_array_form(it.iloc[:, place]) for place in range(it.shape[1])]
        return "pandas.DataFrame", (columns, it.columns, it.index, _attributes(it))
    if kind is pandas.Series:
        return "pandas.Series", (_array_form(it), it.index, it.name, _attributes(it))
    if isinstance(it, pandas.Index) and kind.__module__.partition(".")[0] == "pandas":
        return "pandas.Index", _index_form(it)
    return None


def _attributes(it: Any) -> dict[Any, Any]:
    if not it.flags.allows_duplicate_labels:
        raise Formless("it forbids duplicate labels, which is not kept")
    return dict(it.attrs)


# --- indexes ----------------------------------------------------------------------------------------------------------


def _index_form(it: Any) -> tuple[Any, ...]:
    kind, names = type(it).__name__, list(it.names)
    if kind == "RangeIndex":
        return kind, names, (it.start, it.stop, it.step)
    if kind == "MultiIndex":
        levels = [level.rename(None) for level in it.levels]
        return kind, names, (levels, [_plain_array(codes) for codes in it.codes], it.sortorder)
    frequency = getattr(it, "freqstr", None) if kind in ("DatetimeIndex", "TimedeltaIndex") else None
    return kind, names, (_array_form(it), frequency)


def unpack_index(plain: Any) -> Any:
    pandas = _pandas()
    kind, names, of = shaped(plain, str, list, tuple)
    if kind == "MultiIndex":
        levels, codes, sorted_to = shaped(of, list, list, (int, type(None)))
        if not all(isinstance(level, pandas.Index) for level in levels):
            raise Misshapen
        return pandas.MultiIndex(levels, codes, sorted_to, names=names)
    if len(names) != 1:
        raise Misshapen
    if kind == "RangeIndex":
        return pandas.RangeIndex(*shaped(of, int, int, int), name=names[0])
    form, frequency = shaped(of, tuple, _TEXT)
    array = _unpack_array(form)
    made = pandas.Index(array, dtype=array.dtype, name=names[0], copy=False)
    if frequency is not None:
        made.freq = frequency
    if type(made).__name__ != kind:
        raise Misshapen
    return made


# --- arrays -----------------------------------------------------------------------------------------------------------


def _plain_array(it: Any) -> Any:
    """An array of numpy that has a form by itself, as a new one where it is a class of pandas's."""
    import numpy

    it = numpy.asarray(it)
    if pack_numpy(it) is None:
        raise Formless(f"numpy's '{it.dtype}' is not kept")
    return it


def _array_form(of: Any) -> tuple[str, Any]:
    """The items of a series or index."""
    import numpy

    pandas, dtype, it = sys.modules["pandas"], of.dtype, of.array
    if isinstance(dtype, numpy.dtype):
        return ("objects", list(it)) if dtype.hasobject else ("numpy", _plain_array(it))
    if isinstance(dtype, pandas.CategoricalDtype):
        # An index of their own, since their order counts.
        return "categories", (_plain_array(it.codes), dtype.categories, bool(dtype.ordered))
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return "zoned", (_plain_array(it.asi8), dtype.unit, _zone_form(dtype.tz))
    if isinstance(dtype, pandas.StringDtype) and dtype.storage == "python":
        texts = [text if isinstance(text, str) else None for text in it]
        return "texts", (texts, dtype.na_value is pandas.NA)
    if isinstance(dtype, pandas.ArrowDtype):
        return "arrow array", arrow_data.array_bytes(it)
    return "arrow", (arrow_data.column_bytes(it), str(dtype))


def _unpack_array(plain: Any) -> Any:
    import numpy

    name, of = shaped(plain, str, object)
    maker = _ARRAYS.get(name)
    if maker is None:
        raise DecodeError(
            f"the entry has a column of a form that this version does not know ({name!r}): upgrade cachemere"
        )
    made = maker(of)
    if isinstance(made, numpy.ndarray) and made.ndim != 1:
        raise Misshapen
    return made


def _unpack_objects(plain: Any) -> Any:
    import numpy

    if type(plain) is not list:
        raise Misshapen
    made = numpy.empty(len(plain), dtype=object)
    for place, it in enumerate(plain):
        # One by one: numpy would take lists for rows.
        made[place] = it
    return made


def _unpack_categories(plain: Any) -> Any:
    pandas = _pandas()
    codes, categories, ordered = shaped(plain, object, object, bool)
    if not isinstance(categories, pandas.Index):
        raise Misshapen
    return pandas.Categorical.from_codes(_numbers(codes), categories=categories, ordered=ordered)


def _unpack_zoned(plain: Any) -> Any:
    pandas = _pandas()
    numbers, unit, zone = shaped(plain, object, str, object)
    if unit not in ("s", "ms", "us", "ns"):
        raise Misshapen
    dtype = pandas.DatetimeTZDtype(unit, _unpack_zone(zone))
    # Of numbers these arrays are made in UTC, whatever the zone.
    return pandas.Series(_numbers(numbers).view(f"M8[{unit}]")).dt.tz_localize("UTC").dt.tz_convert(dtype.tz).array


def _unpack_texts(plain: Any) -> Any:
    pandas = _pandas()
    texts, is_na = shaped(plain, list, bool)
    if not all(type(text) in _TEXT for text in texts):
        raise Misshapen
    if is_na:
        return pandas.array(texts, dtype=pandas.StringDtype("python"))
    import numpy

    return pandas.array(texts, dtype=pandas.StringDtype("python", na_value=numpy.nan))


def _unpack_arrow(plain: Any) -> Any:
    written, dtype = shaped(plain, bytearray, str)
    return arrow_data.column_of(written, dtype)


def _unpack_numpy(plain: Any) -> Any:
    import numpy

    if type(plain) is not numpy.ndarray:
        raise Misshapen
    return plain


def _numbers(it: Any) -> Any:
    if getattr(getattr(it, "dtype", None), "kind", "") != "i":
        raise Misshapen
    return it


def _zone_form(zone: Any) -> Any:
    if type(zone).__module__.partition(".")[0] == "pytz" and getattr(zone, "zone", None):
        return ("pytz", zone.zone)
    return zone_form(zone)


def _unpack_zone(plain: Any) -> Any:
    if type(plain) is tuple and len(plain) == 2:
        library, name = shaped(plain, str, str)
        if library != "pytz":
            raise Misshapen
        import pytz  # type: ignore[import-untyped,import-not-found,unused-ignore]

        return pytz.timezone(name)
    return zone_of(plain)


_ARRAYS: dict[str, Callable[[Any], Any]] = {
    "arrow": _unpack_arrow,
    "arrow array": lambda written: _pandas().arrays.ArrowExtensionArray(arrow_data.array_of(written)),
    "categories": _unpack_categories,
    "numpy": _unpack_numpy,
    "objects": _unpack_objects,
    "texts": _unpack_texts,
    "zoned": _unpack_zoned,
}


# --- frames -----------------------------------------------------------------------------------------------------------


def unpack_frame(plain: Any) -> Any:
    pandas = _pandas()
    forms, columns, index, attributes = shaped(plain, list, object, object, dict)
    if not isinstance(columns, pandas.Index) or not isinstance(index, pandas.Index) or len(forms) != len(columns):
        raise Misshapen
    arrays = [_unpack_array(form) for form in forms]
    if any(len(array) != len(index) for array in arrays):
        raise Misshapen
    made = pandas.DataFrame(
        {place: _series(pandas, array, index) for place, array in enumerate(arrays)}, index=index, copy=False
    )
    made.columns = columns
    made.attrs = attributes
    return made


def unpack_series(plain: Any) -> Any:
    pandas = _pandas()
    form, index, name, attributes = shaped(plain, tuple, object, object, dict)
    array = _unpack_array(form)
    if not isinstance(index, pandas.Index) or len(array) != len(index):
        raise Misshapen
    made = _series(pandas, array, index)
    made.name = name
    made.attrs = attributes
    return made


def _series(pandas: Any, array: Any, index: Any) -> Any:
    # Of the same type: objects that are all texts would be made a column of texts.
    return pandas.Series(array, index=index, dtype=array.dtype, copy=False)


def _pandas() -> Any:
    try:
        import pandas  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError as cause:
        raise DecodeError("the value is of pandas: install pandas to read it") from cause
    return pandas
