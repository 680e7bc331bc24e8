"""Giving inputs to those who work on them, and what comes of each: the part of `Parallel` that all its ways share."""

from __future__ import annotations

import logging
import reprlib
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Protocol

from ..errors import ParallelError, WorkerDiedError

_log = logging.getLogger("cachemere")

#: Of an input, in messages.
_SHOWN_CHARACTERS = 120


@dataclass
class Outcome:
    """What came of an input."""

    #: Of the input, from 0.
    position: int
    item: Any
    value: Any = None
    error: BaseException | None = None
    #: Of an error in another process.
    traceback: str = ""


class Team(Protocol):
    """Those who work on inputs: processes, threads, or the caller. Left with an exception, it stops at once."""

    @property
    def has_room(self) -> bool:
        """Whether another input would be begun at once."""

    @property
    def is_busy(self) -> bool:
        """Whether outcomes are to come."""

    def give(self, position: int, item: Any) -> None:
        """Begins an input. Only if there is room."""

    def finished(self, is_patient: bool) -> list[Outcome]:
        """Outcomes that were not told yet; if patient and busy, waits for one."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Work:
    """One run of a function over inputs.

    An input is read when somebody is free to begin it, in the caller's thread. After a failure no more are begun; those
    that were are finished, since each may be long and end in the cache, and then the failure is raised.

    Args:
        function_name: For messages.
        ahead: How many inputs may be begun beyond the one whose result is due. `None`: any number.
        ignore_error: Whether a failed input has the result `None`.
        tick: Called for each input that is done with.
    """

    def __init__(
        self,
        team: Team,
        inputs: Iterable[Any],
        function_name: str,
        *,
        ahead: int | None,
        ignore_error: bool,
        tick: Callable[[], object],
    ) -> None:
        self._team = team
        self._inputs = inputs
        self._function_name = function_name
        self._ahead = ahead
        self._ignore_error = ignore_error
        self._tick = tick
        self._read = 0
        self._due = 0
        self._is_reading = True
        self._failure: Outcome | None = None

    def in_order(self) -> Iterator[Any]:
        """The results in the order of the inputs, each as soon as it and all before it are there."""
        early: dict[int, Any] = {}
        with closing(self._completed()) as completed:
            for outcome in completed:
                early[outcome.position] = outcome.value
                while self._due in early:
                    value = early.pop(self._due)
                    self._due += 1
                    yield value
        if self._failure is not None:
            self._raise(self._failure)

    def _completed(self) -> Generator[Outcome, None, None]:
        """Those that have results, as they come."""
        numbered = enumerate(self._inputs)
        with self._team:
            while self._is_reading or self._team.is_busy:
                if self._may_read():
                    read = next(numbered, None)
                    if read is None:
                        self._is_reading = False
                    else:
                        self._read += 1
                        self._team.give(*read)
                # A source may be slow, so what is finished is given out before the source is asked again.
                for outcome in self._team.finished(is_patient=not self._may_read()):
                    self._tick()
                    if outcome.error is None or self._is_ignored(outcome, outcome.error):
                        yield outcome

    def _may_read(self) -> bool:
        has_room = self._ahead is None or self._read - self._due < self._ahead
        return self._is_reading and has_room and self._team.has_room

    # --- failures -----------------------------------------------------------------------------------------------------

    def _is_ignored(self, outcome: Outcome, error: BaseException) -> bool:
        """Deals with a failed input; whether its result is to be `None`."""
        place = self._place(outcome)
        if self._ignore_error and isinstance(error, Exception):
            self._log_failure("%s failed, and gives None: %s", place, error)
            return True
        self._is_reading = False
        earlier, self._failure = self._failure, outcome
        if earlier is not None:
            if earlier.position < outcome.position:
                earlier, self._failure = outcome, earlier
            self._log_failure("%s failed as well: %s", self._place(earlier), earlier.error)
        elif self._team.is_busy:
            self._log_failure("%s failed, and is raised once what was begun is finished: %s", place, error)
        return False

    def _log_failure(self, text: str, place: str, error: BaseException | None) -> None:
        _log.warning(text, place, f"{type(error).__name__}: {error}")

    def _raise(self, failure: Outcome) -> NoReturn:
        error = failure.error
        assert error is not None
        if isinstance(error, WorkerDiedError):
            raise error
        place = self._place(failure)
        told = (
            f'{place} failed. In the worker:\n\n"""\n{failure.traceback}"""' if failure.traceback else f"{place} failed"
        )
        named = ParallelError(told)
        named.position, named.input = failure.position, shown(failure.item)
        if error.__cause__ is not None or not error.__suppress_context__:
            named.__cause__ = error.__cause__ or error.__context__
        if sys.version_info >= (3, 11):
            error.add_note(f"Raised by {place}")
        raise error from named

    def _place(self, outcome: Outcome) -> str:
        return f"{self._function_name} at input {outcome.position}, {shown(outcome.item)}"


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _SHOWN_CHARACTERS


_short = _Short()


def shown(item: Any) -> str:
    """An input in a message."""
    text = _short.repr(item)
    return text if len(text) <= 2 * _SHOWN_CHARACTERS else text[: 2 * _SHOWN_CHARACTERS] + "..."
