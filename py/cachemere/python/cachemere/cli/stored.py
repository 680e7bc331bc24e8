"""What entries contain, without the classes of the program that wrote them and without running any code.

A handle of the command line gives out a :class:`Named`, :class:`Pickled` or :class:`Own` where another would build an
object by a class of the user's, load a pickle or call a serializer. They are good for being shown and as keys.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._core.info import NamespaceInfo
from .._core.options import Options, Serializers
from .._forms.forms import Forms
from .._forms.known_types import Packed
from ..errors import DecodeError, KeyFormError, UnsafeValueError


@dataclass(frozen=True, eq=False)
class Named:
    """An object of a named kind that is not built here: of a registered type, a member of an enum, an array."""

    name: str
    plain: Any


@dataclass(frozen=True)
class Pickled:
    """A pickle."""

    data: bytes

    def load(self) -> Any:
        """The object. Runs whatever code the pickle says.

        Raises:
            DecodeError: It cannot be loaded here.
        """
        try:
            return pickle.loads(self.data)
        except Exception as cause:
            raise DecodeError(f"the pickle cannot be loaded: {type(cause).__name__}: {cause}") from cause


@dataclass(frozen=True)
class Own:
    """What a serializer of the user's made of a key or value."""

    stored: Any


class StoredForms(Forms):
    """Objects of the closed table that need no other package, and names for the rest."""

    def __init__(self) -> None:
        super().__init__(())

    def pack(self, it: Any) -> Packed | None:
        return (it.name, it.plain) if isinstance(it, Named) else super().pack(it)

    def unpack(self, name: str, plain: Any) -> Any:
        if name in ("enum", "flag") or name.startswith("numpy."):
            return Named(name, plain)
        try:
            return super().unpack(name, plain)
        except (DecodeError, UnsafeValueError):
            return Named(name, plain)

    def canonical(self, key: Any) -> tuple[str, Any, bool] | None:
        if isinstance(key, Pickled):
            return None
        if not isinstance(key, Named):
            return super().canonical(key)
        if key.name.startswith("numpy."):
            return super().canonical(super().unpack(key.name, key.plain))
        if key.name.startswith("of:") and isinstance(key.plain, tuple):
            # A named tuple is the key that a plain one is.
            return "", key.plain, False
        if key.name.startswith("of:") and isinstance(key.plain, dict):
            return key.name, tuple(key.plain.values()), False
        return key.name, key.plain, False


def _dumps(it: Any, protocol: int = 5) -> bytes:
    if isinstance(it, Pickled):
        return it.data
    raise KeyFormError(f"an object of type '{type(it).__name__}' is not looked for")


def _stored(it: Any) -> Any:
    return it.stored if isinstance(it, Own) else it


@dataclass(frozen=True)
class Looking(Options):
    """Options of a handle that gives out what is stored."""

    #: As the namespace records it.
    recorded: str = "python"

    @property
    def serializer(self) -> str:
        return self.recorded

    def forms(self) -> Forms:
        return StoredForms()

    def _pickle(self) -> Serializers | None:
        return _dumps, Pickled


def is_ours(namespace: NamespaceInfo) -> bool:
    """Whether its serializers are those of this package, with functions of the user's or without."""
    return namespace.key_serializer == namespace.serializer and namespace.serializer.split("+")[0] == "python"


def looking(recorded: str, **options: Any) -> Looking:
    """Options for a namespace with these serializers."""
    own: Serializers = (_stored, Own)
    parts: Iterable[str] = recorded.split("+")
    return Looking(
        recorded=recorded,
        key_serializers=own if "own keys" in parts else None,
        value_serializers=own if "own values" in parts else None,
        pickle_keys=True,
        memory_bytes=0,
        **options,
    )
