"""What all tests share: a path for a store, an environment without settings, and how long to try."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from how_long import TORTURE

# A shell that runs the tests in the background has what they start ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "short",
    max_examples=60,
    deadline=None,
    # The same examples each time; the long form finds new ones.
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.register_profile(
    "torture", hypothesis.settings.get_profile("short"), max_examples=2000, derandomize=False
)
hypothesis.settings.load_profile("torture" if TORTURE else "short")

# LiteLLM asks the network for prices when it is imported, and waits, unless it is told that those it has will do.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

# Python 3.12 and later warn of forks in processes with threads, which is what some tests are about.
warnings.filterwarnings("ignore", message=".*use of fork\\(\\) may lead to deadlocks.*")


def pytest_collection_finish() -> None:
    # The hosts are half a million objects. Whenever Python looked through them for garbage it would stop for as much as
    # half a second, which is what it looks like when a call waits that must not.
    gc.collect()
    gc.freeze()


@pytest.fixture
def torture() -> bool:
    """Whether to run the long forms."""
    return TORTURE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store can be made."""
    return tmp_path / "store"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings from outside, and no test that writes into the user's own cache directory."""
    for name in ("CACHEMERE_DISABLE", "CACHEMERE_MODE", "CACHEMERE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home-cache"))
    yield
