"""A passphrase is derived once for all handles that were made of each other, while one of them is open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache
from cachemere.errors import WrongSecretError
from cachemere.integrations._part import Part

MAKERS: list[Callable[[Cache], Cache]] = [lambda cache: cache.namespace("other"), lambda cache: Part.of(cache, "part")]


def forget(path: Path) -> None:
    """From now on whoever derives the secret anew derives the wrong one."""
    cachemere.unlock(path, "wrong")


@pytest.mark.parametrize("make", MAKERS)
def test_an_open_handle_lets_in_what_is_made_of_it(path: Path, make: Callable[[Cache], Cache]) -> None:
    cache = Cache(path, encryption_key="right")
    cache["k"] = 1
    forget(path)
    made = make(cache)
    made["k"] = 2
    assert (cache["k"], made["k"]) == (1, 2)
    # And what is made of that one, when the first is closed.
    cache.close()
    grandchild = made.namespace("third")
    grandchild["k"] = 3
    assert made["k"] == 2
    made.close()
    grandchild.close()
    with pytest.raises(WrongSecretError):
        Cache(path, encryption_key="wrong")["k"]


@pytest.mark.parametrize("make", MAKERS)
def test_of_several_that_were_made_any_may_be_opened_first(path: Path, make: Callable[[Cache], Cache]) -> None:
    cache = Cache(path, encryption_key="right")
    first = make(cache)
    forget(path)
    second = make(cache)
    first["k"] = 1
    second["k"] = 2
    cache["k"] = 3
    assert cache["k"] == 3


def test_when_all_are_closed_the_secret_is_needed(path: Path) -> None:
    cache = Cache(path, encryption_key="right")
    cache["k"] = 1
    knows = cache.namespace("default")
    forget(path)
    knows_not = cache.namespace("default")
    cache.close()
    with pytest.raises(WrongSecretError):
        knows_not["k"]
    assert knows["k"] == 1
    # It is open now, and what was refused can be tried again.
    assert knows_not["k"] == 1


def test_another_path_is_another_secret(path: Path) -> None:
    cache = Cache(path / "one", encryption_key="right")
    cache["k"] = 1
    other: Any = Cache(path / "two", encryption_key="other")
    other["k"] = 2
    assert cache.namespace("x").get("k") is None
    assert other.namespace("default")["k"] == 2
    with pytest.raises(WrongSecretError):
        Cache(path / "two", encryption_key="right").get("k")


def test_a_handle_with_a_secret_of_its_own_is_not_let_in(path: Path) -> None:
    cache = Cache(path, encryption_key="right")
    cache["k"] = 1
    with pytest.raises(WrongSecretError):
        Cache(path, encryption_key="wrong")["k"]


def test_the_secret_is_needed_once_the_data_key_is_another(path: Path) -> None:
    cache = Cache(path, encryption_key="old")
    cache["k"] = 1
    made_before = cache.namespace("default")
    cache.change_encryption_key("old", "new", reencrypt=True)
    # It has the old one.
    with pytest.raises(WrongSecretError):
        made_before["k"]
    assert cache.namespace("default")["k"] == 1
    # That one, with the new secret, lets it in.
    assert made_before["k"] == 1


def test_a_forked_child_is_let_in_by_what_it_inherited(path: Path) -> None:
    cache = Cache(path, encryption_key="right")
    cache["k"] = 1
    forget(path)
    child = os.fork()
    if child == 0:
        try:
            works = cache.namespace("default")["k"] == 1
        except BaseException:
            works = False
        os._exit(0 if works else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
