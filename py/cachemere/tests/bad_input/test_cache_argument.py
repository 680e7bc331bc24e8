"""Where a Cache must be given: what is given in its stead is refused with what to write, and never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import PersistDict
from cachemere.errors import InvalidOptionError
from cachemere.integrations.requests import CachemereCache

TAKERS: dict[str, Callable[[Any], Any]] = {
    "memoize": lambda it: cachemere.memoize(cache=it),
    "an adapter": lambda it: CachemereCache(it),
}
every_taker = pytest.mark.parametrize("take", TAKERS.values(), ids=TAKERS)


def test_a_path_is_answered_with_how_to_open_it() -> None:
    for given in ("some/store", Path("some/store")):
        with pytest.raises(
            InvalidOptionError, match=r"cache must be a cachemere\.Cache, .*: write cachemere\.Cache\('so"
        ):
            TAKERS["an adapter"](given)


def test_memoize_takes_a_path_and_opens_nothing_yet(tmp_path: Path) -> None:
    for given in (str(tmp_path / "store"), tmp_path / "store"):
        assert cachemere.memoize(cache=given)(len).cache_key is not None
    assert not (tmp_path / "store").exists()


def test_an_address_is_not_shown() -> None:
    for take, said in (("an adapter", r"write cachemere\.Cache\(\.\.\.\)"), ("memoize", "begins with valkey://;")):
        with pytest.raises(InvalidOptionError, match=said) as caught:
            TAKERS[take]("valkey://user:hidden@host")
        assert "hidden" not in str(caught.value)


@every_taker
def test_what_is_in_a_mapping_is_not_shown(path: Path, take: Callable[[Any], Any]) -> None:
    with PersistDict[str, str](path) as d:
        d["name"] = "secret"
        for given in (d, {"name": "secret"}, object()):
            with pytest.raises(InvalidOptionError, match="must be a cachemere.Cache, not an object of type") as caught:
                take(given)
            assert "secret" not in str(caught.value) and "write" not in str(caught.value)
