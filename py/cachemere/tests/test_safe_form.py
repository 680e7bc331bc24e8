"""The safe form never runs anybody's code: not when writing, not when reading, whatever the bytes are."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import UnsafeValueError
from how_long import TORTURE
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_data import EXAMPLES, TYPES, values


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*args: Any, **options: Any) -> Any:
        raise AssertionError("pickle was called")

    for name in ("dumps", "loads", "dump", "load", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, explode)
    monkeypatch.setattr("cachemere._core.options.pickle.loads", explode)


@pytest.mark.usefixtures("no_pickle")
def test_plain_values_never_touch_pickle(path: Path) -> None:
    with Cache(path, types=TYPES) as cache, PersistDict[Any, Any](path, types=TYPES, namespace="d") as d:
        for mapping in (cache, d):
            for number, value in enumerate(EXAMPLES):
                mapping[number] = [value]
                assert mapping[number] is not None
            assert len(list(mapping.items())) == len(EXAMPLES)
        with pytest.raises(UnsafeValueError):
            cache["k"] = Bomb()


def test_what_was_pickled_is_not_loaded_without_permission(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PersistDict[str, Any](path) as d:
        d["plain"], d["bomb"], d["more"] = 1, Bomb(), 2
    for handle in (Cache(path), PersistDict[str, Any](path, allow_pickle=False)):
        for use in (
            lambda handle=handle: handle["bomb"],
            lambda handle=handle: handle.get("bomb"),
            lambda handle=handle: handle.pop("bomb"),
            lambda handle=handle: list(handle.values()),
        ):
            with pytest.raises(UnsafeValueError, match="allow_pickle=True"):
                use()
        assert handle["plain"] == 1 and handle["more"] == 2
        assert list(handle) == ["plain", "bomb", "more"] and len(handle) == 3
        assert "bomb" in handle
        handle.close()
    with PersistDict[str, Any](path, allow_pickle=False) as d:
        assert d.to_dict(skip_damaged=True) == {"plain": 1, "more": 2}
    assert not (tmp_path / "exploded").exists()
    with PersistDict[str, Any](path) as d:
        assert d["bomb"] is None
    assert (tmp_path / "exploded").exists()


def test_a_pickled_key_is_not_loaded_without_permission(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with PersistDict[Any, int](path) as d:
        d[complex] = 1
        d["plain"] = 2
    with PersistDict[Any, int](path, allow_pickle=False) as d:
        with pytest.raises(UnsafeValueError, match="pickled"):
            list(d)
        assert d.to_dict(skip_damaged=True) == {"plain": 2}
        assert d["plain"] == 2


def test_an_enum_of_a_module_that_is_not_imported_is_not_imported(path: Path, tmp_path: Path) -> None:
    module = tmp_path / "someones_enum.py"
    module.write_text("import enum\nclass Kind(enum.Enum):\n    A = 1\n")
    program = "import sys; sys.path.insert(0, {!r}); import someones_enum, cachemere; c = cachemere.Cache({!r});"
    program += "c['k'] = someones_enum.Kind.A; c['plain'] = 1; c.close()"
    subprocess.run([sys.executable, "-c", program.format(str(tmp_path), str(path))], check=True)
    with Cache(path) as cache:
        with pytest.raises(UnsafeValueError, match="someones_enum.Kind"):
            cache["k"]
        assert cache["plain"] == 1
    assert "someones_enum" not in sys.modules


# --- bytes of anybody's ---------------------------------------------------------------------------------------------


def many(short: int) -> settings:
    return settings(max_examples=20_000 if TORTURE else short)


def read(cache: Cache, payload: bytes) -> None:
    """Reads bytes as a value and as a key: gives an object, or an error of this package.

    A value that can be read can be written, and then read as the same: the same bytes, up to the order of a set.
    """
    try:
        cache._store.decode_key(payload)
    except CacheError:
        pass
    try:
        value = cache._store.decode_value(payload)
    except CacheError:
        return
    written = cache._store.encode_value(value)
    again = cache._store.encode_value(cache._store.decode_value(written))
    assert sorted(again) == sorted(written)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Cache(tmp_path_factory.mktemp("fuzz") / "store", types=TYPES) as cache:
        yield cache


@many(100)
@given(values, st.randoms(use_true_random=False))
def test_changed_bytes_give_a_value_or_an_error_of_this_package(
    cache: Cache, value: Any, random: random.Random
) -> None:
    payload = bytearray(cache._store.encode_value(value))
    for _ in range(20):
        changed = bytearray(payload)
        for _ in range(random.randint(1, 4)):
            place = random.randrange(len(changed))
            match random.randrange(4):
                case 0:
                    changed[place] ^= 1 << random.randrange(8)
                case 1:
                    changed[place] = random.choice(b"N01iIfcsSbBltdezx\xff\x7f\x80\x00")
                case 2 if len(changed) > 1:
                    del changed[place:]
                case _:
                    changed[place:place] = random.choice([b"l", b"\xff" * 9, b"t\x80\x80\x80\x80\x7f", b"x\x05range"])
            if not changed:
                break
        if changed:
            read(cache, bytes(changed))


@many(300)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_an_error_of_this_package(cache: Cache, payload: bytes) -> None:
    read(cache, payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"l",
        b"l\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"d\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"s\x02\xff\xff",
        b"S\x01\xff",
        b"d\x01l\x00N",
        b"e\x01l\x00",
        b"z\x01d\x00",
        b"l\x01" * 100_000 + b"N",
        b"x\x05tuple" * 100_000,
        b"x\x01\xffN",
        b"x\x07nothingN",
        b"x\x08datetimeN",
        b"x\x08timezones\x0b/etc/passwd",
        b"x\x0dnumpy.ndarrayt\x04s\x01Ot\x010B\x00",
        b"x\x04enumt\x03s\x02oss\x06systems\x01a",
        b"x\x04enumt\x03s\x08builtinss\x03inti\x00\x00\x00\x00\x00\x00\x00\x00",
        b"x\x04flagt\x03s\x08builtinss\x03inti\x00\x00\x00\x00\x00\x00\x00\x00",
        b"NN",
    ],
)
def test_bytes_made_to_break_it_do_not(cache: Cache, payload: bytes) -> None:
    with pytest.raises(CacheError):
        cache._store.decode_value(payload)
    read(cache, payload)
