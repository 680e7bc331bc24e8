"""Two mappings, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class ChainedMapping(Mapping[K, V]):
    """What is in the first mapping, and what is only in the second.

    >>> both = ChainedMapping({"a": 1, "b": 2}, {"b": 20, "c": 30})
    >>> dict(both), len(both), both.get("d")
    ({'a': 1, 'b': 2, 'c': 30}, 3, None)
    """

    __slots__ = ("mapping1", "mapping2")

    def __init__(self, mapping1: Mapping[K, V], mapping2: Mapping[K, V]) -> None:
        self.mapping1 = mapping1
        self.mapping2 = mapping2

    def __getitem__(self, key: K) -> V:
        try:
            return self.mapping1[key]
        except KeyError:
            return self.mapping2[key]

    def __iter__(self) -> Iterator[K]:
        """The keys of the first, then those only the second has."""
        yield from self.mapping1
        for key in self.mapping2:
            if key not in self.mapping1:
                yield key

    def __len__(self) -> int:
        """Costs a look into the first for each key of the second."""
        return len(self.mapping1) + sum(key not in self.mapping1 for key in self.mapping2)

    def __contains__(self, key: object) -> bool:
        return key in self.mapping1 or key in self.mapping2

    def __repr__(self) -> str:
        return f"ChainedMapping({self.mapping1!r}, {self.mapping2!r})"
