"""The examples that diskcache documents do what they show with the facade."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import io
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cachemere import diskcache

MODULES = ("core", "fanout", "persistent", "recipes")


def examples() -> list[tuple[str, doctest.DocTest]]:
    """Those in the docstrings of the installed diskcache, and in its README."""
    found = [
        (f"diskcache.{module}", example)
        for module in MODULES
        for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(f"diskcache.{module}"))
        if example.examples
    ]
    readme = importlib.metadata.metadata("diskcache").get_payload()
    assert isinstance(readme, str)
    # Django's is refused by name.
    readme = readme.replace("Cache, FanoutCache, DjangoCache", "Cache, FanoutCache")
    parsed = doctest.DocTestParser().get_doctest(readme, {}, "README", None, None)
    return [*found, ("diskcache", parsed)]


EXAMPLES = examples()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`import diskcache` finds the facade."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "diskcache"]:
        monkeypatch.delitem(sys.modules, name)
    diskcache.install()
    yield
    diskcache.uninstall()


def test_there_are_examples_of_all_that_is_carried_over() -> None:
    names = {example.name for _, example in EXAMPLES}
    for name in ("core.Cache.push", "fanout.FanoutCache.index", "persistent.Deque.rotate", "recipes.barrier"):
        assert f"diskcache.{name}" in names
    assert len(EXAMPLES) > 50 and len(EXAMPLES[-1][1].examples) > 5


@pytest.mark.parametrize(("module", "example"), EXAMPLES, ids=[example.name for _, example in EXAMPLES])
def test_an_example_does_what_it_shows(module: str, example: doctest.DocTest, installed: None) -> None:
    example.globs = dict(vars(sys.modules[module]))
    said: list[str] = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.failed == 0, "".join(said)


def test_the_tutorial_on_caches(installed: None) -> None:
    """What diskcache's tutorial goes through, step by step, in its order."""
    from diskcache import Cache

    cache = Cache()
    cache.close()
    with Cache(cache.directory):
        pass
    assert cache.set("key", "value") is True
    cache.close()
    assert cache.get("key") == "value"
    cache["key"] = "value"
    assert cache["key"] == "value" and "key" in cache
    del cache["key"]

    assert cache.set("key", io.BytesIO(b"value"), expire=5, read=True, tag="data") is True
    reader, timestamp, tag = cache.get("key", read=True, expire_time=True, tag=True)
    assert reader.read() == b"value" and type(timestamp) is float and tag == "data"

    assert cache.add(b"test", 123) is True and cache[b"test"] == 123
    assert cache.add(b"test", 456) is False and cache[b"test"] == 123
    assert cache.incr(b"test") == 124 and cache.decr(b"test", 24) == 100
    assert cache.incr("alice") == 1 and cache.decr("bob", default=-9) == -10
    with pytest.raises(KeyError, match="carol"):
        cache.incr("carol", default=None)

    assert cache.pop("alice") == 1 and cache.pop("dave", default="does not exist") == "does not exist"
    assert cache.set("dave", 0, expire=None, tag="admin") is True
    assert cache.pop("dave", expire_time=True, tag=True) == (0, None, "admin")

    assert cache.clear() == 3
    assert cache.reset("cull_limit", 0) == 0
    for number in range(10):
        cache.set(number, number, expire=1e-9)
    # Differs: there they are counted, listed, and removed by `expire`.
    assert len(cache) == 0 and list(cache) == [] and cache.expire() == 0

    for number in range(100):
        cache.set(number, number, tag="odd" if number % 2 else "even")
    assert cache.evict("even") == 50 and cache.clear() == 50
    for number in range(100):
        cache.set(number, number, tag=number % 2)
    assert cache.evict(0) == 50
    cache.drop_tag_index()
    assert cache.tag_index == 0
    cache.create_tag_index()
    assert cache.tag_index == 1

    assert cache.clear() == 50 and cache.reset("size_limit", int(1e6)) == 1_000_000
    for count in range(1000):
        cache[count] = b"A" * 1000
    assert cache.volume() > int(1e6) and cache.cull() > 0 and cache.volume() < int(1e6)
    assert cache.clear() > 0 and cache.volume() < int(1e5)

    assert cache.stats(enable=True) == (0, 0)
    for number in range(100):
        cache.set(number, number)
    for number in range(150):
        cache.get(number)
    assert cache.stats(enable=False, reset=True) == (100, 50)
    assert cache.check() == []
    cache.close()
    shutil.rmtree(cache.directory)


def test_the_tutorial_on_the_others(installed: None) -> None:
    from diskcache import Cache, Deque, FanoutCache, Index

    fanout = FanoutCache(shards=4, timeout=1)

    @fanout.memoize(typed=True, expire=1, tag="fib")
    def fibonacci(number: int) -> Any:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert sum(fibonacci(number=value) for value in range(100)) == 573147844013817084100
    with pytest.raises(TypeError, match="name cannot be callable"):
        fanout.memoize(fibonacci)

    deque = Deque(range(5, 10))
    assert deque.pop() == 9 and deque.popleft() == 5
    deque.appendleft("foo")
    other = Deque(directory=deque.directory)
    assert len(deque) == len(other) == 4 and type(deque.directory) is str and other.popleft() == "foo"

    index = Index([("a", 1), ("b", 2), ("c", 3)])
    assert "b" in index and index["c"] == 3
    del index["a"]
    again = Index(index.directory)
    assert len(index) == len(again) == 2 and again.popitem(last=False) == ("b", 2)

    cache = Cache(size_limit=int(4e9))
    assert cache.size_limit == 4_000_000_000 and cache.reset("cull_limit", 0) == 0
    assert cache.set(b"key", 1.234) is True and cache.reset("count") == 1
    assert Cache().eviction_policy == "least-recently-stored"
    # Differs: least-frequently-used is refused.
    assert Cache().reset("eviction_policy", "least-recently-used") == "least-recently-used"
