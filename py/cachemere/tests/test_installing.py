"""The line to type for what is not installed is true for how the package was installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from cachemere import __version__
from cachemere._core import installing

PYTHON = Path(installing.__file__).parents[1]
OWN = f"cachemere-rocksdb=={__version__}"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As if the package had been installed from somewhere, by something."""

    def install(origin: Any = None, installer: str = "pip\n") -> None:
        files = {"INSTALLER": installer, "direct_url.json": origin if isinstance(origin, str) else json.dumps(origin)}
        if origin is None:
            del files["direct_url.json"]
        monkeypatch.setattr(installing, "_file", files.get)

    return install


def test_an_extra_is_what_it_adds(installed: Any) -> None:
    installed()
    assert installing.install_extra("langchain") == "pip install 'langchain-core>=1,<2'"
    assert installing.install_extra("import-persistdict") == "pip install 'lmdb>=1.4' 'pyyaml>=6'"
    installed(installer="uv")
    assert installing.install_extra("progress") == "uv pip install 'tqdm>=4.60'"


def test_each_extra_that_a_message_names_is_one() -> None:
    known = set(metadata.metadata("cachemere").get_all("Provides-Extra") or [])
    named = set()
    for file in PYTHON.rglob("*.py"):
        text = file.read_text()
        named |= set(re.findall(r"""install_extra\(["']([a-z0-9-]+)["']\)""", text))
        named |= set(re.findall(r"""\bextra=["']([a-z0-9-]+)["']""", text))
        # Messages are made by one function; what else says it is documentation.
        assert not re.search(r"""raise .*pip install""", text), file
    assert named and named <= known


def test_without_metadata_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    monkeypatch.setattr(metadata, "distribution", missing)
    assert installing.install_extra("langchain") == "pip install 'cachemere[langchain]'"
    assert installing.install_rocksdb() == f"pip install {OWN}"


def test_the_other_distribution_comes_from_an_index_if_this_one_did(installed: Any) -> None:
    installed()
    assert installing.install_rocksdb() == f"pip install {OWN}"


def test_from_a_checkout_it_is_the_directory_beside(installed: Any, tmp_path: Path) -> None:
    for name in ("cachemere", "cachemere-rocksdb"):
        (tmp_path / "a checkout" / name).mkdir(parents=True)
    installed({"url": (tmp_path / "a checkout/cachemere").as_uri(), "dir_info": {}})
    assert installing.install_rocksdb() == f"pip install '{tmp_path}/a checkout/cachemere-rocksdb'"


def test_from_a_repository_it_is_the_same_commit(installed: Any) -> None:
    vcs = {"vcs": "git", "commit_id": "c0ffee"}
    installed({"url": "ssh://git@host/x.git", "vcs_info": vcs, "subdirectory": "py/cachemere"})
    line = "cachemere-rocksdb @ git+ssh://git@host/x.git@c0ffee#subdirectory=py/cachemere-rocksdb"
    assert installing.install_rocksdb() == f"pip install '{line}'"


def test_from_a_wheel_it_is_the_wheel_beside_if_there_is_one(installed: Any, tmp_path: Path) -> None:
    wheel = tmp_path / f"cachemere-{__version__}-cp311-cp311-linux_x86_64.whl"
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert installing.install_rocksdb() == f"pip install {OWN}"
    (tmp_path / f"cachemere_rocksdb-{__version__}-cp311-cp311-linux_x86_64.whl").touch()
    assert installing.install_rocksdb() == f"pip install --find-links {tmp_path} {OWN}"


# --- installations that do not fit -----------------------------------------------------------------------------------


def copied(directory: Path, *left_out: str) -> Path:
    copy = directory / "cachemere"
    shutil.copytree(PYTHON, copy, ignore=shutil.ignore_patterns("__pycache__", *left_out))
    return copy


def why_not(directory: Path) -> str:
    """Imports the package from there, and returns the last line of what Python says."""
    # An engine with RocksDB, where there is one, would do as well.
    program = "import sys; sys.modules['cachemere_rocksdb'] = None; import cachemere"
    environment = {**os.environ, "PYTHONPATH": str(directory)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[-1]


def test_an_engine_for_another_python_is_told_as_what_it_is(tmp_path: Path) -> None:
    copy = copied(tmp_path, "*.so")
    (copy / "_engine.cpython-27-x86_64-linux-gnu.so").touch()
    said = why_not(tmp_path)
    assert f"no engine for {sys.implementation.cache_tag} in {copy}" in said
    assert "there: _engine.cpython-27-x86_64-linux-gnu.so" in said and "install --force-reinstall" in said


def test_an_engine_for_a_later_libc_says_so(tmp_path: Path) -> None:
    [engine] = copied(tmp_path).glob("_engine.*.so")
    image = engine.read_bytes()
    needs = set(re.findall(rb"GLIBC_2\.\d\d\0", image))
    if not needs:
        pytest.skip("not linked against glibc")
    engine.write_bytes(image.replace(max(needs), b"GLIBC_2.99\0"))
    said = why_not(tmp_path)
    assert "GLIBC_2.99" in said and "built for another system, such as one with a later libc" in said
    assert "install --force-reinstall" in said


def test_an_engine_that_was_not_written_says_so(tmp_path: Path) -> None:
    [engine] = copied(tmp_path).glob("_engine.*.so")
    engine.write_bytes(b"")
    said = why_not(tmp_path)
    assert "cannot be loaded" in said and "it is damaged" in said and "install --force-reinstall" in said


def test_an_engine_of_another_version_than_the_python_files_is_refused(tmp_path: Path) -> None:
    (copied(tmp_path) / "_version.py").write_text('__version__ = "9.9.9"\n')
    said = why_not(tmp_path)
    assert f"is of version {__version__}, and its Python files are of version 9.9.9" in said
    assert "install --force-reinstall" in said


@pytest.mark.parametrize(
    "origin", ["", "{", "[]", "{}", '{"url": 1}', '{"vcs_info": {}}', '{"vcs_info": 7, "url": ""}']
)
def test_an_origin_that_makes_no_sense_is_none(installed: Any, origin: str) -> None:
    installed(origin)
    assert installing.install_rocksdb() == f"pip install {OWN}"
