"""What the engine has to say reaches `logging`, from its own threads too, and nothing is kept that nobody wants."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cachemere import Cache

HOUSEKEEPER = "cachemere.store.upkeep.housekeeper"


@contextmanager
def no_file_may_be_written() -> Iterator[None]:
    """Until something has tried to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    tried: list[int] = []
    before = signal.signal(signal.SIGXFSZ, lambda number, frame: tried.append(number))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
        until = time.monotonic() + 60
        while not tried:
            assert time.monotonic() < until, "nothing was written in the background"
            time.sleep(0.05)
        # When it is tried again, it has been told of the first time.
        tried.clear()
        until = time.monotonic() + 2
        while not tried and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def with_a_failed_round(path: Path) -> Cache:
    """A cache whose background thread has just failed to move the log into the data file."""
    cache = Cache(path)
    cache["k"] = 1
    with no_file_may_be_written():
        pass
    return cache


def heard_of_failures(path: Path, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Of this store: others can be open too."""
    told = [record for record in caplog.records if str(path) in record.getMessage()]
    return [record for record in told if "upkeep of the log failed" in record.getMessage()]


def test_a_failure_in_the_background_is_logged_by_the_next_operation(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = with_a_failed_round(path)
    assert heard_of_failures(path, caplog) == []
    assert cache["k"] == 1
    found = heard_of_failures(path, caplog)
    assert [(record.name, record.levelno) for record in found] == [(HOUSEKEEPER, logging.WARNING)]
    assert "no space left" in found[0].getMessage() and str(path) in found[0].getMessage()
    caplog.clear()
    assert cache["k"] == 1
    assert heard_of_failures(path, caplog) == [], "it is said once"
    cache.close()


def test_what_the_logger_does_not_want_is_not_kept(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("cachemere")
    logger.setLevel(logging.ERROR)
    try:
        cache = with_a_failed_round(path)
        logger.setLevel(logging.DEBUG)
        assert cache["k"] == 1
        assert heard_of_failures(path, caplog) == []
        cache.close()
    finally:
        logger.setLevel(logging.NOTSET)


def test_a_level_that_changes_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("cachemere")
    logger.setLevel(logging.ERROR)
    try:
        cache = Cache(path)
        cache["k"] = 1
        logger.setLevel(logging.WARNING)
        time.sleep(1.1)
        for number in range(40):
            cache[number] = number
        with no_file_may_be_written():
            pass
        assert cache[1] == 1
        assert len(heard_of_failures(path, caplog)) == 1
        cache.close()
    finally:
        logger.setLevel(logging.NOTSET)


def test_a_handler_may_use_the_cache(path: Path) -> None:
    cache = with_a_failed_round(path)

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cache[record.name] = record.getMessage()

    keeper = Keeper()
    logging.getLogger("cachemere").addHandler(keeper)
    try:
        assert cache["k"] == 1
        assert "upkeep of the log failed" in cache[HOUSEKEEPER]
    finally:
        logging.getLogger("cachemere").removeHandler(keeper)
    cache.close()


def test_a_handler_that_is_interrupted_interrupts_the_operation(path: Path) -> None:
    cache = with_a_failed_round(path)

    class Interrupted(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    handler = Interrupted()
    logging.getLogger("cachemere").addHandler(handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            cache.get("absent")
    finally:
        logging.getLogger("cachemere").removeHandler(handler)
    assert cache["k"] == 1
    cache.close()


def test_a_handler_that_fails_fails_no_operation(path: Path) -> None:
    script = f"""
import logging, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_logging import with_a_failed_round
class Failing(logging.Handler):
    def emit(self, record):
        raise RuntimeError("the handler's own")
cache = with_a_failed_round(Path({str(path)!r}))
logging.getLogger("cachemere").addHandler(Failing())
print(cache.get("k"))
cache.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert "the handler's own" in done.stderr


def test_a_forked_child_does_not_repeat_its_parents_messages(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = with_a_failed_round(path)
    child = os.fork()
    if child == 0:
        found = False
        try:
            found = cache["k"] == 1 and not heard_of_failures(path, caplog)
        finally:
            os._exit(0 if found else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache["k"] == 1
    assert len(heard_of_failures(path, caplog)) == 1
    cache.close()


def test_it_is_quiet_where_logging_is_not_set_up(path: Path) -> None:
    script = f"""
import cachemere
with cachemere.Cache({str(path)!r}) as cache:
    cache["k"] = 1
    assert cache["k"] == 1
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
