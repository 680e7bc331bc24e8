"""Directories of diskcache that were imported: the facade has what was in them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import diskcache as theirs
from cachemere import diskcache
from workers import squared


def imported(source: Path, destination: Path, parts: tuple[str, ...] = ()) -> None:
    """Imports a directory, which says what parts of it are to be imported by themselves."""
    command = [sys.executable, "-m", "cachemere", "import", "--from", "diskcache", "--allow-pickle"]
    done = subprocess.run([*command, str(source), str(destination)], capture_output=True, text=True, check=False)
    assert done.returncode == (1 if parts else 0), done.stderr
    assert all(f"{source}/{part} {destination}/{part}" in done.stdout for part in parts), done.stdout


def test_a_cache_with_all_it_has(tmp_path: Path) -> None:
    tags: list[Any] = ["text", "", 5, 5.0, 2.5, b"bytes", None, "\0i5"]
    with theirs.Cache(str(tmp_path / "old"), cull_limit=0) as old:
        old["a"], old[-1], old[("b", 2)], old[b"c"] = 1, [1, (2, 3)], {"x": None}, b"large" * 20_000
        for number, tag in enumerate(tags):
            old.set(("tagged", number), number, expire=1000 + number, tag=tag)
        for number in range(5):
            old.push(number, side="front" if number == 4 else "back")
            old.push(number, prefix="queue")
        old.pull("queue")
        kept = old.memoize(tag="memo")(squared)
        assert [kept(3), kept(-4)] == [9, 16]
        before = [(key, old.get(key, expire_time=True, tag=True)) for key in old]
    imported(tmp_path / "old", tmp_path / "new")
    with diskcache.Cache(tmp_path / "new") as new:
        after = [(key, new.get(key, expire_time=True, tag=True)) for key in new]
        assert [(key, entry[0], entry[2]) for key, entry in after] == [
            (key, entry[0], entry[2]) for key, entry in before
        ]
        for (_, (_, one, _)), (_, (_, two, _)) in zip(before, after, strict=True):
            assert one is two is None or abs(one - two) < 0.001
        assert [new.pull("queue")[1] for _ in range(5)] == [1, 2, 3, 4, None]
        assert [new.pull()[1] for _ in range(6)] == [4, 0, 1, 2, 3, None]
        assert new.evict(5) == 2 and new.evict("\0i5") == 1 and new.evict("text") == 1
        calls: list[int] = []

        def counted(number: int) -> int:
            calls.append(number)
            return squared(number)

        again = new.memoize(name="workers.squared")(counted)
        assert [again(3), again(-4), again(5)] == [9, 16, 25] and calls == [5]
        assert new.memoize()(squared).__cache_key__(3) in new and new.evict("memo") == 2  # type: ignore[attr-defined]


def test_what_expired_meanwhile_is_gone(tmp_path: Path) -> None:
    with theirs.Cache(str(tmp_path / "old"), cull_limit=0) as old:
        old.set("short", 1, expire=0.01)
        old.set("long", 1, expire=1000)
        time.sleep(0.02)
    imported(tmp_path / "old", tmp_path / "new")
    with diskcache.Cache(tmp_path / "new") as new:
        assert list(new) == ["long"]


def test_the_others_and_parts_of_a_fanout_cache(tmp_path: Path) -> None:
    fanout = theirs.FanoutCache(str(tmp_path / "old"), shards=3)
    for number in range(50):
        fanout[number] = number
    fanout.deque("d").extend("abc")
    fanout.deque("d").appendleft("z")
    fanout.index("i").update(b=1, a=2)
    fanout.close()
    imported(tmp_path / "old", tmp_path / "new", ("deque/d", "index/i"))
    for part in ("deque/d", "index/i"):
        imported(tmp_path / "old" / part, tmp_path / "new" / part)
    with diskcache.FanoutCache(tmp_path / "new") as cache:
        assert sorted(cache) == list(range(50))
        deque, index = cache.deque("d"), cache.index("i")
        assert list(deque) == ["z", "a", "b", "c"] and deque.pop() == "c" and deque[1] == "a"
        deque.append("d")
        assert list(deque) == ["z", "a", "b", "d"] and list(index.items()) == [("b", 1), ("a", 2)]
