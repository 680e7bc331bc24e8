"""Without a cache to keep results in, or with one that cannot be used, functions compute, and one line says why."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache
from cachemere._core.guarded import default_path
from cachemere.errors import InvalidOptionError, ReadOnlyError, StoreIOError, UnsafeValueError
from other_user import NOBODY, UNKNOWN, as_user, may_be_reached, only_readable

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become another user")


def double(x: int) -> int:
    return x * 2


def triple(x: int) -> int:
    return x * 3


def computes() -> Any:
    """Two functions, and what happened to the second call of each."""
    one, other = cachemere.memoize(double), cachemere.memoize(triple)
    results = [one(1), one(1), other(1), other(1)]
    return [results, one.cache_info().hits, one.cached(1) is None, list(Path.cwd().iterdir())]


def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    may_be_reached(place)
    monkeypatch.chdir(place)


@ROOT
@pytest.mark.parametrize(
    ("uid", "home", "words"),
    [
        (UNKNOWN, None, f"HOME is not set, and the system knows no user {UNKNOWN}"),
        (UNKNOWN, "/", "cannot be opened: making the store's directory"),
        (NOBODY, "/nonexistent", "cannot be opened: making the store's directory"),
        (NOBODY, None, "cannot be opened: making the store's directory"),
        (NOBODY, "/proc", "cannot be opened: making the store's directory"),
    ],
)
def test_without_a_home_functions_compute(
    uid: int, home: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_an_empty_directory(tmp_path, monkeypatch)
    seen, warnings = as_user(uid, computes, home=home)
    assert seen == [[2, 2, 3, 3], 0, True, []], "and nothing is made where the program happens to run"
    (warning,) = warnings
    assert words in warning and "set CACHEMERE_DIR to a directory that this process can write to" in warning


@ROOT
def test_one_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_an_empty_directory(tmp_path, monkeypatch)
    home = tmp_path / "home"
    store = home / ".cache/cachemere/default"
    with Cache(store) as cache:
        cache["k"] = 1
    for it in [store, *store.iterdir()]:
        os.chown(it, NOBODY, NOBODY)
    for it in (home, home / ".cache", home / ".cache/cachemere"):
        it.chmod(0o755)
    only_readable(store)
    seen, warnings = as_user(UNKNOWN, computes, home=str(home))
    assert seen == [[2, 2, 3, 3], 0, True, []]
    (warning,) = warnings
    assert f"belongs to user {NOBODY}" in warning and "set CACHEMERE_DIR" in warning


@ROOT
def test_one_that_can_only_be_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_an_empty_directory(tmp_path, monkeypatch)
    store = tmp_path / "shared"
    with Cache(store) as cache:
        cache.memoize(double)(1)
    only_readable(store)

    def work() -> Any:
        os.environ["CACHEMERE_DIR"] = str(store)
        function = cachemere.memoize(double)
        return [function(1), function(2), list(function.cache_info()[:2])]

    seen, warnings = as_user(NOBODY, work)
    assert seen == [2, 4, [1, 1]], warnings
    (warning,) = warnings
    assert "is read, and nothing is kept in it" in warning and "set CACHEMERE_DIR" in warning

    def strictly() -> Any:
        os.environ["CACHEMERE_DIR"] = str(store)
        return cachemere.memoize(on_error="raise")(double)(1)

    told, _ = as_user(NOBODY, strictly)
    assert told[0] == "ReadOnlyError" and "set CACHEMERE_DIR" in told[1]


async def test_whoever_prefers_it_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", "/proc/absent/store")

    @cachemere.memoize
    async def plain() -> int:
        return 1

    @cachemere.memoize
    def stream() -> Any:
        yield 1

    assert await plain() == 1 and list(stream()) == [1]
    (line,) = [it.getMessage() for it in caplog.records if it.levelno == logging.WARNING]
    assert "/proc/absent/store is bypassed" in line and "or set CACHEMERE_DIR" in line
    for options in ({"on_error": "raise"}, {"strict": True}):
        with pytest.raises(StoreIOError, match="parent directory .* set CACHEMERE_DIR"):
            cachemere.memoize(**options)(double)(1)  # type: ignore[call-overload]
    assert cachemere.memoize(on_error="bypass", strict=True)(double)(1) == 2


def test_the_default_stores_place_is_an_error_that_can_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("~/.cache/cachemere"))
    with pytest.raises(StoreIOError, match="HOME is not set"):
        default_path()
    with pytest.raises(StoreIOError, match="HOME is not set"):
        cachemere.open().get("k")
    assert cachemere.open(on_error="bypass").get("k") is None
    with pytest.raises(StoreIOError, match="HOME is not set"):
        cachemere.memoize(on_error="raise")(double)(1)


def test_what_on_error_can_be(path: Path) -> None:
    wrong: Any = "ignore"
    with pytest.raises(InvalidOptionError, match="memoize: on_error must be 'raise' or 'bypass', not 'ignore'"):
        cachemere.memoize(on_error=wrong)
    with Cache(path) as cache, pytest.raises(InvalidOptionError, match=r"give it to the cache: Cache\(path, on_error="):
        cachemere.memoize(cache=cache, on_error="raise")


def test_strict_is_about_what_cannot_be_kept_whatever_bypasses() -> None:
    with pytest.raises(UnsafeValueError):
        cachemere.memoize(strict=True, on_error="bypass")(lambda: object())()
    assert issubclass(ReadOnlyError, PermissionError)
