"""Files to load, in every format and compression."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Pairs = list[tuple[str, str]]

PAIRS: Pairs = [(f"key {n * 7919 % 5003}", f'value {n}, "quoted" é') for n in range(5000)]

#: Options of `Cache.load` that read what `write` has written.
OPTIONS: dict[str, dict[str, Any]] = {
    "tabsep": {},
    "ndjson": {"key_field": "of.key", "value_field": "value"},
    "tuple2": {},
    "bin_kv": {},
    "csv": {"key_field": "key", "value_field": "value"},
}

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


def encode(format: str, pairs: Pairs) -> bytes:
    """The pairs in a format."""
    if format == "csv":
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["value", "nothing", "key"])
        rows.writerows([value, "", key] for key, value in pairs)
        return text.getvalue().encode()
    if format == "bin_kv":
        return b"".join(sized(key) + sized(value) for key, value in pairs)
    return "".join(line(format, key, value) + "\n" for key, value in pairs).encode()


def line(format: str, key: str, value: str) -> str:
    """A pair in a format of lines."""
    if format == "tabsep":
        return f"{key}\t{value}"
    return json.dumps([key, value] if format == "tuple2" else {"value": value, "of": {"key": key}})


def sized(text: str) -> bytes:
    """Text with its length in front."""
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def write(path: Path, text: str | bytes) -> Path:
    """A file."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
