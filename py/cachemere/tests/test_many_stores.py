"""What a process needs for each store that it has open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPEN = """
import os, sys, time
from cachemere import Cache, PersistDict

def descriptors():
    return len(os.listdir("/proc/self/fd"))

def threads():
    names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
    return names.count("cachemere"), len(names)

def opened(number):
    face = Cache if number % 2 else PersistDict
    it = face(f"{sys.argv[1]}/{number}", ttl=600)
    it["k"] = number
    return it

first, others = descriptors(), threads()
handles = [opened(number) for number in range(50)]
# Another mapping of a store needs nothing more.
handles += [Cache(f"{sys.argv[1]}/{number}", namespace="more") for number in range(50)]
for it in handles[50:]:
    it["k"] = "more"
print((descriptors() - first) / 50, *threads(), others[1])
assert [it["k"] for it in handles] == [*range(50), *["more"] * 50]
# One thread looks after all of them: what is in their logs is moved when nothing is written.
data = [f"{sys.argv[1]}/{number}/data.mdb" for number in range(50)]
before = [os.stat(file).st_mtime_ns for file in data]
for it in handles:
    it["again"] = 1
until = time.monotonic() + 60
while any(os.stat(file).st_mtime_ns == then for file, then in zip(data, before)):
    assert time.monotonic() < until
    time.sleep(0.1)
for it in handles:
    it.close()
until = time.monotonic() + 60
while threads()[0]:
    assert time.monotonic() < until, "it ends when there is nothing to look after"
    time.sleep(0.1)
print(descriptors() - first)
"""


def test_fifty_stores_need_one_thread_and_few_descriptors(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, tmp_path], capture_output=True, text=True, timeout=240, check=True
    )
    opened, closed = done.stdout.splitlines()
    each, named, threads, before = map(float, opened.split())
    assert named == 1 and threads == before + 1
    assert each == 4
    assert closed == "0"
