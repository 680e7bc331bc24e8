"""What can be read of a damaged store comes out of it, by the command line and by the library."""

from __future__ import annotations

import json
from pathlib import Path

import cachemere as package
import pytest
from cachemere import Cache, Salvaged
from cachemere.errors import BusyError, InvalidOptionError, StoreIOError, WrongSecretError
from command_line import here, run


def _filled(path: Path, **options: object) -> dict[str, str]:
    values = {f"key {n}": f"value {n} " * 30 for n in range(200)}
    with Cache(path, **options) as cache:  # type: ignore[arg-type]
        for key, value in values.items():
            cache[key] = value
        cache.namespace("other")["k"] = (1, 2)
        cache.set("tagged", 1, tags=("t",), ttl=3600)
    return values


def _damage(path: Path, needle: bytes) -> None:
    """Flips a bit in the middle of what is stored."""
    data = bytearray((path / "data.mdb").read_bytes())
    at = data.rfind(needle)
    assert at > 0
    data[at] ^= 1
    (path / "data.mdb").write_bytes(data)


def _without_meta_pages(path: Path) -> None:
    data = bytearray((path / "data.mdb").read_bytes())
    data[: 2 * 4096] = bytes(2 * 4096)
    (path / "data.mdb").write_bytes(data)


def test_a_damaged_entry_is_named_and_all_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "store"
    values = _filled(path)
    _damage(path, b"value 7 value 7")
    ended = here("repair", path, "--json")
    told = json.loads(ended.out)
    assert ended.status == 1 and told["lost"] == 1, ended
    assert told["lost_keys"] == [{"namespace": "default", "key": "key 7"}]
    assert told["kept"] == str(tmp_path / "store.damaged") and (tmp_path / "store.damaged" / "data.mdb").exists()
    with Cache(path) as cache:
        assert dict(cache.items()) == {key: value for key, value in values.items() if key != "key 7"} | {"tagged": 1}
        assert cache.namespace("other")["k"] == (1, 2) and cache.verify().is_clean


def test_a_store_that_cannot_be_opened_is_repaired_whole(tmp_path: Path) -> None:
    path = tmp_path / "store"
    values = _filled(path)
    _without_meta_pages(path)
    with pytest.raises(package.CacheError):
        Cache(path)["key 1"]
    ended = here("repair", path)
    assert ended.status == 0 and "lost nothing" in ended.out and "store.damaged" in ended.out, ended
    with Cache(path) as cache:
        assert all(cache[key] == value for key, value in values.items())


def test_a_copy_leaves_the_damaged_store_as_it_is(tmp_path: Path) -> None:
    path, to = tmp_path / "store", tmp_path / "new"
    _filled(path)
    _without_meta_pages(path)
    before = (path / "data.mdb").read_bytes()
    saved = Cache.salvage(path, to)
    assert isinstance(saved, Salvaged) and (saved.entries, saved.lost, saved.kept) == (202, 0, None)
    assert (path / "data.mdb").read_bytes() == before and Cache(to)["key 3"].startswith("value 3")
    with pytest.raises(InvalidOptionError, match="not an empty directory"):
        Cache.salvage(path, to)
    assert here("repair", path, "--to", tmp_path / "newer").status == 0
    assert (path / "data.mdb").read_bytes() == before and (tmp_path / "newer" / "data.mdb").exists()


def test_it_is_refused_while_the_store_is_open(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with Cache(path) as cache:
        cache["k"] = 1
        with pytest.raises(BusyError, match="close it"):
            Cache.repair(path)
        assert here("repair", path).status == 1
        assert cache["k"] == 1
    assert Cache.repair(path).entries == 1


def test_an_encrypted_store_needs_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store"
    _filled(path, encryption_key="open sesame")
    _without_meta_pages(path)
    monkeypatch.delenv("CACHEMERE_KEY", raising=False)
    for given in ({}, {"encryption_key": "wrong"}):
        with pytest.raises(WrongSecretError):
            Cache.repair(path, **given)  # type: ignore[arg-type]
    ended = run("repair", path, CACHEMERE_KEY="open sesame")
    assert ended.status == 0, ended
    assert Cache(path, encryption_key="open sesame")["key 5"].startswith("value 5")


def test_where_there_is_no_store_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreIOError):
        Cache.repair(tmp_path / "nothing")
    assert here("repair", tmp_path / "nothing").status == 1
    assert not list(tmp_path.iterdir())
