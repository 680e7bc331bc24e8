"""Ctrl-C ends the wait for somebody else's computation, which goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cachemere import Cache

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
