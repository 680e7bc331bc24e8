"""Under gevent no wait stops the loop, and under loops that are not asyncio's it is told what to do."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache

calls: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from cachemere import Cache

cache, calls, ticks = Cache(sys.argv[1]), [], []

@cache.memoize
def ask(x):
    calls.append(x)
    time.sleep(0.3)
    if x == "fails":
        raise OSError("busy")
    return x

def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)

ticking = gevent.spawn(tick)
asking = [gevent.spawn(ask, "a") for _ in range(20)]
gevent.joinall(asking, timeout=20)
assert [each.value for each in asking] == ["a"] * 20 and calls == ["a"], calls
def caught():
    try:
        return ask("fails")
    except OSError as error:
        return str(error)
failing = [gevent.spawn(caught) for _ in range(5)]
gevent.joinall(failing, timeout=20)
assert [each.value for each in failing] == ["busy"] * 5 and calls == ["a", "fails"], calls
many = cache.memoize(batch="xs")(lambda xs: time.sleep(0.2) or calls.append(xs) or xs)
batches = [gevent.spawn(many, [1, 2, 3]) for _ in range(5)]
gevent.joinall(batches, timeout=20)
assert [each.value for each in batches] == [[1, 2, 3]] * 5 and len(calls) == 3, calls
assert max(b - a for a, b in zip(ticks, ticks[1:])) < 0.2
ticking.kill()
print("done")
"""


def test_greenlets_compute_once_and_the_loop_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("gevent")
    done = subprocess.run(
        [sys.executable, "-c", GEVENT, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "done\n", done.stderr


class FakeGevent(types.ModuleType):
    """What is used of gevent, for threads that take each other's turns as greenlets do."""

    def __init__(self) -> None:
        super().__init__("gevent")
        self.slept = 0

    def sleep(self, seconds: float) -> None:
        self.slept += 1
        time.sleep(seconds)

    def get_hub_if_exists(self) -> Any:
        return self

    def is_module_patched(self, name: str) -> bool:
        return False


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeGevent:
    fake = FakeGevent()
    for name in ("gevent", "gevent._hub_local", "gevent.monkey"):
        monkeypatch.setitem(sys.modules, name, fake)
    return fake


def test_where_gevent_is_at_work_nobody_waits_in_the_engine(cache: Cache, fake: FakeGevent) -> None:
    @cache.memoize
    def ask(x: str) -> str:
        calls.append(x)
        time.sleep(0.2)
        if x == "fails":
            raise OSError("busy")
        return x

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, "a" * 10)) == ["a"] * 10 and calls == ["a"] and fake.slept > 9
        errors = [pool.submit(ask, "fails") for _ in range(10)]
        assert [type(each.exception(10)) for each in errors] == [OSError] * 10 and len(calls) == 2


def test_a_greenlet_that_waits_too_long_computes(
    cache: Cache, fake: FakeGevent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cachemere._leads import thread_turns

    monkeypatch.setattr(thread_turns, "PATIENCE", 0.1)

    @cache.memoize
    def ask(x: str) -> str:
        calls.append(x)
        return ask(x) if len(calls) == 1 else x

    @cache.memoize(batch="xs")
    def many(xs: list[str]) -> list[str]:
        calls.append(xs)
        return many(xs) if len(calls) == 1 else xs

    for call in (lambda: ask("a"), lambda: many(["a"])[0], lambda: cache.get_or_set("k", lambda: nested())):
        calls.clear()

        def nested() -> Any:
            calls.append(1)
            return cache.get_or_set("k", nested) if len(calls) == 1 else "a"

        done = threading.Thread(target=lambda call=call: calls.append(call()), daemon=True)
        done.start()
        done.join(10)
        assert not done.is_alive() and len(calls) == 3 and calls[-1] == "a"


def run(coroutine: Any) -> Any:
    """A loop that is nobody's."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as end:
        return end.value


def test_under_another_loop_it_is_told_what_to_do_and_what_is_stored_is_given(cache: Cache) -> None:
    @cache.memoize
    async def ask(x: int) -> int:
        return x

    with pytest.raises(RuntimeError, match=r"trio.*to_thread"):
        run(ask(1))
    import asyncio

    assert asyncio.run(asyncio.wait_for(ask(1), 10)) == 1
    assert run(ask(1)) == 1
    with pytest.raises(RuntimeError, match=r"trio.*to_thread"):
        run(ask(2))


TRIO = """
import sys, trio
from cachemere import Cache
cache = Cache(sys.argv[1])

@cache.memoize
async def ask(x): return x

@cache.memoize
def plain(x): return x

async def main():
    try:
        await ask(1)
    except RuntimeError as error:
        print(type(error).__name__, "to_thread" in str(error))
    print(await trio.to_thread.run_sync(plain, 1))

trio.run(main)
"""


def test_under_trio(tmp_path: Path) -> None:
    pytest.importorskip("trio")
    done = subprocess.run(
        [sys.executable, "-c", TRIO, str(tmp_path / "store")], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "RuntimeError True\n1\n", done.stderr
