"""Uses every face of an installed Cachemere once, and says which failed. It needs nothing but the package.

Run it with the interpreter of the environment in question, from anywhere but a checkout: `python smoke.py`.
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cachemere
import cachemere.diskcache
from cachemere.errors import NotInstalledError


def cache(directory: Path) -> None:
    with cachemere.Cache(directory / "cache", ttl=60, compression=True, encryption_key=bytes(32)) as opened:
        opened["a"] = {"text": "42", "scores": [0.1, 0.9]}
        assert opened["a"] == {"text": "42", "scores": [0.1, 0.9]}
        opened.set("b", b"bytes", tags=["t"])
        assert opened.get_many(["a", "b", "absent"]).keys() == {"a", "b"}
        assert opened.evict("t") == 1 and "b" not in opened
        assert opened.verify().is_clean
    with cachemere.Cache(directory / "cache", encryption_key=bytes(32)) as again:
        assert list(again) == ["a"]


def memoize(directory: Path) -> None:
    calls = []

    @cachemere.memoize(cache=cachemere.Cache(directory / "memoize"))
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    @cachemere.memoize(cache=cachemere.Cache(directory / "memoize"))
    async def triple(number: int) -> int:
        calls.append(number)
        return 3 * number

    assert [double(1), double(1)] == [2, 2]
    assert asyncio.run(triple(1)) == 3 and asyncio.run(triple(1)) == 3
    assert calls == [1, 1]


def persist_dict(directory: Path) -> None:
    opened: cachemere.PersistDict[str, object] = cachemere.PersistDict(database_path=directory / "dict")
    opened["a"] = [1, 2]
    opened["b"] = {1, 2}
    assert isinstance(opened, dict) and opened == {"a": [1, 2], "b": {1, 2}} and list(opened) == ["a", "b"]
    assert {**opened} == dict(opened) == opened | {} == dict.copy(opened) == opened.to_dict()
    del opened["b"]
    # Whether code in C that looks into the dict sees the entries depends on the version of Python.
    assert json.dumps(opened) == json.dumps([opened])[1:-1] == json.dumps(opened, sort_keys=True) == '{"a": [1, 2]}'
    assert type("Made", (), opened).__dict__["a"] == [1, 2]


def parallel(directory: Path) -> None:
    pool = cachemere.Parallel()
    assert pool.map(abs, [-1, -2, 3], n_processes=2) == [1, 2, 3]


def diskcache(directory: Path) -> None:
    with cachemere.diskcache.Cache(str(directory / "facade")) as opened:
        opened.set("k", "v", expire=60, tag="t")
        assert opened.get("k", tag=True) == ("v", "t")
        assert opened.incr("n", 2, default=0) == 2
    assert list(cachemere.diskcache.Deque([1, 2], str(directory / "deque"))) == [1, 2]


def load(directory: Path) -> None:
    records = directory / "records.ndjson"
    records.write_text("".join(json.dumps({"id": f"r{n}", "n": n}) + "\n" for n in range(100)))
    with cachemere.Cache(directory / "loaded") as opened:
        opened.load([records], "ndjson", key_field="id", value_type="json")
        assert len(opened) == 100 and opened["r7"]["n"] == 7


def command_line(directory: Path) -> None:
    with cachemere.Cache(directory / "looked at") as opened:
        opened["a"] = 1
    script = Path(sys.executable).with_name("cachemere")
    for program in ([str(script)], [sys.executable, "-m", "cachemere"]):
        looked = [*program, "get", str(directory / "looked at"), "a", "--json"]
        done = subprocess.run(looked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout), done.stdout


def without_rocksdb(directory: Path) -> None:
    try:
        cachemere.Cache(directory / "rocksdb", backend="rocksdb").close()
    except NotInstalledError as error:
        assert "install" in str(error), error


FACES = (cache, memoize, persist_dict, parallel, diskcache, load, command_line, without_rocksdb)


def main() -> None:
    os.environ.pop("CACHEMERE_DISABLE", None)
    with tempfile.TemporaryDirectory() as directory:
        os.environ["CACHEMERE_DIR"] = f"{directory}/default"
        for face in FACES:
            face(Path(directory))
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"{len(FACES)} faces of cachemere {cachemere.__version__} work under {sys.implementation.name} {version}")


if __name__ == "__main__":
    main()
