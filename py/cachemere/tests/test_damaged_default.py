"""A default store that is damaged is put aside and begun anew, where errors are bypassed; never one that was named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cachemere import Cache
from cachemere.errors import DamagedError


@pytest.fixture
def default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default store is, of a user of its own."""
    monkeypatch.delenv("CACHEMERE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches" / "cachemere" / "default"


def _fill_and_damage(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = "v"
    data = bytearray((path / "data.mdb").read_bytes())
    data[: 2 * 4096] = bytes(2 * 4096)
    (path / "data.mdb").write_bytes(data)


def test_the_default_store_begins_anew_and_what_was_there_is_kept(
    default: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _fill_and_damage(default)
    before = (default / "data.mdb").read_bytes()
    cache = Cache(on_error="bypass")
    assert cache.get("k") is None
    cache["new"] = 1
    assert cache["new"] == 1 and cache.verify().is_clean
    kept = default.parent / "default.damaged"
    assert (kept / "data.mdb").read_bytes() == before
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and str(kept) in warnings[0] and "repair" in warnings[0], warnings
    cache.close()
    assert Cache()["new"] == 1
    assert Cache.salvage(kept, default.parent / "saved").entries == 1


def test_others_that_found_it_damaged_leave_the_new_one(default: Path) -> None:
    _fill_and_damage(default)
    first, second = Cache(on_error="bypass"), Cache(on_error="bypass")
    assert first.get("k") is None
    first["new"] = 1
    first.close()
    assert second._guarded.native.set_aside() is None
    assert second["new"] == 1
    assert [path.name for path in sorted(default.parent.iterdir())] == ["default", "default.damaged"]


def test_a_store_that_was_named_stays(default: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "named"
    _fill_and_damage(named)
    before = (named / "data.mdb").read_bytes()
    assert Cache(named, on_error="bypass").get("k") is None
    monkeypatch.setenv("CACHEMERE_DIR", str(named))
    assert Cache(on_error="bypass").get("k") is None
    assert (named / "data.mdb").read_bytes() == before and not (tmp_path / "named.damaged").exists()


def test_it_is_an_error_where_errors_are_asked_for(default: Path) -> None:
    _fill_and_damage(default)
    with pytest.raises(DamagedError, match="repair"):
        Cache()["k"]
    assert not (default.parent / "default.damaged").exists()


def test_a_damaged_entry_costs_itself_alone(default: Path) -> None:
    with Cache(default) as cache:
        cache["k"] = "value " * 20
        cache["other"] = 1
    data = bytearray((default / "data.mdb").read_bytes())
    data[data.rfind(b"value value")] ^= 1
    (default / "data.mdb").write_bytes(data)
    cache = Cache(on_error="bypass")
    assert cache.get("k") is None and cache["other"] == 1
    assert not (default.parent / "default.damaged").exists()
