"""An entry that was damaged, or changed by somebody else: an error where it is met, and all other entries as ever."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, CacheError, PersistDict
from cachemere.errors import DamagedError, IncompatibleError, ReplayMissError, TamperedError
from stored_entry import entries, flip_a_bit, replace

BAD = "b" * 1000
SOUND = {"before": 1, "after": [3]}


@dataclass
class Store:
    """A store with one bad entry among sound ones, and what that must be called."""

    path: Path
    secret: bytes | None
    error: type[CacheError]

    def make(self) -> None:
        with self.open(Cache) as cache:
            cache.set("before", 1, tags=["t"])
            cache.set("bad", BAD, tags=["t"])
            cache.set("after", [3], tags=["t"])

    def open(self, face: Any, **options: Any) -> Any:
        if self.secret is not None:
            options["encryption_key"] = self.secret
        return face(self.path, **options)

    def check_others(self) -> None:
        with self.open(Cache) as cache:
            assert {key: cache[key] for key in SOUND} == SOUND
            assert cache.get_many(SOUND) == SOUND


@pytest.fixture(params=["plain", "encrypted"])
def intact(request: pytest.FixtureRequest, path: Path) -> Store:
    made = Store(path, *((None, DamagedError) if request.param == "plain" else (b"k" * 32, TamperedError)))
    made.make()
    return made


@pytest.fixture
def store(intact: Store) -> Store:
    flip_a_bit(intact.path, -1)
    return intact


#: Every way to the value.
OF_BOTH: dict[str, Callable[[Any], Any]] = {
    "item": lambda it: it["bad"],
    "get": lambda it: it.get("bad"),
    "get with default": lambda it: it.get("bad", "default"),
    "pop": lambda it: it.pop("bad", None),
    "keys": lambda it: list(it),
    "reversed": lambda it: list(reversed(it)),
    "values": lambda it: list(it.values()),
    "items": lambda it: list(it.items()),
}
OF_CACHE: dict[str, Callable[[Any], Any]] = OF_BOTH | {
    "get_many": lambda it: it.get_many(["before", "bad", "after"]),
    "incr": lambda it: it.incr("bad"),
    "touch": lambda it: it.touch("bad", 5),
    "get_or_set": lambda it: it.get_or_set("bad", lambda: "made"),
}
OF_DICT: dict[str, Callable[[Any], Any]] = OF_BOTH | {
    "setdefault": lambda it: it.setdefault("bad", 1),
    "walk": lambda it: list(it.walk()),
    "to_dict": lambda it: it.to_dict(),
    "copy": lambda it: it.copy(),
    "repr": repr,
    "equal": lambda it: it == {"before": 1, "bad": BAD, "after": [3]},
    "or": lambda it: it | {},
    "unpacked": lambda it: {**it},
}
READS = [
    pytest.param(face, read, id=f"{face.__name__} {name}")
    for face, reads in ((Cache, OF_CACHE), (PersistDict, OF_DICT))
    for name, read in reads.items()
]


@pytest.mark.parametrize(("face", "read"), READS)
def test_a_bad_entry_is_an_error_wherever_it_is_read(store: Store, face: Any, read: Callable[[Any], Any]) -> None:
    with store.open(face) as it:
        for _ in range(2):
            with pytest.raises(store.error, match="remove the entry, repair the store, or restore it") as caught:
                read(it)
            assert type(caught.value) is store.error
        assert len(it) == 3, "it is still there, and counted"
        assert {key: it[key] for key in SOUND} == SOUND
    store.check_others()


#: All bytes of a header but the access time, which changes without the rest, and some behind it.
PLACES = [*range(64), *range(72, 80), 80, 81, 84, -500, -2]


@pytest.mark.parametrize("place", PLACES)
def test_no_byte_of_an_entry_can_be_changed_unnoticed(intact: Store, place: int) -> None:
    flip_a_bit(intact.path, place)
    with intact.open(Cache) as cache:
        with pytest.raises((DamagedError, TamperedError)) as caught:
            cache.get("bad")
        assert type(caught.value) is intact.error or place < 16, "where the header cannot be read it is damaged"
        cache["bad"] = "anew"
        assert cache["bad"] == "anew" and len(cache) == 3 and cache.verify().is_clean
    intact.check_others()


@pytest.mark.parametrize("place", [*range(13), 16, 24, 32, 40, 48, 56, 72, 80, -2])
def test_bypassed_it_is_made_anew_once(intact: Store, place: int) -> None:
    calls: list[int] = []

    def double(x: int) -> str:
        calls.append(x)
        return BAD * x

    flip_a_bit(intact.path, place)
    for _ in range(3):
        with intact.open(Cache, on_error="bypass") as cache:
            for _ in range(2):
                assert cache.get_or_set("bad", lambda: double(2)) == BAD * 2
    assert calls == [2], "and kept"
    with intact.open(Cache, on_error="bypass") as cache:
        assert cache.memoize(double)(3) == BAD * 3
    calls.clear()
    flip_a_bit(intact.path, place)
    for _ in range(3):
        with intact.open(Cache, on_error="bypass") as cache:
            for _ in range(2):
                assert cache.memoize(double)(3) == BAD * 3
    assert calls == [3], "and kept"
    with intact.open(Cache) as cache:
        assert cache.verify().is_clean and len(cache) == 4


def test_an_entry_of_another_place_is_not_taken_for_this_one(path: Path) -> None:
    noise = random.Random(7)
    secret = b"k" * 32
    with Cache(path, encryption_key=secret) as cache:
        for key in ("a", "b"):
            cache[key] = noise.randbytes(1000)
    a, b = entries(path)[-2:]
    replace(path, a, b)
    with Cache(path, encryption_key=secret) as cache:
        outcomes = []
        for key in ("a", "b"):
            try:
                outcomes.append(cache.get(key))
            except TamperedError:
                outcomes.append(None)
        assert outcomes.count(None) == 1, "the one whose place was taken is no longer found, the other is as it was"


def test_it_can_be_removed_and_written_anew(store: Store) -> None:
    with store.open(Cache) as cache:
        assert cache.delete("bad") is True
        assert "bad" not in cache and len(cache) == 2 and dict(cache.items()) == SOUND
        assert cache.verify().is_clean
    store.make()
    flip_a_bit(store.path, -1)
    with store.open(PersistDict) as d:
        d["bad"] = 5
        assert dict(d.items()) == {**SOUND, "bad": 5} and d.verify().is_clean
        del d["bad"]
    store.make()
    flip_a_bit(store.path, -1)
    with store.open(PersistDict) as d:
        d.clear()
        assert len(d) == 0 and d.verify().is_clean


def test_going_through_the_entries_gives_those_before_it(store: Store) -> None:
    for face in (Cache, PersistDict):
        with store.open(face) as it:
            pairs = iter(it.items())
            assert next(pairs) == ("before", 1)
            with pytest.raises(store.error):
                next(pairs)
            keys = reversed(it)
            assert next(keys) == "after"
            with pytest.raises(store.error):
                next(keys)


def test_popitem_takes_no_entry_that_it_cannot_read(store: Store) -> None:
    with store.open(PersistDict) as d:
        assert d.popitem() == ("after", [3])
        for _ in range(2):
            with pytest.raises(store.error):
                d.popitem()
        assert len(d) == 2 and d["before"] == 1


def test_a_plain_dict_can_be_made_of_the_others(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with store.open(PersistDict) as d:
        assert d.to_dict(skip_damaged=True) == SOUND
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and str(store.path) in record.getMessage()


def test_verify_tells_of_it(store: Store) -> None:
    for face in (Cache, PersistDict):
        with store.open(face) as it:
            report = it.verify()
            assert not report.is_clean and report.problems >= 1
            assert any("checksum" in problem for problem in report.described)


def test_eviction_by_tag_takes_all_others_before_it_tells(store: Store) -> None:
    with store.open(Cache) as cache:
        with pytest.raises(store.error):
            cache.evict("t")
        assert len(cache) == 1 and "before" not in cache and "after" not in cache


def test_removing_many_takes_it_too(store: Store) -> None:
    with store.open(Cache) as cache:
        assert cache.delete_many(["before", "bad", "absent"]) == 2
        assert dict(cache.items()) == {"after": [3]}


def test_bypassed_it_is_a_miss_and_is_mended_by_the_next_write(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with store.open(Cache, on_error="bypass") as cache:
        assert cache.get("bad", 5) == 5 and cache.pop("bad", 5) == 5
        assert cache["after"] == [3]
        assert list(cache) == ["before", "after"] and list(cache.values()) == [1, [3]]
        assert asyncio.run(collect(cache)) == ["before", "after"]
        assert cache.evict("absent") == 0
        assert cache.get_or_set("bad", lambda: "made") == "made"
        assert cache["bad"] == "made" and len(list(cache)) == 3
    assert len(caplog.records) == 1


async def collect(cache: Cache) -> list[Any]:
    return [key async for key in cache.akeys()]


def test_memoized_it_is_told_or_computed_anew(path: Path) -> None:
    calls: list[int] = []

    def double(x: int) -> str:
        calls.append(x)
        return BAD * x

    with Cache(path) as cache:
        assert cache.memoize(double)(2) == BAD * 2
    flip_a_bit(path, -1)
    with Cache(path) as cache, pytest.raises(DamagedError):
        cache.memoize(double)(2)
    with Cache(path, on_error="bypass") as cache:
        for _ in range(2):
            assert cache.memoize(double)(2) == BAD * 2
    assert calls == [2, 2], "and kept"


def test_in_replay_mode_it_is_a_miss_and_nothing_is_computed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def double(x: int) -> str:
        calls.append(x)
        return BAD * x

    with Cache(path) as cache:
        cache.memoize(double)(2)
    flip_a_bit(path, -1)
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    with Cache(path) as cache, pytest.raises(DamagedError):
        cache.memoize(double)(2)
    with Cache(path, on_error="bypass") as cache, pytest.raises(ReplayMissError):
        cache.memoize(double)(2)
    (path / "data.mdb").write_bytes(b"no store at all")
    with Cache(path, on_error="bypass") as cache, pytest.raises((ReplayMissError, IncompatibleError)):
        cache.memoize(double)(2)
    assert calls == [2]
