"""Makes a release of what is checked out: version, change log, commit and tag. Nothing leaves the machine.

    python release/release.py 0.2.0              # or: make release VERSION=0.2.0
    python release/release.py 0.2.0 --dry-run    # shows what would change, and changes nothing

What is then typed to publish it stands in CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess

import versions

CHANGES = versions.ROOT / "CHANGELOG.md"
_UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)


def dated(text: str, version: str, day: str) -> str:
    """Returns the change log with what was unreleased under the version, and nothing unreleased."""
    found = _UNRELEASED.search(text)
    if found is None or not found[1].strip():
        raise SystemExit("CHANGELOG.md has nothing under '## Unreleased': a release needs something to say")
    return text[: found.start()] + f"## Unreleased\n\n## {version} ({day})\n{found[1]}" + text[found.end() :]


def notes(text: str, version: str) -> str:
    """Returns what the change log says of a version."""
    found = re.search(rf"^## {re.escape(version)} \(.*?\)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit(f"CHANGELOG.md does not know {version}")
    return found[1].strip()


def later(version: str, than: str) -> bool:
    """Whether a version has three numbers and is above another."""
    if re.fullmatch(r"\d+\.\d+\.\d+", version) is None:
        return False
    return tuple(map(int, version.split("."))) > tuple(map(int, than.split(".")))


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("version")
    asked.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    options = asked.parse_args()
    now = versions.current()
    # The first release is of the version that stands there already.
    first = options.version == now and f"v{now}" not in _git("tag").split()
    if not first and not later(options.version, now):
        raise SystemExit(f"{options.version} is not a version after {now}, of the form 1.2.3")
    if _git("status", "--porcelain"):
        raise SystemExit("there are changes that are not committed: commit them, or put them away")
    if f"v{options.version}" in _git("tag").split():
        raise SystemExit(f"there is a tag v{options.version} already")
    changed = dated(
        CHANGES.read_text(), options.version, datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    )
    before = CHANGES.read_text()
    CHANGES.write_text(changed)
    files = [CHANGES, *versions.write(options.version)]
    try:
        print(_git("diff", "--stat"))
        print(f"\n{notes(changed, options.version)}\n")
        if options.dry_run:
            print(f"would commit this and tag it v{options.version}; nothing was changed")
            return
        _git("add", *map(str, files))
        _git("commit", "--quiet", "--message", f"Release {options.version}")
        _git("tag", "--annotate", f"v{options.version}", "--message", notes(changed, options.version))
    finally:
        if options.dry_run:
            versions.write(now)
            CHANGES.write_text(before)
    print(f"tagged v{options.version}; CONTRIBUTING.md says how to publish it")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=versions.ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
