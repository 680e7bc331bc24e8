"""Programs of libraries that take diskcache, each run in a process of its own: `PROGRAM NAME`, in a directory.

They run what docs/from-diskcache.md shows for their library, and print what was answered and how often a model was
asked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[4] / "docs" / "from-diskcache.md"


def shown(library: str) -> str:
    """The program that the page shows for a library."""
    found = re.search(rf"^\*\*{library}\*\*.*?^```py\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the page shows no program for {library}"
    return found[1]


def run(program: str, name: str, directory: Path) -> Any:
    """What a function of a program gives, in another process whose directory is this one."""
    directory.mkdir(exist_ok=True)
    environment = os.environ | {
        "DSPY_CACHEDIR": str(directory / "dspy's own"),
        "HOME": str(directory),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # Else it tells its makers what it is used for.
        "RAGAS_DO_NOT_TRACK": "true",
    }
    done = subprocess.run(
        [sys.executable, program, name], cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def main(functions: dict[str, Any]) -> None:
    """Call the function that the command line names, and print what it gives."""
    print(json.dumps(functions[sys.argv[1]]()))
