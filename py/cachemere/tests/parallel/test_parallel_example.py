"""The example does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "parallel.py"


def test_the_example(path: Path) -> None:
    lines = _run(path)
    killed = re.fullmatch(r"killed, after (\d+) blocks", lines.pop(0))
    assert killed is not None and 20 <= int(killed[1]) < 60
    known = [re.fullmatch(r"92938 primes below 1200000; (\d+) of 60 blocks were known; .* s", line) for line in lines]
    first, second = (int(line[1]) for line in known if line is not None)
    # A worker may have finished its last block after it was counted.
    assert int(killed[1]) <= first < 60 and second == 60
    again = _run(path)
    assert len(again) == 2 and all("60 of 60 blocks were known" in line for line in again)


def _run(path: Path) -> list[str]:
    done = subprocess.run([sys.executable, EXAMPLE, path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
