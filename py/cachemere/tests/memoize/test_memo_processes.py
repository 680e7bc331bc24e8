"""Of all threads of all processes that miss a result at once, one computes it; if it is killed, another one does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROCESSES = 8
THREADS = 4

#: A program that computes when told to, and notes each run of a function in a file.
PROGRAM = """
import asyncio, os, sys, threading, time
from pathlib import Path
from cachemere import Cache

path, runs = sys.argv[1:3]
cache = Cache(path)

def note(x):
    with open(runs, "a") as file:
        file.write(f"{os.getpid()} {x}\\n")
    lines = Path(runs).read_text().splitlines()
    # The first one of all is in no hurry to end, if so told; whoever takes over is.
    return 3600 if x.startswith("endless") and lines[0] == f"{os.getpid()} {x}" else 0.1

@cache.memoize
def plain(x):
    time.sleep(note(x))
    return x + str(os.getpid())

@cache.memoize
async def coroutine(x):
    await asyncio.sleep(note(x))
    return x + str(os.getpid())

@cache.memoize
def stream(x):
    time.sleep(note(x))
    yield x + str(os.getpid())

@cache.memoize
async def astream(x):
    await asyncio.sleep(note(x))
    yield x + str(os.getpid())

@cache.memoize
def failing(x):
    time.sleep(note(x))
    raise OSError("no")

def failed(x):
    try:
        return failing(x)
    except OSError as error:
        return [str(error)]

async def drain(x):
    return [item async for item in astream(x)][0]

async def many(f, x):
    return await asyncio.gather(*(f(x) for _ in range(3)))

work = {
    "plain": lambda x: [plain(x)],
    "coroutine": lambda x: asyncio.run(many(coroutine, x)),
    "stream": lambda x: list(stream(x)),
    "astream": lambda x: asyncio.run(many(drain, x)),
    "failing": failed,
}
print("ready", flush=True)
for line in sys.stdin:
    kind, x, count = line.split()
    results = []
    threads = [threading.Thread(target=lambda: results.extend(work[kind](x))) for _ in range(int(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(*sorted(set(results)), flush=True)
"""


class Worker:
    def __init__(self, tmp_path: Path) -> None:
        arguments = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path / "runs")]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def runs(tmp_path: Path) -> list[str]:
    file = tmp_path / "runs"
    return file.read_text().splitlines() if file.exists() else []


def test_of_many_processes_and_threads_one_computes(tmp_path: Path) -> None:
    workers = [Worker(tmp_path) for _ in range(PROCESSES)]
    try:
        assert {worker.hear() for worker in workers} == {"ready"}
        for count, kind in enumerate(("plain", "coroutine", "stream", "astream"), start=1):
            for worker in workers:
                worker.say(f"{kind} of-{kind}- {THREADS}")
            heard = {worker.hear() for worker in workers}
            assert len(heard) == 1 and heard.pop().startswith(f"of-{kind}-")
            assert len(runs(tmp_path)) == count
    finally:
        for worker in workers:
            worker.end()


@pytest.mark.parametrize("kind", ["plain", "coroutine", "stream", "astream"])
def test_if_the_computing_process_is_killed_another_takes_over_at_once(tmp_path: Path, kind: str) -> None:
    workers = [Worker(tmp_path) for _ in range(3)]
    try:
        assert {worker.hear() for worker in workers} == {"ready"}
        for worker in workers:
            worker.say(f"{kind} endless 2")
        while not runs(tmp_path):
            time.sleep(0.01)
        time.sleep(0.2)
        assert len(runs(tmp_path)) == 1
        leader = next(worker for worker in workers if runs(tmp_path)[0].startswith(f"{worker.process.pid} "))
        leader.end()
        began = time.monotonic()
        heard = {worker.hear() for worker in workers if worker is not leader}
        assert len(heard) == 1 and time.monotonic() - began < 2 and len(runs(tmp_path)) == 2
    finally:
        for worker in workers:
            worker.end()


def test_a_failure_is_shared_by_the_threads_of_a_process_and_each_waiting_process_tries_once(tmp_path: Path) -> None:
    workers = [Worker(tmp_path) for _ in range(3)]
    try:
        assert {worker.hear() for worker in workers} == {"ready"}
        for worker in workers:
            worker.say("failing one 10")
        assert [worker.hear() for worker in workers] == ["no"] * 3
        by = [line.split()[0] for line in runs(tmp_path)]
        # Not all of its threads need have begun when a process has failed.
        assert len(set(by)) == 3 and len(by) <= 6
    finally:
        for worker in workers:
            worker.end()


def test_a_forked_child_goes_on(tmp_path: Path) -> None:
    from cachemere import Cache

    cache = Cache(tmp_path / "store")
    calls: list[int] = []

    @cache.memoize
    def f(x: int) -> int:
        calls.append(x)
        return x

    @cache.memoize
    async def g(x: int) -> int:
        calls.append(x)
        return x

    assert f(1) == asyncio.run(g(1)) == 1
    child = os.fork()
    if child == 0:
        is_right = f(1) == asyncio.run(g(1)) == 1 and len(calls) == 2 and f(2) == asyncio.run(g(2)) == 2
        os._exit(0 if is_right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert f(2) == asyncio.run(g(2)) == 2 and len(calls) == 2
    cache.close()
