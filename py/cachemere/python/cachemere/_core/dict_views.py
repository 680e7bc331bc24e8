"""Live views of a :class:`~cachemere.PersistDict`, as `dict` has them."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, TypeVar

from .._engine import DictBase

K = TypeVar("K")
V = TypeVar("V")


class Viewed(DictBase[K, V]):
    """A dict that there are views of: base of :class:`~cachemere.PersistDict`."""

    def walk(self, *, reverse: bool = False) -> Iterator[tuple[K, V]]:
        """Pairs of key and value in the order of insertion."""
        raise NotImplementedError

    def shown(self, form: Callable[[Any, Any], str], before: str, after: str) -> str:
        """The first entries in words, and how many there are besides."""
        raise NotImplementedError


class DictKeys(KeysView[K]):
    """The keys, in the order of insertion."""

    _mapping: Viewed[K, Any]

    def __init__(self, owner: Viewed[K, Any]) -> None:
        self._mapping = owner

    @property
    def mapping(self) -> Mapping[K, Any]:
        """The dict this is a view of."""
        return self._mapping

    def __iter__(self) -> Iterator[K]:
        return iter(self._mapping)

    def __reversed__(self) -> Iterator[K]:
        return self._mapping.__reversed__()

    def __repr__(self) -> str:
        return f"dict_keys({self._mapping.shown(lambda key, _: repr(key), '[', ']')})"


class DictValues(ValuesView[V]):
    """The values, in the order of insertion of their keys."""

    _mapping: Viewed[Any, V]

    def __init__(self, owner: Viewed[Any, V]) -> None:
        self._mapping = owner

    @property
    def mapping(self) -> Mapping[Any, V]:
        """The dict this is a view of."""
        return self._mapping

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.walk())

    def __contains__(self, value: object) -> bool:
        return any(value is present or value == present for present in self)

    def __reversed__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.walk(reverse=True))

    def __repr__(self) -> str:
        return f"dict_values({self._mapping.shown(lambda _, value: repr(value), '[', ']')})"


class DictItems(ItemsView[K, V]):
    """The pairs of key and value, in the order of insertion."""

    _mapping: Viewed[K, V]

    def __init__(self, owner: Viewed[K, V]) -> None:
        self._mapping = owner

    @property
    def mapping(self) -> Mapping[K, V]:
        """The dict this is a view of."""
        return self._mapping

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.walk()

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._mapping.walk(reverse=True)

    def __repr__(self) -> str:
        return f"dict_items({self._mapping.shown(lambda key, value: repr((key, value)), '[', ']')})"
