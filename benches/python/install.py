"""Installs the peers into the environment that runs this, one by one if they do not install together.

What does not install is noted with pip's reason in `not_installed.json` in the environment, for the table to say so.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
NOT_INSTALLED = Path(sys.prefix) / "not_installed.json"


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def reason(output: str) -> str:
    """The line in which pip says what went wrong."""
    lines = [line.strip() for line in output.splitlines() if "ERROR" in line or "error:" in line]
    return re.sub(r"^\S*ERROR:\s*", "", lines[-1]) if lines else "pip failed"


def main() -> None:
    """Installs what can be installed."""
    if sys.prefix == sys.base_prefix:
        sys.exit("run this with the Python of a virtual environment")
    failed: dict[str, str] = {}
    if _pip("--requirement", str(REQUIREMENTS)).returncode != 0:
        for line in REQUIREMENTS.read_text().splitlines():
            requirement = line.partition("#")[0].strip()
            if requirement:
                done = _pip(requirement)
                if done.returncode != 0:
                    failed[requirement.partition("==")[0]] = reason(done.stderr)
    NOT_INSTALLED.write_text(json.dumps(failed, indent=1))
    for name, why in failed.items():
        print(f"{name} was not installed: {why}", file=sys.stderr)


if __name__ == "__main__":
    main()
