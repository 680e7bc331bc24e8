"""Functions from a list to a list: each item is kept by itself, and made once."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cachemere
import numpy
import pytest
from cachemere import Cache
from cachemere._leads import many_turns, task_flights
from cachemere.errors import (
    BatchLengthError,
    InvalidOptionError,
    KeyFormError,
    ReplayMissError,
    StoreIOError,
    UnsafeValueError,
)

calls: list[list[Any]] = []
wrong: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> Iterator[None]:
    calls.clear()
    wrong.clear()
    yield
    assert not task_flights._airborne


def upper(texts: list[str], *, model: str = "m", client: Any = None) -> list[str]:
    calls.append(list(texts))
    if wrong:
        raise wrong.pop()
    return [f"{model}:{text.upper()}" for text in texts]


async def aupper(texts: list[str], *, model: str = "m", client: Any = None) -> list[str]:
    calls.append(list(texts))
    await asyncio.sleep(0.02)
    if wrong:
        raise wrong.pop()
    return [f"{model}:{text.upper()}" for text in texts]


class Opaque:
    pass


class Both:
    """A memoized function of either kind, called from a thread."""

    def __init__(self, cache: Cache, kind: str, **options: Any) -> None:
        self.memo: Any = cache.memoize(batch="texts", **options)(upper if kind == "sync" else aupper)
        self.is_async = kind == "async"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.run(self.memo, *args, **kwargs)

    def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        made = function(*args, **kwargs)

        async def awaited() -> Any:
            return await made

        return asyncio.run(awaited()) if self.is_async else made


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
def test_each_item_is_computed_once_and_kept_by_itself(cache: Cache, kind: str) -> None:
    f = Both(cache, kind, ignore=("client",))
    assert f(["a", "b", "a"]) == ["m:A", "m:B", "m:A"] and calls == [["a", "b"]]
    assert f(texts=("c", "b", "d"), client=object()) == ["m:C", "m:B", "m:D"] and calls[1:] == [["c", "d"]]
    assert f(["d", "c", "b", "a"], model="m") == ["m:D", "m:C", "m:B", "m:A"] and len(calls) == 2
    assert f(["a"], model="n") == ["n:A"] and calls[2:] == [["a"]]
    assert f([]) == [] and f(iter("ab")) == ["m:A", "m:B"] and len(calls) == 3
    assert f.memo.cache_info()[:2] == (2 + 1 + 3 + 1, 5)


@both
def test_items_are_found_by_another_handle(cache: Cache, path: Path, kind: str) -> None:
    Both(cache, kind)(["a", "b"])
    with Cache(path) as other:
        assert Both(other, kind)(["b", "a"]) == ["m:B", "m:A"] and len(calls) == 1


@both
def test_batch_size_gives_so_many_at_most_and_what_came_before_a_failure_is_kept(cache: Cache, kind: str) -> None:
    f = Both(cache, kind, batch_size=2)
    assert f(list("abcde")) == [f"m:{x}" for x in "ABCDE"] and calls == [["a", "b"], ["c", "d"], ["e"]]
    calls.clear()

    class Second(list[Any]):
        def pop(self, *_: Any) -> Any:
            raise OSError("busy")

        def __bool__(self) -> bool:
            return len(calls) == 2

    globals()["wrong"] = Second()
    try:
        with pytest.raises(OSError, match="busy"):
            f(list("vwxyz"))
    finally:
        globals()["wrong"] = []
    assert calls == [["v", "w"], ["x", "y"]]
    assert f(list("vwxyz")) == [f"m:{x}" for x in "VWXYZ"] and calls[2:] == [["x", "y"], ["z"]]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([1], "2 items and returned 1 results"),
        ([1, 2, 3], "2 items and returned 3 results"),
        (None, "'NoneType'"),
        ("ab", "'str'"),
        ({"a": 1, "b": 2}, "'dict'"),
        (iter([1, 2]), "'list_iterator'"),
    ],
)
def test_anything_but_a_result_for_each_item_is_refused_and_nothing_kept(cache: Cache, made: Any, told: str) -> None:
    wrong.append(made)

    @cache.memoize(batch="items")
    def f(items: list[str]) -> Any:
        return wrong[0]

    @cache.memoize(batch="items")
    async def g(items: list[str]) -> Any:
        return wrong[0]

    for call in (lambda: f(["a", "b"]), lambda: asyncio.run(g(["a", "b"]))):
        with pytest.raises(BatchLengthError, match=told):
            call()
    assert f.cache_info().currsize == 0


def test_what_can_be_seen_at_once_is_told_at_once(cache: Cache) -> None:
    for options in (
        {"batch": "nothing"},
        {"batch": ""},
        {"batch": "args"},
        {"batch": "texts", "batch_size": 0},
        {"batch": "texts", "ignore": ("texts",)},
        {"batch_size": 3},
        {"stack": True},
    ):
        with pytest.raises(InvalidOptionError, match="memoize: "):

            @cache.memoize(**options)  # type: ignore[arg-type]
            def f(texts: list[str], *args: Any) -> list[str]:
                return texts

    with pytest.raises(InvalidOptionError, match="return a list"):

        @cache.memoize(batch="texts")
        def g(texts: list[str]) -> Iterator[str]:
            yield from texts


def test_what_is_no_list_and_an_item_without_a_form_are_told(cache: Cache) -> None:
    f: Any = cache.memoize(batch="texts")(upper)
    with pytest.raises(TypeError, match=r"list of items as 'texts', not one of type 'str'"):
        f("abc")
    with pytest.raises(KeyFormError, match="the argument 'texts'"):
        f(["a", threading.Lock()])
    with pytest.raises(TypeError):
        f()
    assert calls == []


def test_items_with_one_form_are_one_item_and_kinds_of_results_do_not_meet(cache: Cache) -> None:
    @cache.memoize(batch="texts")
    def f(texts: list[Any]) -> list[Any]:
        calls.append(texts)
        return [[text] for text in texts]

    made = f([1, 1.0, True, (1, "a"), (1, "a")])
    assert made == [[1], [1], [1], [(1, "a")], [(1, "a")]] and len(calls[0]) == 2
    made[0].append("changed")
    assert made[1] == [1] and f([1]) == [[1]]
    again = f([1, 1])
    again[0].append("changed")
    assert again[1] == [1] and f([1]) == [[1]]


def test_a_key_function_sees_each_item(cache: Cache) -> None:
    f: Any = cache.memoize(batch="texts", key=lambda texts, **_: texts.lower())(upper)
    assert f(["a", "A", "b"]) == ["m:A", "m:A", "m:B"] and len(calls[0]) == 2


def test_methods_for_single_calls_are_about_each_item(cache: Cache) -> None:
    f: Any = cache.memoize(batch="texts")(upper)
    f(["a", "b"])
    assert f.refresh(["a", "c"]) == ["m:A", "m:C"] and f.bypass(["b"]) == ["m:B"] and len(calls) == 3
    keys = f.cache_key(["a", "x"])
    assert len(keys) == 2 and keys[0] in cache and keys[1] not in cache
    hits = f.cached(["a", "x"])
    assert hits[0].value == "m:A" and hits[0].cost >= 0 and hits[1] is None
    assert f.salted(1)(["a"]) == ["m:A"] and len(calls) == 4 and f.salted(1)(["a"]) == ["m:A"] and len(calls) == 4
    assert f.cache_info().currsize == 4
    f.cache_clear()
    assert f.cache_info() == (0, 0, None, 0, 0.0)


def test_a_method_takes_a_batch(cache: Cache) -> None:
    class Model:
        __cachemere_key__ = lambda self: "m"  # noqa: E731

        @cache.memoize(batch="texts")
        def embed(self, texts: list[str]) -> list[str]:
            calls.append(texts)
            return [text * 2 for text in texts]

    assert Model().embed(["a", "b"]) == ["aa", "bb"] and Model().embed(["b", "a"]) == ["bb", "aa"]
    assert calls == [["a", "b"]] and Model().embed.cached(["a"])[0].value == "aa"


@both
def test_modes_of_the_environment(cache: Cache, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = Both(cache, kind)
    f(["a"])
    monkeypatch.setenv("CACHEMERE_MODE", "replay")
    assert f(["a", "a"]) == ["m:A"] * 2
    with pytest.raises(ReplayMissError, match='texts="b"'):
        f(["a", "b"])
    monkeypatch.setenv("CACHEMERE_MODE", "refresh")
    assert f(["a", "b"]) == ["m:A", "m:B"] and calls == [["a"], ["a", "b"]]
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    assert f(["a", "a"]) == ["m:A"] * 2 and calls[2:] == [["a", "a"]]
    monkeypatch.delenv("CACHEMERE_MODE")
    monkeypatch.delenv("CACHEMERE_DISABLE")
    assert f(["b"]) == ["m:B"] and len(calls) == 3


def test_items_that_cannot_be_kept_do_not_take_the_others_with_them(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @cache.memoize(batch="items")
    def f(items: list[int]) -> list[Any]:
        calls.append(items)
        return [Opaque() if item % 2 else item for item in items]

    assert [type(it) for it in f([1, 2, 3, 4])] == [Opaque, int, Opaque, int]
    assert len([it for it in caplog.records if it.levelno == logging.WARNING]) == 1
    f([1, 2, 3, 4])
    assert calls[1:] == [[1, 3]]

    @cache.memoize(batch="items", strict=True)
    def g(items: list[int]) -> list[Any]:
        return [Opaque() for _ in items]

    with pytest.raises(UnsafeValueError) as caught:
        g([1, 2])
    assert [type(it) for it in caught.value.result] == [Opaque] * 2


def test_cache_if_judges_each_item(cache: Cache) -> None:
    f: Any = cache.memoize(batch="texts", cache_if=lambda made: "B" not in made)(upper)
    f(["a", "b", "c"])
    f(["a", "b", "c"])
    assert calls == [["a", "b", "c"], ["b"]]


def test_results_of_earlier_code_are_used_if_wanted(cache: Cache) -> None:
    def make(source: str, **options: Any) -> Any:
        space: dict[str, Any] = {"calls": calls, "__name__": "elsewhere"}
        exec(f"def f(items):\n    calls.append(items)\n    return [{source} for item in items]", space)
        return cache.memoize(batch="items", name="f", **options)(space["f"])

    assert make("item")([1, 2]) == [1, 2]
    assert make("item + 0", on_change="ignore")([1, 2, 3]) == [1, 2, 3] and calls[1:] == [[3]]
    assert make("item + 1")([1]) == [2]


@pytest.mark.parametrize("on_error", ["raise", "bypass"])
@both
def test_a_store_that_fails_is_an_error_or_passed_over(tmp_path: Path, kind: str, on_error: str) -> None:
    (tmp_path / "file").write_text("")
    f = Both(Cache(tmp_path / "file" / "store", on_error=on_error), kind)
    if on_error == "raise":
        with pytest.raises(StoreIOError):
            f(["a"])
    else:
        assert f(["a", "a"]) == ["m:A"] * 2


# --- at once ----------------------------------------------------------------------------------------------------------


def slow(items: list[int]) -> list[int]:
    calls.append(items)
    time.sleep(0.1)
    if wrong:
        raise wrong[0]
    return [-item for item in items]


@pytest.mark.parametrize("many", [10, 1000])
def test_threads_with_overlapping_batches_make_each_item_once(cache: Cache, many: int) -> None:
    f: Any = cache.memoize(batch="items")(slow)
    batches = [list(range(start, start + many)) for start in range(0, 5 * many, many // 2)] * 2
    batches += [list(reversed(batch)) for batch in batches]
    with ThreadPoolExecutor(len(batches)) as pool:
        results = list(pool.map(f, batches))
    assert results == [[-item for item in batch] for batch in batches]
    made = [item for call in calls for item in call]
    assert len(made) == len(set(made)) == 5 * many + many // 2


async def test_tasks_with_overlapping_batches_make_each_item_once(cache: Cache) -> None:
    @cache.memoize(batch="items", batch_size=7)
    async def f(items: list[int]) -> list[int]:
        calls.append(items)
        await asyncio.sleep(0.02)
        return [-item for item in items]

    batches = [list(range(start, start + 20)) for start in range(0, 100, 5)]
    batches += [list(reversed(batch)) for batch in batches]
    results: Any = await asyncio.wait_for(asyncio.gather(*map(f, batches)), 30)
    assert results == [[-item for item in batch] for batch in batches]
    made = [item for call in calls for item in call]
    assert len(made) == len(set(made)) == 115


PROGRAM = """
import sys, time
from cachemere import Cache

def f(items):
    with open(sys.argv[2], "a") as file:
        file.write("".join(f"{item}\\n" for item in items))
    time.sleep(0.2)
    return [-item for item in items]

f = Cache(sys.argv[1]).memoize(batch="items")(f)
f([-1])
print("ready", flush=True)
sys.stdin.readline()
items = list(range(*map(int, sys.argv[3].split())))
assert f(items) == [-item for item in items]
print("done", flush=True)
"""


@pytest.mark.parametrize("ranges", [["0 40", "20 60", "39 -1 -1"], ["0 2000"] * 3])
def test_processes_make_each_item_once(tmp_path: Path, ranges: list[str]) -> None:
    runs = tmp_path / "runs"
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(runs), each],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for each in ranges
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        runs.write_text("")
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "done\n"
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    made = runs.read_text().split()
    assert len(made) == len(set(made))


def test_a_batch_within_its_own_batch_does_not_wait_for_itself(cache: Cache) -> None:
    @cache.memoize(batch="items")
    def f(items: list[int], depth: int = 0) -> list[int]:
        calls.append(items)
        return [sum(f([item], 0)) for item in items] if len(calls) == 1 else [1 for _ in items]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(f, [1, 2]).result(20) == [1, 1]


@both
def test_those_who_wait_for_an_item_fail_with_the_call_that_makes_it(cache: Cache, kind: str) -> None:
    gate = threading.Event()

    def fail(items: list[int]) -> list[int]:
        calls.append(items)
        gate.wait(10)
        time.sleep(0.2)
        raise OSError("busy")

    async def afail(items: list[int]) -> list[int]:
        return await asyncio.to_thread(fail, items)

    kept = cache.memoize(batch="items", ignore=("gate",)) if kind == "sync" else cache.memoize(batch="items")
    f: Any = kept(fail if kind == "sync" else afail)
    run = f if kind == "sync" else lambda items: asyncio.run(_awaited(f, items))
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(run, [1, 2, 3])
        while not calls:
            time.sleep(0.01)
        others = [pool.submit(run, [3, 2]) for _ in range(9)]
        time.sleep(0.1)
        gate.set()
        assert [type(each.exception(20)) for each in (first, *others)] == [OSError] * 10
    assert len(calls) == 1


async def _awaited(f: Any, items: Any) -> Any:
    return await f(items)


async def test_a_cancelled_batch_leaves_its_items_to_others(cache: Cache) -> None:
    @cache.memoize(batch="items")
    async def f(items: list[int]) -> list[int]:
        calls.append(items)
        await asyncio.sleep(3600 if len(calls) == 1 else 0)
        return items

    first = asyncio.create_task(f([1, 2, 3]))
    while not calls:
        await asyncio.sleep(0.01)
    other = asyncio.create_task(f([2, 4]))
    await asyncio.sleep(0.1)
    first.cancel()
    assert await asyncio.wait_for(other, 10) == [2, 4]


# --- arrays -----------------------------------------------------------------------------------------------------------


def test_a_matrix_is_taken_apart_and_put_together(cache: Cache) -> None:
    @cache.memoize(batch="items", stack=True)
    def f(items: list[int]) -> Any:
        calls.append(items)
        return numpy.array([[item, item * 2] for item in items], dtype="float32")

    for items in ([1, 2, 3], [3, 3, 1], [1, 9, 1], [9]):
        made = f(items)
        assert type(made) is numpy.ndarray and made.dtype == numpy.float32
        assert made.tolist() == [[item, item * 2] for item in items]
        made[:] = 0
    assert calls == [[1, 2, 3], [9]] and f.cache_info().hits == 2 + 1 + 1
    assert f([]).shape == (0,)


@pytest.mark.parametrize(
    "row",
    [
        numpy.arange(6, dtype="f4").reshape(2, 3),
        numpy.arange(6, dtype=">i2"),
        numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
        numpy.array([True, False]),
        numpy.array(["a", "bc"]),
        numpy.array([1 + 2j]),
        numpy.array(3.5),
        numpy.float64(2.0),
        numpy.zeros(0),
        numpy.array(["2020-01-01"], dtype="M8[D]"),
    ],
    ids=str,
)
def test_rows_of_all_kinds_are_stacked_as_numpy_does(cache: Cache, row: Any) -> None:
    wrong[:] = [row]

    @cache.memoize(batch="items", stack=True)
    def f(items: list[int]) -> list[Any]:
        return [wrong[0] for _ in items]

    expected = numpy.stack([row, row])
    for _ in range(2):
        made = f([1, 2])
        assert made.dtype == expected.dtype and made.shape == expected.shape and (made == expected).all()


def test_rows_of_different_shapes_are_told_and_kept(cache: Cache) -> None:
    @cache.memoize(batch="items", stack=True)
    def f(items: list[int]) -> list[Any]:
        calls.append(items)
        return [numpy.zeros(item) for item in items]

    for _ in range(2):
        with pytest.raises(InvalidOptionError, match="not all arrays of one shape"):
            f([1, 2])
    assert calls == [[1, 2]] and f([2]).shape == (1, 2)


# --- for programs -----------------------------------------------------------------------------------------------------


def test_get_or_set_many(cache: Cache) -> None:
    def make(keys: list[Any]) -> Iterable[Any]:
        calls.append(keys)
        return [f"v{key}" for key in keys]

    cache["a"] = "there"
    assert cache.get_or_set_many(["b", "a", 1, "b", 1.0], make) == {"b": "vb", "a": "there", 1: "v1"}
    assert calls == [["b", 1]] and cache["b"] == "vb" and cache[1] == "v1"
    assert list(cache.get_or_set_many(iter("cab"), make, ttl=0.05, tags=("t",))) == ["c", "a", "b"]
    assert cache.evict("t") == 1
    assert cache.get_or_set_many(range(5), make, batch_size=2)[4] == "v4" and calls[2:] == [[0, 2], [3, 4]]
    assert cache.get_or_set_many([], make) == {}
    with pytest.raises(BatchLengthError):
        cache.get_or_set_many(["x"], lambda keys: [])
    with pytest.raises(InvalidOptionError):
        cache.get_or_set_many(["x"], make, batch_size=0)


async def test_aget_or_set_many(cache: Cache) -> None:
    async def make(keys: list[Any]) -> list[Any]:
        calls.append(keys)
        await asyncio.sleep(0.05)
        return [f"v{key}" for key in keys]

    asking = (cache.aget_or_set_many(["a", "b", str(n)], make) for n in range(10))
    for n, found in enumerate(await asyncio.gather(*asking)):
        assert found == {"a": "va", "b": "vb", str(n): f"v{n}"}
    made = [key for call in calls for key in call]
    assert len(made) == len(set(made)) == 12


async def test_single_keys_and_many_make_each_key_once(cache: Cache) -> None:
    async def make(keys: list[Any]) -> list[Any]:
        calls.append(keys)
        await asyncio.sleep(0.1)
        return [f"v{key}" for key in keys]

    async def single() -> Any:
        return (await make(["a"]))[0]

    doing = [cache.aget_or_set_many(["b", "a"], make), cache.aget_or_set("a", single)]
    doing += [asyncio.to_thread(cache.get_or_set, "a", lambda: "va") for _ in range(3)]
    await asyncio.sleep(0)
    results = await asyncio.gather(*doing)
    assert results[1:] == ["va"] * 4


def test_a_disabled_cache_makes_all(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    assert cache.get_or_set_many(["a", "a", "b"], lambda keys: [key * 2 for key in keys]) == {"a": "aa", "b": "bb"}


def test_a_large_batch_is_not_led_among_processes_one_by_one(cache: Cache) -> None:
    f: Any = cache.memoize(batch="items")(slow)
    began = time.monotonic()
    f(list(range(many_turns.AMONG_PROCESSES * 40)))
    assert time.monotonic() - began < 2


def test_the_decorator_of_the_package_takes_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(tmp_path / "default"))
    f: Any = cachemere.memoize(batch="texts")(upper)
    assert f(["a"]) == f(["a"]) == ["m:A"] and len(calls) == 1


def test_what_cannot_be_kept_is_returned_and_others_are_kept(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    odd = object()

    async def make(keys: list[str]) -> list[Any]:
        return [odd, 2]

    assert cache.get_or_set_many(["a", "b"], lambda keys: [odd, 1]) == {"a": odd, "b": 1}
    assert list(cache) == ["b"] and "no safe form" in caplog.text
    assert asyncio.run(cache.aget_or_set_many(["a", "c"], make)) == {"a": odd, "c": 2}
    assert list(cache) == ["b", "c"]
