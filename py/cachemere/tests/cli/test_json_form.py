"""What is exported says all that was stored, and nothing is shown like something else."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cachemere
import numpy
import pytest
from cachemere import Cache
from cachemere._forms.forms import Forms
from cachemere.cli import json_form, shown
from command_line import here, ok
from hypothesis import given
from hypothesis import strategies as st
from json_reader import read
from plain_data import TYPES, keys, same, texts, values

FORMS = Forms(TYPES)


@given(pairs=st.lists(st.tuples(keys, values), max_size=5))
def test_what_is_exported_is_what_was_stored(tmp_path_factory: pytest.TempPathFactory, pairs: list[Any]) -> None:
    path = tmp_path_factory.mktemp("stores") / "store"
    with Cache(path, types=TYPES) as cache:
        for key, value in pairs:
            cache[key] = value
        stored = list(cache.items())
    done = here("export", path)
    assert (done.status, done.err) == (0, "") and done.out.isascii()
    found = [(read(line["key"], FORMS), read(line["value"], FORMS)) for line in done.lines()]
    assert len(found) == len(stored)
    for (key, value), (found_key, found_value) in zip(stored, found, strict=True):
        assert same(found_key, key), (found_key, key)
        assert same(found_value, value), (found_value, value)


@given(it=values)
def test_every_document_is_strict_json(it: Any) -> None:
    def refused(constant: str) -> Any:
        raise AssertionError(constant)

    form = json_form.form(it) if _is_plain(it) else None
    text = json_form.document(form)
    # Shown on a terminal, nothing in it moves the cursor.
    assert text.isprintable()
    assert json.loads(text, parse_constant=refused) == form


def _is_plain(it: Any) -> bool:
    try:
        json_form.form(it)
    except cachemere.CacheError:
        # Of a class that a store has only the name of.
        return False
    return True


@given(one=texts | keys, other=texts | keys)
def test_keys_that_differ_are_shown_differently(one: Any, other: Any) -> None:
    if not same(one, other):
        # `-0.0` and `nan` are written as Python writes them, and all NaN are one key.
        assert shown.key(one) != shown.key(other) or json_form.document(_form(one)) == json_form.document(_form(other))


def _form(it: Any) -> Any:
    return json_form.form(it) if _is_plain(it) else repr(it)


@given(text=texts)
def test_a_text_is_shown_as_it_is_or_as_python_writes_it(text: str) -> None:
    line = shown.key(text)
    assert line.isprintable() and line
    assert line == text or eval(line) == text


@pytest.mark.parametrize(
    "text",
    ["1", "-1", "1.5", "None", "True", "nan", "inf", "'a'", '"a"', "b'a'", "('a', 1)", "<x>", "f(1)", "", " a", "-"],
)
def test_a_text_that_looks_like_another_key_is_quoted(text: str) -> None:
    assert shown.key(text) == repr(text)


def test_ordinary_texts_are_not_quoted() -> None:
    for text in (
        "a",
        "Why is the sky blue?",
        "user:42/profile",
        "über",
        "日本語",
        "it's",
        "a-b_c.d",
        "-x",
        "True story",
    ):
        assert shown.key(text) == text


#: Keys and values that are not like others, with the key as ls shows it.
STRANGE: dict[str, tuple[Any, Any]] = {
    "a terminal's codes": ("\x1b[2J\x9b31m\r\n\u202e", "\x1b[2J\x9b31m\r\n\u202e\x7f"),
    "half a pair": ("\ud800", "\udfff"),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "a long number": (10**5000, -(10**5000)),
    "a huge text": ("k" * 1_000_000, "v" * 1_000_000),
    "no text": ("", ""),
    "NaN": (math.nan, math.nan),
    "an array": (numpy.float64(2.5), numpy.arange(6).reshape(2, 3)),
    "names with $": ("$tuple", {"$tuple": [1], "$": None}),
    "names that are no text": (None, {1: 2, (1, 2): 3, None: 4}),
    "deep": (("deep",), None),
}


@pytest.fixture
def strange(path: Path) -> Path:
    with Cache(path) as cache:
        for key, value in STRANGE.values():
            cache[key] = value
        nested: Any = 1
        for level in range(149):
            nested = ({"$": nested},) if level % 2 else [nested]
            if level == 70:
                cache["deep enough"] = nested
        cache["deep"] = _nested(140)
    return path


def _nested(depth: int) -> Any:
    nested: Any = 1
    for level in range(depth):
        nested = (nested,) if level % 2 else {level: nested}
    return nested


def test_strange_entries_are_shown(strange: Path) -> None:
    table = ok("ls", strange).out
    assert all(line.isprintable() for line in table.splitlines()) and "\x1b" not in table
    assert max(map(len, table.splitlines())) < 320, "huge keys are cut"
    # As UTF-8 and on a terminal that has only ASCII.
    for encoding in ("utf-8", "ascii"):
        lines = ok("ls", strange, "--json", PYTHONIOENCODING=encoding).lines()
        assert len(lines) == len(STRANGE) + 2
        assert same(read(lines[0]["key"], FORMS), STRANGE["a terminal's codes"][0])
    exported = ok("export", strange).lines()
    for (key, value), line in zip(STRANGE.values(), exported, strict=False):
        assert same(read(line["key"], FORMS), key)
        found = read(line["value"], FORMS)
        assert numpy.array_equal(found, value) if isinstance(value, numpy.ndarray) else same(found, value)
        assert line["size"] > 0, "each was found by its key"


@pytest.mark.parametrize("name", [name for name, (key, _) in STRANGE.items() if isinstance(key, str) and len(key) < 99])
def test_a_strange_text_is_found_by_get(strange: Path, name: str) -> None:
    key, value = STRANGE[name]
    assert same(read(here("get", strange, key).json(), FORMS), value)


def test_keys_that_are_no_text_are_found_as_literals(strange: Path) -> None:
    assert read(here("get", strange, r"b'\x00\xff'", "--literal").json(), FORMS) == b"\x00\xff"
    assert read(here("get", strange, "None", "--literal").json(), FORMS) == {1: 2, (1, 2): 3, None: 4}
    assert read(here("get", strange, '("deep",)', "--literal").json(), FORMS) is None
    assert read(here("get", strange, "2.5", "--literal").json(), FORMS).sum() == 15
    for wrong in ("[1]", "{}", "f(1)", "text", "(", "", "{'a': 1}", "__import__('os')", "(" * 5000):
        done = here("get", strange, wrong, "--literal")
        assert (done.status, done.out) == (2, "") and "not a literal of Python that can be a key" in done.err
    assert here("get", strange, "-1", "--literal").status == 1


def test_raw_gives_the_bytes_and_nothing_else(path: Path) -> None:
    with Cache(path) as cache:
        cache["bytes"], cache["text"], cache["list"] = bytes(range(256)), "ü\n", [1]
    import subprocess

    from command_line import PROGRAM, environment

    for key, value in (("bytes", bytes(range(256))), ("text", "ü\n".encode())):
        done = subprocess.run([*PROGRAM, "get", path, key, "--raw"], capture_output=True, env=environment(), check=True)
        assert done.stdout == value
    done_list = here("get", path, "list", "--raw")
    assert (done_list.status, done_list.out) == (1, "") and "of type 'list'" in done_list.err
