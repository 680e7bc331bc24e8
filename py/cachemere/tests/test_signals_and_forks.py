"""Signals are heard in every wait, and each once; a fork does not hold the interpreter while it waits for a store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache

ROUNDS = 5000 if os.environ.get("CACHEMERE_TORTURE") else 500


class Alarm(Exception):
    """Raised by a handler, with the number of the signal."""


@contextmanager
def ringing(ring: Callable[[int, object], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


BUSY = """
import os, sys, cachemere
while True:
    with cachemere.Cache(sys.argv[1]) as cache:
        for n in range(30):
            cache[f"k{n % 7}"] = os.urandom(20_000)
            cache.get_or_set(f"k{n}", lambda: n)
            cache.delete(f"k{n}")
        print("round", flush=True)
"""


def test_of_many_signals_none_is_lost_and_none_is_told_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    ignored: list[int] = []

    def note(told: Any) -> None:
        assert isinstance(told.exc_value, Alarm) and told.object.__qualname__ == "WeakSet.__init__.<locals>._remove"
        ignored.append(told.exc_value.args[0])

    monkeypatch.setattr(sys, "unraisablehook", note)

    def ring(number: int, frame: object) -> None:
        rung.append(number)
        raise Alarm(len(rung))

    others = [
        subprocess.Popen([sys.executable, "-c", BUSY, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    is_over, failures = threading.Event(), []

    def beside() -> None:
        try:
            while not is_over.is_set():
                with Cache(path) as cache:
                    for n in range(20):
                        cache[f"k{n % 7}"] = b"x" * 20_000
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=beside)
    randomly = random.Random(1)
    heard: list[int] = []
    try:
        for other in others:
            assert other.stdout is not None and other.stdout.readline() == "round\n"
            # So that it is never kept waiting for its pipe to be read.
            threading.Thread(target=other.stdout.read, daemon=True).start()
        thread.start()
        with ringing(ring):
            for _ in range(ROUNDS):
                cache = Cache(path)
                expected = len(rung) + 1
                until = time.monotonic() + 30
                try:
                    signal.setitimer(signal.ITIMER_REAL, randomly.uniform(0.0001, 0.006))
                    while time.monotonic() < until and len(rung) < expected:
                        key = f"k{randomly.randrange(7)}"
                        cache[key] = b"y" * 20_000
                        cache.get(key)
                        cache.get_or_set(key, lambda: 1)
                        cache.set_many({key: 2, "other": 3})
                        cache.touch(key)
                        cache.delete(key)
                        cache.close()
                        cache = Cache(path)
                    # Python itself passes nothing on that is raised while it cleans up sets of weak
                    # references: it tells of it elsewhere.
                    assert ignored and ignored[-1] == expected, f"signal {expected} was lost, {len(rung)} came"
                    heard.append(ignored[-1])
                except Alarm as alarm:
                    heard.append(alarm.args[0])
                assert len(rung) == expected == heard[-1]
        assert heard == list(range(1, ROUNDS + 1)) and len(ignored) < ROUNDS / 20
    finally:
        is_over.set()
        thread.join(60)
        for other in others:
            other.kill()
            other.communicate(timeout=30)
    assert not failures
    with Cache(path) as cache:
        assert cache.verify().is_clean


HOLD = """
import fcntl, os, sys
for name in sys.argv[1:]:
    fcntl.flock(os.open(name, os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def gate_held(path: Path) -> Iterator[None]:
    """As long as it lasts, whoever opens or closes the store waits for another process."""
    locks = [str(path), *(str(file) for file in path.glob("open.lock"))]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, *locks], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate(timeout=30)


def alarmed(work: Callable[[], object]) -> float:
    """The seconds after which a signal ended it, which came after 0.3 of them."""

    def ring(number: int, frame: object) -> None:
        raise Alarm

    with ringing(ring):
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Alarm):
            work()
        return time.monotonic() - begun


def test_opening_closing_and_compacting_behind_another_process_end_with_a_signal(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1
    with gate_held(path):
        assert alarmed(cache.compact) < 2
        # As it was before.
        assert cache["k"] == 1
        assert alarmed(cache.close) < 2
        assert alarmed(lambda: Cache(path).get("k")) < 2
    with Cache(path) as again:
        assert again["k"] == 1 and again.verify().is_clean


def test_a_thread_that_waits_behind_one_that_waits_hears_signals_too(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    with gate_held(path):
        ended: list[object] = []

        def open_it() -> None:
            with Cache(path) as cache:
                ended.append(cache["k"])

        thread = threading.Thread(target=open_it)
        thread.start()
        time.sleep(0.2)
        assert not ended
        assert alarmed(lambda: Cache(path).get("k")) < 2
    thread.join(30)
    assert ended == [1]


def test_a_handler_that_uses_the_store_in_the_middle_of_a_wait_is_not_stuck(path: Path) -> None:
    told: list[object] = []
    cache = Cache(path)
    cache["k"] = 1

    def ring(number: int, frame: object) -> None:
        told.append(cache.get("k"))
        with pytest.raises(Exception, match="handler of a signal") as caught:
            Cache(path, namespace="other").get("k")
        told.append(type(caught.value).__name__)
        raise Alarm

    with gate_held(path), ringing(ring):
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Alarm):
            cache.compact()
        assert time.monotonic() - begun < 5 and told == [1, "BusyError"]
    assert cache["k"] == 1
    cache.close()


# --- forks ------------------------------------------------------------------------------------------------------------


class Ticker:
    """A thread that notes the longest time in which it could not run."""

    def __enter__(self) -> Ticker:
        self.longest, self._is_over = 0.0, False
        self._thread = threading.Thread(target=self._tick)
        self._thread.start()
        return self

    def _tick(self) -> None:
        last = time.monotonic()
        while not self._is_over:
            time.sleep(0.002)
            now = time.monotonic()
            self.longest, last = max(self.longest, now - last), now

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._thread.join()


def fork_and_wait() -> float:
    """Forks a child that ends at once; the seconds that took."""
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(0)
    took = time.monotonic() - begun
    assert os.waitpid(child, 0)[1] == 0
    return took


def test_a_fork_behind_an_opening_lets_other_threads_run(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    opening = threading.Thread(target=lambda: Cache(path).get("k"))
    forked: list[float] = []
    with Ticker() as ticker:
        with gate_held(path):
            opening.start()
            time.sleep(0.2)
            forking = threading.Thread(target=lambda: forked.append(fork_and_wait()))
            forking.start()
            time.sleep(1)
            assert not forked, "no store may be half open in a child"
        forking.join(30)
        opening.join(30)
    print(f"the fork took {forked[0]:.2f} s, and held the interpreter for {ticker.longest:.3f} s at most")
    assert forked[0] > 0.8 and ticker.longest < 0.5


def test_a_fork_behind_a_compaction_lets_other_threads_run(path: Path) -> None:
    with Cache(path, memory_bytes=0) as cache:
        for part in range(8):
            cache.set_many({(part, n): os.urandom(500) for n in range(5000)})
        took: list[float] = []

        def compact() -> None:
            begun = time.monotonic()
            cache.compact()
            took.append(time.monotonic() - begun)

        with Ticker() as ticker:
            compacting = threading.Thread(target=compact)
            compacting.start()
            forked = 0.0
            while compacting.is_alive():
                forked = max(forked, fork_and_wait())
            compacting.join()
        print(f"compaction {took[0]:.2f} s, longest fork {forked:.2f} s, interpreter held {ticker.longest:.3f} s")
        assert ticker.longest < max(0.25, took[0] / 3)
        assert cache[0, 0] == cache[0, 0]


def test_who_asks_for_what_is_in_memory_beside_a_compaction_does_not_hold_the_interpreter(path: Path) -> None:
    """The compaction hears signals, and for that waits for the interpreter."""
    with Cache(path) as cache:
        cache.set_many({n: os.urandom(500) for n in range(2000)})
        is_over = threading.Event()

        def read() -> None:
            while not is_over.is_set():
                cache.get(1)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for _ in range(30):
            cache.compact()
        is_over.set()
        for reader in readers:
            reader.join(30)
            assert not reader.is_alive()
