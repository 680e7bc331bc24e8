"""Lengths of time and numbers of bytes as people write them, wherever they are taken."""

from __future__ import annotations

import asyncio
import datetime
import math
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere._core import checks
from cachemere._core.load import LoadOptions
from cachemere.errors import InvalidOptionError


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (datetime.timedelta(days=1, microseconds=1), 86_400.000001),
        ("30d", 30 * 86_400.0),
        ("12h", 12 * 3600.0),
        ("90s", 90.0),
        ("5min", 300.0),
        ("5m", 300.0),
        ("2w", 14 * 86_400.0),
        ("250ms", 0.25),
        (" 1.5 h ", 5400.0),
    ],
)
def test_a_length_of_time(given: Any, seconds: float) -> None:
    assert checks.seconds("ttl", given) == seconds


@pytest.mark.parametrize(
    "given",
    ["", "d", "30", "30 days", "-1d", "1e3s", "0s", "1d2h", "1M", "1D", "nan s", "१d", datetime.timedelta(0), b"1d"]
    + [datetime.timedelta(seconds=-1), 0, -1, math.nan, math.inf, True, "9" * 400 + "s", "999999999999999999w", []],
)
def test_what_is_no_length_of_time_is_named(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="^ttl must be"):
        checks.seconds("ttl", given)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (1, 1),
        (2.9e9, 2_900_000_000),
        (1.5, 1),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("1gib", 2**30),
        ("1.5 MB", 1_500_000),
        ("512kB", 512_000),
        ("4KiB", 4096),
        ("2TB", 2 * 10**12),
        ("7B", 7),
    ],
)
def test_a_number_of_bytes(given: Any, count: int) -> None:
    assert checks.size("max_bytes", given) == count


@pytest.mark.parametrize(
    "given", ["", "1G", "GB", "-1GB", "1 gigabyte", 0, 0.5, -1, math.nan, math.inf, True, None, "9999999TB", 2**63]
)
def test_what_is_no_number_of_bytes_is_named(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="^max_bytes must be"):
        checks.size("max_bytes", given)


def test_a_cache_takes_them(path: Path) -> None:
    with Cache(path, ttl="1h", idle=datetime.timedelta(minutes=5), max_bytes="64MiB", memory_bytes="1MB") as cache:
        options = cache._options
        assert (options.ttl, options.idle) == (3600.0, 300.0)
        assert (options.max_bytes, options.memory_bytes) == (64 << 20, 10**6)
        assert cache.describe().max_bytes == 64 << 20
    with Cache(path) as cache:
        cache["a"] = 1
        for ttl in ("1d", datetime.timedelta(days=1), 86_400):
            cache.set("a", 1, ttl)  # type: ignore[arg-type]
            cache.set_many({"b": 1}, ttl)  # type: ignore[arg-type]
            assert cache.get_or_set("c", lambda: 1, ttl) == 1  # type: ignore[arg-type]
            assert asyncio.run(cache.aget_or_set("d", lambda: 1, ttl)) == 1  # type: ignore[arg-type]
            assert cache.touch("a", ttl)  # type: ignore[arg-type]
            for key in "abcd":
                info = cache.info(key)
                assert info is not None and info.expires_at is not None
                assert info.expires_at - info.mtime == pytest.approx(86_400, abs=5)
            cache.clear()
    with pytest.raises(InvalidOptionError, match="max_bytes must be at least 4194304 bytes"):
        Cache(path, max_bytes="1MB")


def test_a_load_takes_them(path: Path) -> None:
    assert LoadOptions("csv", memory_budget="64MB").memory_budget == 64_000_000
    with pytest.raises(InvalidOptionError, match="memory_budget"):
        LoadOptions("csv", memory_budget="x")
