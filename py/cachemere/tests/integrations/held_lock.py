"""A store that another process is writing to, and does not get on with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from cachemere import Cache

WRITE = """
import sys, cachemere
with cachemere.Cache(sys.argv[1], namespace="of the writer") as cache:
    pairs = {number: "x" * 100 for number in range(20_000)}
    print("writing", flush=True)
    while True:
        cache.set_many(pairs)
"""


@contextlib.contextmanager
def held_lock(path: Path) -> Iterator[None]:
    """As long as it lasts, whoever writes to the store at `path` waits for another process that has its lock."""
    writer = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline()
    probe = Cache(path, namespace="of the probe")
    try:
        # The writer is stopped wherever it is, until that is in the middle of a transaction.
        while True:
            os.kill(writer.pid, signal.SIGSTOP)
            writing = threading.Thread(target=probe.set, args=("k", 1))
            writing.start()
            writing.join(0.2)
            if writing.is_alive():
                break
            os.kill(writer.pid, signal.SIGCONT)
            time.sleep(0.02)
        # Who waits for it where nobody may wait is to fail, and not to wait for ever.
        given_up = threading.Timer(10, writer.kill)
        given_up.start()
        yield
        given_up.cancel()
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
        writing.join()
        probe.close()
