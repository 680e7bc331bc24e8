"""The two distributions: which engine is taken, and what is said where RocksDB is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cachemere
import pytest
from cachemere._core.installing import install_rocksdb

ASK = """
import logging, sys
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
import cachemere, cachemere._engine
print("engine of", cachemere._engine.__name__, sys.modules["cachemere._engine"] is cachemere._engine)
try:
    import cachemere.rocksdb
    print("RocksDB")
except ImportError as error:
    print(type(error).__name__, isinstance(error, cachemere.CacheError), error)
d = cachemere.PersistDict(sys.argv[1])
d["a"] = 1
print(dict(d))
"""


def ask(tmp_path: Path, distribution: str | None = None) -> str:
    """What a program says that has another distribution in its way, or none at all."""
    first = tmp_path / "first"
    first.mkdir()
    if distribution is not None:
        (first / "cachemere_rocksdb").mkdir()
        (first / "cachemere_rocksdb" / "__init__.py").write_text(distribution)
    code = f"import sys; sys.path.insert(0, {str(first)!r})\n{ASK}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "dict")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_faces_have_one_engine(tmp_path: Path) -> None:
    said = ask(tmp_path)
    assert said == "engine of cachemere_rocksdb._engine True\nRocksDB\n{'a': 1}\n"


def test_another_version_is_ignored_with_a_warning(tmp_path: Path) -> None:
    said = ask(tmp_path, "__version__ = '9.9.9'")
    own = cachemere.__version__
    assert f"WARNING cachemere-rocksdb is ignored: its version is 9.9.9, and that of cachemere is {own}" in said
    assert "engine of cachemere._engine True" in said and "{'a': 1}" in said
    assert "NotInstalledError True cachemere.rocksdb needs the distribution cachemere-rocksdb" in said
    assert install_rocksdb() in said


def test_an_engine_that_cannot_be_loaded_is_ignored_with_a_warning(tmp_path: Path) -> None:
    said = ask(tmp_path, f"__version__ = {cachemere.__version__!r}")
    assert "WARNING cachemere-rocksdb is ignored: its engine cannot be loaded" in said and "{'a': 1}" in said
    assert "pip install" in said


def test_without_the_distribution_the_line_to_type_is_told(tmp_path: Path) -> None:
    hide = "raise ModuleNotFoundError(\"No module named 'cachemere_rocksdb'\", name='cachemere_rocksdb')"
    said = ask(tmp_path, hide)
    assert "WARNING" not in said and install_rocksdb() in said
    assert "it is not installed" in said


def test_the_versions_are_one(tmp_path: Path) -> None:
    import cachemere_rocksdb

    assert cachemere_rocksdb.__version__ == cachemere.__version__


@pytest.mark.parametrize("name", ["RocksDBDict", "RocksDBOptions", "RocksDBCompressionOptions", "fixed_prefix"])
def test_the_names_of_hugedict_are_there(name: str) -> None:
    import cachemere.rocksdb

    assert name in cachemere.rocksdb.__all__ and hasattr(cachemere.rocksdb, name)
