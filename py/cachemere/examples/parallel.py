"""Counts primes in several processes that share a cache; is killed in the midst, and continues where it was.

Run it: `python examples/parallel.py [directory]`, and again with the same directory: nothing is left to be done.
Without a directory it takes a temporary one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cachemere import Parallel

#: The store. Workers that are spawned run this file as well, and find it the same way.
STORE = os.environ.setdefault("PRIMES", sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp() + "/primes")
#: So many numbers are looked at for each input.
BLOCK = 20_000
BLOCKS = 60

pp = Parallel()


@pp.cache_func(STORE)
def primes_in_block(number: int) -> int:
    """How many primes there are among the numbers of a block."""
    block = range(number * BLOCK, (number + 1) * BLOCK)
    return sum(n > 1 and all(n % d for d in range(2, int(n**0.5) + 1)) for n in block)


def count() -> None:
    """The work: one line, whether it was begun before or not."""
    kept = primes_in_block.cache_info().currsize
    began = time.perf_counter()
    found = sum(pp.map(primes_in_block, range(BLOCKS)))
    seconds = time.perf_counter() - began
    print(f"{found} primes below {BLOCKS * BLOCK}; {kept} of {BLOCKS} blocks were known; {seconds:.2f} s", flush=True)


def count_and_be_killed() -> None:
    """The same, killed when a third is done."""
    program = subprocess.Popen([sys.executable, __file__, STORE, "count"], stdout=subprocess.DEVNULL)
    while primes_in_block.cache_info().currsize < BLOCKS // 3:
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    program.wait()
    print(f"killed, after {primes_in_block.cache_info().currsize} blocks", flush=True)


if __name__ == "__main__":
    if sys.argv[2:] == ["count"]:
        count()
    else:
        if not Path(STORE).exists():
            count_and_be_killed()
        count()
        count()
