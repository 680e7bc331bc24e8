"""A closed handle refuses every operation, says so, and harms no other handle."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import ClosedError

KEY = b"k" * 32

OF_BOTH: dict[str, Callable[[Any], Any]] = {
    "__getitem__": lambda it: it["k"],
    "__setitem__": lambda it: it.__setitem__("k", 2),
    "__delitem__": lambda it: it.__delitem__("k"),
    "__contains__": lambda it: "k" in it,
    "__len__": len,
    "__iter__": list,
    "__reversed__": lambda it: list(reversed(it)),
    "get": lambda it: it.get("k"),
    "set": lambda it: it.set("k", 2),
    "pop": lambda it: it.pop("k", None),
    "keys": lambda it: list(it.keys()),
    "values": lambda it: list(it.values()),
    "items": lambda it: list(it.items()),
    "clear": lambda it: it.clear(),
    "info": lambda it: it.info("k"),
    "stats": lambda it: it.stats(),
    "describe": lambda it: it.describe(),
    "sweep": lambda it: it.sweep(),
    "flush": lambda it: it.flush(),
    "backup": lambda it: it.backup(it.path + "-backup"),
    "verify": lambda it: it.verify(),
    "change_encryption_key": lambda it: it.change_encryption_key(KEY, b"n" * 32),
}
OF_CACHE: dict[str, Callable[[Any], Any]] = OF_BOTH | {
    "add": lambda it: it.add("absent", 2),
    "delete": lambda it: it.delete("k"),
    "incr": lambda it: it.incr("k"),
    "decr": lambda it: it.decr("k"),
    "touch": lambda it: it.touch("k"),
    "get_or_set": lambda it: it.get_or_set("absent", lambda: 2),
    "get_or_set_many": lambda it: it.get_or_set_many(["absent"], lambda keys: [2]),
    "memoize": lambda it: it.memoize(abs)(-1),
    "get_many": lambda it: it.get_many(["k"]),
    "set_many": lambda it: it.set_many({"k": 2}),
    "load": lambda it: it.load([], "tabsep"),
    "delete_many": lambda it: it.delete_many(["k"]),
    "evict": lambda it: it.evict("t"),
    "namespaces": lambda it: it.namespaces(),
    "compact": lambda it: it.compact(),
    "anamespaces": lambda it: asyncio.run(it.anamespaces()),
    "aget": lambda it: asyncio.run(it.aget("k")),
    "aset": lambda it: asyncio.run(it.aset("k", 2)),
    "aadd": lambda it: asyncio.run(it.aadd("absent", 2)),
    "adelete": lambda it: asyncio.run(it.adelete("k")),
    "apop": lambda it: asyncio.run(it.apop("k")),
    "aincr": lambda it: asyncio.run(it.aincr("k")),
    "adecr": lambda it: asyncio.run(it.adecr("k")),
    "atouch": lambda it: asyncio.run(it.atouch("k")),
    "aget_or_set": lambda it: asyncio.run(it.aget_or_set("absent", lambda: 2)),
    "aget_or_set_many": lambda it: asyncio.run(it.aget_or_set_many(["absent"], lambda keys: [2])),
    "ainfo": lambda it: asyncio.run(it.ainfo("k")),
    "acontains": lambda it: asyncio.run(it.acontains("k")),
    "aget_many": lambda it: asyncio.run(it.aget_many(["k"])),
    "aset_many": lambda it: asyncio.run(it.aset_many({"k": 2})),
    "aload": lambda it: asyncio.run(it.aload([], "tabsep")),
    "adelete_many": lambda it: asyncio.run(it.adelete_many(["k"])),
    "aevict": lambda it: asyncio.run(it.aevict("t")),
    "aclear": lambda it: asyncio.run(it.aclear()),
    "alen": lambda it: asyncio.run(it.alen()),
    "akeys": lambda it: asyncio.run(collect(it.akeys())),
    "avalues": lambda it: asyncio.run(collect(it.avalues())),
    "aitems": lambda it: asyncio.run(collect(it.aitems())),
    "__aiter__": lambda it: asyncio.run(collect(it)),
    "astats": lambda it: asyncio.run(it.astats()),
    "adescribe": lambda it: asyncio.run(it.adescribe()),
    "asweep": lambda it: asyncio.run(it.asweep()),
    "aflush": lambda it: asyncio.run(it.aflush()),
    "abackup": lambda it: asyncio.run(it.abackup(it.path + "-backup")),
    "acompact": lambda it: asyncio.run(it.acompact()),
    "averify": lambda it: asyncio.run(it.averify()),
}
OF_DICT: dict[str, Callable[[Any], Any]] = OF_BOTH | {
    "setdefault": lambda it: it.setdefault("absent", 2),
    "popitem": lambda it: it.popitem(),
    "update": lambda it: it.update(k=2),
    "walk": lambda it: list(it.walk()),
    "to_dict": lambda it: it.to_dict(),
    "copy": lambda it: it.copy(),
    "__copy__": lambda it: it.__copy__(),
    "__deepcopy__": lambda it: it.__deepcopy__({}),
    "__eq__": lambda it: it == {},
    "__ne__": lambda it: it != {},
    "__bool__": bool,
    "__or__": lambda it: it | {},
    "__ror__": lambda it: {} | it,
    "__ior__": lambda it: it.__ior__({"k": 2}),
}

#: What a closed handle still does: close, say what it is, be pickled (as the path and options), and what asks no store.
STILL = {
    # Those of damaged stores are of the class.
    Cache: {
        "salvage",
        "repair",
        "close",
        "aclose",
        "path",
        "namespace",
        "disabled",
        "mode",
        "__enter__",
        "__exit__",
        "__aenter__",
    }
    | {"__aexit__", "__bool__", "__repr__", "__reduce__", "__init__", "__orig_bases__"},
    PersistDict: {"close", "path", "fromkeys", "__enter__", "__exit__", "__call__", "__init__", "__reduce_ex__"}
    | {"__hash__", "__class_getitem__", "__new__", "__getattribute__", "__repr__", "shown", "__getstate__"},
}


async def collect(items: Any) -> list[Any]:
    return [item async for item in items]


def methods(face: type) -> set[str]:
    """What the face defines itself, or its bases that are not of Python."""
    found: set[str] = set()
    for kind in face.__mro__:
        if kind.__module__.startswith("cachemere"):
            found |= {name for name, what in vars(kind).items() if callable(what) or isinstance(what, property)}
            found |= {name for name, what in vars(kind).items() if isinstance(what, classmethod)}
    return {name for name in found if not name.startswith("_") or name.startswith("__")}


@pytest.mark.parametrize(("face", "uses"), [(Cache, OF_CACHE), (PersistDict, OF_DICT)])
def test_every_method_is_looked_at(face: type, uses: dict[str, Any]) -> None:
    assert methods(face) - uses.keys() - STILL[face] == set()
    assert uses.keys() <= methods(face)


@pytest.mark.parametrize("was_used", [False, True], ids=["unused", "used"])
@pytest.mark.parametrize(
    ("face", "use"),
    [
        pytest.param(face, use, id=f"{face.__name__} {name}")
        for face, uses in ((Cache, OF_CACHE), (PersistDict, OF_DICT))
        for name, use in uses.items()
    ],
)
def test_a_closed_handle_refuses(path: Path, face: Any, use: Callable[[Any], Any], was_used: bool) -> None:
    with face(path, encryption_key=KEY) as other:
        other["k"] = 1
        it = face(path, encryption_key=KEY)
        if was_used:
            assert it["k"] == 1
        it.close()
        for _ in range(2):
            with pytest.raises(ClosedError, match="open the store again") as caught:
                use(it)
            assert isinstance(caught.value, ValueError), "as of a closed file"
        assert list(other.items()) == [("k", 1)]
    assert [place.name for place in path.parent.iterdir()] == [path.name]


def test_the_default_cache_refuses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEMERE_DIR", str(tmp_path / "chosen"))
    cache = Cache()
    cache.close()
    with pytest.raises(ClosedError):
        cache.get("k")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_what_a_closed_handle_still_does(path: Path, face: Any) -> None:
    it = face(path)
    it["k"] = 1
    it.close()
    it.close()
    assert it.path == str(path)
    with pickle.loads(pickle.dumps(it)) as again:
        assert again["k"] == 1, "a pickled handle is its path and options"
    assert hash(it) == hash(it) if face is Cache else it.__hash__ is None
    assert face is PersistDict or (bool(it) and str(path) in repr(it))


def test_views_and_walks_of_a_closed_handle_refuse(path: Path) -> None:
    d = PersistDict[int, int](path)
    d.update({number: number for number in range(3000)})
    keys, walk, values = d.keys(), d.walk(), iter(d.values())
    assert next(walk) == (0, 0) and next(values) == 0
    d.close()
    for use in (lambda: len(keys), lambda: 5 in keys, lambda: list(walk), lambda: list(values)):
        with pytest.raises(ClosedError):
            use()
