"""Wrote `hugedict-2.14.6.db`: run once in the directory `fixtures`, with that version of hugedict installed."""

from pathlib import Path

import orjson
from hugedict.sqlite import SqliteDict


def main() -> None:
    d = SqliteDict.str(Path("hugedict-2.14.6.db"), ser_value=orjson.dumps, deser_value=orjson.loads)
    d["b"] = {"x": [1, None]}
    d["a"] = "text"
    d.db.close()
    Path("hugedict-2.14.6.db.inited").unlink()


if __name__ == "__main__":
    main()
