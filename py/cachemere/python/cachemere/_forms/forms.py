"""How objects beyond plain data become plain data, and back.

The native half knows `None`, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set and frozenset.
For anything else it asks :meth:`Forms.pack`, which gives a name and plain data, or nothing. Reading goes by the name:
each is in a closed table here, or is a type the user registered. No class is looked up by a name that a store contains,
except enums of modules that this program has imported by itself.
"""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import sys
from collections.abc import Callable, Iterable
from typing import Any

from .._core.checks import shown
from .._core.signals import is_of_handler
from ..errors import DecodeError, InvalidOptionError, UnsafeValueError
from . import arrow_data, frames
from .annotated_types import annotated, returned
from .equal_keys import CANONICAL, EXACT, as_number, canonical_path, compares_as
from .known_types import PACK, UNPACK, Formless, Misshapen, Packed, pack_enum, pack_numpy, path_name, type_name
from .registered_types import Registered, register

#: What takes objects of large libraries apart, by the module of their class.
OF_LIBRARIES: dict[str, Callable[[Any], Packed | None]] = {
    "numpy": pack_numpy,
    "pandas": frames.pack_pandas,
    "polars": arrow_data.pack_polars,
    "pyarrow": arrow_data.pack_arrow,
}

_TO_LIBRARIES: dict[str, Callable[[Any], Any]] = {
    "arrow.RecordBatch": arrow_data.unpack_batch,
    "arrow.Table": arrow_data.unpack_table,
    "pandas.DataFrame": frames.unpack_frame,
    "pandas.Index": frames.unpack_index,
    "pandas.Series": frames.unpack_series,
    "polars.DataFrame": arrow_data.unpack_polars_frame,
    "polars.Series": arrow_data.unpack_polars_series,
}


def _is_current(kind: type) -> bool:
    """Whether a class is what its module has by its name."""
    return vars(sys.modules.get(kind.__module__, enum)).get(kind.__qualname__) is kind


class Forms:
    """The forms that one handle knows: the closed table, and the types registered with it.

    Args:
        kinds: Registered with the classes their fields name. Those are looked for once, when an object is met that is
            of no other known class.
        exact: Registered alone.
    """

    def __init__(self, kinds: Iterable[type] = (), exact: Iterable[type] = ()) -> None:
        self.types = tuple(kinds)
        self._by_type: dict[type, Registered] = {}
        self._by_name: dict[str, Registered] = {}
        for kind in (*self.types, *exact):
            if not isinstance(kind, type):
                raise InvalidOptionError(f"types: {shown(kind)} is not a class")
            registered = register(kind)
            self._by_type[kind] = registered
            self._by_name[registered.name] = registered
        #: Of those that `types` names itself.
        self._as_keys = frozenset(self._by_type)
        #: Stands for what is to be looked for, and for what was: the tables are complete if they are the same.
        self._wanted: object = object()
        self._found: object = None if self.types else self._wanted
        #: Of the return annotations of functions, and the functions whose annotation could not be read.
        self._returned: dict[type, None] = {}
        self._unread: dict[Any, Any] = {}

    def add_returned(self, function: Any) -> None:
        """Registers the classes that what a function returns is annotated with, and those their fields name."""
        kinds = returned(function)
        if kinds is None:
            self._unread[getattr(function, "__code__", function)] = function
        elif not kinds or all(kind in self._by_type for kind in kinds):
            return
        else:
            self._returned.update(dict.fromkeys(kinds))
        self._wanted = object()

    @property
    def _is_complete(self) -> bool:
        return self._found is self._wanted

    def _complete(self) -> None:
        """Registers the classes that the fields of the registered ones name."""
        by_type, by_name = dict(self._by_type), dict(self._by_name)
        # What is added meanwhile is seen by the next.
        wanted = self._wanted
        for code, function in list(self._unread.items()):
            kinds = returned(function)
            if kinds is not None:
                self._returned.update(dict.fromkeys(kinds))
                self._unread.pop(code, None)
        of_functions = list(self._returned)
        for kind in (*of_functions, *annotated((*self.types, *of_functions))):
            if kind in by_type:
                continue
            # An enum that is found by its name needs it no more than any other.
            if issubclass(kind, enum.Enum) and "<locals>" not in kind.__qualname__:
                continue
            registered = register(kind)
            # Of two of one name an entry could not tell which it was. One that was defined anew, in a notebook say,
            # takes the place of the old one.
            if registered.name not in by_name or _is_current(kind):
                by_type[kind] = by_name[registered.name] = registered
        # Whole, since other threads look into them.
        self._by_type, self._by_name = by_type, by_name
        self._found = wanted

    def _registered(self, kind: type) -> Registered | None:
        found = self._by_type.get(kind)
        if found is None and not self._is_complete and kind not in PACK:
            self._complete()
            found = self._by_type.get(kind)
        return found

    def pack(self, it: Any) -> Packed | None:
        """Name and plain data of an object that is not plain; `None` if it has no safe form."""
        kind = type(it)
        registered = self._registered(kind)
        if registered is not None:
            return "of:" + registered.name, registered.to_plain(it)
        packer = PACK.get(kind)
        try:
            if packer is not None:
                return packer(it)
            if isinstance(it, enum.Enum):
                return pack_enum(it)
        except Formless:
            return None
        library = OF_LIBRARIES.get(kind.__module__.partition(".")[0])
        if library is not None:
            try:
                return library(it)
            except Formless as why:
                if not why.args:
                    return None
                raise UnsafeValueError(
                    f"an object of type '{type_name(kind)}' has no safe form: {why}"
                ) from why.__cause__
        if isinstance(it, pathlib.PurePath):
            name = path_name(it)
            return None if name is None else (name, str(it))
        return None

    def unpack(self, name: str, plain: Any) -> Any:
        """The way back. Builds objects of known types only."""
        maker = UNPACK.get(name) or _TO_LIBRARIES.get(name)
        if maker is None and name.startswith("of:"):
            registered = self._by_name.get(name[3:])
            if registered is None and not self._is_complete:
                self._complete()
                registered = self._by_name.get(name[3:])
            if registered is None:
                raise UnsafeValueError(
                    f"the entry is a '{name[3:]}', which is not registered with this handle: open it with "
                    f"types=[{name.rpartition('.')[2]}]"
                )
            maker = registered.from_plain
        if maker is None:
            raise DecodeError(
                f"the entry has a form that this version does not know ({shown(name)}): upgrade cachemere"
            )
        try:
            return maker(plain)
        except (DecodeError, UnsafeValueError):
            raise
        except (Misshapen, Formless):
            raise DecodeError(f"the entry's {name!r} is not made of what it should be: remove the entry") from None
        except Exception as cause:
            if is_of_handler(cause):
                raise
            raise DecodeError(f"the entry's {name!r} cannot be built again: {cause}") from cause

    def canonical(self, key: Any) -> tuple[str, Any, bool] | None:
        """Name and canonical plain data of a key that is not plain, and whether they say what the key is.

        Keys that are equal must get equal forms. A subclass of a known type that keeps its equality (`IntEnum`,
        a named tuple, `numpy.str_`) therefore gets that of the known type.
        """
        kind: Any = type(key)
        try:
            number = as_number(key)
            if number is not None:
                return (*number, False)
            for plain, exact in EXACT.items():
                if isinstance(key, plain):
                    # numpy's own types compare as their bases do, though in code of their own.
                    if not compares_as(kind, plain) and kind.__module__ != "numpy":
                        return None
                    return "", exact(key), self.pack(key) is None
            for base, canonical in CANONICAL.items():
                if isinstance(key, base):
                    return (*canonical(key), False) if compares_as(kind, base) else None
        except Formless:
            return None
        if isinstance(key, enum.Enum):
            return (*pack_enum(key), False) if kind.__eq__ is object.__eq__ else None
        if isinstance(key, pathlib.PurePath):
            return canonical_path(key)
        if kind in self._as_keys:
            return self._canonical_registered(key)
        packed = self.pack(key)
        # A class that a field names makes values and not keys: a handle that pickles keys has pickled those.
        if (
            packed is None
            or kind in self._by_type
            or kind.__hash__ is None
            or kind.__module__.partition(".")[0] in OF_LIBRARIES
        ):
            return None
        return (*packed, False)

    def _canonical_registered(self, key: Any) -> tuple[str, Any, bool] | None:
        registered = self._by_type.get(type(key))
        parameters = getattr(type(key), "__dataclass_params__", None)
        if registered is None or parameters is None or not (parameters.eq and parameters.frozen):
            return None
        fields = [field for field in dataclasses.fields(key) if field.compare]
        return "of:" + registered.name, tuple(getattr(key, field.name) for field in fields), False
