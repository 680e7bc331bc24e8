"""Where bindgen, which reads RocksDB's header, finds a libclang without one in the system.

As a program: prints the environment it needs, for a shell. The Makefile builds with the same, so that RocksDB is
compiled once for the tests and the package.
"""

import importlib.util
import os
import shlex
import subprocess
from pathlib import Path


def environment() -> dict[str, str]:
    """What must be set for the build, of what the user has not set."""
    missing = {}
    if "LIBCLANG_PATH" not in os.environ and (native := _of_the_wheel()) is not None:
        missing["LIBCLANG_PATH"] = str(_lasting(native))
    if "BINDGEN_EXTRA_CLANG_ARGS" not in os.environ and (include := _of_the_compiler()) is not None:
        missing["BINDGEN_EXTRA_CLANG_ARGS"] = f"-I{include}"
    return missing


def _of_the_wheel() -> Path | None:
    """The library that the package `libclang` brings. Without it bindgen looks for one in the system."""
    found = importlib.util.find_spec("clang")
    places = [] if found is None else found.submodule_search_locations or []
    return next((native for place in places if (native := Path(place) / "native").is_dir()), None)


def _lasting(native: Path) -> Path:
    """The same under a name that stays: pip's own environments have another each time, and RocksDB would be compiled
    anew for each of them.
    """
    *_, workspace = (here := Path(__file__).resolve()).parents[:4]
    if here.parts[-4:-2] != ("py", "cachemere-rocksdb") or not (workspace / "Cargo.lock").is_file():
        return native
    link = workspace / "target" / "libclang"
    try:
        link.parent.mkdir(exist_ok=True)
        new = link.with_name(f"libclang.{os.getpid()}")
        new.symlink_to(native)
        new.replace(link)
    except OSError:
        # It is not ours to write; then it takes its time.
        return native
    return link


def _of_the_compiler() -> Path | None:
    """The C compiler's own headers (`stddef.h`), which that package does not bring."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    try:
        told = subprocess.run([*compiler, "-print-file-name=include"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        # Whatever is wrong with the compiler, it tells better by itself when it has to compile.
        return None
    include = Path(told.stdout.strip())
    return include if include.is_dir() else None


if __name__ == "__main__":
    for name, value in environment().items():
        print(f"export {name}={shlex.quote(value)}")
