"""What lies in the place of a store's file and is none: no command follows it, waits for it, or writes behind it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cachemere import Cache, diskcache
from cachemere.errors import StoreIOError
from command_line import run

COMMANDS = [["stats"], ["verify"], ["ls"], ["get", "key"], ["sweep"], ["compact"], ["backup", "copy"], ["export"]]
PRECIOUS = b"precious" * 5000


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_commands_touch_nothing_behind_a_link(command: list[str], path: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    for name in ("control", "data.mdb"):
        for kind in ("link", "pipe"):
            with Cache(path) as cache:
                cache["key"] = "value"
            precious.write_bytes(PRECIOUS)
            place, kept = path / name, path / "kept"
            place.rename(kept)
            if kind == "link":
                place.symlink_to(precious)
            else:
                os.mkfifo(place)
            done = run(command[0], path, *command[1:])
            assert done.status != 0 and name in done.err, done
            assert precious.read_bytes() == PRECIOUS
            place.unlink()
            kept.rename(place)


def test_the_facade_follows_no_link_to_a_lock_file(path: Path, tmp_path: Path) -> None:
    for name in ("diskcache.gate", "diskcache.turn"):
        for kind in ("link", "pipe"):
            place, precious = path / kind / name, tmp_path / "nothing"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            if kind == "link":
                place.symlink_to(precious)
            else:
                os.mkfifo(place)
            with pytest.raises(StoreIOError, match=name), diskcache.Cache(str(place.parent)) as cache:
                with cache.transact():
                    cache["key"] = "value"
            assert not precious.exists()
