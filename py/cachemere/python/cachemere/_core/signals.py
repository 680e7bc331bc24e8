"""What handlers of signals raise. It can come out of any step of the main thread, and is for whoever made that step."""

from __future__ import annotations

import functools
import signal
from types import CodeType, TracebackType
from typing import Any


def is_of_handler(error: BaseException) -> bool:
    """Whether a handler of a signal raised it, and not what was called: it is to be passed on, whatever was done."""
    return passed_a_handler(error.__traceback__)


def passed_a_handler(step: TracebackType | None) -> bool:
    """Whether what has this traceback came out of a handler of a signal."""
    codes = {_code(signal.getsignal(number)) for number in signal.valid_signals()}
    while step is not None:
        if step.tb_frame.f_code in codes:
            return True
        step = step.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    """What runs when a handler is called; `None` if that is not in Python, as of the one that stands for Ctrl-C."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    code = getattr(handler, "__code__", None)
    if code is None and callable(handler):
        code = getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
