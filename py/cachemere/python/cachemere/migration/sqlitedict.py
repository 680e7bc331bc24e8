"""Files of sqlitedict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DamagedError, InvalidOptionError
from ._entry import Entry, Form, Stored, broken
from ._files import is_sqlite
from ._source import Reading, check_present, wrong_kind
from ._sqlite_file import Garbled, SqliteFile

#: The table of a shelf of `dbm.sqlite3`.
_OF_SHELVE = "Dict"


class SqlitedictSource:
    """One table of a file. Values are pickles, and keys text, unless its program had functions of its own."""

    #: The table that is read if none is named, and what the package is called.
    _default_table = "unnamed"
    _kind = "sqlitedict"
    _values = Form.PICKLE

    def __init__(self, path: Path, reading: Reading) -> None:
        check_present(path, self._kind)
        if not is_sqlite(path):
            raise wrong_kind(path, self._kind, "it is not a file of SQLite")
        self._file = SqliteFile(path)
        try:
            self._table = self._choose(path, reading.table)
        except BaseException:
            self._file.close()
            raise
        form = reading.key_form(Form.PLAIN)
        # Its `encode_key` makes text of a pickle.
        self._key_form = {Form.PICKLE: Form.BASE64_PICKLE, Form.TEXT: Form.PLAIN, Form.INT64: Form.PLAIN}.get(
            form, form
        )
        self._value_form = reading.value_form(self._values)

    def _choose(self, path: Path, named: str | None) -> str:
        fitting = [name for name, columns in self._file.tables.items() if columns == ["key", "value"]]
        if named is not None:
            if named not in fitting:
                raise InvalidOptionError(f"{path} has no table {named!r} of {self._kind}; it has {_listed(fitting)}")
            return named
        if not fitting or "Settings" in self._file.tables or fitting == [_OF_SHELVE]:
            self._file.close()
            raise wrong_kind(path, self._kind, "it has no table of keys and values")
        if self._default_table in fitting:
            return self._default_table
        if len(fitting) > 1:
            raise InvalidOptionError(f"say which table of {path} to import (--table, table=): {_listed(fitting)}")
        return fitting[0]

    def count(self) -> int | None:
        return self._file.count(self._table)

    def entries(self) -> Iterator[Entry]:
        try:
            for number, key, value in self._file.rows(self._table, ("key", "value")):
                place = f"row {number} of {self._file.path}"
                yield Entry(place, _stored(self._key_form, key), _stored(self._value_form, value))
        except DamagedError as error:
            yield broken(str(self._file.path), str(error))

    def close(self) -> None:
        self._file.close()


def _stored(form: Form, data: Any) -> Stored:
    if isinstance(data, Garbled):
        return Stored(Form.BROKEN, "it has text that is not in UTF-8")
    # What SQLite has as text or a number was not made by a function that makes bytes.
    if form is Form.TEXT and isinstance(data, str):
        form = Form.PLAIN
    return Stored(form, data)


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
