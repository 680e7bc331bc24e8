"""Live views of a :class:`~cachemere.rocksdb.RocksDBDict`, of all of it or of a range, in order or back."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from typing import Any, TypeVar

from .._rocks import MappingBase

K = TypeVar("K")
V = TypeVar("V")

Bound = tuple[()] | tuple[Any]


@dataclass(frozen=True)
class KeyRange:
    """From a key, included, to another, excluded; each a tuple of it, or of nothing."""

    start: Bound = ()
    stop: Bound = ()
    reverse: bool = False

    @property
    def is_all(self) -> bool:
        return not self.start and not self.stop


class _RangeView:
    """What the three views have in common."""

    _mapping: Any
    # The same mapping.
    _entries: MappingBase
    _range: KeyRange

    def __init__(self, mapping: MappingBase, range: KeyRange) -> None:
        self._mapping = self._entries = mapping
        self._range = range

    @property
    def mapping(self) -> Mapping[Any, Any]:
        """The mapping this is a view of."""
        mapping: Mapping[Any, Any] = self._mapping
        return mapping

    def __len__(self) -> int:
        """Goes through the keys of the range."""
        return self._entries._count(self._range.start, self._range.stop)

    def _walk(self, wanted: str, back: bool = False) -> Iterator[Any]:
        span = self._range
        return self._entries._scan(wanted, span.start, span.stop, span.reverse != back)

    def _has_key(self, key: object) -> bool:
        return self._entries._has(key, self._range.start, self._range.stop)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._mapping!r})"


class RangeKeys(_RangeView, KeysView[K]):
    """The keys of a range."""

    def __iter__(self) -> Iterator[K]:
        return self._walk("keys")

    def __reversed__(self) -> Iterator[K]:
        return self._walk("keys", back=True)

    def __contains__(self, key: object) -> bool:
        return self._has_key(key)


class RangeValues(_RangeView, ValuesView[V]):
    """The values of a range of keys, in the order of the keys."""

    def __iter__(self) -> Iterator[V]:
        return self._walk("values")

    def __reversed__(self) -> Iterator[V]:
        return self._walk("values", back=True)

    def __contains__(self, value: object) -> bool:
        """Goes through the values."""
        return any(value is present or value == present for present in self)


class RangeItems(_RangeView, ItemsView[K, V]):
    """Pairs of key and value of a range of keys."""

    def __iter__(self) -> Iterator[tuple[K, V]]:
        return self._walk("items")

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return self._walk("items", back=True)

    def __contains__(self, item: object) -> bool:
        if not isinstance(item, tuple) or len(item) != 2 or not self._has_key(item[0]):
            return False
        try:
            present = self._mapping[item[0]]
        except KeyError:
            return False
        return bool(present is item[1] or present == item[1])
