"""The parent's side of the worker processes of `Parallel`.

Each worker has a pipe of its own and at most one input, so that it is always known what a worker was at that died.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from multiprocessing import connection, util
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pickle import loads
from types import TracebackType
from typing import Any

from ..errors import InvalidOptionError, ParallelError, WorkerDiedError
from .outcomes import Outcome, shown
from .worker import STOP, Job, Reply, serve

_log = logging.getLogger("cachemere")

#: Seconds between looks at whether workers live. That is also told by their pipes, unless a process that a worker has
#: started holds its end open.
_LOOK_INTERVAL = 1.0

#: Seconds that a worker may take to end when it is told to.
_FAREWELL = 10.0


class _Worker:
    def __init__(self, process: BaseProcess, pipe: connection.Connection) -> None:
        self.process = process
        self.pipe = pipe
        #: It has loaded the function.
        self.is_ready = False
        #: The position and the input it is at, or will be once it is ready.
        self.task: tuple[int, Any] | None = None


class Processes:
    """A `Team` of processes, which are started when there are inputs for them."""

    def __init__(
        self, context: BaseContext, function: Callable[..., Any], number: int, *, is_spread: bool, is_wanted: bool
    ) -> None:
        self._context = context
        self._number = number
        self._job = Job(_sendable(context, function), is_spread, is_wanted)
        self._workers: list[_Worker] = []
        self._unsendable: list[Outcome] = []
        # At the latest when the interpreter ends, which would wait for them. Does nothing in a fork of this process.
        self._kill = util.Finalize(self, _kill, (self._workers,), exitpriority=10)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for worker in self._workers:
                    _send(worker, STOP)
                for worker in self._workers:
                    _wait_for_end(worker.process)
        finally:
            self._kill()

    @property
    def has_room(self) -> bool:
        return len(self._workers) < self._number or any(worker.task is None for worker in self._workers)

    @property
    def is_busy(self) -> bool:
        return bool(self._unsendable) or any(worker.task is not None for worker in self._workers)

    def give(self, position: int, item: Any) -> None:
        worker = self._idle() or self._start()
        worker.task = position, item
        if worker.is_ready:
            self._send_task(worker)

    def finished(self, is_patient: bool) -> list[Outcome]:
        while True:
            outcomes, self._unsendable = self._unsendable, []
            is_waiting = is_patient and not outcomes and self.is_busy
            pipes = {worker.pipe: worker for worker in self._workers}
            ready = connection.wait(list(pipes), _LOOK_INTERVAL if is_waiting else 0)
            heard = [pipes[pipe] for pipe in ready]  # type: ignore[index]
            if is_waiting and not ready:
                heard = [worker for worker in self._workers if not worker.process.is_alive()]
            for worker in heard:
                outcome = self._hear(worker)
                if outcome is not None:
                    outcomes.append(outcome)
            if outcomes or not is_waiting:
                return outcomes

    def _idle(self) -> _Worker | None:
        for worker in [worker for worker in self._workers if worker.task is None]:
            # It has nothing to tell but that it has died.
            if not worker.pipe.poll():
                return worker
            self._died(worker)
        return None

    # --- one worker ---------------------------------------------------------------------------------------------------

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        try:
            process = self._context.Process(target=serve, args=(theirs, self._job), name="cachemere-worker")  # type: ignore[attr-defined]
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _send_task(self, worker: _Worker) -> None:
        assert worker.task is not None
        position, item = worker.task
        try:
            made = ForkingPickler.dumps(item)
        except Exception as error:
            worker.task = None
            self._unsendable.append(Outcome(position, item, error=error))
        else:
            # To one that waits for it, so that neither can block the other.
            _send(worker, made)

    def _hear(self, worker: _Worker) -> Outcome | None:
        """What a worker has to tell, or its death."""
        try:
            # It can be dead without an end of its pipe, and there is nothing to be read then.
            sent = worker.pipe.recv_bytes() if worker.pipe.poll() else None
        except (EOFError, OSError):
            sent = None
        if sent is None:
            return self._died(worker)
        if not worker.is_ready:
            _check_start(loads(sent))
            worker.is_ready = True
            if worker.task is not None:
                self._send_task(worker)
            return None
        assert worker.task is not None
        (position, item), worker.task = worker.task, None
        try:
            reply: Reply = loads(sent)
        except Exception as unreadable:
            return Outcome(position, item, error=unreadable)
        if not reply.traceback:
            return Outcome(position, item, reply.value)
        error = reply.error
        if error is None:
            error = ParallelError(
                f"what was raised at input {position}, {shown(item)}, cannot be sent between processes: "
                f"{reply.traceback.strip().splitlines()[-1]}"
            )
            error.position, error.input = position, shown(item)
        return Outcome(position, item, error=error, traceback=reply.traceback)

    def _died(self, worker: _Worker) -> Outcome | None:
        code = _wait_for_end(worker.process)
        how = _ending(code)
        if code is None:
            worker.process.kill()
            worker.process.join()
        self._workers.remove(worker)
        worker.pipe.close()
        if not worker.is_ready:
            raise _death(
                f"a worker process {how} while it started; what it wrote to the standard error may say why. A program "
                f"whose workers are spawned must begin its work under `if __name__ == '__main__':`",
                code,
            )
        if worker.task is None:
            _log.warning("a worker process that had nothing to do %s, and is replaced", how)
            return None
        position, item = worker.task
        error = _death(
            f"a worker process {how} at input {position}, {shown(item)}. What was cached before stays: run it again to "
            f"continue, with fewer processes if there was too little memory",
            code,
        )
        error.position, error.input = position, shown(item)
        return Outcome(position, item, error=error)


def _sendable(context: BaseContext, function: Callable[..., Any]) -> Callable[..., Any] | bytes:
    method = context.get_start_method()
    if method == "fork":
        return function
    try:
        return bytes(ForkingPickler.dumps(function))
    except Exception as cause:
        raise InvalidOptionError(
            f"{function!r} cannot be sent to worker processes that are started by {method!r}: define it at the top of "
            f"a module, or use start_method='fork' or use_threadpool=True"
        ) from cause


def _check_start(reply: Reply) -> None:
    if reply.traceback:
        raise ParallelError(
            f"a worker process could not load the function; it must be in a module that can be imported, or "
            f'start_method be \'fork\'. In the worker:\n\n"""\n{reply.traceback}"""'
        ) from reply.error


def _send(worker: _Worker, made: Any) -> None:
    try:
        worker.pipe.send_bytes(made)
    except OSError:
        pass  # It has died, which its pipe will tell.


def _wait_for_end(process: BaseProcess) -> int | None:
    """The exit code, once there is one. `Process.join` waits without limit for a process that has closed its pipes."""
    end = time.monotonic() + _FAREWELL
    while (code := process.exitcode) is None and time.monotonic() < end:
        time.sleep(0.001)
    return code


def _ending(code: int | None) -> str:
    if code is None:
        return "closed its pipe"
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _death(text: str, code: int | None) -> WorkerDiedError:
    error = WorkerDiedError(text)
    error.exit_code = code
    return error


def _kill(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()
    workers.clear()
