"""What fails is told with the input it failed at: exceptions, what cannot be sent, and workers that die."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import functions
import pytest
from cachemere import Parallel, errors
from cachemere._work import workers
from functions import METHODS, WAYS

#: A call of `map` over these takes three at position 1.
INPUTS = [2, 3, 4, 5]


def check_place(error: BaseException | None) -> errors.ParallelError:
    assert isinstance(error, errors.ParallelError)
    assert error.position == 1 and error.input == "3"
    assert "at input 1, 3" in str(error)
    return error


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_is_raised_as_what_it_is_and_names_the_input(method: Any) -> None:
    with pytest.raises(ValueError, match="no threes") as caught:
        Parallel(method).map(functions.refuse_three, INPUTS, n_processes=2)
    named = check_place(caught.value.__cause__)
    assert "refuse_three at input 1" in str(named)
    # The traceback of the worker.
    assert 'raise ValueError("no threes")' in str(named) and "functions.py" in str(named)


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_in_all_ways(way: Any) -> None:
    with pytest.raises(ValueError, match="no threes") as caught:
        Parallel("fork").map(functions.refuse_three, INPUTS, **way)
    check_place(caught.value.__cause__)


@pytest.mark.parametrize("way", WAYS)
def test_the_cause_of_an_exception_is_kept(way: Any) -> None:
    def fail(x: int) -> None:
        try:
            raise KeyError("the first cause")
        except KeyError as cause:
            raise ValueError("the consequence") from cause

    with pytest.raises(ValueError) as caught:
        Parallel("fork").map(fail, [1], **way)
    named = caught.value.__cause__
    assert named is not None
    assert isinstance(named.__cause__, KeyError) or "the first cause" in str(named)


@pytest.mark.parametrize("way", WAYS)
def test_results_before_a_failure_are_given(way: Any) -> None:
    results = Parallel("fork").imap(functions.refuse_three, [0, 1, 2, 3, 4], n_processes=2, **way)
    assert [next(results), next(results), next(results)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no threes"):
        next(results)


@pytest.mark.parametrize("way", WAYS[:2])
def test_of_several_failures_the_first_in_order_is_raised(caplog: pytest.LogCaptureFixture, way: Any) -> None:
    with pytest.raises(ValueError, match="1 is odd"):
        Parallel("fork").map(functions.refuse_odd_numbers_later, [1, 3], n_processes=2, **way)
    assert any("3 is odd" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("way", WAYS[:2])
def test_after_a_failure_what_was_begun_is_finished_and_nothing_is_begun(tmp_path: Path, way: Any) -> None:
    work = [("wait", tmp_path / "begun"), ("fail", tmp_path), *[("wait", tmp_path / f"not {x}") for x in range(5)]]
    with pytest.raises(ValueError, match="failed at once"):
        Parallel("fork").map(functions.fail_or_finish, work, n_processes=2, **way)
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_that_cannot_be_sent(method: Any) -> None:
    with pytest.raises(errors.ParallelError, match="OddError: 3: no threes") as caught:
        Parallel(method).map(functions.refuse_three_oddly, INPUTS, n_processes=2)
    check_place(caught.value)
    assert "raise OddError" in str(caught.value.__cause__)


def test_a_result_that_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="pickle") as caught:
        Parallel("fork").map(functions.unsendable, INPUTS, n_processes=2)
    check_place(caught.value.__cause__)
    with pytest.raises(ValueError, match="not a number") as unread:
        Parallel("fork").map(functions.unreadable, INPUTS, n_processes=2)
    check_place(unread.value.__cause__)


@pytest.mark.parametrize("method", METHODS)
def test_an_input_that_cannot_be_sent(method: Any) -> None:
    inputs: list[Any] = [1, threading.Lock(), 2]
    with pytest.raises(TypeError, match="pickle") as caught:
        Parallel(method).map(functions.double, inputs, n_processes=1)
    named = caught.value.__cause__
    assert isinstance(named, errors.ParallelError) and named.position == 1 and "lock" in str(named)
    assert Parallel(method).map(functions.double, inputs, n_processes=1, ignore_error=True) == [2, None, 4]


def test_an_input_is_shown_shortened_whatever_its_repr_does() -> None:
    for given in ("x" * 10_000, list(range(10_000)), functions.Rude()):
        with pytest.raises(ValueError) as caught:
            Parallel("fork").map(functions.fail, [given], n_processes=1)
        named = caught.value.__cause__
        assert isinstance(named, errors.ParallelError) and named.input is not None
        assert 0 < len(named.input) < 300


def test_an_error_of_the_source_passes() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise LookupError("no more numbers")

    with pytest.raises(LookupError, match="no more numbers"):
        Parallel("fork").map(functions.double, numbers(), n_processes=2)


def test_to_leave_in_a_worker_is_to_leave() -> None:
    with pytest.raises(SystemExit) as caught:
        Parallel("fork").map(functions.leave_at_three, INPUTS, n_processes=2, ignore_error=True)
    assert caught.value.code == 9


@pytest.mark.parametrize("way", WAYS)
def test_failures_are_ignored_if_so_asked(caplog: pytest.LogCaptureFixture, way: Any) -> None:
    with caplog.at_level(logging.WARNING, "cachemere"):
        got = Parallel("fork").map(functions.refuse_three, INPUTS, ignore_error=True, **way)
    assert got == [2, None, 4, 5]
    told = [record.getMessage() for record in caplog.records if record.name == "cachemere"]
    assert len(told) == 1 and "at input 1, 3" in told[0] and "ValueError: no threes" in told[0]


# --- workers that die -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("function", "how", "code"),
    [(functions.be_killed_at_three, "killed by SIGKILL", -9), (functions.exit_at_three, "exit code 7", 7)],
)
def test_a_worker_that_dies_is_told_with_its_input(method: Any, function: Any, how: str, code: int) -> None:
    pp = Parallel(method)
    with pytest.raises(errors.WorkerDiedError, match=how) as caught:
        pp.map(function, INPUTS, n_processes=2)
    check_place(caught.value)
    assert caught.value.exit_code == code


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_workers_whatever_the_parent_does_with_them(method: Any, number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        with pytest.raises(errors.WorkerDiedError, match=f"killed by {number.name}") as caught:
            Parallel(method).map(functions.be_signalled, [number], n_processes=1)
    finally:
        signal.signal(number, before)
    assert caught.value.exit_code == -number


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_dies_is_replaced_if_errors_are_ignored(method: Any) -> None:
    got = Parallel(method).map(functions.be_killed_at_three, [3, 1, 3, 2, 3, 4], n_processes=2, ignore_error=True)
    assert got == [None, 1, None, 2, None, 4]


def test_a_worker_that_closes_its_pipe_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_FAREWELL", 0.2)
    with pytest.raises(errors.WorkerDiedError, match="closed its pipe") as caught:
        Parallel("fork").map(functions.close_everything_at_three, INPUTS, n_processes=2)
    check_place(caught.value)
    assert caught.value.exit_code is None
    assert not multiprocessing.active_children()


def test_a_death_in_one_of_several_runs_at_once_leaves_the_others_alone() -> None:
    def run(number: int) -> Any:
        try:
            function = functions.be_killed_at_three if number % 2 else functions.double
            return Parallel("fork").map(function, INPUTS * 5, n_processes=2)
        except errors.WorkerDiedError as error:
            return error.position

    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(run, range(6)))
    assert got == [[2 * x for x in INPUTS * 5], 1] * 3


def test_a_death_is_noticed_though_a_child_of_the_worker_holds_its_pipe() -> None:
    began = time.perf_counter()
    with pytest.raises(errors.WorkerDiedError, match="SIGKILL") as caught:
        Parallel("fork").map(functions.be_killed_with_a_child_that_stays, INPUTS, n_processes=2)
    check_place(caught.value)
    assert time.perf_counter() - began < 15


def test_a_worker_that_dies_with_nothing_to_do_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    def numbers() -> Iterator[int]:
        yield 0
        time.sleep(1.5)
        yield 1

    first, second = Parallel("fork").map(functions.be_killed_soon_after, numbers(), n_processes=1)
    assert first != second
    assert any("replaced" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_function_that_workers_cannot_load(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def here(x: int) -> int:
        return x

    # As one that was made in a notebook: it is found here, and not in a worker.
    here.__qualname__ = here.__name__ = "only_here"
    here.__module__ = functions.__name__
    monkeypatch.setattr(functions, "only_here", here, raising=False)
    function: Callable[[int], int] = functions.only_here  # type: ignore[attr-defined]
    with pytest.raises(errors.ParallelError, match="(?s)could not load the function.*only_here") as caught:
        Parallel(method).map(function, [1, 2, 3], n_processes=2)
    assert caught.value.position is None
