"""Parallel work with one cache: results, failures, kills, and that nothing is left behind."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cachemere
import parallel_work as work
import pytest
from cachemere import Parallel
from cachemere.errors import InvalidOptionError, ParallelError, WorkerDiedError

METHODS = ["fork", "spawn", "forkserver"]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(params=METHODS)
def pp(request: pytest.FixtureRequest) -> Parallel:
    return Parallel(request.param)


# --- results ----------------------------------------------------------------------------------------------------------


def test_the_example_of_the_model(path: Path) -> None:
    pp = Parallel()

    @pp.cache_func(path)
    def heavy_computing(seconds: float) -> float:
        time.sleep(seconds)
        return seconds * 2

    inputs = [0.05, 0.1, 0.07, 0.03, 0.06]
    assert pp.map(heavy_computing, inputs, n_processes=3) == [2 * seconds for seconds in inputs]
    assert heavy_computing.cache_info().currsize == 5
    begun = time.monotonic()
    assert [heavy_computing(seconds) for seconds in inputs] == [2 * seconds for seconds in inputs]
    assert time.monotonic() - begun < 0.05, "the results of the workers are in the cache"


def test_results_are_in_the_order_of_the_inputs(pp: Parallel) -> None:
    assert pp.map(work.first_is_slow, range(20), n_processes=3) == list(range(20))


def test_work_is_done_in_several_processes(pp: Parallel) -> None:
    processes = set(pp.map(work.process_of, range(12), n_processes=3))
    assert len(processes) == 3 and os.getpid() not in processes
    assert not any(is_alive(process) for process in processes)


@pytest.mark.parametrize("options", [{}, {"use_threadpool": True}, {"is_parallel": False}])
def test_all_ways_give_the_same(options: dict[str, Any]) -> None:
    pp = Parallel("fork")
    assert pp.map(work.double, range(50), n_processes=2, **options) == [2 * x for x in range(50)]
    assert pp.map(work.add, [(1, 2), (3, 4)], n_processes=2, **options) == [3, 7]
    assert pp.map(work.double, [(1, 2)], spread_fn_args=False, **options) == [(1, 2, 1, 2)]
    assert pp.map(work.double, [], **options) == []
    with pytest.raises(ZeroDivisionError):
        pp.map(work.fail_at_3, range(9), n_processes=2, **options)
    expected = [0, 1, 2, None, 4, 5]
    assert pp.map(work.fail_at_3, range(6), n_processes=2, ignore_error=True, **options) == expected


def test_threads_and_the_caller_work_in_this_process() -> None:
    pp = Parallel()
    assert set(pp.map(work.process_of, range(3), use_threadpool=True)) == {os.getpid()}
    threads = pp.map(lambda _: threading.current_thread(), range(2), is_parallel=False)
    assert set(threads) == {threading.main_thread()}


def test_foreach_returns_nothing_and_does_everything(tmp_path: Path) -> None:
    def write(number: int) -> object:
        (tmp_path / str(number)).touch()
        return lambda: "this could not be sent"

    assert Parallel("fork").foreach(write, range(10), n_processes=2) is None  # type: ignore[func-returns-value]
    assert len(list(tmp_path.iterdir())) == 10


# --- laziness ---------------------------------------------------------------------------------------------------------


def test_an_input_without_an_end_can_be_worked_on() -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield number

    results = Parallel("fork").imap(work.double, numbers(), n_processes=2)
    assert list(itertools.islice(results, 100)) == [2 * x for x in range(100)]
    assert read < 100 + 2 * 64 + 2
    results.close()  # type: ignore[attr-defined]


def test_a_slow_input_does_not_make_the_others_pile_up() -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in range(10_000):
            read += 1
            yield number

    results = Parallel("fork").imap(work.first_is_slow, numbers(), n_processes=2)
    assert next(results) == 0
    assert read <= 2 * 64 + 2
    results.close()  # type: ignore[attr-defined]


def test_results_come_before_the_source_has_ended() -> None:
    given: list[int] = []

    def numbers() -> Iterator[int]:
        yield 1
        # By then the first must have come back.
        yield len(given)

    results = Parallel("fork").imap(work.double, numbers(), n_processes=1)
    given.append(next(results))
    assert next(results) == 2 and given == [2]


def test_an_iterator_that_is_dropped_leaves_no_worker() -> None:
    results = Parallel("fork").imap(work.process_of, itertools.count(), n_processes=2)
    processes = {next(results) for _ in range(6)}
    assert any(is_alive(process) for process in processes)
    del results
    assert until(lambda: not any(is_alive(process) for process in processes))


# --- failures ---------------------------------------------------------------------------------------------------------


def test_what_the_function_raises_is_raised_with_its_input_named(pp: Parallel) -> None:
    with pytest.raises(ZeroDivisionError, match="it is three") as caught:
        pp.map(work.fail_at_3, range(9), n_processes=2)
    cause = caught.value.__cause__
    assert isinstance(cause, ParallelError)
    assert (cause.position, cause.input) == (3, "3")
    assert "fail_at_3" in str(cause) and "raise ZeroDivisionError" in str(cause)


def test_what_cannot_be_sent_is_told_in_words(pp: Parallel) -> None:
    with pytest.raises(ParallelError, match="Unsendable"):
        pp.map(work.fail_unsendably, [1], n_processes=1)


def test_ignored_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "cachemere")
    assert Parallel("fork").map(work.fail_at_3, [3], n_processes=1, ignore_error=True) == [None]
    (record,) = caplog.records
    assert "input 0, 3" in record.getMessage() and "it is three" in record.getMessage()


@pytest.mark.parametrize(
    ("function", "how", "code"), [(work.killed_at_3, "SIGKILL", -9), (work.leave_at_3, "exit code 7", 7)]
)
def test_a_worker_that_dies_is_an_error_that_names_the_input(
    pp: Parallel, function: Callable[[int], int], how: str, code: int
) -> None:
    with pytest.raises(WorkerDiedError, match=how) as caught:
        pp.map(function, range(9), n_processes=2)
    assert (caught.value.position, caught.value.input, caught.value.exit_code) == (3, "3", code)


def test_a_worker_that_dies_can_be_ignored() -> None:
    found = Parallel("fork").map(work.killed_at_3, range(9), n_processes=2, ignore_error=True)
    assert found == [0, 1, 2, None, 4, 5, 6, 7, 8]


def test_an_input_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        Parallel("fork").map(work.double, [1, threading.Lock()], n_processes=1)
    assert isinstance(caught.value.__cause__, ParallelError)
    assert caught.value.__cause__.position == 1


def test_a_function_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(InvalidOptionError, match="top of a module"):
        Parallel("spawn").map(lambda x: x, [1])


def test_a_source_that_fails_ends_the_work() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        Parallel("fork").map(work.double, numbers(), n_processes=2)


@pytest.mark.parametrize("options", [{"n_processes": 0}, {"n_processes": "2"}, {"n_processes": True}])
def test_options_without_sense_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="n_processes"):
        Parallel().map(work.double, [1], **options)
    with pytest.raises(InvalidOptionError, match="fn must be"):
        Parallel().map(3, [1])  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="start_method"):
        Parallel("thread")  # type: ignore[arg-type]


def test_an_address_of_a_server_is_without_effect(path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="url"):
        cached = Parallel().cache_func(path, url="ipc:///tmp/x")(work.double)
    assert cached(4) == 8


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_after_a_kill_a_rerun_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, script = tmp_path / "ran", "import parallel_work as w, sys; w.pp.map(w.counted, "
    script += "[(sys.argv[1], n) for n in range(10)], n_processes=2)\n"
    program = tmp_path / "program.py"
    program.write_text("if __name__ == '__main__':\n    " + script)
    monkeypatch.setenv("PARALLEL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    deadly = Path(str(ran) + ".deadly")
    deadly.touch()
    first = subprocess.run([sys.executable, program, ran], capture_output=True, text=True, timeout=60)
    assert first.returncode == 1 and "WorkerDiedError" in first.stderr and "SIGKILL" in first.stderr
    before = [int(line) for line in ran.read_text().split()]
    assert 5 in before
    deadly.unlink()
    again = subprocess.run([sys.executable, program, ran], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    after = [int(line) for line in ran.read_text().split()]
    assert sorted(set(after)) == list(range(10))
    assert [number for number in range(10) if after.count(number) > 1] == [5], "only what died ran twice"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path: Path, method: str, end: signal.Signals) -> None:
    noted = tmp_path / "processes"
    program = subprocess.Popen(
        [sys.executable, work.__file__, method, noted], stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def workers() -> list[int]:
        return [int(line) for line in noted.read_text().split()] if noted.exists() else []

    assert until(lambda: len(workers()) == 3)
    begun = time.monotonic()
    program.send_signal(end)
    _, told = program.communicate(timeout=30)
    assert time.monotonic() - begun < 5
    assert program.returncode != 0
    if end == signal.SIGINT:
        assert "KeyboardInterrupt" in told
    assert until(lambda: not any(is_alive(process) for process in workers()), 10)


# --- progress ---------------------------------------------------------------------------------------------------------


def test_progress_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    Parallel("fork").map(work.double, range(5), n_processes=2, show_progress=True, progress_desc="doubling")
    told = capfd.readouterr().err
    assert "doubling" in told and "5/5" in told


def test_progress_without_tqdm_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidOptionError, match=r"pip install 'cachemere\[progress\]'"):
        Parallel().map(work.double, [1], show_progress=True)


def test_a_method_of_a_handle_is_sent_with_its_cache(path: Path) -> None:
    with cachemere.Cache(path) as cache:
        Parallel("spawn").foreach(
            cache.__setitem__, [(n, n * n) for n in range(10)], n_processes=2, spread_fn_args=True
        )
        assert dict(cache.items()) == {n: n * n for n in range(10)}
