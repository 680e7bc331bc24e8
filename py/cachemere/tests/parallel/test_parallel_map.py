"""`Parallel` gives what the function gives, in order, however the work is done, and reads no more than it must."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions
import pytest
from cachemere import Cache, Parallel, errors
from functions import METHODS, WAYS


def test_the_example_of_the_model(path: Path) -> None:
    pp = Parallel()

    @pp.cache_func(path)
    def heavy_computing(seconds: float) -> float:
        time.sleep(seconds)
        return seconds * 2

    inputs = [0.05, 0.1, 0.07, 0.03, 0.06]
    assert pp.map(heavy_computing, inputs, n_processes=3) == [2 * seconds for seconds in inputs]
    assert heavy_computing.cache_info().currsize == 5
    assert [heavy_computing(seconds) for seconds in inputs] == [2 * seconds for seconds in inputs]
    assert heavy_computing.cache_info().hits == 5


@pytest.mark.parametrize("method", METHODS)
def test_results_come_in_the_order_of_the_inputs(method: Any) -> None:
    pp = Parallel(method)
    expected = [2 * x for x in range(12)]
    assert pp.map(functions.double_slower_at_first, range(12), n_processes=3) == expected
    assert list(pp.imap(functions.double_slower_at_first, range(12), n_processes=3)) == expected


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_give_the_same(way: Any) -> None:
    pp = Parallel()
    inputs = [3, 1, 2]
    assert pp.map(functions.double, inputs, **way) == [6, 2, 4]
    assert pp.map(functions.double, iter(inputs), **way) == [6, 2, 4]
    assert pp.map(functions.double, [], **way) == []
    assert list(pp.imap(functions.double, inputs, **way)) == [6, 2, 4]
    assert pp.foreach(functions.double, inputs, **way) is None  # type: ignore[func-returns-value]


def test_who_does_the_work() -> None:
    pp = Parallel("fork")
    here = os.getpid(), threading.get_ident()
    run = functions.process_and_thread
    assert pp.map(run, range(3), is_parallel=False) == [here] * 3
    by_threads = pp.map(run, range(8), use_threadpool=True, n_processes=4)
    assert {process for process, _ in by_threads} == {here[0]}
    assert len({thread for _, thread in by_threads}) == 4 and here[1] not in {thread for _, thread in by_threads}
    by_processes = {process for process, _ in pp.map(run, range(8), n_processes=4)}
    assert len(by_processes) == 4 and here[0] not in by_processes


def test_no_more_workers_are_started_than_there_are_inputs() -> None:
    began = time.perf_counter()
    workers = Parallel("fork").map(functions.process, range(2), n_processes=200)
    assert len(set(workers)) <= 2 and time.perf_counter() - began < 5


@pytest.mark.parametrize("way", WAYS)
def test_an_input_is_all_arguments_if_one_is_not_enough(way: Any) -> None:
    pp = Parallel()
    assert pp.map(functions.add, [(1, 2), (3, 4)], **way) == [3, 7]
    assert pp.map(functions.scaled, [1, 2], **way) == [10, 20]
    assert pp.map(functions.scaled, [(1, 2), (3, 4)], spread_fn_args=True, **way) == [2, 12]
    assert pp.map(functions.double, [(1,)], **way) == [(1, 1)]


@pytest.mark.parametrize("way", WAYS)
def test_inputs_without_an_end_are_read_as_they_are_needed(way: Any) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield number

    results = Parallel("fork").imap(functions.double, numbers(), n_processes=2, **way)
    assert read == 0
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]
    # Five, and not more than two workers may have begun beyond the one that is due.
    assert 5 <= read <= 5 + 2 * 64
    results.close()


def test_a_slow_input_does_not_let_the_others_fill_the_memory() -> None:
    read: list[int] = []

    def wait_for_zero(x: int) -> int:
        time.sleep(1 if x == 0 else 0)
        return x

    numbers = (read.append(x) or x for x in range(10_000))  # type: ignore[func-returns-value]
    results = Parallel("fork").imap(wait_for_zero, numbers, n_processes=2)
    assert next(results) == 0
    assert len(read) == 2 * 64
    results.close()


def test_a_result_does_not_wait_for_a_slow_source() -> None:
    asked: list[float] = []

    def slow_numbers() -> Iterator[int]:
        for number in range(4):
            asked.append(time.perf_counter())
            time.sleep(0.5)
            yield number

    results = Parallel("fork").imap(functions.double, slow_numbers(), n_processes=4)
    assert next(results) == 0
    assert len(asked) < 4
    assert list(results) == [2, 4, 6]


def test_a_slow_consumer_loses_nothing() -> None:
    results = Parallel("fork").imap(functions.double, range(12), n_processes=3)
    taken = []
    for result in results:
        time.sleep(0.05)
        taken.append(result)
    assert taken == [2 * x for x in range(12)]


@pytest.mark.parametrize("method", METHODS)
def test_large_inputs_and_results(method: Any) -> None:
    inputs = [bytes([x]) * 3_000_000 for x in range(4)]
    assert Parallel(method).map(bytes.swapcase, inputs, n_processes=2) == [each.swapcase() for each in inputs]


def test_foreach_sends_no_results(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(5)]
    Parallel("fork").foreach(functions.touch, paths, n_processes=2)
    assert all(path.exists() for path in paths)


def test_a_fork_takes_functions_that_cannot_be_sent() -> None:
    offset = 5
    assert Parallel("fork").map(lambda x: x + offset, [1, 2], n_processes=2) == [6, 7]


@pytest.mark.parametrize("method", METHODS)
def test_a_function_that_is_kept_without_a_decorator_is_sent(path: Path, method: Any) -> None:
    pp = Parallel(method)
    kept = pp.cache_func(path, key=functions.double)(functions.double_slower_at_first)
    assert pp.map(kept, [3, 1, 2], n_processes=2) == [6, 2, 4]
    assert kept.cache_info().currsize == 3 and [kept(number) for number in (1, 2, 3)] == [2, 4, 6]
    assert kept.cache_info().hits == 3


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_function_that_cannot_be_sent_is_refused(method: Any) -> None:
    with pytest.raises(errors.InvalidOptionError, match=f"<lambda>.*{method}.*top of a module.*'fork'"):
        Parallel(method).map(lambda x: x, [1])


def test_options_without_sense_are_refused_at_once() -> None:
    with pytest.raises(errors.InvalidOptionError, match="start_method must be one of .*fork.*'threads'"):
        Parallel("threads")  # type: ignore[arg-type]
    pp = Parallel()
    for number in (0, -1, 1.5, True):
        with pytest.raises(errors.InvalidOptionError, match="n_processes"):
            pp.imap(functions.double, [1], n_processes=number)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidOptionError, match="fn must be a function"):
        pp.map(3, [1])  # type: ignore[call-overload]


@pytest.mark.parametrize("function", [functions.coroutine, functions.generator])
def test_functions_that_only_begin_their_work_are_refused(path: Path, function: Any) -> None:
    pp = Parallel()
    for it in (function, pp.cache_func(path)(function)):
        with pytest.raises(errors.InvalidOptionError, match="plain function"):
            pp.foreach(it, [1])


def test_a_method_of_a_handle_is_sent_with_its_cache(path: Path) -> None:
    with Cache(path) as cache:
        Parallel("spawn").foreach(
            cache.__setitem__, [(n, n * n) for n in range(10)], n_processes=2, spread_fn_args=True
        )
        assert dict(cache.items()) == {n: n * n for n in range(10)}


@pytest.mark.parametrize("method", METHODS)
def test_an_iterator_that_is_dropped_leaves_no_worker(method: Any) -> None:
    results = Parallel(method).imap(functions.process, itertools.count(), n_processes=2)
    workers = {next(results) for _ in range(6)}
    assert all(Path(f"/proc/{worker}").exists() for worker in workers)
    del results
    end = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end, "a worker is still there"
        time.sleep(0.02)


def test_workers_can_have_workers() -> None:
    assert Parallel("fork").map(functions.nested, [2, 3], n_processes=2) == [[0, 2], [0, 2, 4]]


def test_the_parent_can_use_its_store_while_and_after_workers_are_forked(path: Path) -> None:
    with Cache(path) as cache:
        cache["x"] = [1]

        def read(x: int) -> Any:
            cache[x] = x
            return cache["x"]

        for result in Parallel("fork").imap(read, range(6), n_processes=2):
            assert result == [1] == cache["x"]
        assert [cache[x] for x in range(6)] == list(range(6))
        assert cache.verify().is_clean


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_progress_is_shown(capfd: pytest.CaptureFixture[str], way: Any) -> None:
    pp = Parallel("fork")
    pp.map(functions.double, range(7), show_progress=True, progress_desc="doubling", **way)
    shown = capfd.readouterr().err
    assert "doubling: 100%" in shown and "7/7" in shown
    pp.foreach(functions.double, iter(range(7)), show_progress=True, **way)
    assert "7it" in capfd.readouterr().err


def test_nothing_is_shown_unless_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    Parallel("fork").map(functions.double, range(3), progress_desc="doubling")
    assert capfd.readouterr() == ("", "")


def test_progress_without_tqdm_is_an_error_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    pp = Parallel("fork")
    with pytest.raises(errors.InvalidOptionError, match="pip install 'tqdm>="):
        pp.foreach(functions.touch, [tmp_path / "x"], show_progress=True)
    assert not (tmp_path / "x").exists()
    assert pp.map(functions.double, [1]) == [2]
