"""A cache of its own for each test, and no settings from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cachemere import Cache


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHEMERE_DISABLE", "CACHEMERE_MODE", "CACHEMERE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home-cache"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def cache(path: Path) -> Iterator[Cache]:
    with Cache(path) as cache:
        yield cache
