"""Builds wheels for all interpreters on Linux, tries them, and writes their sizes into docs/WHEELS.md.

Zig is the C compiler and linker: it links against the oldest glibc of the tag `manylinux2014` (2.17), whatever this
machine has. Run it with the interpreter of an environment that has maturin, ziglang and auditwheel, as `make wheels`
does.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import versions

DIST = versions.ROOT / "target/dist"
PAGE = versions.ROOT / "docs/WHEELS.md"
SMOKE = versions.ROOT / "release/smoke.py"
INTERPRETERS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
TAG = "manylinux2014"


@dataclass(frozen=True)
class Built:
    """A wheel, and what came of trying it."""

    interpreter: str
    wheel: Path
    tried: str

    @property
    def row(self) -> str:
        packed = self.wheel.stat().st_size / 1e6
        with zipfile.ZipFile(self.wheel) as archive:
            installed = sum(info.file_size for info in archive.infolist()) / 1e6
        return f"| {self.interpreter} | `{self.wheel.name}` | {packed:.1f} MB | {installed:.1f} MB | {self.tried} |"


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("interpreters", nargs="*", default=INTERPRETERS, help="such as 3.12; all by default")
    asked.add_argument("--only-try", action="store_true", help="try the wheels that are there")
    asked.add_argument(
        "--root", default=[], action="append", metavar="VERSION=PATH", help="where another system with that one lies"
    )
    options = asked.parse_args()
    roots = {version: Path(path) for version, _, path in (root.partition("=") for root in options.root)}
    chosen = options.interpreters or INTERPRETERS
    if not options.only_try:
        build(chosen)
    built = [Built(one, wheel(one), tried(one, roots.get(one))) for one in chosen]
    print("\n".join(one.row for one in built))
    if chosen == INTERPRETERS:
        write(built)
    if any(one.tried.startswith("FAILED") for one in built):
        raise SystemExit("a wheel failed")


def build(interpreters: list[str]) -> None:
    """Builds a wheel for each, in one go, so that what they have in common is compiled once."""
    for interpreter in interpreters:
        for old in DIST.glob(f"cachemere-*-{tag(interpreter)}-*.whl"):
            old.unlink()
    command = ["maturin", "build", "--release", "--locked", "--zig", "--compatibility", TAG, "--out", str(DIST)]
    for interpreter in interpreters:
        command += ["--interpreter", f"python{interpreter}"]
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, cwd=versions.ROOT / "py/cachemere", env=environment, check=True)
    for interpreter in interpreters:
        audited = subprocess.run(
            [scripts / "auditwheel", "show", wheel(interpreter)], capture_output=True, text=True, check=True
        )
        if not re.search(r'consistent with\s+the following platform tag:\s+"manylinux_2_17_', audited.stdout):
            raise SystemExit(f"it needs more than its tag says:\n{audited.stdout}")


def wheel(interpreter: str) -> Path:
    """Returns the wheel that was built for an interpreter."""
    found = list(DIST.glob(f"cachemere-{versions.current()}-{tag(interpreter)}-*.whl"))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} wheels for CPython {interpreter} in {DIST}, not one")
    return found[0]


def tag(interpreter: str) -> str:
    return "cp" + interpreter.replace(".", "")


def tried(interpreter: str, root: Path | None) -> str:
    """Returns what came of installing the wheel into a bare environment and using it there.

    With a root, in the system that lies there (made by debootstrap, say), with its interpreter and its glibc.
    """
    program = find(interpreter) if root is None else f"/usr/bin/python{interpreter}"
    if program is None:
        return "no interpreter here"
    with tempfile.TemporaryDirectory(dir=root and root / "tmp") as directory:
        # As it is called within.
        home = f"/tmp/{Path(directory).name}" if root else directory
        for file in (wheel(interpreter), SMOKE):
            shutil.copy(file, directory)
        python = f"{home}/environment/bin/python"
        # Nothing of this machine: neither compilers nor the checkout are in its path.
        alone = {"PATH": f"{home}/environment/bin", "HOME": home}
        alone |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        steps = [
            [program, "-m", "venv", f"{home}/environment"],
            [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", f"{home}/{wheel(interpreter).name}"],
            [python, "-m", "pip", "check"],
            [python, "-I", f"{home}/{SMOKE.name}"],
        ]
        within = ["/usr/sbin/chroot", str(root)] if root else []
        for step in steps:
            done = subprocess.run(
                [*within, *step], cwd=directory, env=alone, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                print(done.stdout + done.stderr, file=sys.stderr)
                return f"FAILED: {' '.join(step[-2:])}"
    return done.stdout.strip()


def find(interpreter: str) -> str | None:
    """Returns a program that is this interpreter, also of pyenv, which has them in no path."""
    name = f"python{interpreter}"
    places = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{interpreter}.*/bin/{name}")
    for program in [*map(str, places), shutil.which(name)]:
        if program is None:
            continue
        # One of pyenv's shims may be there without what it stands for.
        itself = [program, "-c", "import sys; print(sys.executable)"]
        told = subprocess.run(itself, capture_output=True, text=True, check=False)
        if told.returncode == 0:
            return str(told.stdout).strip()
    return None


def write(built: list[Built]) -> None:
    """Writes the table."""
    head, separator, _ = PAGE.read_text().partition("| CPython |")
    if not separator:
        raise SystemExit(f"{PAGE} has no table")
    columns = "| CPython | wheel | size | installed | tried |\n|---|---|---|---|---|\n"
    PAGE.write_text(head + columns + "\n".join(one.row for one in built) + "\n")


if __name__ == "__main__":
    main()
