"""Frames, series and tables come back exactly as they were, or are refused with a reason."""

from __future__ import annotations

import datetime
import random
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from cachemere import Cache
from cachemere._forms.forms import Forms
from cachemere.errors import CacheError, UnsafeValueError


def days(**options: Any) -> Any:
    return pd.date_range("2024-03-30", periods=3, **options)


def noted(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs = {"source": ["a", 1]}
    return frame


FRAMES: dict[str, Callable[[], Any]] = {
    "plain": lambda: pd.DataFrame({"a": [1, 2], "b": [1.5, np.nan], "c": ["x", None], "e": [True, False]}),
    "lists and dicts": lambda: pd.DataFrame({"d": [[1], [2, 3]], "e": [{"a": 1}, {}], "f": [np.zeros(2), np.ones(2)]}),
    "equal lists": lambda: pd.DataFrame({"d": [[1, 2], [2, 3]]}),
    "empty": pd.DataFrame,
    "no rows": lambda: pd.DataFrame({"a": pd.Series([], dtype="int8"), "b": pd.Series([], dtype=object)}),
    "no columns": lambda: pd.DataFrame(index=[1, 2]),
    "levels": lambda: pd.DataFrame(
        {"x": [1, 2, 3]}, index=pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["l", None])
    ),
    "levels of columns": lambda: pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
    "unused and missing levels": lambda: pd.DataFrame(
        {"x": [1, 2]}, index=pd.MultiIndex([["a", "b", "z"], days(tz="UTC")], [[1, -1], [0, 2]])
    ),
    "categories": lambda: pd.DataFrame(
        {
            "c": pd.Categorical(["b", "a", None], categories=["b", "a", "z"], ordered=True),
            "d": pd.Categorical([1, 2, 1]),
            "e": pd.Categorical(["b", "a", "b"], categories=["b", "a"]),
        }
    ),
    "zones": lambda: pd.DataFrame(
        {
            "t": days(tz="Europe/Berlin", freq="D"),
            "u": days(tz="UTC").as_unit("s"),
            "v": days(tz=datetime.timezone(datetime.timedelta(hours=1))),
            "w": days(),
        }
    ),
    "missing times": lambda: pd.DataFrame({"t": pd.to_datetime(["2024-10-27", None]).tz_localize("Europe/Berlin")}),
    "twice the same hour": lambda: pd.DataFrame(
        {"t": pd.date_range("2024-10-26T23:00", periods=5, freq="h", tz="UTC").tz_convert("Europe/Berlin")}
    ),
    "a frequency": lambda: pd.DataFrame({"v": [1, 2, 3]}, index=days(tz="Europe/Berlin", freq="D", name="day")),
    "steps of time": lambda: pd.DataFrame({"v": [1, 2, 3]}, index=pd.timedelta_range("1h", periods=3, freq="h")),
    "nullable": lambda: pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "b": pd.array([True, None], dtype="boolean"),
            "f": pd.array([1.5, None], dtype="Float32"),
            "s": pd.array(["a", None], dtype="string"),
        }
    ),
    "texts": lambda: pd.DataFrame({"s": pd.array(["a", None], dtype=pd.StringDtype("python"))}),
    "texts of Arrow": lambda: pd.DataFrame({"s": pd.array(["a", None], dtype=pd.StringDtype("pyarrow"))}),
    "periods and intervals": lambda: pd.DataFrame(
        {
            "p": pd.period_range("2024-01", periods=2, freq="M"),
            "i": pd.interval_range(0, 2),
            "d": pd.to_timedelta([1, None], unit="s"),
        }
    ),
    "periods as the index": lambda: pd.DataFrame({"p": [1, 2]}, index=pd.period_range("2024-01", periods=2, freq="M")),
    "Arrow's own": lambda: pd.DataFrame(
        {
            "a": pd.array([1, None], dtype="int64[pyarrow]"),
            "l": pd.array([[1], [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        }
    ),
    "columns of one name": lambda: pd.DataFrame([[1, "a"]], columns=["a", "a"]),
    "objects": lambda: pd.DataFrame(
        {"o": pd.Series([1, "a", None], dtype=object), "s": pd.Series(["a", "b", "c"], dtype=object)}
    ),
    "numbers as columns": lambda: pd.DataFrame(np.arange(6, dtype="f4").reshape(2, 3)),
    "small and complex": lambda: pd.DataFrame({"c": [1j, 2], "h": np.array([1, 2], "f2"), "u": np.array([1, 2], "u1")}),
    "categories as the index": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["x", "y"], name="n")),
    "a part of another": lambda: pd.DataFrame({"a": range(10), "b": list("abcdefghij")}).iloc[2:8:2],
    "attributes": lambda: noted(pd.DataFrame({"a": [1]})),
}


def check_index(found: Any, expected: Any) -> None:
    pd.testing.assert_index_equal(found, expected, exact=True)
    assert type(found) is type(expected) and found.dtype == expected.dtype and found.names == expected.names
    assert getattr(found, "freq", None) == getattr(expected, "freq", None)
    if isinstance(expected, pd.MultiIndex):
        for level, other in zip(found.levels, expected.levels, strict=True):
            check_index(level, other)


def check_frame(found: Any, expected: Any) -> None:
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_freq=True)
    check_index(found.index, expected.index)
    check_index(found.columns, expected.columns)
    assert [repr(it) for it in found.dtypes] == [repr(it) for it in expected.dtypes]
    assert found.attrs == expected.attrs
    for place in range(expected.shape[1]):
        one, other = found.iloc[:, place], expected.iloc[:, place]
        assert [type(it) for it in one] == [type(it) for it in other]
        if isinstance(other.dtype, pd.CategoricalDtype):
            assert list(one.cat.categories) == list(other.cat.categories)
        if isinstance(other.dtype, pd.DatetimeTZDtype):
            assert str(one.dt.tz) == str(other.dt.tz)


def again(path: Path, value: Any) -> Any:
    """What another handle reads."""
    with Cache(path) as cache:
        cache["k"] = value
    with Cache(path) as cache:
        return cache["k"]


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_pandas(path: Path, name: str) -> None:
    frame = FRAMES[name]()
    check_frame(again(path, frame), FRAMES[name]())
    check_frame(frame, FRAMES[name]())


@pytest.mark.parametrize("name", FRAMES)
def test_its_columns_as_series(path: Path, name: str) -> None:
    frame = FRAMES[name]()
    for place in range(frame.shape[1]):
        expected = frame.iloc[:, place]
        found = again(path, expected)
        pd.testing.assert_series_equal(found, expected, check_exact=True, check_freq=True)
        assert repr(found.dtype) == repr(expected.dtype) and found.name == expected.name
        check_index(again(path, frame.index), frame.index)


def test_what_is_read_can_be_changed_and_changes_nothing(path: Path) -> None:
    for name in ("plain", "nullable", "texts of Arrow"):
        with Cache(path) as cache:
            cache["k"] = FRAMES[name]()
            for _ in range(2):
                found = cache["k"]
                check_frame(found, FRAMES[name]())
                found.iloc[0, 0] = found.iloc[1, 0]
                found["new"] = 1


def test_a_memoized_frame_inside_of_other_data(path: Path) -> None:
    with Cache(path) as cache:

        @cache.memoize
        def f(n: int) -> dict[str, Any]:
            return {"frames": [FRAMES["plain"](), pl.DataFrame({"a": [n]})], "n": n}

        f(1)
        hit = f.cached(1)
        assert hit is not None
        check_frame(hit.value["frames"][0], FRAMES["plain"]())
        assert hit.value["frames"][1].equals(pl.DataFrame({"a": [1]}))


class Geo(pd.DataFrame):
    """Of another library, say."""


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "sparse": (
        lambda: pd.DataFrame({"s": pd.arrays.SparseArray([0, 0, 1])}),
        "Arrow does not keep a column of .*Sparse",
    ),
    "an object": (lambda: pd.DataFrame({"o": [object()]}), "builtins.object"),
    "a subclass": (lambda: Geo({"a": [1]}), "Geo"),
    "no duplicates": (
        lambda: pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
        "forbids duplicate labels",
    ),
    "polars's objects": (
        lambda: pl.DataFrame({"o": [object()]}, schema={"o": pl.Object}),
        "polars does not write a column of its type .Object",
    ),
    "rows of nothing": (lambda: pa.table({"a": [1, 2]}).select([]), "rows without columns"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused_with_a_reason(path: Path, name: str) -> None:
    make, words = REFUSED[name]
    with Cache(path) as cache:
        with pytest.raises(UnsafeValueError, match=words):
            cache["k"] = make()
        assert len(cache) == 0


def test_what_cannot_be_kept_is_pickled_where_that_is_allowed(path: Path) -> None:
    frame = REFUSED["sparse"][0]()
    with Cache(path, allow_pickle=True) as cache:
        cache["k"] = frame
        pd.testing.assert_frame_equal(cache["k"], frame)


POLARS: dict[str, Callable[[], Any]] = {
    "frame": lambda: pl.DataFrame(
        {
            "a": [1, None],
            "s": ["x", None],
            "l": [[1], [2, 3]],
            "d": [{"a": 1, "b": "x"}, None],
            "c": pl.Series(["u", "v"], dtype=pl.Categorical),
            "e": pl.Series(["u", "v"], dtype=pl.Enum(["v", "u"])),
            "t": [datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))] * 2,
            "f": [float("nan"), 1.5],
            "n": [None, None],
        }
    ),
    "empty": pl.DataFrame,
    "no rows": lambda: pl.DataFrame(schema={"a": pl.Int8, "b": pl.Decimal(10, 2)}),
    "series": lambda: pl.Series("name", [1.5, None, float("nan")]),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars(path: Path, name: str) -> None:
    expected = POLARS[name]()
    found = again(path, expected)
    assert type(found) is type(expected) and found.equals(expected)
    if isinstance(expected, pl.DataFrame):
        assert found.schema == expected.schema
    else:
        assert (found.name, found.dtype) == (expected.name, expected.dtype)


TABLES: dict[str, Callable[[], Any]] = {
    "table": lambda: pa.table(
        {"a": [1, 2], "s": ["x", None], "d": pa.array(["x", "y"]).dictionary_encode(), "l": [[1], []]}
    ).replace_schema_metadata({"k": "v"}),
    "chunks": lambda: pa.table({"a": pa.chunked_array([[1, 2], [3]])}),
    "empty": lambda: pa.table({}),
    "no rows": lambda: pa.table({"a": pa.array([], pa.int8())}),
    "batch": lambda: pa.record_batch({"a": [1, None]}),
    "batch of no rows": lambda: pa.record_batch({"a": pa.array([], pa.int8())}),
}


@pytest.mark.parametrize("name", TABLES)
def test_arrow(path: Path, name: str) -> None:
    expected = TABLES[name]()
    found = again(path, expected)
    assert type(found) is type(expected) and found.equals(expected)
    assert found.schema.equals(expected.schema, check_metadata=True)


def spoiled(plain: Any, dice: random.Random) -> Any:
    """Plain data with something in it that is not as it should be."""
    if isinstance(plain, tuple) and plain:
        place = dice.randrange(len(plain))
        return (*plain[:place], spoiled(plain[place], dice), *plain[place + 1 :])
    if isinstance(plain, list) and plain:
        place = dice.randrange(len(plain))
        return [*plain[:place], spoiled(plain[place], dice), *plain[place + 1 :]]
    if isinstance(plain, bytearray) and plain:
        made = bytearray(plain)
        for _ in range(dice.randrange(1, 9)):
            made[dice.randrange(len(made))] = dice.randrange(256)
        return made if dice.random() < 0.8 else made[: dice.randrange(len(made))]
    return dice.choice([None, 7, -1, "x", "2024", [], (), {}, np.array([5, 6]), pd.Index(["a"]), bytearray(b"x")])


def taken_apart(it: Any) -> Any:
    """With bytes as they are read."""
    if isinstance(it, (tuple, list)):
        return type(it)(taken_apart(inside) for inside in it)
    return bytearray(it) if type(it).__name__ == "PickleBuffer" else it


def test_crafted_ones_are_errors_and_no_more(torture: bool) -> None:
    forms, dice = Forms(), random.Random(7)
    values = [*FRAMES.values(), *POLARS.values(), *TABLES.values()]
    packed = [forms.pack(make()) for make in values] + [forms.pack(FRAMES["levels"]().index)]
    tried = 0
    for _ in range(400 if torture else 12):
        for name, plain in filter(None, packed):
            try:
                repr(forms.unpack(name, spoiled(taken_apart(plain), dice)))
            except CacheError:
                pass
            tried += 1
    assert tried > 400
