"""Changes the bytes of entries in a store that nobody has open."""

from __future__ import annotations

from pathlib import Path

import lmdb

#: The first byte of a record that is an entry; see `docs/FORMAT.md`.
ENTRY = b"e"


def entries(store: Path) -> list[bytes]:
    """The entries' records as they are on disk: header, key and payload; the largest last."""
    with lmdb.open(str(store), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return sorted((bytes(value) for key, value in transaction.cursor() if key[:1] == ENTRY), key=len)


def replace(store: Path, old: bytes, new: bytes) -> None:
    """Puts other bytes of the same number in the place of a record."""
    assert len(old) == len(new) and old != new
    file = store / "data.mdb"
    before = file.read_bytes()
    assert old in before
    # A page that was freed can still have an older copy.
    file.write_bytes(before.replace(old, new))


def flip_a_bit(store: Path, place: int) -> None:
    """Changes the largest entry, in a place that counts from its end if negative."""
    old = entries(store)[-1]
    new = bytearray(old)
    new[place] ^= 1
    replace(store, old, bytes(new))
