"""`d(…)` fills a PersistDict once. Whoever calls it because it can be called writes nothing."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict
from cachemere.errors import CacheError


@pytest.fixture
def d(path: Path) -> Iterator[Any]:
    made: Any = PersistDict(path)
    yield made
    made.close()


@pytest.mark.parametrize(
    "fill",
    [
        lambda d: d(a=1, b=2),
        lambda d: d({"a": 1, "b": 2}),
        lambda d: d([("a", 1), ("b", 2)]),
        lambda d: d([["a", 1]], b=2),
        lambda d: d({"a": 1}.items(), b=2),
        lambda d: d((name, number) for name, number in (("a", 1), ("b", 2))),
        lambda d: d(zip("ab", [1, 2], strict=True)),
    ],
)
def test_it_fills_once(d: Any, fill: Callable[[Any], Any]) -> None:
    assert fill(d) is d
    assert d == {"a": 1, "b": 2}
    with pytest.raises(CacheError, match="allowed once"):
        fill(d)


def test_it_fills_again_when_it_is_empty(d: Any, path: Path) -> None:
    d(a=1).clear()
    assert d([("b", 2)]) == {"b": 2}
    del d["b"]
    d.close()
    with PersistDict(path) as again:
        assert again({"c": 3}) == {"c": 3}
        with pytest.raises(CacheError, match="allowed once"):
            again(d=4)


def test_a_filling_that_fails_can_be_done_again(d: Any) -> None:
    with pytest.raises(TypeError):
        d({"a": 1, "b": (item for item in ())})
    assert d == {} and d(a=1) == {"a": 1}


@pytest.mark.parametrize("argument", ["ab", "a", 1, None, b"ab", 1.5, ["ab", "cd"], [1], object(), {"ab"}])
def test_what_is_neither_a_mapping_nor_pairs_writes_nothing(d: Any, argument: Any) -> None:
    with pytest.raises(TypeError, match=r"use d\[key\] or d\.get\(key\)"):
        d(argument)
    assert d == {}
    assert d(a=1) == {"a": 1}


def test_a_call_without_arguments_writes_nothing(d: Any) -> None:
    assert callable(d) and d() is d and functools.partial(d)() is d
    assert d == {} and [name for name, _ in d._store.namespaces()] in ([], ["default"])
    assert d(a=1) == {"a": 1}
    assert d() is d


def test_functions_that_take_functions_write_nothing(d: Any) -> None:
    for use in (
        lambda: re.sub("a", d, "ab"),
        lambda: sorted(["ab", "cd"], key=d),
        lambda: list(map(d, ["ab"])),
        lambda: list(filter(d, ["ab"])),
    ):
        with pytest.raises(TypeError, match="called to fill it"):
            use()
    assert d == {}


def test_pandas_does_not_write_into_it(d: Any) -> None:
    pandas = pytest.importorskip("pandas")
    d["ab"], d["cd"] = 1, 2
    before = d.to_dict()
    series = pandas.Series(["ab", "cd", "ef"])
    frame = pandas.DataFrame({"ab": [1], "cd": [2]})
    for use in (
        lambda: series.map(d),
        lambda: series.apply(d),
        lambda: frame.apply(d),
        lambda: frame.assign(x=d),
        lambda: frame.pipe(d),
        lambda: frame.map(d),
    ):
        try:
            use()
        except TypeError:
            pass
        assert d == before
    assert list(series.map(d.get))[:2] == [1, 2]
    assert list(series.map(d.to_dict()))[:2] == [1, 2]


def test_templates_do_not_call_it(d: Any) -> None:
    # As Django looks before it calls what can be called.
    assert d.do_not_call_in_templates is True
