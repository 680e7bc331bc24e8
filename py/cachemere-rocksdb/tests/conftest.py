"""What all tests share: a path for a database, and how long to try."""

from __future__ import annotations

import os
import signal
import tempfile
import warnings
from pathlib import Path

import hypothesis
import pytest

TORTURE = os.environ.get("CACHEMERE_TORTURE", "") not in ("", "0")

# A shell that runs the tests in the background has what they start ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "short",
    max_examples=60,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.register_profile("torture", hypothesis.settings.get_profile("short"), max_examples=2000)
hypothesis.settings.load_profile("torture" if TORTURE else "short")

# Python 3.12 and later warn of forks in processes with threads, which is what some tests are about.
warnings.filterwarnings("ignore", message=".*use of fork\\(\\) may lead to deadlocks.*")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database can be made."""
    return tmp_path / "db"


@pytest.fixture(autouse=True)
def own_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is left behind is left where tests can see it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
