"""Checks that no dependency asks for a later Rust than the crates promise: `python msrv.py 1.88`."""

from __future__ import annotations

import json
import subprocess
import sys


def main() -> None:
    oldest = sys.argv[1]
    done = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked"], capture_output=True, text=True, check=True
    )
    packages = json.loads(done.stdout)["packages"]
    stated = {f"{it['name']} {it['version']}": it["rust_version"] for it in packages if it["rust_version"]}
    late = {name: version for name, version in stated.items() if numbers(version) > numbers(oldest)}
    for name, version in sorted(late.items()):
        print(f"{name} needs Rust {version}, and we promise {oldest}", file=sys.stderr)
    print(
        f"{len(stated)} of {len(packages)} packages say what Rust they need; {len(late)} need a later one than {oldest}"
    )
    raise SystemExit(1 if late else 0)


def numbers(version: str) -> tuple[int, ...]:
    found = tuple(map(int, version.split(".")))
    return found + (0,) * (3 - len(found))


if __name__ == "__main__":
    main()
