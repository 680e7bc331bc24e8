"""Stores of other users and what messages advise about them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import CacheError

FACES = [lambda path, **options: Cache(path, **options), lambda path, **options: PersistDict(path, **options)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("face", FACES, ids=["Cache", "PersistDict"])
def test_a_store_of_another_user_is_opened_if_the_option_of_the_message_is_given(path: Path, face: Any) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    for place in (path, *path.iterdir()):
        os.chown(place, 12345, 12345)
    with pytest.raises(CacheError) as caught:
        len(face(path))
    (option,) = re.findall(r"(\w+)=True", str(caught.value))
    with face(path, **{option: True}) as store:
        assert len(store) == 1


@pytest.mark.parametrize("face", FACES, ids=["Cache", "PersistDict"])
@pytest.mark.parametrize("option", ["allow_foreign_owner", "allow_unsupported_file_system"])
def test_what_is_allowed_is_yes_or_no(path: Path, face: Any, option: str) -> None:
    with pytest.raises(CacheError, match=option):
        face(path, **{option: "yes"})
    with face(path, **{option: True}) as store:
        store["k"] = 1
