"""Filling databases from files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from .. import _rocks
from .._core import checks
from .._core.load import MEMORY_BUDGET, LoadOptions, LoadSummary
from .._core.load_bar import Bar
from .._core.options import resolve
from ..errors import InvalidOptionError
from ._options import PrefixExtractor, RocksDBOptions

StrPath = str | os.PathLike[str]
KeyEncoding = Literal["raw", "ordered", "hugedict"]

_ENCODINGS = ("raw", "ordered", "hugedict")
#: The options of a load that the fields of a record type are.
_RECORD_FIELDS = {
    "type": "format",
    "key": "key_field",
    "value": "value_field",
    "delimiter": "delimiter",
    "header": "header",
}
_FORMAT_FIELDS = ("record_type", "is_sorted", "number_type")


def rocksdb_load(
    dbpath: StrPath,
    dbopts: RocksDBOptions,
    files: StrPath | Iterable[StrPath],
    format: str | Mapping[str, Any],
    verbose: bool = False,
    compact: bool = False,
    *,
    key_encoding: KeyEncoding = "raw",
    key_type: Literal["text", "bytes"] = "text",
    value_type: Literal["text", "bytes", "json"] = "text",
    duplicates: Literal["last", "first", "error"] = "last",
    on_error: Literal["raise", "skip"] = "raise",
    memory_budget: int = MEMORY_BUDGET,
    threads: int | None = None,
    temporary: StrPath | None = None,
) -> LoadSummary:
    """Loads files into a database: all of their records, or none.

    Files are read in parallel, and so are parts of one file; what does not fit into `memory_budget` is sorted on the
    disk. Files of entries are written, and taken in all at once. A record whose key is there already replaces its
    value. Whatever ends a load early leaves the database as it was. What a killed load leaves, beside or in the
    database's directory, is removed by the next one.

    Args:
        dbpath: The database's directory. It must not be open.
        dbopts: How RocksDB works with it; with `create_if_missing`, it is made if there is none.
        files: In the order by which `duplicates` goes. Compressed or not (gzip, bzip2, Zstandard, xz), as they are
            found to be, whatever their names.
        format: The type of the records, or a dict of `record_type` (`type`, and `key` and `value`, which say where in a
            record they are), `is_sorted` and `number_type`. Types: "tabsep" (key, tab, value), "ndjson" (JSON in
            lines; `key` and `value` are paths of members, no value is the whole line), "tuple2" (JSON lists of two),
            "bin_kv" (each behind its size in 8 bytes, little endian), "csv" (`key` and `value` are names or numbers of
            columns; `delimiter`, `header`).
        verbose: Shows a bar on the standard error.
        compact: Merges all that the database has afterwards. One that was empty does not need it.
        key_encoding: "raw": bytes as in the files, text in UTF-8, numbers of JSON as `number_type` says; for a
            :class:`RocksDBDict` with functions. "hugedict": the same, for one of that encoding. "ordered": for one
            without functions; `key_type` and `value_type` then say what they are to be.
        key_type, value_type: With "ordered": "text" (str), "bytes", and for values "json" (plain data).
        duplicates: Which of several records of a key counts; "error": none.
        on_error: "skip": bad records are left out and counted.
        memory_budget: Bytes for records, 4 MiB or more. The process takes less than twice as much.
        threads: As many as the machine has cores by default.
        temporary: Where to sort what does not fit into memory. By default beside the database.

    Raises:
        BusyError, IncompatibleError, DamagedError, StoreIOError: Before anything is read; as :class:`RocksDBDict`.
        InputFileError: A file is missing, or its compression is broken.
        BadRecordError: A record is bad; the message has the file and the line.
        DuplicateKeyError: With `duplicates="error"`; the message has both places.
        DiskFullError: There is no room for what is sorted or for the files of entries.

    >>> import pathlib, tempfile
    >>> from cachemere.rocksdb import RocksDBDict, RocksDBOptions, rocksdb_load
    >>> home = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (home / "capitals.tsv").write_text("France\\tParis\\nPeru\\tLima\\n")
    >>> summary = rocksdb_load(
    ...     home / "db", RocksDBOptions(create_if_missing=True), home / "capitals.tsv", "tabsep", key_encoding="ordered"
    ... )
    >>> with RocksDBDict(home / "db", readonly=True) as d:
    ...     summary.written, d["Peru"]
    (2, 'Lima')
    """
    _check_options(dbopts)
    checks.choice("key_encoding", key_encoding, _ENCODINGS)
    checks.flag("compact", compact)
    options = _RecordOptions(
        **_read_format(format),
        key_type=key_type,
        value_type=value_type,
        duplicates=duplicates,
        on_error=on_error,
        memory_budget=memory_budget,
        threads=threads,
        temporary=temporary,
        verbose=verbose,
    )
    path = resolve(dbpath)
    described = options.describe(files, path if path.is_dir() else path.parent)
    prefix = _prefix_length(dbopts.prefix_extractor, key_encoding)
    if not verbose:
        told = _rocks.load_files(path, dbopts, prefix, key_encoding, described, compact)
    else:
        with Bar() as bar:
            told = _rocks.load_files(path, dbopts, prefix, key_encoding, described, compact, bar.show)
    return LoadSummary.told(told)


def rocksdb_build_sst_file(
    dbopts: RocksDBOptions,
    outfile: StrPath,
    input_generator: Callable[[], tuple[bytes | str, bytes | str] | None],
) -> bool:
    """Writes a file of entries, to be taken in by :func:`rocksdb_ingest_sst_files`.

    Args:
        dbopts: The options of the database.
        outfile: The file. There is none if there are no entries, or if something fails.
        input_generator: Is called for each entry, whose keys must ascend byte by byte, until it returns `None`.

    Returns:
        Whether there were entries.

    Raises:
        InvalidOptionError: A key is not behind the one before.
    """
    _check_options(dbopts)
    checks.function("input_generator", input_generator)
    if input_generator is None:
        raise InvalidOptionError("input_generator must be a function, not None")
    prefix = _prefix_length(dbopts.prefix_extractor, "raw")
    return _rocks.build_sst_file(dbopts, prefix, resolve(outfile), input_generator)


def rocksdb_ingest_sst_files(
    dbpath: StrPath,
    dbopts: RocksDBOptions,
    sst_files: Iterable[StrPath],
    compact: bool = False,
    *,
    key_encoding: KeyEncoding = "raw",
) -> None:
    """Moves files of entries into a database: all of them, or none.

    Their entries replace those of the same keys, and those of later files those of earlier ones.

    Raises:
        BusyError, IncompatibleError, DamagedError, StoreIOError: As :class:`RocksDBDict`; also for a file that is
            missing or damaged. Nothing was changed.
    """
    _check_options(dbopts)
    checks.choice("key_encoding", key_encoding, _ENCODINGS)
    checks.flag("compact", compact)
    files = [resolve(file) for file in checks.items("sst_files", sst_files, "paths")]
    prefix = _prefix_length(dbopts.prefix_extractor, key_encoding)
    _rocks.ingest_sst_files(resolve(dbpath), dbopts, prefix, key_encoding, files, compact)


class _RecordOptions(LoadOptions):
    PLACES = {"key_field": "key", "value_field": "value"}


def _check_options(dbopts: object) -> None:
    if not isinstance(dbopts, RocksDBOptions):
        raise InvalidOptionError(f"dbopts must be RocksDBOptions, not {checks.shown(dbopts)}")


def _read_format(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """As the options of a load that it says."""
    if isinstance(given, str):
        return {"format": given}
    if not isinstance(given, Mapping):
        raise InvalidOptionError(f"format must be the type of the records or a dict, not {checks.shown(given)}")
    _check_names("format", given, _FORMAT_FIELDS)
    record = given.get("record_type")
    if isinstance(record, str):
        record = {"type": record}
    if not isinstance(record, Mapping) or "type" not in record:
        raise InvalidOptionError("format must have a record_type with a type")
    _check_names("record_type", record, _RECORD_FIELDS)
    read = {_RECORD_FIELDS[name]: value for name, value in record.items()}
    if read["format"] in ("tabsep", "bin_kv"):
        # Whose fields say nothing, and which has them all the same.
        read = {name: value for name, value in read.items() if value is not None}
    read["is_sorted"] = given.get("is_sorted", False)
    read["number_type"] = given.get("number_type")
    return read


def _check_names(what: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    for name in given:
        if name not in known:
            raise InvalidOptionError(f"{what} has no field {name!r}: it has {', '.join(known)}")


def _prefix_length(extractor: PrefixExtractor | None, key_encoding: str) -> int | None:
    if extractor is None or extractor.size is not None:
        return None if extractor is None else extractor.size
    prefix = next(iter(extractor.prefix))
    encoded = prefix.encode() if isinstance(prefix, str) else prefix
    if not isinstance(encoded, bytes):
        raise InvalidOptionError(
            f"fixed_prefix_alike must be of a str or bytes here, not {checks.shown(prefix)}: "
            "give its size by fixed_prefix"
        )
    # In the ordered encoding there is one byte before it.
    return len(encoded) + (key_encoding == "ordered")
