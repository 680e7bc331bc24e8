"""A memoized function is what the function was, with methods for single calls and for all of them."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import inspect
import pickle
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache, CacheInfo, Memoized
from cachemere.errors import ClosedError, InvalidOptionError, KeyFormError, ReplayMissError, UnsafeValueError

calls: list[Any] = []


@cachemere.memoize
def at_the_top(x: int, y: int = 1) -> int:
    """Adds."""
    calls.append(x)
    return x + y


@dataclasses.dataclass(frozen=True)
class Asker:
    name: str

    @cachemere.memoize
    def ask(self, x: int) -> str:
        """Asks."""
        calls.append((self.name, x))
        return f"{self.name} {x}"

    @cachemere.memoize
    async def aask(self, x: int) -> str:
        calls.append((self.name, x))
        return f"{self.name} {x}"

    @cachemere.memoize
    @classmethod
    def of_class(cls, x: int) -> str:
        calls.append(x)
        return f"{cls.__name__} {x}"

    @classmethod
    @cachemere.memoize
    def of_class_inside(cls, x: int) -> str:
        calls.append(x)
        return f"{cls.__name__} {x}"

    @staticmethod
    @cachemere.memoize
    def of_nobody(x: int) -> int:
        calls.append(x)
        return x

    @cachemere.memoize
    @staticmethod
    def of_nobody_outside(x: int) -> int:
        calls.append(x)
        return x


class Other(Asker):
    pass


class Opaque:
    def __init__(self) -> None:
        self.secret = 1

    @cachemere.memoize
    def refused(self, x: int) -> int:
        return x

    @cachemere.memoize(ignore=("self",))
    def taken(self, x: int) -> int:
        calls.append(x)
        return x


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def test_it_looks_like_the_function() -> None:
    assert isinstance(at_the_top, Memoized)
    assert (at_the_top.__name__, at_the_top.__doc__, at_the_top.__module__) == ("at_the_top", "Adds.", __name__)
    assert str(inspect.signature(at_the_top)) == "(x: 'int', y: 'int' = 1) -> 'int'"
    assert at_the_top.__wrapped__(1) == 2 and inspect.unwrap(at_the_top) is at_the_top.__wrapped__
    assert at_the_top.__annotations__["x"] == "int"
    assert weakref.ref(at_the_top)() is at_the_top
    assert "at_the_top" in repr(at_the_top)


def test_it_is_pickled_and_copied_as_a_function_is() -> None:
    for it in (at_the_top, Asker.ask, Asker.aask):
        assert pickle.loads(pickle.dumps(it)) is it and copy.copy(it) is it and copy.deepcopy(it) is it
    bound = pickle.loads(pickle.dumps(Asker("pickled").ask))
    assert bound(1) == "pickled 1"


def test_it_calls_once_in_this_and_every_later_process(path: Path) -> None:
    for _ in range(2):
        with Cache(path) as cache:
            f = cache.memoize(at_the_top.__wrapped__)
            assert [f(1), f(1), f(x=1), f(1, 1)] == [2] * 4
            assert f.cache_info().currsize == 1
    assert calls == [1]


def test_none_is_a_result(cache: Cache) -> None:
    @cache.memoize
    def f() -> None:
        calls.append(1)

    assert f() is f() is None and calls == [1]


def test_results_share_nothing(cache: Cache) -> None:
    @cache.memoize
    def f() -> dict[str, list[int]]:
        return {"a": [1]}

    f()["a"].append(2)
    f()["a"].append(3)
    assert f() == {"a": [1]}


def test_exceptions_are_not_kept(cache: Cache) -> None:
    @cache.memoize
    def f(x: int) -> int:
        calls.append(x)
        if len(calls) < 3:
            raise OSError("busy")
        return x

    for _ in range(2):
        with pytest.raises(OSError, match="busy"):
            f(1)
    assert f(1) == f(1) == 1 and len(calls) == 3


def test_what_cache_if_refuses_is_returned_and_not_kept(cache: Cache) -> None:
    @cache.memoize(cache_if=bool)
    def f(x: str) -> str:
        calls.append(x)
        return x

    assert f("") == f("") == "" and f("a") == f("a") == "a"
    assert calls == ["", "", "a"]


def test_versions_salts_and_functions_do_not_mix(cache: Cache) -> None:
    def f(x: int) -> int:
        calls.append(x)
        return len(calls)

    one, two = cache.memoize(version="1")(f), cache.memoize(version="2")(f)
    assert [one(1), two(1), one(1), two(1)] == [1, 2, 1, 2]
    assert [one.salted(n)(1) for n in (1, 2, "1", 1, 2)] == [3, 4, 5, 3, 4]
    assert one(1) == 1
    with pytest.raises(KeyFormError, match="salt"):
        one.salted(object())


def test_one_call_can_be_refreshed_or_bypassed(cache: Cache) -> None:
    @cache.memoize
    def f(x: int, *, refresh: bool = False) -> int:
        calls.append(x)
        return len(calls)

    assert [f(1), f(1), f.bypass(1), f(1), f.refresh(1), f(1), f(1, refresh=True)] == [1, 1, 2, 1, 3, 3, 4]


def test_a_hit_tells_its_age_and_cost(cache: Cache) -> None:
    @cache.memoize
    def f(x: int) -> int:
        time.sleep(0.05)
        return x

    assert f.cached(1) is None and f.cache_info() == CacheInfo(0, 0, None, 0, 0.0)
    f(1)
    time.sleep(0.05)
    hit = f.cached(1)
    assert hit is not None and hit.value == 1 and 0.04 < hit.age < 10 and 0.04 < hit.cost < 10
    for _ in range(10):
        f(1)
    info = f.cache_info()
    assert info[:4] == (10, 1, None, 1) and info.saved == pytest.approx(10 * hit.cost, rel=0.01)


def test_clearing_takes_all_versions_of_this_function_alone(cache: Cache) -> None:
    def f(x: int) -> int:
        calls.append(x)
        return x

    one, two = cache.memoize(version=1)(f), cache.memoize(version=2)(f)
    other = cache.memoize(at_the_top.__wrapped__)
    cache["mine"] = 1
    one(1), two(1), two(2), other(1), one.salted(1)(1)
    assert one.cache_info().currsize == two.cache_info().currsize == 4
    one.cache_clear()
    assert one.cache_info() == CacheInfo(0, 0, None, 0, 0.0) and two.cache_info().currsize == 0
    assert cache["mine"] == 1 and other.cache_info().currsize == 1
    calls.clear()
    assert one(1) == 1 and calls == [1]


def test_entries_can_be_found_tagged_and_expire(cache: Cache) -> None:
    @cache.memoize(ttl=0.2, tags=("models",))
    def f(x: int) -> int:
        calls.append(x)
        return x

    f(1)
    assert f.cache_key(1) in cache and cache.info(f.cache_key(1)) is not None
    assert cache.evict("models") == 1
    f(1), f(1)
    assert calls == [1, 1]
    time.sleep(0.25)
    assert f(1) == 1 and len(calls) == 3


def test_a_value_that_needs_pickle_is_an_error_if_asked_for(cache: Cache) -> None:
    @cache.memoize(strict=True)
    def f() -> Any:
        return Opaque()

    with pytest.raises(UnsafeValueError, match="Opaque"):
        f()


def test_methods_take_the_object_as_an_argument() -> None:
    a, b = Asker("a"), Asker("b")
    assert a.ask(1) == Asker("a").ask(1) == a.ask(x=1) == "a 1" and b.ask(1) == "b 1"
    assert Asker.ask(a, 1) == "a 1" and calls == [("a", 1), ("b", 1)]
    assert Other("a").ask(1) == "a 1" and len(calls) == 3
    assert a.ask.refresh(1) == a.ask.bypass(1) == a.ask.salted(1)(1) == "a 1" and len(calls) == 6
    assert a.ask.cache_key(1) == Asker.ask.cache_key(a, 1)
    hit = a.ask.cached(1)
    assert hit is not None and hit.value == "a 1" and a.ask.cached(2) is None
    assert (
        a.ask.cache_info().currsize == Asker.ask.cache_info().currsize >= 4
        and a.ask.__name__ == "ask"
        and a.ask.__doc__ == "Asks."
    )
    assert str(inspect.signature(a.ask)) == "(x: 'int') -> 'str'" and a.ask.__self__ is a  # type: ignore[attr-defined]
    assert a.ask == a.ask and a.ask != b.ask and hash(a.ask) == hash(a.ask)
    assert functools.partial(a.ask, 1)() == "a 1"


def test_coroutine_methods_are_bound_too() -> None:
    a = Asker("a")
    assert inspect.iscoroutinefunction(Asker.aask) and inspect.iscoroutinefunction(a.aask)
    assert asyncio.run(a.aask(1)) == asyncio.run(a.aask(1)) == asyncio.run(a.aask.refresh(1)) == "a 1"
    assert calls == [("a", 1)] * 2


@pytest.mark.parametrize("name", ["of_class", "of_class_inside"])
def test_class_methods_take_the_class_as_an_argument(name: str) -> None:
    assert getattr(Asker, name)(1) == getattr(Asker("a"), name)(1) == "Asker 1" and calls == [1]
    assert getattr(Other, name)(1) == "Other 1" and calls == [1, 1]
    if name == "of_class" or sys.version_info < (3, 13):
        assert getattr(Asker, name).refresh(1) == "Asker 1" and len(calls) == 3


@pytest.mark.parametrize("name", ["of_nobody", "of_nobody_outside"])
def test_static_methods(name: str) -> None:
    assert getattr(Asker, name)(1) == getattr(Asker("a"), name)(1) == 1 and calls == [1]
    assert getattr(Asker("a"), name).refresh(1) == 1 and len(calls) == 2


def test_an_object_without_a_form_says_what_to_do() -> None:
    with pytest.raises(KeyFormError, match=r"argument 'self' of .*Opaque.*ignore=\('self',\)"):
        Opaque().refused(1)
    assert Opaque().taken(1) == Opaque().taken(1) == 1 and calls == [1]


def test_what_has_hidden_state_is_not_memoized(cache: Cache) -> None:
    for it in (Asker("a").ask, 3, Opaque, Opaque()):
        with pytest.raises(InvalidOptionError):
            cache.memoize(it)  # type: ignore[arg-type]
    for options in ({"ttl": 0}, {"ttl": -1}, {"tags": "a"}, {"tags": (1,)}):
        with pytest.raises(InvalidOptionError):
            cache.memoize(**options)  # type: ignore[call-overload]


def test_the_default_store_is_found_at_the_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @cachemere.memoize(version=1)
    def f(x: int) -> int:
        return x

    chosen = tmp_path / "chosen"
    monkeypatch.setenv("CACHEMERE_DIR", str(chosen))
    assert not chosen.exists()
    assert f(1) == 1 and chosen.is_dir()


def test_in_replay_mode_a_miss_is_an_error(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    f = cache.memoize(at_the_top.__wrapped__)
    f(1), f(1)
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    assert f(1) == f.refresh(1) == 2 and calls == [1]
    with pytest.raises(ReplayMissError, match=r"at_the_top\(x=2, y=1\)"):
        f(2)
    with pytest.raises(LookupError):
        f.refresh(2)
    monkeypatch.setenv("CACHEMERE_MODE", "refresh")
    assert f(1) == f(1) == 2 and len(calls) == 3
    monkeypatch.setenv("CACHEMERE_MODE", "reply")
    with pytest.raises(InvalidOptionError, match="reply"):
        f(1)
    monkeypatch.delenv("CACHEMERE_MODE")
    assert f(1) == 2 and len(calls) == 3


def test_disabled_it_only_calls(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    f = Cache(path).memoize(at_the_top.__wrapped__)
    assert f(1) == f(1) == f.refresh(1) == 2 and len(calls) == 3
    assert f.cached(1) is None and f.cache_info().currsize == 0 and not path.exists()
    monkeypatch.setenv("CACHEMERE_DISABLE", "0")
    assert f(1) == f(1) == 2 and len(calls) == 4


def failing(tmp_path: Path, on_error: str) -> tuple[Any, Any, Any]:
    """Functions memoized in a store that cannot be made."""
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "store", on_error=on_error)

    async def g(x: int) -> int:
        calls.append(x)
        return x

    def h(x: int) -> Any:
        yield x

    return cache.memoize(at_the_top.__wrapped__), cache.memoize(g), cache.memoize(h)


def test_a_store_that_fails_is_bypassed_if_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    f, g, h = failing(tmp_path, "bypass")
    assert f(1) == f(1) == 2 and asyncio.run(g(1)) == 1 and list(h(1)) == [1] and len(calls) == 3
    assert f.cache_info()[:2] == (0, 2) and f.cached(1) is None
    f.cache_clear()
    assert "bypassed" in caplog.text


def test_a_store_that_fails_is_an_error_otherwise(tmp_path: Path) -> None:
    f, g, h = failing(tmp_path, "raise")
    for call in (lambda: f(1), lambda: asyncio.run(g(1)), lambda: list(h(1)), lambda: f.cached(1)):
        with pytest.raises(cachemere.CacheError):
            call()
    assert calls == []


def test_a_full_store_gives_the_result_all_the_same(path: Path) -> None:
    with Cache(path, on_error="bypass", max_bytes=8 << 20) as cache:

        @cache.memoize
        def f(n: int) -> bytes:
            calls.append(n)
            return bytes(n)

        assert len(f(50 << 20)) == 50 << 20 and calls == [50 << 20]


def test_a_read_only_store_answers_and_keeps_nothing(path: Path) -> None:
    with Cache(path) as cache:
        cache.memoize(at_the_top.__wrapped__)(1)
    with Cache(path, read_only=True, on_error="bypass") as cache:
        f = cache.memoize(at_the_top.__wrapped__)
        assert f(1) == 2 and f(2) == f(2) == 3 and calls == [1, 2, 2]


def test_a_closed_cache_is_an_error(cache: Cache) -> None:
    f = cache.memoize(at_the_top.__wrapped__)
    f(1), f(1)
    cache.close()
    with pytest.raises(ClosedError):
        f(1)


def test_what_another_handle_removes_is_computed_anew(path: Path, cache: Cache) -> None:
    f = cache.memoize(at_the_top.__wrapped__)
    f(1), f(1)
    with Cache(path) as other:
        other.delete(f.cache_key(1))
        f(1)
        other.clear()
        f(1)
    assert len(calls) == 3
