"""What code in C makes of a PersistDict if it looks into dicts without asking them: entries or an error, never `{}`."""

from __future__ import annotations

import io
import json
import marshal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cachemere import PersistDict
from cachemere.errors import ClosedError

ENTRIES: dict[str, Any] = {"b": 1, "a": [2, {"deep": None}]}
NAME = "PersistDictEntriesAreInItsStoreUseToDict"


@pytest.fixture
def d(path: Path) -> Iterator[Any]:
    made: Any = PersistDict(path)
    made.update(ENTRIES)
    yield made
    made.close()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"indent": 1},
        {"sort_keys": True},
        {"skipkeys": True},
        {"check_circular": False},
        {"separators": (",", ":")},
        {"default": str},
        {"cls": json.JSONEncoder},
    ],
    ids=str,
)
def test_json_of_the_standard_library_writes_the_entries(d: Any, options: dict[str, Any]) -> None:
    plain = dict(ENTRIES)
    assert json.dumps(d, **options) == json.dumps(plain, **options)
    assert json.dumps([{"x": d}], **options) == json.dumps([{"x": plain}], **options)
    written, expected = io.StringIO(), io.StringIO()
    json.dump(d, written, **options)
    json.dump(plain, expected, **options)
    assert written.getvalue() == expected.getvalue()
    d.clear()
    assert json.dumps(d, **options) == "{}"


def test_json_of_one_that_is_closed_is_an_error(d: Any) -> None:
    d.close()
    with pytest.raises(ClosedError):
        json.dumps(d)


def test_json_of_keys_that_are_not_of_json_is_what_it_is_of_a_dict(d: Any) -> None:
    d[1], d[None], d[("a", 1)] = 1, 2, 3
    with pytest.raises(TypeError, match="keys must be str, int, float, bool or None, not tuple"):
        json.dumps(d)
    del d[("a", 1)]
    assert json.dumps(d) == json.dumps({**ENTRIES, 1: 1, None: 2})


def test_a_class_is_made_of_the_entries(d: Any) -> None:
    made: Any = type("Made", (), d)
    assert made.b == 1 and made.a == ENTRIES["a"]


def test_code_runs_in_the_entries(d: Any) -> None:
    assert eval("b + 1", d) == 2
    assert eval("b + 1", {}, d) == 2


def test_methods_of_dict_itself_show_the_placeholder(d: Any) -> None:
    assert dict.__len__(d) == 1
    assert dict.__repr__(d).count("<the entries of this PersistDict are in its store: use to_dict()>") == 2
    assert dict.__eq__(d, {}) is False
    assert dict.__or__({}, d) == ENTRIES == dict.copy(d)


def test_the_docs_say_who_meets_it() -> None:
    for told in ("json.dumps", "to_dict", "orjson", "pydantic", "dict.__len__"):
        assert told in (PersistDict.__doc__ or "")


def _orjson(name: str, **options: Any) -> Callable[[Any], Any]:
    orjson = pytest.importorskip("orjson")
    flags = 0
    for flag in options.pop("flags", ()):
        flags |= getattr(orjson, flag)
    return lambda d: orjson.dumps(d, option=flags, **options)


@pytest.mark.parametrize(
    "options", [{}, {"flags": ["OPT_NON_STR_KEYS"]}, {"flags": ["OPT_SORT_KEYS"]}, {"default": str}], ids=str
)
def test_orjson_fails_loudly(d: Any, options: dict[str, Any]) -> None:
    dumps = _orjson("orjson", **options)
    for given in (d, {"x": d}, [d]):
        with pytest.raises(TypeError, match=r"(?i)key"):
            dumps(given)


def test_pydantic_takes_the_entries_and_names_what_to_do_when_it_writes(d: Any) -> None:
    pydantic = pytest.importorskip("pydantic")
    for kind in (dict, dict[str, Any]):
        assert pydantic.TypeAdapter(kind).validate_python(d) == ENTRIES
    with pytest.raises(pydantic.ValidationError, match="valid integer"):
        pydantic.TypeAdapter(dict[str, int]).validate_python(d)
    adapter = pydantic.TypeAdapter(Any)
    for write in (adapter.dump_json, lambda it: adapter.dump_python(it, mode="json")):
        with pytest.raises(ValueError, match=NAME):
            write(d)
    assert adapter.dump_python(d) != {}


def test_httpx_and_requests_send_the_entries(d: Any) -> None:
    httpx = pytest.importorskip("httpx")
    assert json.loads(httpx.Request("POST", "http://localhost/", json=d).content) == ENTRIES
    requests = pytest.importorskip("requests")
    assert json.loads(requests.Request("POST", "http://localhost/", json={"x": d}).prepare().body) == {"x": ENTRIES}


def test_marshal_and_keyword_maps_refuse_or_see_them(d: Any) -> None:
    with pytest.raises(ValueError, match="unmarshallable"):
        marshal.dumps(d)
    assert vars(types.SimpleNamespace(**d)) == ENTRIES
    with pytest.raises(TypeError):
        str.maketrans(d)


def test_the_placeholder_is_never_written(d: Any, tmp_path: Path) -> None:
    import pickle

    from cachemere._core.placeholder import PLACEHOLDER

    assert type(PLACEHOLDER).__name__ == NAME
    with pytest.raises(TypeError, match=r"use to_dict\(\)"):
        pickle.dumps(PLACEHOLDER)
    with PersistDict(tmp_path / "other") as other, pytest.raises(TypeError):
        other["x"] = dict.copy(types.MappingProxyType({PLACEHOLDER: 1}) | {})


def test_it_goes_with_its_dict(path: Path) -> None:
    before = sys.getrefcount(PersistDict)
    for number in range(20):
        with PersistDict(path.with_name(f"s{number}")) as made:
            made["x"] = 1
    import gc

    gc.collect()
    assert sys.getrefcount(PersistDict) <= before + 5
