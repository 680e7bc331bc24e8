"""Whole programs: functions of `__main__`, a rerun that continues, Ctrl-C, a parent that is killed, an early end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions
import pytest
from cachemere import Cache, Parallel
from functions import METHODS

#: Computes squares, each noted in a file with the process, slowly above 9.
PROGRAM = """
import os, sys, time
from cachemere import Parallel

store, runs, method, last = sys.argv[1:5]
pp = Parallel(method)

@pp.cache_func(store)
def square(x):
    with open(runs, "a") as file:
        file.write(f"{os.getpid()} {x}\\n")
    if x > 9:
        time.sleep(3600)
    return x * x

if __name__ == "__main__":
    if sys.argv[5:] == ["hold"]:
        held = pp.imap(square, range(10), n_processes=2)
        print(next(held))
    else:
        print(pp.map(square, range(int(last)), n_processes=3))
        print(square.cache_info().currsize)
"""


class Program:
    """A program in a session of its own, as in a terminal of its own."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "store"
        self.runs = directory / "runs"
        self._file = directory / "program.py"
        self._file.write_text(PROGRAM)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: Any) -> subprocess.Popen[str]:
        command = [sys.executable, self._file, self.store, self.runs, *map(str, arguments)]
        started = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._started.append(started)
        return started

    def computed(self) -> list[tuple[int, int]]:
        """Process and number of each computation."""
        lines = self.runs.read_text().splitlines() if self.runs.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines]

    def wait_for_the_slow_ones(self) -> set[int]:
        """Until three workers are at numbers above 9; their processes."""
        until(lambda: sum(number > 9 for _, number in self.computed()) == 3)
        return {process for process, number in self.computed() if number > 9}

    def end(self) -> None:
        for started in self._started:
            try:
                os.killpg(started.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            started.communicate()


def until(is_true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    """Whether a process runs. One that has ended and that nobody asks after is not alive."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def session_of(leader: int) -> list[int]:
    """The living processes of a session."""
    found = [int(it.name) for it in Path("/proc").iterdir() if it.name.isdecimal()]
    return [process for process in found if is_alive(process) and _session(process) == leader]


def _session(process: int) -> int | None:
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return None


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    program.end()


@pytest.mark.parametrize("method", METHODS)
def test_functions_of_the_program_itself_are_computed_once(program: Program, method: str) -> None:
    for _ in range(2):
        out, told = program.start(method, 6).communicate(timeout=120)
        assert out.splitlines() == ["[0, 1, 4, 9, 16, 25]", "6"], told
        assert sorted(number for _, number in program.computed()) == list(range(6))
    processes = {process for process, _ in program.computed()}
    # A program that goes by another way of starting has the same results.
    other = METHODS[(METHODS.index(method) + 1) % 3]
    out, told = program.start(other, 8).communicate(timeout=120)
    assert out.splitlines()[1] == "8", told
    assert sorted(number for _, number in program.computed()) == list(range(8))
    assert all(not is_alive(process) for process in processes)


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_everything_at_once_and_keeps_what_was_finished(program: Program, method: str) -> None:
    started = program.start(method, 100)
    workers = program.wait_for_the_slow_ones()
    began = time.monotonic()
    os.killpg(started.pid, signal.SIGINT)
    _, told = started.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert started.returncode == -signal.SIGINT and "KeyboardInterrupt" in told
    # One traceback: that of the program, not one of each worker.
    assert told.count("Traceback") == 1, told
    until(lambda: not session_of(started.pid), 10)
    assert not any(is_alive(worker) for worker in workers)
    check_continues(program, method)


def test_an_interrupt_of_the_parent_alone_ends_its_workers(program: Program) -> None:
    started = program.start("fork", 100)
    workers = program.wait_for_the_slow_ones()
    os.kill(started.pid, signal.SIGINT)
    started.communicate(timeout=60)
    assert not any(is_alive(worker) for worker in workers)


@pytest.mark.parametrize("method", METHODS)
def test_workers_die_with_a_parent_that_is_killed(program: Program, method: str) -> None:
    started = program.start(method, 100)
    workers = program.wait_for_the_slow_ones()
    assert all(is_alive(worker) for worker in workers)
    os.kill(started.pid, signal.SIGKILL)
    until(lambda: not session_of(started.pid), 10)
    assert not any(is_alive(worker) for worker in workers)
    check_continues(program, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_is_killed_from_outside_is_told(program: Program, method: str) -> None:
    started = program.start(method, 13)
    workers = program.wait_for_the_slow_ones()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    _, told = started.communicate(timeout=60)
    assert started.returncode == 1
    assert re.search(r"WorkerDiedError: a worker process was killed by SIGKILL at input 10, 10\.", told), told
    check_continues(program, method)


@pytest.mark.parametrize("method", METHODS)
def test_an_iterator_that_is_held_does_not_keep_the_program_from_ending(program: Program, method: str) -> None:
    started = program.start(method, 0, "hold")
    out, told = started.communicate(timeout=60)
    assert (out, started.returncode) == ("0\n", 0), told
    until(lambda: not session_of(started.pid), 10)


def check_continues(program: Program, method: str) -> None:
    """What was finished is not computed again."""
    before = len(program.computed())
    out, told = program.start(method, 10).communicate(timeout=120)
    assert out.splitlines() == [str([x * x for x in range(10)]), "10"], told
    assert len(program.computed()) == before


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_program_without_a_main_guard_is_told_so(tmp_path: Path, method: str) -> None:
    file = tmp_path / "unguarded.py"
    file.write_text(f"from cachemere import Parallel\nprint(Parallel({method!r}).map(abs, [-1], n_processes=1))\n")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == ""
    assert "WorkerDiedError: a worker process ended with exit code 1 while it started" in done.stderr
    assert "under `if __name__ == '__main__':`" in done.stderr.splitlines()[-1]


def test_a_fork_that_drops_an_iterator_leaves_its_workers_alone() -> None:
    results = Parallel("fork").imap(functions.double, range(200), n_processes=2)
    assert next(results) == 0
    child = os.fork()
    if child == 0:
        try:
            results.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert list(results) == [2 * x for x in range(1, 200)]


# --- cache_func -------------------------------------------------------------------------------------------------------


def test_cache_func_takes_the_options_of_its_model(path: Path) -> None:
    pp = Parallel("fork")
    calls: list[Any] = []

    def length(words: list[str], why: object = None) -> int:
        calls.append(words)
        return len(words)

    cached = pp.cache_func(path, namespace="lengths", compress=True, key=lambda words, why=None: words)(length)
    assert cached(["a"], object()) == cached(["a"], why=object()) == 1 and calls == [["a"]]
    with Cache(path, namespace="lengths", compression=True) as cache:
        assert len(cache) == 1
    # Several functions in one store, and the model's name for the namespace that has none.
    other = pp.cache_func(str(path), "")(functions.double)
    assert pp.map(other, [1, 2], n_processes=2) == [2, 4]
    assert other.cache_info().currsize == 2 and cached.cache_info().currsize == 1
    with Cache(path) as cache:
        assert len(cache) == 2


def test_the_address_of_a_writer_has_no_effect_and_is_warned_of(path: Path) -> None:
    pp = Parallel("fork")
    with pytest.warns(DeprecationWarning, match="url has no effect") as caught:
        cached = pp.cache_func(path, url="ipc:///tmp/writer")(functions.double)
    assert caught[0].filename == __file__
    assert cached(4) == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pp.cache_func(path)


def test_one_input_given_many_times_is_computed_once(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    pp = Parallel("fork")

    @pp.cache_func(tmp_path / "store")
    def slow(x: int) -> int:
        with open(runs, "a") as file:
            file.write(f"{x}\n")
        time.sleep(0.3)
        return x

    assert pp.map(slow, [1, 1, 1, 1], n_processes=4) == [1, 1, 1, 1]
    assert runs.read_text() == "1\n"
