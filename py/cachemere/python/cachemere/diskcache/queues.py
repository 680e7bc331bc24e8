"""Queues within a cache: entries under consecutive numbers, which are pushed and pulled at both ends.

The numbers that a queue can have entries at are kept aside, in another part of the store: from its `front` to its
`back`, more than there are rather than less. They are widened before something is written beyond them, by several
numbers at once, and narrowed after what was there is gone. So they are right whenever a process is killed, and each
operation looks at a few numbers that have no entry. Without them, in a store of somebody else's say, all keys are
looked at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .._core.checks import choice, shown
from .._core.walk import entries
from ..errors import DamagedError, InvalidOptionError
from .constants import ENOVAL
from .entry import Entry, absent, expiry, lifetime, taken, with_details
from .handle import Handle
from .transaction import Transaction

#: The number of the first entry of an empty queue.
FIRST = 500_000_000_000_000

#: The numbers there can be: those of 15 digits, so that the order of keys as texts is that of the numbers.
LEAST, MOST = 100_000_000_000_000, 999_999_999_999_998

#: By how many numbers the ends are moved at once.
STRIDE = 8

#: After so many numbers without an entry all keys are looked at.
MANY = 1000

#: How many values are read at once.
CHUNK = 128

Ends = tuple[int, int]


class Queues(Handle):
    """Pushing and pulling."""

    def push(
        self,
        value: Any,
        prefix: str | None = None,
        side: str = "back",
        expire: float | None = None,
        read: bool = False,
        tag: Any = None,
        retry: bool = False,
    ) -> Any:
        """Adds a value to a queue, and returns the key it is at: a number, or `prefix-number`.

        Atomic among threads and processes, as all of this.

        Raises:
            Timeout: Somebody else's transaction took longer than `timeout`, and not `retry`.
        """
        is_back = _is(side, "back")
        seconds, made = lifetime(expire), taken(value, read)
        with self._transact(retry) as transaction:
            front, back = self._ends(prefix, transaction)
            end = _sought(prefix, front, back, not is_back, transaction.has, transaction.keys)
            number = FIRST if end is None else end + 1 if is_back else end - 1
            if not LEAST <= number <= MOST:
                raise InvalidOptionError(f"the queue {prefix!r} has no more numbers at its {side}")
            self._widen(prefix, (front, back), number)
            key = key_of(prefix, number)
            transaction.write(key, made, expiry(seconds), tag)
            return key

    def pull(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = "front",
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """Removes the first (or last) of a queue and returns its key and value; `default` if the queue is empty.

        Raises:
            Timeout: Somebody else's transaction took longer than `timeout`, and not `retry`.
        """
        return self._taken_from(prefix, default, side, expire_time, tag, retry, removes=True)

    def peek(
        self,
        prefix: str | None = None,
        default: Any = (None, None),
        side: str = "front",
        expire_time: bool = False,
        tag: bool = False,
        retry: bool = False,
    ) -> Any:
        """As :meth:`pull`, removing nothing."""
        return self._taken_from(prefix, default, side, expire_time, tag, retry, removes=False)

    def _taken_from(
        self, prefix: str | None, default: Any, side: str, expire_time: bool, tag: bool, retry: bool, removes: bool
    ) -> Any:
        is_front = _is(side, "front")
        with self._transact(retry) as transaction:
            found = self._end(prefix, is_front, transaction)
            if found is None:
                return absent(default, expire_time, tag)
            key, entry = found
            if removes:
                transaction.remove(key)
            return with_details((key, entry.value), entry, expire_time, tag)

    # --- all of a queue ---------------------------------------------------------------------------------------------

    def _queue_keys(self, reverse: bool) -> Iterator[Any]:
        """The keys that entries of the queue without prefix can be at."""
        numbers = self._numbers(None)
        return iter(reversed(numbers) if reverse else numbers)

    def _queue_items(self, reverse: bool) -> Iterator[tuple[Any, Any]]:
        """Keys and values of the queue without prefix, read some at a time."""
        keys = self._queue_keys(reverse)
        while chunk := list(itertools.islice(keys, CHUNK)):
            for key, value in zip(chunk, self._values(chunk), strict=True):
                if value is not ENOVAL:
                    yield key, value

    def _values(self, keys: list[Any]) -> list[Any]:
        mine = self._mine
        if mine is None:
            return self._unless_closed(lambda store: store.get_many(keys, ENOVAL))
        entries = (mine.read(key) for key in keys)
        return [ENOVAL if entry is None else entry.value for entry in entries]

    # --- the ends -----------------------------------------------------------------------------------------------------

    def _end(self, prefix: str | None, is_front: bool, transaction: Transaction) -> tuple[Any, Entry] | None:
        front, back = self._ends(prefix, transaction)
        entry = None
        while entry is None:
            number = _sought(prefix, front, back, is_front, transaction.has, transaction.keys)
            if number is None:
                break
            # Which can expire just now.
            entry = transaction.read(key_of(prefix, number))
        left = (FIRST, FIRST - 1) if number is None else (number, back) if is_front else (front, number)
        # The back was widened by up to a stride beyond what there is.
        if abs(left[0] - front) >= STRIDE or abs(left[1] - back) >= 2 * STRIDE:
            # Once it cannot be undone any more.
            transaction.afterwards(lambda: self._narrow(prefix))
        return None if number is None or entry is None else (key_of(prefix, number), entry)

    def _numbers(self, prefix: str | None) -> Sequence[int]:
        """The numbers a queue can have entries at."""
        ends = self._stored_ends(prefix)
        if ends is None:
            with self._transact(True) as transaction:
                ends = self._ends(prefix, transaction)
        if ends[1] - ends[0] < len(self) + MANY:
            return range(ends[0], ends[1] + 1)
        return sorted(_numbers_of(prefix, self))

    def _ends(self, prefix: str | None, transaction: Transaction) -> Ends:
        if prefix is not None and type(prefix) is not str:
            raise InvalidOptionError(f"prefix must be a str or None, not {shown(prefix)}")
        ends = self._stored_ends(prefix)
        if ends is None:
            # What is removed by a transaction that fails is there again.
            kept = (key for key, *_ in entries(self._store, reverse=False, keys_only=True))
            numbers = [*_numbers_of(prefix, transaction.keys()), *_numbers_of(prefix, kept)]
            ends = (min(numbers), max(numbers)) if numbers else (FIRST, FIRST - 1)
            self._put_ends(prefix, ends)
        return ends

    def _stored_ends(self, prefix: str | None) -> Ends | None:
        found = self._queues(lambda store: store.get(prefix, ENOVAL))
        if found is ENOVAL:
            return None
        if type(found) is tuple and len(found) == 2 and all(type(number) is int for number in found):
            front, back = found
            if LEAST <= front <= MOST and LEAST - 1 <= back <= MOST:
                return front, back
        raise DamagedError(
            f"where the queue {prefix!r} begins and ends is not what was written: clear() makes the cache usable again"
        )

    def _widen(self, prefix: str | None, ends: Ends, number: int) -> None:
        front, back = ends
        if front <= number <= back:
            return
        if front > back:
            wider = number, min(number + STRIDE - 1, MOST)
        elif number > back:
            wider = front, min(number + STRIDE - 1, MOST)
        else:
            wider = max(number - STRIDE + 1, LEAST), back
        self._put_ends(prefix, wider)

    def _narrow(self, prefix: str | None) -> None:
        """Remembers before and behind which number there is nothing."""
        ends = self._stored_ends(prefix)
        if ends is None:
            return
        first = _sought(prefix, *ends, True, self.__contains__, self.__iter__)
        last = None if first is None else _sought(prefix, *ends, False, self.__contains__, self.__iter__)
        self._put_ends(prefix, (FIRST, FIRST - 1) if first is None or last is None else (first, last))

    def _put_ends(self, prefix: str | None, ends: Ends) -> None:
        self._queues(lambda store: store.put(prefix, ends))

    def _forget_queues(self) -> None:
        self._queues(lambda store: store.clear())


def _is(side: Any, wanted: str) -> bool:
    choice("side", side, ("back", "front"))
    return bool(side == wanted)


def key_of(prefix: str | None, number: int) -> Any:
    """The key of an entry of a queue."""
    return number if prefix is None else f"{prefix}-{number:015d}"


def _sought(
    prefix: str | None,
    front: int,
    back: int,
    is_front: bool,
    has: Callable[[Any], bool],
    keys: Callable[[], Iterable[Any]],
) -> int | None:
    """The first, or last, of some numbers at which there is an entry."""
    for tried, number in enumerate(range(front, back + 1) if is_front else range(back, front - 1, -1)):
        if has(key_of(prefix, number)):
            return number
        if tried == MANY:
            # Many entries between are gone, or somebody wants us to look for ever.
            numbers = _numbers_of(prefix, keys())
            return min(numbers, default=None) if is_front else max(numbers, default=None)
    return None


def _numbers_of(prefix: str | None, keys: Iterable[Any]) -> Iterator[int]:
    return (number for key in keys if (number := _number_of(prefix, key)) is not None)


def _number_of(prefix: str | None, key: Any) -> int | None:
    if prefix is None:
        return key if type(key) is int and LEAST <= key <= MOST else None
    if type(key) is not str or not key.startswith(prefix + "-"):
        return None
    digits = key[len(prefix) + 1 :]
    if len(digits) != 15 or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits) if LEAST <= int(digits) <= MOST else None
