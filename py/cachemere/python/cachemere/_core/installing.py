"""The line to type for what is not installed: true for a package index, a checkout, a wheel at hand and a repository.

What an extra adds is named by itself, as the metadata of this distribution has it: `pip install 'cachemere[langchain]'`
would look for this package in an index, where whoever installed it from elsewhere may find another or none.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .._version import __version__


def install_extra(extra: str) -> str:
    """Returns the command that installs what an extra of this package adds."""
    adds = re.compile(rf"""(?<!\w)extra\s*==\s*["']{re.escape(extra)}["']""")
    found = [requirement.partition(";") for requirement in _requirements()]
    needed = [named.strip() for named, _, marker in found if adds.search(marker)]
    return _install(*(needed or [f"cachemere[{extra}]"]))


def install_rocksdb() -> str:
    """Returns the command that installs the distribution with RocksDB, from where this one came."""
    return _install(*_from_where_this_came("cachemere-rocksdb"))


def install_again() -> str:
    """Returns the command that installs this distribution anew, from where it came."""
    return _install("--force-reinstall", "--no-deps", *_from_where_this_came("cachemere"))


def _from_where_this_came(name: str) -> list[str]:
    origin = _origin()
    place, where = str(origin.get("url", "")), Path(unquote(urlsplit(str(origin.get("url", ""))).path))
    if "dir_info" in origin and (directory := where.with_name(name)).is_dir():
        return [str(directory)]
    vcs = origin.get("vcs_info")
    if isinstance(vcs, dict) and {"vcs", "commit_id"} <= vcs.keys():
        below = str(origin.get("subdirectory", "py/cachemere")).rpartition("/")[0]
        return [f"{name} @ {vcs['vcs']}+{place}@{vcs['commit_id']}#subdirectory={below}/{name}"]
    pinned = f"{name}=={__version__}"
    wheels = f"{name.replace('-', '_')}-{__version__}-*.whl"
    if place.startswith("file:") and any(where.parent.glob(wheels)):
        return ["--find-links", str(where.parent), pinned]
    return [pinned]


def _install(*arguments: str) -> str:
    return " ".join([_installer(), "install", *(shlex.quote(argument) for argument in arguments)])


def _installer() -> str:
    """An environment that uv made has no pip."""
    return "uv pip" if (_file("INSTALLER") or "").strip() == "uv" else "pip"


def _origin() -> dict[str, Any]:
    """Where the package came from, if not from an index (PEP 610)."""
    try:
        origin = json.loads(_file("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}


def _requirements() -> list[str]:
    try:
        return metadata.requires("cachemere") or []
    except metadata.PackageNotFoundError:
        return []


def _file(name: str) -> str | None:
    try:
        return metadata.distribution("cachemere").read_text(name)
    except metadata.PackageNotFoundError:
        # The sources themselves are in the path.
        return None
