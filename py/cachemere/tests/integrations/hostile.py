"""Entries as somebody might write them who can write to a store."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

from cachemere import Cache
from pydantic import BaseModel

#: As LangChain's serializer writes a call of a class by its name.
ENVELOPE = {"lc": 1, "type": "constructor", "id": ["os", "mkdir"], "kwargs": {}}


class Attack:
    """Makes a directory when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._mark),)


class Model(BaseModel):
    """Of another program, which has registered it."""

    number: int


def entries(mark: Path) -> dict[str, Any]:
    """Values that are no adapter's own."""
    return {
        "a pickle": Attack(mark),
        "a pickle in a dict": {"timestamp": Attack(mark)},
        "bytes of a pickle": pickle.dumps(Attack(mark)),
        "bytes of a pickle in a tuple": (pickle.dumps(Attack(mark)), None, None),
        "a pickle beside a mark": ("litellm", {"timestamp": Attack(mark)}),
        "an envelope in a tuple": (ENVELOPE,),
        "JSON of an envelope, in a tuple": (json.dumps(ENVELOPE),),
        "another class": Model(number=1),
        "no JSON": ("{", None, None),
        "a time that is none": ("{}", 1e300, None),
        "JSON without end": ("[" * 100_000, None, None),
    }


def write(path: Path, namespace: str, key: Any, value: Any) -> None:
    with Cache(path, namespace=namespace, allow_pickle=True, types=[Model]) as store:
        store[key] = value
