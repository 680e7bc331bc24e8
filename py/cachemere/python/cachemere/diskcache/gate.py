"""Who may write: everybody at once, or one transaction alone, among all threads and processes that use a directory.

Two files are locked, with `flock`, so that the kernel lets go of what a killed process held. Writers share the *gate*
while they write; a transaction has it for itself. As writers could follow each other without a pause, a transaction
that waits for the gate has the *turn*, and a flag in the turn's file, which all have mapped, tells writers to queue for
it. Each thread has descriptors of its own, as a lock belongs to what was opened, not to who opened it.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
import threading
import time
import weakref
from pathlib import Path

from ..errors import StoreIOError
from .troubles import Timeout

GATE, TURN = "diskcache.gate", "diskcache.turn"

#: Seconds between two tries, at first and at last, where the wait must not be longer than a timeout.
_SHORTEST, _LONGEST = 0.000_05, 0.002

_SHARED, _ALONE, _FREE, _TRY = fcntl.LOCK_SH, fcntl.LOCK_EX, fcntl.LOCK_UN, fcntl.LOCK_NB

#: The number of this process. Cheaper than asking for it; a forked child has its own.
process = os.getpid()

_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


class _Opened:
    """A file that one thread has open, until the thread ends."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, path: Path) -> None:
        self.number = -1
        try:
            # Never through a link, and without waiting for the other end of a pipe.
            self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as cause:
            raise StoreIOError(f"the lock file {path} cannot be opened: {cause.strerror}") from cause
        if not stat.S_ISREG(os.fstat(self.number).st_mode):
            self.close()
            raise StoreIOError(f"the lock file {path} is not a file: remove it")

    def close(self) -> None:
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)

    __del__ = close


class _OfThread(threading.local):
    gate: _Opened | None = None
    turn: _Opened | None = None


class Gate:
    """The locks of one handle."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._mine = _OfThread()
        self._opened: weakref.WeakSet[_Opened] = weakref.WeakSet()
        self._flag: mmap.mmap | None = None
        self._making = threading.Lock()
        _gates.add(self)

    # --- those who write ----------------------------------------------------------------------------------------------

    def enter(self, patience: float | None) -> int:
        """Waits until no transaction of others goes on, up to `patience` seconds. What :meth:`leave` takes."""
        opened = self._mine.gate
        if opened is None or self._flag is None:
            opened = self._open()
        number = opened.number
        if not self._flag[0]:  # type: ignore[index]
            try:
                fcntl.flock(number, _SHARED | _TRY)
                return number
            except BlockingIOError:
                pass
        self._queue(number, patience)
        return number

    @staticmethod
    def leave(number: int) -> None:
        """Gives back what :meth:`enter` or :meth:`close_for_others` gave."""
        fcntl.flock(number, _FREE)

    def _queue(self, number: int, patience: float | None) -> None:
        until = None if patience is None else time.monotonic() + patience
        turn = self._turn()
        _take(turn, _SHARED, until)
        try:
            # Nobody has the turn for himself: the flag is that of a transaction that was killed.
            self._flag[0] = 0  # type: ignore[index]
            _take(number, _SHARED, until)
        finally:
            fcntl.flock(turn, _FREE)

    # --- transactions -------------------------------------------------------------------------------------------------

    def close_for_others(self, patience: float | None) -> int:
        """Waits until nobody writes, and keeps everybody from it. What :meth:`open_again` takes."""
        until = None if patience is None else time.monotonic() + patience
        opened = self._mine.gate
        if opened is None or self._flag is None:
            opened = self._open()
        turn = self._turn()
        _take(turn, _ALONE, until)
        try:
            try:
                fcntl.flock(opened.number, _ALONE | _TRY)
            except BlockingIOError:
                self._flag[0] = 1  # type: ignore[index]
                _take(opened.number, _ALONE, until)
        except BaseException:
            self._flag[0] = 0  # type: ignore[index]
            fcntl.flock(turn, _FREE)
            raise
        return opened.number

    def open_again(self, number: int) -> None:
        """Lets others write."""
        self._flag[0] = 0  # type: ignore[index]
        fcntl.flock(number, _FREE)
        fcntl.flock(self._turn(), _FREE)

    # --- files --------------------------------------------------------------------------------------------------------

    def _open(self) -> _Opened:
        with self._making:
            if self._flag is None:
                self._flag = _mapped(self._directory / TURN)
        opened = self._mine.gate
        if opened is None:
            opened = self._mine.gate = self._remember(GATE)
        return opened

    def _turn(self) -> int:
        opened = self._mine.turn
        if opened is None:
            opened = self._mine.turn = self._remember(TURN)
        return opened.number

    def _remember(self, name: str) -> _Opened:
        opened = _Opened(self._directory / name)
        self._opened.add(opened)
        return opened

    def forget(self) -> None:
        """Closes the files of all threads: of a process that was forked, whose locks are its parent's."""
        for opened in list(self._opened):
            opened.close()
        self._opened = weakref.WeakSet()
        self._mine = _OfThread()
        self._making = threading.Lock()


def _take(number: int, how: int, until: float | None) -> None:
    if until is None:
        fcntl.flock(number, how)
        return
    pause = _SHORTEST
    while True:
        try:
            return fcntl.flock(number, how | _TRY)
        except BlockingIOError:
            left = until - time.monotonic()
            if left <= 0:
                raise Timeout("somebody else's transaction goes on: try again, with retry=True say") from None
            time.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST)


def _mapped(path: Path) -> mmap.mmap:
    opened = _Opened(path)
    try:
        if os.fstat(opened.number).st_size == 0:
            os.pwrite(opened.number, b"\0", 0)
        return mmap.mmap(opened.number, 1)
    except (OSError, ValueError) as cause:
        raise StoreIOError(f"the lock file {path} cannot be mapped: {cause}") from cause
    finally:
        opened.close()


def _forget_all() -> None:
    global process
    process = os.getpid()
    for gate in list(_gates):
        gate.forget()


os.register_at_fork(after_in_child=_forget_all)
