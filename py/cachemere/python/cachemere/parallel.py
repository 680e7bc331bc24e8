"""Parallel work with one cache."""

from __future__ import annotations

import functools
import inspect
import multiprocessing
import os
import pathlib
import warnings
from collections.abc import Callable, Generator, Iterable
from inspect import Parameter
from typing import Any, Literal, ParamSpec, TypeVar, overload

from ._core.options import resolve
from ._memo.memoized import Memoized
from ._work.outcomes import Team, Work
from ._work.progress import find_tqdm, progress
from ._work.threads import Alone, Threads
from ._work.workers import Processes
from .cache import Cache
from .errors import InvalidOptionError

P = ParamSpec("P")
R = TypeVar("R")

StartMethod = Literal["fork", "spawn", "forkserver"]

#: So many inputs for each worker may be begun beyond the one whose result is due: a slow input does not stop the others
#: at once, and results that wait for it do not fill the memory.
_AHEAD_PER_WORKER = 64


class Parallel:
    """Applies functions to many inputs in several processes, and keeps results that took long in a cache they share.

    All processes write to the cache themselves, so a result is kept as soon as it is there, whatever happens to the
    rest: run a program that was stopped again, and it continues. Results of the same input are computed once.

    Inputs are read one by one as workers are free, from any iterable, in the caller's thread. Workers are processes of
    their own for each call; they end with it, and with this process however it ends.

    If the function raises, no more inputs are begun, those that were are finished, and the exception is raised as what
    it is. Its cause (`__cause__`) is a :class:`~cachemere.errors.ParallelError` that names the input and has the
    traceback of the worker. A worker that is killed is a :class:`~cachemere.errors.WorkerDiedError`. Ctrl-C, as any
    exception in this process, kills the workers at once; what they had returned to the cache stays.

    Args:
        start_method: How processes are started; `None`: as `multiprocessing` does. `"fork"` takes any function and is
            the fastest, but should not be used in a process with threads. `"spawn"` and `"forkserver"` need functions
            that can be imported, and a program that begins its work under `if __name__ == "__main__":`.

    Raises:
        InvalidOptionError: For an unknown start method, and in the methods, at once, for options that make no sense.

    Example:
        >>> import tempfile, cachemere
        >>> pp = cachemere.Parallel("fork")
        >>> @pp.cache_func(tempfile.mkdtemp() + "/store")
        ... def double(x):
        ...     return 2 * x
        >>> pp.map(double, [1, 2, 3], n_processes=2)
        [2, 4, 6]
        >>> double.cache_info().currsize
        3
    """

    def __init__(self, start_method: StartMethod | None = None) -> None:
        known = multiprocessing.get_all_start_methods()
        if start_method is not None and start_method not in known:
            raise InvalidOptionError(f"start_method must be one of {', '.join(known)}, not {start_method!r}")
        self.start_method = start_method
        self._caches: dict[tuple[pathlib.Path, str, bool | None], Cache] = {}

    def cache_func(
        self,
        dbpath: str | os.PathLike[str],
        namespace: str = "default",
        compress: bool | None = None,
        key: Callable[..., Any] | None = None,
        url: str | None = None,
    ) -> Callable[[Callable[P, R]], Memoized[P, R]]:
        """Keeps the results of a function in the store at `dbpath`.

        This is :func:`cachemere.memoize` with a cache of that store; see there for what a result is found by, and
        use it with a :class:`Cache` of your own for lifetimes, limits and encryption.

        Args:
            dbpath: The store's directory.
            namespace: Which of the mappings in the store.
            compress: Whether to compress values. `None`: as the namespace was made; no for a new one.
            key: Takes the place of the arguments in the key: called with the same arguments, returns plain data.
            url: Without effect: no process serves the others here.
        """
        if url is not None:
            warnings.warn("url has no effect: all processes write to the store themselves", DeprecationWarning, 2)
        place = (resolve(dbpath), namespace or "default", compress)
        cache = self._caches.get(place)
        if cache is None:
            cache = self._caches[place] = Cache(place[0], namespace=place[1], compression=compress)
        memoize = cache.memoize(key=key)

        def decorate(function: Callable[P, R]) -> Memoized[P, R]:
            made = memoize(function)
            made.made_by = functools.partial(_made_again, place, key)
            return made

        return decorate

    @overload
    def map(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = ...,
        progress_desc: str = ...,
        is_parallel: bool = ...,
        use_threadpool: bool = ...,
        n_processes: int | None = ...,
        ignore_error: Literal[False] = ...,
        spread_fn_args: bool | None = ...,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = ...,
        progress_desc: str = ...,
        is_parallel: bool = ...,
        use_threadpool: bool = ...,
        n_processes: int | None = ...,
        ignore_error: bool = ...,
        spread_fn_args: bool | None = ...,
    ) -> list[R | None]: ...
    def map(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = False,
        progress_desc: str = "",
        is_parallel: bool = True,
        use_threadpool: bool = False,
        n_processes: int | None = None,
        ignore_error: bool = False,
        spread_fn_args: bool | None = None,
    ) -> list[R] | list[R | None]:
        """The results, in the order of the inputs.

        Args:
            fn: Called with each input. Processes get it, the inputs and what it returns by pickle.
            inputs: Read lazily, but the results of all are in the list: see :meth:`imap`.
            show_progress: Whether to show a bar, with tqdm (`pip install 'cachemere[progress]'`).
            progress_desc: Words before the bar.
            is_parallel: `False`: in this thread, for a debugger.
            use_threadpool: Threads instead of processes, for functions that wait. Threads cannot be ended, so after
                Ctrl-C the program ends once what they have begun is finished.
            n_processes: How many; as many as there are processors by default.
            ignore_error: Whether a failed input has the result `None`; it is logged as a warning.
            spread_fn_args: Whether an input is a collection of all the arguments. `None`: if the function cannot be
                called with one.

        Raises:
            Exception: What the function raised, for the first input in order of those that failed.
            WorkerDiedError: A worker was killed.
            ParallelError: What was raised cannot be sent, or the workers cannot load the function.

        A call costs about 60 µs beside the function's own time; small things are better done many at a time.

        Example:
            >>> import cachemere
            >>> pp = cachemere.Parallel("fork")
            >>> pp.map(lambda x, y: x + y, [(1, 2), (3, 4)], n_processes=2)
            [3, 7]
            >>> pp.map(lambda x: 1 / x, [1, 0, 2], ignore_error=True)
            [1.0, None, 0.5]
        """
        return list(
            self._start(
                fn,
                inputs,
                ahead_per_worker=None,
                is_wanted=True,
                show_progress=show_progress,
                progress_desc=progress_desc,
                is_parallel=is_parallel,
                use_threadpool=use_threadpool,
                n_processes=n_processes,
                ignore_error=ignore_error,
                spread_fn_args=spread_fn_args,
            )
        )

    @overload
    def imap(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = ...,
        progress_desc: str = ...,
        is_parallel: bool = ...,
        use_threadpool: bool = ...,
        n_processes: int | None = ...,
        ignore_error: Literal[False] = ...,
        spread_fn_args: bool | None = ...,
    ) -> Generator[R, None, None]: ...
    @overload
    def imap(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = ...,
        progress_desc: str = ...,
        is_parallel: bool = ...,
        use_threadpool: bool = ...,
        n_processes: int | None = ...,
        ignore_error: bool = ...,
        spread_fn_args: bool | None = ...,
    ) -> Generator[R | None, None, None]: ...
    def imap(
        self,
        fn: Callable[..., R],
        inputs: Iterable[Any],
        show_progress: bool = False,
        progress_desc: str = "",
        is_parallel: bool = True,
        use_threadpool: bool = False,
        n_processes: int | None = None,
        ignore_error: bool = False,
        spread_fn_args: bool | None = None,
    ) -> Generator[R, None, None] | Generator[R | None, None, None]:
        """As :meth:`map`, one result after the other, for inputs without an end.

        Work is done while a result is asked for, and by the workers in between; at most 64 inputs for each worker are
        read beyond the one whose result is due. An iterator that is closed or dropped kills its workers.

        Example:
            >>> import itertools, cachemere
            >>> squares = cachemere.Parallel("fork").imap(lambda x: x * x, itertools.count(), n_processes=2)
            >>> next(squares), next(squares), next(squares)
            (0, 1, 4)
            >>> squares.close()
        """
        return self._start(
            fn,
            inputs,
            ahead_per_worker=_AHEAD_PER_WORKER,
            is_wanted=True,
            show_progress=show_progress,
            progress_desc=progress_desc,
            is_parallel=is_parallel,
            use_threadpool=use_threadpool,
            n_processes=n_processes,
            ignore_error=ignore_error,
            spread_fn_args=spread_fn_args,
        )

    def foreach(
        self,
        fn: Callable[..., object],
        inputs: Iterable[Any],
        show_progress: bool = False,
        progress_desc: str = "",
        is_parallel: bool = True,
        use_threadpool: bool = False,
        n_processes: int | None = None,
        ignore_error: bool = False,
        spread_fn_args: bool | None = None,
    ) -> None:
        """As :meth:`map`, for what the function does and not for what it returns, which is not sent.

        Example:
            >>> import pathlib, tempfile, cachemere
            >>> directory = pathlib.Path(tempfile.mkdtemp())
            >>> cachemere.Parallel("fork").foreach(lambda n: (directory / str(n)).touch(), range(3))
            >>> sorted(path.name for path in directory.iterdir())
            ['0', '1', '2']
        """
        for _ in self._start(
            fn,
            inputs,
            ahead_per_worker=None,
            is_wanted=False,
            show_progress=show_progress,
            progress_desc=progress_desc,
            is_parallel=is_parallel,
            use_threadpool=use_threadpool,
            n_processes=n_processes,
            ignore_error=ignore_error,
            spread_fn_args=spread_fn_args,
        ):
            pass

    def _start(
        self,
        fn: Callable[..., Any],
        inputs: Iterable[Any],
        *,
        ahead_per_worker: int | None,
        is_wanted: bool,
        show_progress: bool,
        progress_desc: str,
        is_parallel: bool,
        use_threadpool: bool,
        n_processes: int | None,
        ignore_error: bool,
        spread_fn_args: bool | None,
    ) -> Generator[Any, None, None]:
        if not callable(fn):
            raise InvalidOptionError(f"fn must be a function, not {fn!r}")
        if any(
            ask(fn) for ask in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
        ):
            raise InvalidOptionError(f"fn must be a plain function: calling {fn!r} does not do its work yet")
        if n_processes is not None and (type(n_processes) is not int or n_processes < 1):
            raise InvalidOptionError(f"n_processes must be a positive int, not {n_processes!r}")
        number = (n_processes or _processors()) if is_parallel else 1
        tqdm = find_tqdm() if show_progress else None
        is_spread = _takes_several(fn) if spread_fn_args is None else spread_fn_args
        team: Team
        if not is_parallel:
            team = Alone(fn, is_spread=is_spread)
        elif use_threadpool:
            team = Threads(fn, number, is_spread=is_spread)
        else:
            context = multiprocessing.get_context(self.start_method)
            team = Processes(context, fn, number, is_spread=is_spread, is_wanted=is_wanted)

        def results() -> Generator[Any, None, None]:
            with progress(tqdm, progress_desc, inputs) as tick:
                work = Work(
                    team,
                    inputs,
                    getattr(fn, "__qualname__", repr(fn)),
                    ahead=None if ahead_per_worker is None else ahead_per_worker * number,
                    ignore_error=ignore_error,
                    tick=tick,
                )
                yield from work.in_order()

        return results()


def _processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _takes_several(function: Callable[..., Any]) -> bool:
    """Whether a function has more than one parameter that must be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in positional and each.default is Parameter.empty for each in parameters) > 1


def _made_again(
    place: tuple[pathlib.Path, str, bool | None], key: Callable[..., Any] | None, function: Callable[..., Any]
) -> Memoized[..., Any]:
    """What `cache_func` made in the process that a function comes from."""
    return _of_others.cache_func(*place, key=key)(function)


#: With the caches of functions that came by pickle.
_of_others = Parallel()
