"""What a handler of a signal raises reaches the caller as it is, wherever in an operation the signal came."""

from __future__ import annotations

import datetime
import functools
import gc
import ipaddress
import logging
import pickle
import random
import signal
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, PersistDict, diskcache
from cachemere._core.options import Options
from cachemere._core.signals import is_of_handler
from cachemere.integrations.langchain import CachemereCache
from how_long import TORTURE
from langchain_core.outputs import Generation
from plain_data import TYPES, Pair

SIGNALS = 5000 if TORTURE else 500


class Alarm(Exception):
    pass


class Ending(BaseException):
    pass


#: Among them those that could be taken for what an operation means by them. The standard library itself takes a
#: `ValueError` for its own when it hashes a fraction.
RAISED = [Alarm, Ending, KeyboardInterrupt, TimeoutError, TypeError, LookupError, pickle.PicklingError]


class Slow:
    """Takes its time in each method that is called for it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slow) and self.number == other.number and bool(busy())

    def __hash__(self) -> int:
        return busy() * self.number

    def __getstate__(self) -> Any:
        busy()
        return {"number": self.number}

    def __setstate__(self, state: Any) -> None:
        busy()
        self.number = state["number"]


def busy() -> int:
    """1, after some steps."""
    return sum(1 for _ in range(20)) // 20


KEYS: list[Any] = [
    uuid.UUID(int=7),
    Path("a/b/c"),
    Fraction(3, 7),
    Pair(Fraction(1, 3), uuid.UUID(int=8)),
    ("a", (uuid.UUID(int=9), Path("x"))),
    frozenset({uuid.UUID(int=10), Fraction(1, 9)}),
    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    ipaddress.IPv4Address("1.2.3.4"),
]
VALUE: list[Any] = [*KEYS, {"more": KEYS}]


def dumps(it: Any) -> bytes:
    return bytes([busy()]) + pickle.dumps(it)


def loads(stored: Any) -> Any:
    return pickle.loads(stored[busy() :])


@contextmanager
def handler(raises: type[BaseException]) -> Iterator[list[int]]:
    """How often it was called."""
    calls = [0]

    def ring(number: int, frame: object) -> None:
        calls[0] += 1
        raise raises("of the handler")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield calls
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def none_is_lost(operation: Callable[[], Any], raises: type[BaseException], count: int) -> None:
    chosen = random.Random(7)
    operation()
    with handler(raises) as calls:
        for number in range(count):
            try:
                signal.setitimer(signal.ITIMER_REAL, chosen.uniform(2e-5, 6e-4))
                while calls[0] == number:
                    operation()
            except raises as error:
                assert type(error) is raises and error.args == ("of the handler",), repr(error)
            else:
                raise AssertionError(f"number {number} was lost")


def operations(path: Path) -> dict[str, Callable[[], Any]]:
    cache = Cache(path, types=TYPES)
    cold = Cache(path, types=TYPES, memory_bytes=0)
    kept = PersistDict[Any, Any](path, namespace="pickles")
    own = PersistDict[Any, Any](
        path,
        namespace="own",
        key_serializer=dumps,
        key_unserializer=loads,
        value_serializer=dumps,
        value_unserializer=loads,
    )
    for key in KEYS:
        cache[key] = VALUE
        own[key] = VALUE
        kept[(key,)] = Slow(3)
        kept[Slow(hash(key) % 1000)] = [Slow(4)]
    slow = Slow(hash(KEYS[0]) % 1000)
    bypassed = Cache(path, types=TYPES, memory_bytes=0, on_error="bypass")
    facade = diskcache.Cache(path.parent / "facade", allow_pickle=True)
    facade.set("k", Slow(1))
    adapter = CachemereCache(cache)
    adapter.update("prompt", "model", [Generation(text="answer")])

    @cache.memoize
    def make(number: int) -> Any:
        return VALUE

    @cache.memoize(key=lambda it: busy() * it.number)
    def make_by_key(it: Slow) -> Any:
        return it.number

    return {
        "get": lambda: [cache.get(key) for key in KEYS],
        "get cold": lambda: [cold.get(key) for key in KEYS],
        "peek and in": lambda: [key in cache for key in KEYS],
        "set": lambda: [cache.set(key, VALUE) for key in KEYS[:2]],
        "set and delete": lambda: [(cache.set(("new", key), 1), cache.delete(("new", key))) for key in KEYS[:2]],
        "get_or_set": lambda: [cache.get_or_set(key, lambda: VALUE) for key in KEYS],
        "get_many": lambda: cache.get_many(KEYS),
        "set_many": lambda: cache.set_many(dict.fromkeys(KEYS, 1)),
        "items": lambda: list(cold.items()),
        "info": lambda: [cache.info(key) for key in KEYS],
        "touch": lambda: [cache.touch(key) for key in KEYS],
        "memoized": lambda: make(1),
        "memoized with key=": lambda: make_by_key(Slow(3)),
        "pickled values": lambda: [kept[(key,)] for key in KEYS],
        "pickled keys": lambda: kept[slow],
        "pickle": lambda: kept.update({1: Slow(1), slow: Slow(2)}),
        "items of pickles": lambda: list(kept.items()),
        "without what is damaged": lambda: kept.to_dict(skip_damaged=True),
        "popitem": lambda: (kept.__setitem__("last", Slow(1)), kept.popitem()),
        "bypass": lambda: [bypassed.get(key) for key in KEYS],
        "facade": lambda: [facade.get("k"), facade.set("k", Slow(2))],
        "adapter": lambda: [
            adapter.lookup("prompt", "model"),
            adapter.update("prompt", "model", [Generation(text="answer")]),
        ],
        "own serializers": lambda: [own[key] for key in KEYS],
        "own serializers, writing": lambda: own.update(dict.fromkeys(KEYS, VALUE)),
        "own serializers, all": lambda: list(own.items()),
    }


@pytest.fixture(autouse=True)
def no_callbacks_of_the_collector() -> Iterator[None]:
    """Python drops what is raised in these, and Hypothesis leaves one behind."""
    callbacks = gc.callbacks[:]
    gc.callbacks.clear()
    yield
    gc.callbacks.extend(callbacks)


@pytest.fixture(scope="module")
def all_operations(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Any]]:
    return operations(tmp_path_factory.mktemp("signals") / "store")


NAMES = [
    "get", "get cold", "peek and in", "set", "set and delete", "get_or_set", "get_many", "set_many", "items", "info",
    "touch", "memoized", "memoized with key=", "pickled values", "pickled keys", "pickle", "items of pickles",
    "without what is damaged", "popitem", "bypass", "facade", "adapter",
    "own serializers", "own serializers, writing", "own serializers, all",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_of_many_signals_none_is_lost(all_operations: dict[str, Callable[[], Any]], name: str) -> None:
    none_is_lost(all_operations[name], Alarm, SIGNALS)
    for raises in RAISED:
        none_is_lost(all_operations[name], raises, SIGNALS // 10)


def test_all_operations_are_tried(all_operations: dict[str, Callable[[], Any]]) -> None:
    assert [*all_operations] == NAMES


def test_no_signal_is_lost_while_something_is_logged(path: Path) -> None:
    class Broken(logging.Logger):
        def isEnabledFor(self, level: int) -> bool:
            busy()
            return super().isEnabledFor(level)

    class Handler:
        def __call__(self, number: int, frame: object) -> None:
            raise Alarm

    # What is no function of Python's own kind is known for a handler, too.
    for kind in (Handler(), Handler().__call__, functools.partial(Handler())):
        before = signal.signal(signal.SIGALRM, kind)
        try:
            signal.raise_signal(signal.SIGALRM)
        except Alarm as error:
            assert is_of_handler(error)
        finally:
            signal.signal(signal.SIGALRM, before)
    try:
        raise Alarm
    except Alarm as error:
        assert not is_of_handler(error)


# --- errors of the user's own methods ---------------------------------------------------------------------------------


class Mine(Exception):
    pass


class Failing:
    """Fails where it is told to."""

    def __init__(self, where: str, error: type[BaseException]) -> None:
        self.where, self.error = where, error

    def _fail(self, where: str) -> None:
        if self.where == where:
            raise self.error("mine")

    def __eq__(self, other: object) -> bool:
        self._fail("eq")
        return isinstance(other, Failing) and self.where == other.where

    def __hash__(self) -> int:
        self._fail("hash")
        return 1

    def __getstate__(self) -> Any:
        self._fail("getstate")
        return self.__dict__ | {"where": self.where.removeprefix("later ")}

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        self._fail("setstate")


@pytest.mark.parametrize("error", [Mine, LookupError, ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["hash", "getstate", "later setstate"])
def test_errors_of_methods_are_passed_on(path: Path, where: str, error: type[BaseException]) -> None:
    with PersistDict[Any, Any](path) as d:
        d["k"] = 1
        key = Failing(where, error)
        for use in (
            lambda: d[key],
            lambda: d.get((key,)),
            lambda: key in d,
            lambda: d.__setitem__(key, 1),
            lambda: d.update({"a": 1} if where == "hash" else {key: 1}),
            lambda: d.pop(key, None),
        ):
            if where == "hash" and use.__code__.co_names[-1:] == ("update",):
                continue
            with pytest.raises(error, match="mine"):
                use()
        if where == "getstate":
            for write in (lambda: d.__setitem__("v", [key]), lambda: d.update(v=key)):
                with pytest.raises(error, match="mine"):
                    write()
        if where == "later setstate":
            d["v"] = key
            with pytest.raises(error, match="mine"):
                d["v"]
        assert d["k"] == 1


@pytest.mark.parametrize("error", [Mine, TypeError, KeyboardInterrupt])
def test_errors_of_equality_are_passed_on(path: Path, error: type[BaseException]) -> None:
    class Sometimes(uuid.UUID):
        fails = False

        def __eq__(self, other: object) -> bool:
            if Sometimes.fails:
                raise error("mine")
            return isinstance(other, uuid.UUID) and self.int == other.int

        def __hash__(self) -> int:
            return hash(self.int)

    key = uuid.UUID(int=5)
    with Cache(path) as cache:
        cache[key] = [1]
        for _ in range(3):
            assert cache[key] == [1]
        Sometimes.fails = True
        with pytest.raises(error, match="mine"):
            cache.get(Sometimes(int=5))
        assert cache[key] == [1]


def test_what_is_raised_while_the_options_of_a_store_are_taken_is_passed_on() -> None:
    class Ringing:
        def __fspath__(self) -> str:
            raise Alarm("of the handler")

    with pytest.raises(Alarm, match="of the handler"):
        Options(Ringing()).open(None)  # type: ignore[arg-type]
