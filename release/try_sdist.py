"""Builds a wheel of a source distribution in a fresh environment, away from the checkout, and uses it there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SMOKE = Path(__file__).with_name("smoke.py").resolve()


def main() -> None:
    [source] = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as directory:
        python = f"{directory}/environment/bin/python"
        steps = [
            [sys.executable, "-m", "venv", f"{directory}/environment"],
            [python, "-m", "pip", "install", "--quiet", "--no-binary", "cachemere", str(source.resolve())],
            [python, "-m", "pip", "check"],
            [python, "-I", str(SMOKE)],
        ]
        for step in steps:
            subprocess.run(step, cwd=directory, env={**os.environ, "PYTHONPATH": ""}, check=True)


if __name__ == "__main__":
    main()
