"""requests-cache's own suites for backends and storages, as they are published in its source distribution.

They are fetched by pip, once for each version, into `target/suites` of the repository; nothing of them is kept here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path

SUITES = Path(__file__).parents[4] / "target" / "suites"

#: What of the distribution is run, and what that needs.
PARTS = (
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/integration/__init__.py",
    "tests/integration/base_cache_test.py",
    "tests/integration/base_storage_test.py",
)

#: The classes that the suites ask for. One test is for backends that can pickle, which this one is not to.
OVER_CACHEMERE = """
import os

import pytest
from cachemere import Cache
from cachemere.errors import ValueFormError
from cachemere.integrations.requests import CachemereCache, CachemereStorage
from tests.integration.base_cache_test import BaseCacheTest
from tests.integration.base_storage_test import BaseStorageTest

STORE = os.environ["CACHEMERE_SUITE_STORE"]


class Backend(CachemereCache):
    def __init__(self, cache_name, **options):
        super().__init__(Cache(STORE), namespace=cache_name, on_error="raise")


class Storage(CachemereStorage):
    def __init__(self, cache_name, table, **options):
        super().__init__(Cache(STORE), f"{cache_name}-{table}", on_error="raise")


class TestBackend(BaseCacheTest):
    backend_class = Backend


class TestStorage(BaseStorageTest):
    storage_class = Storage

    def test_picklable_dict(self):
        with pytest.raises(ValueFormError):
            super().test_picklable_dict()
"""


def distribution() -> Path:
    """The source distribution of the version that is installed."""
    version = metadata.version("requests-cache")
    archive = SUITES / f"requests_cache-{version}.tar.gz"
    if not archive.exists():
        SUITES.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "requests-cache"]
        done = subprocess.run(
            [*pip, "--dest", str(SUITES), f"requests-cache=={version}"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 and archive.exists(), f"the suites could not be fetched: {done.stderr}"
    return archive


def test_the_suites_of_requests_cache_pass(tmp_path: Path) -> None:
    archive = distribution()
    with tarfile.open(archive) as files:
        for part in PARTS:
            found = files.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{part}")
            assert found is not None
            target = tmp_path / part
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(found.read())
    (tmp_path / "tests/integration/test_over_cachemere.py").write_text(OVER_CACHEMERE)
    environment = os.environ | {"CACHEMERE_SUITE_STORE": str(tmp_path / "store"), "USE_PYTEST_HTTPBIN": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_over_cachemere.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    # All of them, however many there are in a later version.
    assert passed is not None and int(passed[1]) > 100, done.stdout
