"""Builds wheels for all interpreters on Linux, tries them, and writes their sizes into docs/WHEELS.md.

Zig is the C compiler and linker, also for other machines than this one: it links against the oldest libc that the
wheel's tag allows (glibc 2.17 for `manylinux2014`), whatever this machine has. Run it with the interpreter of an
environment that has maturin, ziglang and auditwheel, as `make wheels` does.
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


@dataclass(frozen=True)
class Platform:
    """What wheels are built for."""

    target: str
    #: What maturin is asked for, and how it calls that.
    compatibility: str
    tag: str

    @property
    def can_be_built(self) -> bool:
        """Whether Rust's standard library for it is installed."""
        root = subprocess.run(
            ["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True
        ).stdout.strip()
        return Path(root, "lib/rustlib", self.target, "lib").is_dir()


#: Wheels for the first can be tried where they are built.
PLATFORMS = {
    "x86_64": Platform("x86_64-unknown-linux-gnu", "manylinux2014", "manylinux_2_17_x86_64"),
    "aarch64": Platform("aarch64-unknown-linux-gnu", "manylinux2014", "manylinux_2_17_aarch64"),
    "musl-x86_64": Platform("x86_64-unknown-linux-musl", "musllinux_1_2", "musllinux_1_2_x86_64"),
}


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
        "--platform", action="append", choices=PLATFORMS, help="all that Rust can build for here by default"
    )
    asked.add_argument(
        "--root", default=[], action="append", metavar="VERSION=PATH", help="where another system with that one lies"
    )
    options = asked.parse_args()
    roots = {version: Path(path) for version, _, path in (root.partition("=") for root in options.root)}
    chosen = options.interpreters or INTERPRETERS
    names = options.platform or [name for name, platform in PLATFORMS.items() if platform.can_be_built]
    for name in [] if options.platform else PLATFORMS.keys() - names:
        print(f"not built for {name}; it needs: rustup target add {PLATFORMS[name].target}", file=sys.stderr)
    built = []
    for name, platform in ((name, PLATFORMS[name]) for name in names):
        if not options.only_try:
            build(chosen, platform)
        for one in chosen:
            outcome = tried(one, roots.get(one)) if name == "x86_64" else "built, never run"
            built.append(Built(one, wheel(one, platform), outcome))
    print("\n".join(one.row for one in built))
    if chosen == INTERPRETERS and len(names) == len(PLATFORMS):
        write(built)
    if any(one.tried.startswith("FAILED") for one in built):
        raise SystemExit("a wheel failed")


def build(interpreters: list[str], platform: Platform) -> None:
    """Builds a wheel for each, in one go, so that what they have in common is compiled once."""
    for interpreter in interpreters:
        for old in DIST.glob(f"cachemere-*-{tag(interpreter)}-*{platform.tag}.whl"):
            old.unlink()
    command = ["maturin", "build", "--release", "--locked", "--zig", "--out", str(DIST)]
    command += ["--target", platform.target, "--compatibility", platform.compatibility]
    for interpreter in interpreters:
        command += ["--interpreter", f"python{interpreter}"]
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, cwd=versions.ROOT / "py/cachemere", env=environment, check=True)
    # It knows the libc of the machine it runs on alone. For musl there is what maturin checks itself.
    for interpreter in interpreters if platform.tag.startswith("manylinux") else []:
        audited = subprocess.run(
            [scripts / "auditwheel", "show", wheel(interpreter, platform)], capture_output=True, text=True, check=True
        )
        if not re.search(rf'consistent with\s+the following platform tag:\s+"{platform.tag}"', audited.stdout):
            raise SystemExit(f"it needs more than its tag says:\n{audited.stdout}")


def wheel(interpreter: str, platform: Platform) -> Path:
    """Returns the wheel that was built for an interpreter."""
    found = list(DIST.glob(f"cachemere-{versions.current()}-{tag(interpreter)}-*{platform.tag}.whl"))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} wheels for CPython {interpreter} and {platform.target} in {DIST}, not one")
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
    built = wheel(interpreter, PLATFORMS["x86_64"])
    with tempfile.TemporaryDirectory(dir=root and root / "tmp") as directory:
        # As it is called within.
        home = f"/tmp/{Path(directory).name}" if root else directory
        for file in (built, SMOKE):
            shutil.copy(file, directory)
        python = f"{home}/environment/bin/python"
        # Nothing of this machine: neither compilers nor the checkout are in its path.
        alone = {"PATH": f"{home}/environment/bin", "HOME": home}
        alone |= {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        steps = [
            [program, "-m", "venv", f"{home}/environment"],
            [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", f"{home}/{built.name}"],
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
