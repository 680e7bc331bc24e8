"""Teams within this process: threads, and the caller alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

from .outcomes import Outcome
from .worker import call


class Threads:
    """A `Team` of threads. What they have begun goes on when it is left, since threads cannot be ended."""

    def __init__(self, function: Callable[..., Any], number: int, *, is_spread: bool) -> None:
        self._function = function
        self._number = number
        self._is_spread = is_spread
        self._tasks: dict[Future[Any], tuple[int, Any]] = {}
        self._pool = ThreadPoolExecutor(number, thread_name_prefix="cachemere-worker")

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    @property
    def has_room(self) -> bool:
        return len(self._tasks) < self._number

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    def give(self, position: int, item: Any) -> None:
        self._tasks[self._pool.submit(call, self._function, item, self._is_spread)] = position, item

    def finished(self, is_patient: bool) -> list[Outcome]:
        done = wait(self._tasks, None if is_patient else 0, FIRST_COMPLETED).done
        return [self._outcome(future) for future in done]

    def _outcome(self, future: Future[Any]) -> Outcome:
        position, item = self._tasks.pop(future)
        error = future.exception()
        return Outcome(position, item, future.result() if error is None else None, error)


class Alone:
    """A `Team` of the caller alone, whose debugger sees the function."""

    def __init__(self, function: Callable[..., Any], *, is_spread: bool) -> None:
        self._function = function
        self._is_spread = is_spread
        self._task: tuple[int, Any] | None = None

    def __enter__(self) -> Alone:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def has_room(self) -> bool:
        return self._task is None

    @property
    def is_busy(self) -> bool:
        return self._task is not None

    def give(self, position: int, item: Any) -> None:
        self._task = position, item

    def finished(self, is_patient: bool) -> list[Outcome]:
        if self._task is None:
            return []
        (position, item), self._task = self._task, None
        try:
            return [Outcome(position, item, call(self._function, item, self._is_spread))]
        except Exception as error:
            return [Outcome(position, item, error=error)]
