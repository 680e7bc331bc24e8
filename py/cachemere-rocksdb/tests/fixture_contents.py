"""What is in `fixtures/rocksdb-v1`, and how it was written: once, as a program, by the version that made the format."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).parent / "fixtures" / "rocksdb-v1"

ENTRIES: dict[Any, Any] = {
    None: "none",
    -(2**100): [1, 2.5, None],
    -1.5: {"a": (1, b"b")},
    0: True,
    3: "three",
    2**64 + 1: {1, 2},
    b"bytes\x00": bytearray(b"x"),
    "text": datetime.date(2024, 2, 29),
    "text\ud800": "half a pair",
    ("a", 1, (None, b"\x00")): "nested",
}


def main() -> None:
    from cachemere.rocksdb import RocksDBDict, RocksDBOptions, fixed_prefix

    options = RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix(size=2))
    with RocksDBDict[Any, Any](FIXTURE, options) as d:
        d.update(ENTRIES)
        d.compact()
    for name in ("LOCK", *(file.name for file in FIXTURE.glob("LOG*"))):
        (FIXTURE / name).unlink()


if __name__ == "__main__":
    main()
