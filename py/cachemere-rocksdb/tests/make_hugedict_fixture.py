"""Wrote `hugedict-2.14.6`: run once in the directory `fixtures`, with that version of hugedict installed.

RocksDB's own notes (`LOG`, `LOCK`) were removed. The one with str was not closed: its entries are in the log, as a
program leaves them that ends without more.
"""

import os
from functools import partial
from pathlib import Path

from hugedict.prelude import RocksDBDict, RocksDBOptions, fixed_prefix


def main() -> None:
    home = Path("hugedict-2.14.6")
    home.mkdir()
    texts = RocksDBDict(
        path=str(home / "str"),
        options=RocksDBOptions(create_if_missing=True),
        deser_key=partial(str, encoding="utf-8"),
        deser_value=partial(str, encoding="utf-8"),
        ser_value=str.encode,
    )
    for number in range(200):
        texts[f"P{number:03}"] = f"property {number}"
    texts["Ä"] = "an umlaut"
    texts[b"bytes"] = "a key of bytes"
    texts[None] = "no key"
    ints = RocksDBDict(
        path=str(home / "int"),
        options=RocksDBOptions(create_if_missing=True, prefix_extractor=fixed_prefix(type="fixed_prefix", size=3)),
        deser_key=lambda view: int.from_bytes(view, "little", signed=True),
        deser_value=bytes,
        ser_value=bytes,
    )
    for key in (-2, -1, 0, 1, 2, 256, 2**40):
        ints[key] = str(key).encode()
    ints.compact(None, None)
    del ints
    for database in ("str", "int"):
        for name in ("LOG", "LOCK"):
            os.remove(home / database / name)
    os._exit(0)


if __name__ == "__main__":
    main()
