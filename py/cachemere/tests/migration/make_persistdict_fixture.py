"""Wrote `persistdict-0.2.14`: run once in the directory `fixtures`, with that version of PersistDict installed.

`contents.json` has the keys in the order of their creation, each with its time as the source has it: local, without a
zone.
"""

import json
import time
from pathlib import Path

from PersistDict import PersistDict

VALUES = {
    "a": 1,
    "nested": {"x": [1, 2.5, None], "t": (1, b"\0"), "s": {1, 2}},
    "1": "a key like a number",
    "null": True,
    "é😀\n: x": "a key of YAML's own",
    "k" * 2000: "a long key",
    "": "an empty key",
}


def main() -> None:
    home = Path("persistdict-0.2.14")
    home.mkdir()
    d = PersistDict(database_path=home / "plain", background_thread="disabled")
    for key, value in VALUES.items():
        d[key] = value
        time.sleep(0.01)
    d["a class"] = str
    d["deleted"] = 1
    del d["deleted"]
    own = PersistDict(
        database_path=home / "own-functions",
        background_thread="disabled",
        key_serializer=None,
        key_unserializer=None,
        value_serializer=lambda value: json.dumps(value).encode(),
        value_unserializer=lambda data: json.loads(bytes(data)),
    )
    own["b"] = [1, {"x": None}]
    own["a"] = "text"
    known = {key: str(d.metadata_db[d.key_serializer(d.hash_and_crop(key))]["ctime"]) for key in [*VALUES, "a class"]}
    (home / "contents.json").write_text(json.dumps(known, indent=1))
    for name in ("plain", "own-functions"):
        (home / name / "lock.mdb").unlink()


if __name__ == "__main__":
    main()
