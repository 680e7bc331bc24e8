"""Runs the command line on a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time

from command_line import PROGRAM, environment


def on_a_terminal(
    *arguments: str, typed: str | None = None, columns: int = 80, rows: int = 24, **more: str
) -> tuple[int, str]:
    """Status and what was to be seen, after something was typed at the prompt."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvpe(PROGRAM[0], [*PROGRAM, *arguments], environment(**more))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    seen, end = b"", time.monotonic() + 30
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # So Linux says that nobody is at the other side any more.
            break
        if not part:
            break
        seen += part
        if typed is not None and seen.endswith(b": "):
            os.write(terminal, f"{typed}\n".encode())
            typed = None
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return status, seen.decode().replace("\r\n", "\n")
