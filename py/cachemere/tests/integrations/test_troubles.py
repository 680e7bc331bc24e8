"""What an adapter logs of what goes wrong: each trouble once, not without end, and with advice that works in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cachemere import Cache
from cachemere.errors import StoreIOError, UnsafeValueError
from cachemere.integrations._part import Part, Troubles


@dataclasses.dataclass
class Answer:
    text: str


class Plain:
    pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_each_trouble_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "cachemere")
    troubles = Troubles("a host", "bypass")
    for _ in range(3):
        for error in (StoreIOError("one"), StoreIOError("other"), ValueError("one")):
            troubles.meet(error)
    assert warnings(caplog) == [f"a host goes on without this entry: {text}" for text in ("one", "other", "one")]
    assert len(caplog.records) == 9, "the others are there for who looks for them"


def test_troubles_without_end_are_not_warned_of_without_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "cachemere")
    troubles = Troubles("a host", "bypass")
    for number in range(100):
        troubles.meet(StoreIOError(f"at key {number}"))
    assert len(warnings(caplog)) == 16 and len(caplog.records) == 100
    assert len(troubles._warned._troubles) == 16


@pytest.mark.parametrize("value", [Answer("a"), [Plain()]], ids=["a dataclass", "a plain object"])
def test_two_values_that_cannot_be_stored_are_both_told_with_what_works(
    path: Path, caplog: pytest.LogCaptureFixture, value: object
) -> None:
    troubles = Troubles("a host", "bypass")
    # Pickle is no way out, though the cache allows it.
    part = Part.of(Cache(path, allow_pickle=True), "part")
    for it in (value, {1j, Cache}, value):
        with pytest.raises(UnsafeValueError) as caught:
            part.set("k", it)
        troubles.meet(caught.value)
    first, second = warnings(caplog)
    name = "Answer" if isinstance(value, Answer) else "Plain"
    assert f"test_troubles.{name}' has no safe form: if it is a dataclass" in first
    assert f"register it: Cache(path, types=[{name}]); else convert it" in first
    assert "pickle" not in first + second and "'builtins.type'" in second


def test_a_pickled_entry_is_told_without_advice_to_load_it(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Cache(path, namespace="part", allow_pickle=True) as cache:
        cache["k"] = Plain()
    with pytest.raises(UnsafeValueError) as caught:
        Part.of(Cache(path, allow_pickle=True), "part").get("k")
    Troubles("a host", "bypass").meet(caught.value)
    assert warnings(caplog) == [
        "a host goes on without this entry: the value is pickled, and loading a pickle can run any code: adapters "
        "use no pickle"
    ]


def test_what_is_followed_works(path: Path) -> None:
    part = Part.of(Cache(path, types=[Answer]), "part")
    part.set("k", Answer("a"))
    assert part.get("k") == Answer("a")


def test_on_error_raise_raises_the_error_itself() -> None:
    error = StoreIOError("one")
    with pytest.raises(StoreIOError) as caught:
        Troubles("a host", "raise").meet(error)
    assert caught.value is error
