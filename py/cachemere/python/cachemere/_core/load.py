"""Loading files: options, checked by name, and what a load came to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import InvalidOptionError
from . import checks
from .load_bar import Bar
from .options import resolve
from .quantities import Size

if TYPE_CHECKING:
    from .._engine import Store

Path = str | os.PathLike[str]
Format = Literal["tabsep", "ndjson", "tuple2", "bin_kv", "csv"]
Kind = Literal["text", "bytes", "json"]

#: Bytes of memory for records unless told otherwise.
MEMORY_BUDGET = 512 << 20
_LEAST_BUDGET = 4 << 20


@dataclass(frozen=True)
class LoadSummary:
    """What a load came to."""

    #: Records in the files, without those that were skipped.
    records: int
    #: Entries written.
    written: int
    #: Records left out because another one of the same key counts.
    duplicates: int
    #: Records left out because the cache had their key (`existing="keep"`).
    kept: int
    #: Bad records left out (`on_error="skip"`).
    skipped: int
    #: Some of the bad records, ten at most: file, line and what is wrong.
    bad: tuple[str, ...]
    #: Bytes of the files as they are on the disk.
    bytes_read: int
    #: Bytes written to the temporary directory, because the records did not fit into the memory budget.
    bytes_spilled: int
    #: Seconds it took to read and sort.
    reading: float
    #: Seconds it took to write.
    writing: float

    @classmethod
    def told(cls, told: dict[str, Any]) -> LoadSummary:
        """As the native half tells it."""
        return cls(**told | {"bad": tuple(told["bad"])})

    @classmethod
    def nothing(cls) -> LoadSummary:
        """Of a load that was not done, because the cache is disabled."""
        return cls(0, 0, 0, 0, 0, (), 0, 0, 0.0, 0.0)


@dataclass(frozen=True)
class LoadOptions:
    """All that describes a load but for its files. Checked when it is made."""

    #: What a face calls where key and value are.
    PLACES: ClassVar[Mapping[str, str]] = {"key_field": "key_field", "value_field": "value_field"}

    format: str
    key_field: str | int | None = None
    value_field: str | int | None = None
    delimiter: str = ","
    header: bool = True
    key_type: str = "text"
    value_type: str = "text"
    duplicates: str = "last"
    existing: str = "replace"
    on_error: str = "raise"
    memory_budget: Size = MEMORY_BUDGET
    threads: int | None = None
    temporary: Path | None = None
    is_sorted: bool = False
    number_type: str | None = None
    verbose: bool = False

    def __post_init__(self) -> None:
        checks.choice("format", self.format, ("tabsep", "ndjson", "tuple2", "bin_kv", "csv"))
        checks.choice("key_type", self.key_type, ("text", "bytes"))
        checks.choice("value_type", self.value_type, ("text", "bytes", "json"))
        checks.choice("duplicates", self.duplicates, ("last", "first", "error"))
        checks.choice("existing", self.existing, ("replace", "keep", "error"))
        checks.choice("on_error", self.on_error, ("raise", "skip"))
        object.__setattr__(self, "memory_budget", checks.size("memory_budget", self.memory_budget, _LEAST_BUDGET))
        if self.threads is not None:
            checks.count("threads", self.threads)
            if self.threads > 1024:
                raise InvalidOptionError(f"threads must be 1024 at most, not {self.threads}")
        if self.number_type is not None:
            checks.choice("number_type", self.number_type, ("f32", "f64", "i32", "i64", "u32", "u64"))
        for name in ("header", "verbose", "is_sorted"):
            checks.flag(name, getattr(self, name))
        self._check_places()
        if not isinstance(self.delimiter, str) or len(self.delimiter) != 1 or self.delimiter in '"\n\r':
            raise InvalidOptionError(f"delimiter must be one character, not {checks.shown(self.delimiter)}")
        if not self.delimiter.isascii():
            raise InvalidOptionError(f"delimiter must be an ASCII character, not {self.delimiter!r}")

    def _check_places(self) -> None:
        for field, name in self.PLACES.items():
            place = getattr(self, field)
            if self.format in ("tabsep", "bin_kv"):
                if place is not None:
                    raise InvalidOptionError(f"{name} is for ndjson, tuple2 and csv; {self.format} has it in one place")
            elif self.format == "csv":
                is_number = type(place) is int and place >= 0
                if place is not None and not is_number and not isinstance(place, str):
                    raise InvalidOptionError(
                        f"{name} must be the name or number of a column, not {checks.shown(place)}"
                    )
                if isinstance(place, str) and not self.header:
                    raise InvalidOptionError(f"{name} must be the number of a column where there is no header")
            elif place is not None and not isinstance(place, str):
                raise InvalidOptionError(f"{name} must be the path of a member, a str, not {checks.shown(place)}")
        if self.format == "ndjson" and self.key_field is None:
            name = self.PLACES["key_field"]
            raise InvalidOptionError(f"{name} must be given for ndjson: the path of the member that is the key")

    def describe(self, files: Path | Iterable[Path], store: Path) -> dict[str, Any]:
        """For the native half."""
        if isinstance(files, (str, os.PathLike)):
            files = (files,)
        # As text: to ask a path for it runs Python, and what a signal's handler raises then has to get out as it is.
        paths = [str(resolve(file)) for file in checks.items("files", files, "paths")]
        return {
            "files": paths,
            "format": self.format,
            "key_field": self.key_field,
            "value_field": self.value_field,
            "delimiter": ord(self.delimiter),
            "header": self.header,
            "key_type": self.key_type,
            "value_type": self.value_type,
            "duplicates": self.duplicates,
            "existing": self.existing,
            "skips": self.on_error == "skip",
            "memory_budget": self.memory_budget,
            "threads": self.threads,
            "is_sorted": self.is_sorted,
            "number_type": self.number_type,
            "directory": str(resolve(store if self.temporary is None else self.temporary)),
        }


def load(store: Store, described: dict[str, Any], ttl: float | None, verbose: bool) -> LoadSummary:
    """Loads, and shows a bar if told to."""
    if not verbose:
        told = store.load(described, ttl)
    else:
        with Bar() as bar:
            told = store.load(described, ttl, bar.show)
    return LoadSummary.told(told)
