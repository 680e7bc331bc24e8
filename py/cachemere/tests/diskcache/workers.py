"""What other processes do in the tests of the facade: `workers.py NAME DIRECTORY ARGUMENTS...`, results as JSON."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from cachemere import diskcache

PYTHON = [sys.executable, __file__]


def start(name: str, path: Path, *arguments: object) -> subprocess.Popen[str]:
    """A process that does what the function of that name does."""
    return subprocess.Popen(
        [*PYTHON, name, str(path), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str]) -> Any:
    """What it printed at its end."""
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 0, process.returncode
    return json.loads(told.splitlines()[-1])


def say(process: subprocess.Popen[str]) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    """Lets it go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def killed(process: subprocess.Popen[str], where: str = "ready", after: float = 0) -> None:
    """Kills it so many seconds after it said where it is."""
    assert say(process) == where
    time.sleep(after)
    process.kill()
    process.wait()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    process.stdout.close()


def squared(number: int) -> int:
    """Something to memoize, in a module that others import, too."""
    return number * number


# --- what they do -----------------------------------------------------------------------------------------------------


def count(path: str, times: str) -> Any:
    """Adds ones to a number, to one by way of transactions, and to one in both ways."""
    with diskcache.Cache(path) as cache:
        for _ in range(int(times)):
            cache.incr("alone", retry=True)
            with cache.transact(retry=True):
                cache["together"] = cache.get("together", 0) + 1
                cache["mixed"] = cache.get("mixed", 0) + 1
            cache.incr("mixed", retry=True)
    return None


def race(path: str, times: str) -> Any:
    """Adds ones to a number, and pops keys that others pop, too. Those it got."""
    got = []
    with diskcache.Cache(path) as cache:
        for number in range(int(times)):
            cache.incr("raced")
            cache.decr("expiring", 1)
            if cache.pop(number) is not None:
                got.append(number)
    return got


def move(path: str, times: str) -> Any:
    """Moves money between accounts, and looks whether the sum is right."""
    draw = random.Random(os.getpid())
    sums = set()
    with diskcache.Cache(path) as cache:
        for _ in range(int(times)):
            one, two = draw.sample(range(4), 2)
            with cache.transact(retry=True):
                amount = draw.randrange(10)
                cache[one] -= amount
                if amount == 3:
                    time.sleep(0.000_5)
                cache[two] += amount
            with cache.transact(retry=True):
                sums.add(sum(cache[number] for number in range(4)))
    return sorted(sums)


def write(path: str, seconds: str) -> Any:
    """Writes without a pause. How many."""
    until, written = time.monotonic() + float(seconds), 0
    with diskcache.Cache(path) as cache:
        while time.monotonic() < until:
            cache.set("busy", written)
            written += 1
    return written


def produce(path: str, name: str, times: str) -> Any:
    """Pushes values of its own, now and then at the front."""
    with diskcache.Cache(path) as cache:
        for number in range(int(times)):
            cache.push([name, number], "queue", "front" if number % 7 == 0 else "back", retry=True)
    return None


def consume(path: str) -> Any:
    """Pulls until nothing is there and nothing more will come."""
    got: list[Any] = []
    with diskcache.Cache(path) as cache:
        while True:
            is_all = "all is pushed" in cache
            key, value = cache.pull("queue", side="back" if len(got) % 3 == 0 else "front", retry=True)
            if key is not None:
                got.append(value)
            elif is_all:
                return got
            else:
                time.sleep(0.001)


def held(path: str, kind: str, times: str) -> Any:
    """Enters a lock, in which nobody else may be."""
    with diskcache.Cache(path) as cache:
        lock = {
            "Lock": lambda: diskcache.Lock(cache, "lock"),
            "RLock": lambda: diskcache.RLock(cache, "lock"),
            "BoundedSemaphore": lambda: diskcache.BoundedSemaphore(cache, "lock", value=1),
        }[kind]()
        met = 0
        for _ in range(int(times)):
            with lock:
                before = cache.get("in it", 0)
                cache["in it"] = before + 1
                time.sleep(0.000_2)
                met += cache["in it"] != before + 1
    return met


def die_in_transaction(path: str) -> Any:
    """Is killed with changes that were not written."""
    cache = diskcache.Cache(path)
    with cache.transact():
        cache["half"] = 1
        del cache["kept"]
        print("ready", flush=True)
        signal.pause()


def die_with_lock(path: str, expire: str) -> Any:
    """Is killed with a lock."""
    cache = diskcache.Cache(path)
    diskcache.Lock(cache, "lock", expire=float(expire) or None).acquire()
    print("ready", flush=True)
    signal.pause()


def die_pushing(path: str) -> Any:
    """Is killed while it pushes."""
    cache = diskcache.Cache(path)
    for number in range(1_000_000):
        cache.push(number)
        if number == 0:
            print("pushed one", flush=True)


def hold(path: str) -> Any:
    """Holds a transaction until it is told to end."""
    cache = diskcache.Cache(path)
    with cache.transact():
        cache["held"] = 1
        print("ready", flush=True)
        sys.stdin.readline()
    return None


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
