"""What the numbers are of."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from peers import Peer


def cpu() -> str:
    """The processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def file_system(path: Path) -> str:
    """The kind of file system a directory is on."""
    best, kind = "", "unknown file system"
    try:
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, name, *_ = line.split()
            if os.path.commonpath([mount, path.resolve()]) == mount and len(mount) >= len(best):
                best, kind = mount, name
    except OSError:
        pass
    return kind


def described(directory: Path) -> str:
    """The machine in a line."""
    return (
        f"{os.cpu_count()} cores ({cpu()}), {platform.system()} {platform.release().partition('-')[0]}, "
        f"{file_system(directory)}, {platform.python_implementation()} {platform.python_version()}"
    )


def load() -> str:
    """How many processes wanted to run, in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def versions(peers: Sequence[type[Peer]]) -> str:
    """The packages that were measured."""
    found = {peer.package: peer.version() for peer in peers if peer.package and peer.missing() is None}
    found["cachetools"] = _version("cachetools")
    return ", ".join(f"{package} {version}" for package, version in sorted(found.items(), key=lambda it: it[0].lower()))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
