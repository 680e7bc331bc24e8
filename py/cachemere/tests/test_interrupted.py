"""Ctrl-C ends the wait for somebody else: for a computation, which goes on, and for a lock of another process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cachemere import Cache, PersistDict

WAITING = """
import sys, cachemere
cache = cachemere.Cache(sys.argv[1])
len(cache)
print("ready", flush=True)
cache.get_or_set("k", lambda: "mine")
"""


def test_a_wait_for_another_process_can_be_interrupted(path: Path) -> None:
    with Cache(path) as cache:
        lead = cache._store.lead("k")
        assert lead is not None
        child = subprocess.Popen(
            [sys.executable, "-c", WAITING, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        assert child.poll() is None, "it waits"
        begun = time.monotonic()
        child.send_signal(signal.SIGINT)
        _, told = child.communicate(timeout=30)
        assert "KeyboardInterrupt" in told and time.monotonic() - begun < 5
        lead.release()
        assert cache.get_or_set("k", lambda: "ours") == "ours"


def test_a_closed_handle_takes_nothing_along_when_it_is_dropped(path: Path) -> None:
    closed = Cache(path)
    closed["other"] = 1
    closed.close()
    with Cache(path) as cache:
        lead = cache._store.lead("k")
        assert lead is not None
        del closed
        gc.collect()
        child = subprocess.Popen([sys.executable, "-c", WAITING, path], stdout=subprocess.PIPE, text=True)
        try:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            time.sleep(0.5)
            assert child.poll() is None and "k" not in cache, "it waits"
            cache["k"] = "ours"
            lead.release()
            assert child.wait(timeout=30) == 0 and cache["k"] == "ours"
        finally:
            child.kill()
            child.wait(timeout=30)


class Alarm(Exception):
    pass


def test_a_wait_for_another_thread_can_be_interrupted(path: Path) -> None:
    def ring(number: int, frame: object) -> None:
        raise Alarm

    release, held = threading.Event(), threading.Event()

    def hold() -> str:
        held.set()
        release.wait(30)
        return "theirs"

    with Cache(path) as cache:
        holder = threading.Thread(target=lambda: cache.get_or_set("k", hold))
        holder.start()
        assert held.wait(30)
        before = signal.signal(signal.SIGALRM, ring)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            begun = time.monotonic()
            with pytest.raises(Alarm):
                cache.get_or_set("k", lambda: "mine")
            assert time.monotonic() - begun < 5
        finally:
            signal.signal(signal.SIGALRM, before)
        release.set()
        holder.join(30)
        assert cache["k"] == "theirs"


# --- a lock of another process ----------------------------------------------------------------------------------------

WRITING = """
import os, sys, cachemere
cache = cachemere.Cache(sys.argv[1], memory_bytes=0)
value = os.urandom(1 << 20)
print("ready", flush=True)
while True:
    cache["theirs"] = value
"""


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes all the time."""
    child = subprocess.Popen([sys.executable, "-c", WRITING, path], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait(timeout=30)


def after(seconds: float) -> threading.Timer:
    """Has Ctrl-C pressed then."""
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def stopped_in_a_write(child: subprocess.Popen[str], it: Cache | PersistDict[str, int]) -> float:
    """Stops the child where it holds the lock, so that writing here waits, and presses Ctrl-C while it does.

    How long that took, in seconds.
    """
    until = time.monotonic() + 120
    while time.monotonic() < until:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        pressed = time.monotonic() + 0.4
        timer = after(0.4)
        try:
            it["ours"] = 1
            # Not yet: it was stopped elsewhere.
            timer.cancel()
            timer.join()
        except KeyboardInterrupt:
            return time.monotonic() - pressed
        child.send_signal(signal.SIGCONT)
        time.sleep(0.003)
    raise AssertionError("it never stopped while it held the lock")


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_a_wait_for_a_lock_of_a_stopped_process_can_be_interrupted(path: Path, face: type) -> None:
    with face(path) as it, writer(path) as child:
        it["read"] = 1
        assert stopped_in_a_write(child, it) < 1
        # Each kind of write, and each time anew.
        for write in (lambda: it.update({"more": 2}) if face is PersistDict else it.set_many({"more": 2}), it.clear):
            timer = after(0.2)
            begun = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                write()
            assert 0.1 < time.monotonic() - begun < 1.2
            timer.join()
        # Who reads waits for nobody, and nothing was changed.
        assert it["read"] == 1 and "more" not in it
        child.send_signal(signal.SIGCONT)
        it["ours"] = 3
        assert it["ours"] == 3 and "theirs" in it


def test_a_wait_ends_when_the_stopped_process_is_killed(path: Path) -> None:
    with Cache(path) as cache, writer(path) as child:
        assert stopped_in_a_write(child, cache) < 1
        timer = threading.Timer(0.3, child.kill)
        timer.start()
        begun = time.monotonic()
        cache["ours"] = 2
        assert 0.2 < time.monotonic() - begun < 5
        timer.join()
        assert cache["ours"] == 2 and cache.verify().is_clean
