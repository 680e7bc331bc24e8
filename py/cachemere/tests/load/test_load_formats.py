"""Cache.load: what files become, and that it is what `cache[key] = value` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache, LoadSummary
from hypothesis import given
from hypothesis import strategies as st
from loaded import COMPRESSIONS, OPTIONS, PAIRS, encode, write


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("format", OPTIONS)
def test_every_format_in_every_compression_with_several_members(
    path: Path, tmp_path: Path, format: str, compression: str
) -> None:
    compress = COMPRESSIONS[compression]
    middle = len(PAIRS) // 2
    halves = [encode(format, PAIRS[:middle]), encode(format, PAIRS[middle:])]
    if format == "csv":
        halves[1] = halves[1].split(b"\n", 1)[1]
    file = write(tmp_path / "any name", b"".join(compress(half) for half in halves))
    with Cache(path) as cache:
        summary = cache.load(file, format, **OPTIONS[format])  # type: ignore[arg-type]
        assert (summary.records, summary.written, summary.bytes_read) == (5000, 5000, file.stat().st_size)
        assert list(cache.items()) == PAIRS
        assert cache.verify().is_clean


def test_loaded_entries_are_found_read_and_changed_as_any(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "a\tx\nb\ty\n")
    with Cache(path, encryption_key="secret", compression=True) as cache:
        cache["there"] = 1
        assert cache.load([file], "tabsep").written == 2
        assert cache["a"] == "x" and list(cache) == ["there", "a", "b"]
        cache["a"] = {"other": 1}
        assert cache.pop("b") == "y" and list(cache.items()) == [("there", 1), ("a", {"other": 1})]


def test_keys_and_values_as_bytes(path: Path, tmp_path: Path) -> None:
    with Cache(path) as cache:
        cache.load(write(tmp_path / "file", b"\xff\t\xfe\xfd\n"), "tabsep", key_type="bytes", value_type="bytes")
        assert dict(cache.items()) == {b"\xff": b"\xfe\xfd"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner),
    max_leaves=20,
)


@given(value=JSON, spaced=st.booleans(), ascii=st.booleans())
def test_json_becomes_what_the_json_module_makes_of_it(
    tmp_path_factory: pytest.TempPathFactory, value: Any, spaced: bool, ascii: bool
) -> None:
    directory = tmp_path_factory.mktemp("json")
    text = json.dumps({"id": "k", "v": value}, separators=None if spaced else (",", ":"), ensure_ascii=ascii)
    with Cache(directory / "store") as cache:
        file = write(directory / "file", text)
        cache.load(file, "ndjson", key_field="id", value_field="v", value_type="json")
        found = cache["k"]
        assert repr(found) == repr(json.loads(text)["v"])
        # The very same bytes as an entry that was set.
        assert cache._store.encode_value(found) == cache._store.encode_value(value)
        assert cache._store.key_bytes("k") == cache._store.key_bytes(next(iter(cache)))
        cache.load(file, "ndjson", key_field="id", value_type="json")
        assert cache["k"] == json.loads(text)
        cache.load(file, "ndjson", key_field="id")
        assert cache["k"] == text


@pytest.mark.parametrize(
    "number", [0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, -(2**71), 10**40, -(10**300)]
)
def test_integers_of_any_size(path: Path, tmp_path: Path, number: int) -> None:
    with Cache(path) as cache:
        cache.load(write(tmp_path / "file", f'[{number}, {number}]\n["k", [{number}]]'), "tuple2", value_type="json")
        assert cache[number] == number and cache["k"] == [number]
        assert type(next(iter(cache))) is int


def test_json_that_python_reads_and_the_safe_form_does_not_hold_is_a_bad_record(path: Path, tmp_path: Path) -> None:
    deep = "[" * 200 + "]" * 200
    text = f'["a", {deep}]\n["b", "\\ud800"]\n["c", {"1" * 5000}]\n["d", 1]\n'
    with Cache(path) as cache:
        summary = cache.load(write(tmp_path / "file", text), "tuple2", value_type="json", on_error="skip")
        assert (summary.skipped, dict(cache.items())) == (3, {"d": 1})


def test_the_summary_is_frozen_and_says_what_was_done(path: Path, tmp_path: Path) -> None:
    first = write(tmp_path / "first", "a\t1\nb\t2\nno tab\na\t3\n")
    with Cache(path) as cache:
        cache["b"] = "there"
        summary = cache.load([first], "tabsep", on_error="skip", existing="keep")
        assert isinstance(summary, LoadSummary)
        counts = (summary.records, summary.written, summary.duplicates, summary.kept, summary.skipped)
        assert counts == (3, 1, 1, 1, 1)
        assert len(summary.bad) == 1 and "line 3" in summary.bad[0] and str(first) in summary.bad[0]
        assert summary.reading > 0 and summary.writing > 0 and summary.bytes_spilled == 0
        with pytest.raises(AttributeError):
            summary.records = 1  # type: ignore[misc]
        assert dict(cache.items()) == {"b": "there", "a": "3"}


def test_more_than_the_budget_is_spilled_and_nothing_is_left(path: Path, tmp_path: Path) -> None:
    text = "".join(f"key {n * 7919 % 200_003:010}\t{n:050}\n" for n in range(200_000))
    file = write(tmp_path / "file", text)
    with Cache(path) as cache:
        summary = cache.load(file, "tabsep", memory_budget=4 << 20, threads=2)
        assert summary.bytes_spilled > 4 << 20 and len(cache) == 200_000
        assert list(cache)[:2] == ["key 0000000000", "key 0000007919"]
        assert [entry.name for entry in path.iterdir() if entry.is_dir()] == []


def test_entries_expire_as_told(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "a\t1\n")
    with Cache(path) as cache:
        cache.load(file, "tabsep", ttl=3600)
        info = cache.info("a")
        assert info is not None and info.expires_at is not None
        assert 3500 < info.expires_at - info.created <= 3600


async def test_the_asynchronous_twin(path: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "file", "a\t1\n")
    cache = Cache(path)
    assert (await cache.aload(file, "tabsep")).written == 1
    assert await cache.aget("a") == "1"
    await cache.aclose()


def test_a_disabled_cache_loads_nothing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "file", "a\t1\n")
    monkeypatch.setenv("CACHEMERE_DISABLE", "1")
    with Cache(path) as cache:
        assert cache.load(file, "tabsep") == LoadSummary.nothing()
    assert not path.exists()


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_json_of_python_writes_is_what_is_loaded(path: Path, tmp_path: Path, ends: str) -> None:
    values = [
        float("inf"),
        -float("inf"),
        [1.5, {"NaN": "Infinity"}],
        {"a": [float("inf"), '-Infinity, \\" NaN']},
        "NaN",
    ]
    lines = [json.dumps({"id": str(number), "v": value}) for number, value in enumerate(values)]
    nan = json.dumps({"id": "nan", "v": [float("nan")]})
    with Cache(path) as cache:
        text = "\ufeff" + ends.join(["", *lines, "", "  ", nan, ""])
        cache.load(write(tmp_path / "a", text), "ndjson", key_field="id", value_field="v", value_type="json")
        found = dict(cache.items())
        (not_a_number,) = found.pop("nan")
        assert not_a_number != not_a_number
        assert list(found.values()) == values
        rows = "".join(f"t{number}\t{json.dumps(value)}{ends}" for number, value in enumerate(values))
        cache.load(write(tmp_path / "b", rows), "tabsep", value_type="json")
        assert [cache[f"t{number}"] for number in range(len(values))] == values
