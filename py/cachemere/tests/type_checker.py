"""What a type checker says of a program, compared with what the program's own comments say it must."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def check_types(program: str, directory: Path) -> None:
    """Runs mypy with `--strict`. Lines with `# error: <code>` must have that error, and no other line may have one."""
    file = directory / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(directory / "cache"), str(file)],
        capture_output=True,
        text=True,
        env={"HOME": str(directory), "PATH": ""},
        cwd=directory,
    )
    expected = [
        (number, line.rpartition("# error: ")[2])
        for number, line in enumerate(program.splitlines(), start=1)
        if "# error: " in line
    ]
    found = [
        (int(line.split(":")[1]), line.rpartition("[")[2].rstrip("]"))
        for line in done.stdout.splitlines()
        if ": error: " in line
    ]
    assert found == expected and ("Success" in done.stdout) == (not expected), done.stdout + done.stderr
