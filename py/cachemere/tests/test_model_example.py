"""The example in the README of PersistDict, as it is there but for the import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cachemere import CacheError, PersistDict


def test_the_example_of_the_model_works(path: Path) -> None:
    a_path = dbp = path

    # create the object
    d: Any = PersistDict(
        database_path=a_path,
        # verbose=True,
        # expiration_days=30,
    )
    # then treat it like a dict:
    d["a"] = 1

    # You can even create it via __call__, like a dict:
    d = d(a=1, b="b", c=str)  # this actually calls __call__ but is only
    # allowed once per PersistDict, just like a regular dict

    # it's a child from dict
    assert isinstance(d, dict)

    # prints like a dict
    print(d)
    # {'a': 1, 'b': 'b', 'c': str}

    # Supports the same methods
    assert sorted(list(d.keys())) == ["a", "b", "c"], d
    assert "b" in d
    del d["b"]
    assert list(d.keys()) == ["a", "c"], d
    assert len(d) == 2, d
    assert d.__repr__() == {"a": 1, "c": str}.__repr__()
    assert d.__str__() == {"a": 1, "c": str}.__str__()

    # supports all the same types as value as pickle (or more if you change
    # the serializer)
    d["d"] = None

    # If you create another object pointing at the same db, they will share the
    # same cache and won't corrupt the db:
    d2: Any = PersistDict(
        database_path=dbp,
        verbose=True,
    )
    assert list(d.keys()) == list(d2.keys()), d2


def test_it_prints_as_the_example_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    d: Any = PersistDict(database_path=path)
    d["a"] = 1
    d = d(b="b", c=str)
    print(d)
    assert capsys.readouterr().out == "{'a': 1, 'b': 'b', 'c': <class 'str'>}\n"
    assert list(d) == ["a", "b", "c"]
    assert d == {"a": 1, "b": "b", "c": str}


def test_filling_by_a_call_is_allowed_once_for_each_store(path: Path) -> None:
    d: Any = PersistDict(path)
    assert d(a=1) is d
    with pytest.raises(CacheError, match="once"):
        d(a=2)
    with pytest.raises(CacheError, match="once"):
        PersistDict(path)(a=2)
    assert d == {"a": 1}


def test_a_call_that_fails_can_be_made_again(path: Path) -> None:
    d: Any = PersistDict(path)
    with pytest.raises(TypeError):
        d({"a": 1, "b": (value for value in ())})
    assert d == {}
    d({"self": 1}, args=2)
    assert d == {"self": 1, "args": 2}


def test_a_call_takes_a_key_named_self(path: Path) -> None:
    d: Any = PersistDict(path)
    d(self=1)
    d.update(self=2)
    assert d == {"self": 2}


def test_every_option_of_the_model_is_taken(path: Path) -> None:
    d: Any = PersistDict(
        database_path=path,
        expiration_days=1,
        key_serializer=lambda key: key[::-1],
        key_unserializer=lambda stored: stored[::-1],
        key_size_limit=511,
        value_serializer=repr,
        value_unserializer=eval,
        caching=False,
        verbose=True,
        background_thread="disabled",
        background_timeout=30,
        name="model",
    )
    d["key" * 1000] = {"value": (1, 2)}
    assert d == {"key" * 1000: {"value": (1, 2)}}


@pytest.mark.parametrize("background_thread", [True, False, "disabled"])
def test_no_kind_of_sweeping_shows_an_expired_entry(path: Path, background_thread: Any) -> None:
    with PersistDict[str, int](path, background_thread=background_thread, ttl=0.001) as d:
        d["a"] = 1
        while "a" in d:
            pass
        assert (len(d), list(d), d.get("a")) == (0, [], None)


def test_operations_are_logged_to_the_named_logger_if_verbose(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with PersistDict[str, int](path, verbose=True, name="mine") as d:
        d.update(a=1)
    assert {record.name for record in caplog.records} == {"cachemere.mine"}
    caplog.clear()
    with PersistDict[str, int](path) as d:
        d.update(a=1)
    assert not caplog.records
