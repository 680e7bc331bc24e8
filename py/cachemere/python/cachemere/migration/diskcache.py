"""Directories of diskcache: `Cache`, `FanoutCache`, `Deque` and `Index`, with `Disk` or `JSONDisk`."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..diskcache.tags import stored
from ..errors import CacheError, DecodeError, InvalidOptionError
from ._decoding import key_of
from ._entry import Entry, Form, Stored, Tags, broken
from ._recognize import shards_of
from ._source import Reading, check_present, wrong_kind
from ._sqlite_file import Garbled, SqliteFile

#: As the table has them.
_COLUMNS = ("key", "raw", "store_time", "expire_time", "access_time", "tag", "mode", "filename", "value")

#: How a value is stored.
_RAW, _BINARY, _TEXT, _PICKLE = 1, 2, 3, 4

#: Names of the directories, two deep, with the values that are in files of their own.
_FILES = re.compile("[0-9a-f]{2}")

#: So many keys are looked at to see whether a directory is one of JSONDisk.
_LOOKED_AT = 16


class DiskcacheSource:
    """A directory of diskcache; the shards of a `FanoutCache` one after the other, as it goes through them itself."""

    def __init__(self, path: Path, reading: Reading) -> None:
        reading.refuse("diskcache", "table", "keys")
        if reading.values not in (None, "json", "pickle"):
            raise InvalidOptionError("values for diskcache is 'json' (of JSONDisk) or 'pickle' (of Disk)")
        check_present(path, "diskcache")
        if path.name == "cache.db" and path.is_file():
            path = path.parent
        self.path = path
        self._shards: list[Path] = shards_of(path)
        if not self._shards:
            raise wrong_kind(path, "diskcache", "there is no cache.db in it, nor in directories 000, 001, ...")
        self._wants_json = None if reading.values is None else reading.values == "json"
        self._files: dict[Path, SqliteFile] = {}
        # Of several shards, those that are sound are read.
        damaged: list[CacheError] = []
        try:
            for shard in self._shards:
                try:
                    self._open(path, shard)
                except CacheError as error:
                    damaged.append(error)
            if len(damaged) == len(self._shards):
                raise damaged[0]
        except BaseException:
            self.close()
            raise
        self._is_json = self._looks_like_json() if self._wants_json is None else self._wants_json

    def _open(self, path: Path, shard: Path) -> SqliteFile:
        if shard not in self._files:
            file = SqliteFile(shard / "cache.db")
            if not {"Settings", "Cache"} <= file.tables.keys() or not set(_COLUMNS) <= set(file.tables["Cache"]):
                file.close()
                raise wrong_kind(path, "diskcache", "cache.db has other tables")
            self._files[shard] = file
        return self._files[shard]

    def _looks_like_json(self) -> bool:
        """Whether all keys that are looked at are what JSONDisk makes, and Disk only of bytes like that."""
        looked_at = 0
        for file in self._files.values():
            for _, key, raw in file.rows("Cache", ("key", "raw")):
                try:
                    if not raw or not isinstance(key, bytes):
                        return False
                    key_of(Stored(Form.ZLIB_JSON, key), allow_pickle=False)
                except CacheError:
                    return False
                looked_at += 1
                if looked_at == _LOOKED_AT:
                    return True
        return looked_at > 0

    def count(self) -> int | None:
        return sum(file.count("Cache") for file in self._files.values())

    def entries(self) -> Iterator[Entry]:
        for shard in self._shards:
            try:
                file = self._files.get(shard) or self._open(shard, shard)
                for row in file.rows("Cache", _COLUMNS):
                    yield self._entry(shard, row)
            except CacheError as error:
                yield broken(str(shard / "cache.db"), str(error))

    def _entry(self, shard: Path, row: tuple[Any, ...]) -> Entry:
        number, key, raw, stored, expires, accessed, tag, mode, filename, value = row
        return Entry(
            f"row {number} of {shard / 'cache.db'}",
            self._key(key, raw),
            self._value(shard, mode, filename, value),
            _time(stored),
            _time(accessed),
            _time(expires),
            _tags(tag),
        )

    def _key(self, key: Any, raw: Any) -> Stored:
        if not raw:
            return Stored(Form.PICKLE, key) if isinstance(key, bytes) else _broken("its key is no pickle")
        if isinstance(key, Garbled):
            return _broken("its key is not text in UTF-8")
        return Stored(Form.ZLIB_JSON if self._is_json else Form.PLAIN, key)

    def _value(self, shard: Path, mode: Any, filename: Any, value: Any) -> Stored:
        form = {_RAW: Form.PLAIN, _BINARY: Form.PLAIN, _TEXT: Form.TEXT, _PICKLE: Form.PICKLE}.get(mode)
        if form is None:
            return _broken(f"its mode is {mode!r}, which diskcache does not have")
        if isinstance(value, Garbled):
            return _broken("its value is not text in UTF-8")
        if self._is_json and form is Form.PLAIN:
            form = Form.ZLIB_JSON
        if filename is None and mode in (_RAW, _PICKLE):
            return Stored(form, value)
        if not isinstance(filename, str) or mode == _RAW:
            return _broken("the file with its value has no name")
        return Stored(form, filename, partial(_content, shard))

    def parts(self) -> list[Path]:
        """The caches, deques and indexes that a `FanoutCache` has inside, as their places in its directory."""
        if self._shards == [self.path]:
            return []
        found: list[Path] = []
        for kind in ("cache", "deque", "index"):
            for place, directories, files in os.walk(self.path / kind):
                directories.sort()
                if "cache.db" in files:
                    found.append(Path(place).relative_to(self.path))
                if _FILES.fullmatch(os.path.basename(place)):
                    # It has files of values, many of them, or is a name.
                    directories[:] = [name for name in directories if os.path.isfile(f"{place}/{name}/cache.db")]
        return found

    def close(self) -> None:
        for file in self._files.values():
            file.close()


def _content(shard: Path, filename: str) -> bytes:
    """What is in the file of a value, which must be in the directory."""
    name = Path(filename)
    if name.is_absolute() or ".." in name.parts:
        raise DecodeError(f"its file {filename!r} is not in the directory")
    place = shard / name
    if not place.resolve().is_relative_to(shard.resolve()):
        raise DecodeError(f"its file {filename!r} is not in the directory")
    # A pipe in place of a file would keep us waiting.
    descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DecodeError(f"{filename!r} is not a file")
        return file.read()


def _broken(why: str) -> Stored:
    return Stored(Form.BROKEN, why)


def _time(seconds: Any) -> float | None:
    return float(seconds) if isinstance(seconds, (int, float)) else None


def _tags(tag: Any) -> Tags:
    """The tag as the facade stores it; one that it would not take is none."""
    try:
        return stored(tag) or ()
    except InvalidOptionError:
        return ()
