"""The user's functions: what they get to see, for how long, and what they may return."""

from __future__ import annotations

import gc
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import pytest
from cachemere.errors import IncompatibleError, InvalidOptionError, KeyFormError, UnsafeValueError, ValueFormError
from cachemere.rocksdb import RocksDBDict


def test_a_view_is_valid_during_the_call_and_an_error_afterwards(path: Path) -> None:
    kept: list[memoryview] = []

    def keep(view: memoryview) -> bytes:
        assert isinstance(view, memoryview) and view.readonly
        kept.append(view)
        return bytes(view)

    d: RocksDBDict[Any, bytes] = RocksDBDict(path, deser_key=keep, deser_value=keep, ser_value=bytes)
    d["key"] = b"value"
    assert d["key"] == b"value" and list(d) == [b"key"] and d.pop("key") == b"value"
    assert len(kept) == 3
    for view in kept:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


def test_a_view_of_the_view_stays_good_memory(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(
        path, deser_key=bytes, deser_value=lambda view: numpy.frombuffer(view, numpy.uint8), ser_value=bytes
    )
    d["a"] = b"abcd" * 1000
    arrays = [d["a"] for _ in range(50)]
    parts = [d["a"][1:3] for _ in range(50)]
    del d["a"]
    d.compact()
    d.close()
    del d
    gc.collect()
    assert all(bytes(array) == b"abcd" * 1000 for array in arrays) and all(bytes(part) == b"bc" for part in parts)


def test_what_a_function_raises_is_raised_and_the_view_is_released(path: Path) -> None:
    kept: list[memoryview] = []

    def fail(view: memoryview) -> Any:
        kept.append(view)
        raise LookupError("no")

    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, deser_value=fail, ser_value=bytes)
    d["a"] = b"1"
    for work in (lambda: d["a"], lambda: d.get("a"), lambda: d.pop("a"), lambda: d.popitem(), lambda: list(d.values())):
        with pytest.raises(LookupError, match="no"):
            work()
    assert "a" in d
    with pytest.raises(ValueError, match="released"):
        bytes(kept[0])


def test_text_is_decoded_as_the_function_would(path: Path) -> None:
    text = partial(str, encoding="utf-8")
    d: RocksDBDict[str, Any] = RocksDBDict(path, deser_key=text, deser_value=text, ser_value=str.encode)
    d["ä"] = "ö"
    assert dict(d) == {"ä": "ö"} and d.deser_value is text and d.ser_value is str.encode and d.deser_key is text
    with pytest.raises(TypeError):
        d["a"] = 5
    with pytest.raises(UnicodeEncodeError):
        d["a"] = "\ud800"
    d.close()
    raw: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, ser_value=bytes)
    raw[b"\xff"] = b"\xff"
    raw.close()
    again: RocksDBDict[str, Any] = RocksDBDict(path, deser_key=text, deser_value=text, ser_value=str.encode)
    with pytest.raises(UnicodeDecodeError):
        again[b"\xff"]  # type: ignore[index]
    with pytest.raises(UnicodeDecodeError):
        list(again)


def test_with_functions_keys_are_str_and_bytes_or_what_ser_key_makes(path: Path, tmp_path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes)
    d["a"] = 1
    assert d[b"a"] == 1 and list(d) == [b"a"]
    for key in (5, None, ("a",), 1.5, "\ud800"):
        with pytest.raises(KeyFormError):
            d[key] = 1
    own: RocksDBDict[int, Any] = RocksDBDict(
        tmp_path / "own",
        deser_key=lambda view: int.from_bytes(view, "big"),
        ser_key=lambda key: key.to_bytes(4, "big"),
    )
    own.update({300: 1, 5: 2})
    assert list(own.items()) == [(5, 2), (300, 1)] and own.pop(5) == 2
    with pytest.raises(OverflowError):
        own[2**32] = 1


def test_functions_may_return_what_has_bytes(path: Path) -> None:
    made: list[Any] = [b"x", bytearray(b"x"), memoryview(b"x"), numpy.array([120], numpy.uint8)]
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, ser_value=lambda place: made[place])
    for place in range(len(made)):
        d["a"] = place
        assert d["a"] == b"x"


@pytest.mark.parametrize("wrong", ["text", 5, None, [1]])
def test_a_function_that_returns_something_else_is_told(path: Path, wrong: Any) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, ser_value=lambda _: wrong)
    with pytest.raises(ValueFormError, match="ser_value must return bytes, not"):
        d["a"] = 1
    assert len(d) == 0


def test_values_are_bytes_when_only_reading_was_given(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=bytes, deser_value=bytes)
    d["a"] = b"1"
    with pytest.raises(ValueFormError, match="give one"):
        d["b"] = "text"
    assert dict(d) == {b"a": b"1"}


def test_safe_values(path: Path, tmp_path: Path) -> None:
    class Own:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own)

    d: RocksDBDict[str, Any] = RocksDBDict(path)
    value = {"a": [1, 2.5, None, "x", b"y", (1, {2})], "array": 5}
    d["a"] = value
    d["b"] = numpy.arange(4)
    assert d["a"] == value and list(d["b"]) == [0, 1, 2, 3]
    with pytest.raises(UnsafeValueError, match="allow_pickle=True"):
        d["c"] = Own()
    assert "c" not in d
    d.close()
    pickling: RocksDBDict[str, Any] = RocksDBDict(path, allow_pickle=True)
    pickling["c"] = partial(int, base=2)
    assert pickling["c"]("101") == 5
    pickling.close()
    again: RocksDBDict[str, Any] = RocksDBDict(path)
    assert again["a"] == value
    with pytest.raises(UnsafeValueError):
        again["c"]


@pytest.mark.parametrize(
    "given, named",
    [
        ({"deser_key": 5}, "deser_key"),
        ({"ser_value": "str.encode"}, "ser_value"),
        ({"readonly": 1}, "readonly"),
        ({"secondary_mode": "yes"}, "secondary_mode"),
        ({"readonly": True, "secondary_mode": True}, "readonly and secondary_mode"),
        ({"secondary_path": "x"}, "secondary_path"),
        ({"options": {"create_if_missing": True}}, "options"),
        ({"key_encoding": "utf-8"}, "key_encoding"),
        ({"key_encoding": "ordered", "deser_key": bytes}, "key_encoding='ordered'"),
        ({"key_encoding": "hugedict", "ser_key": bytes}, "key_encoding='hugedict'"),
        ({"types": int}, "types"),
        ({"allow_pickle": None}, "allow_pickle"),
    ],
)
def test_arguments_that_make_no_sense_are_named_and_nothing_is_made(path: Path, given: Any, named: str) -> None:
    with pytest.raises(InvalidOptionError, match=named):
        RocksDBDict(path, **given)
    assert not path.exists()
    with pytest.raises(InvalidOptionError, match="path"):
        RocksDBDict("")
    with pytest.raises(TypeError):
        RocksDBDict(path, no_such_option=1)  # type: ignore[call-arg]


def test_a_database_is_not_opened_with_other_functions_than_it_was_made_with(path: Path) -> None:
    RocksDBDict[Any, Any](path).close()
    before = sorted(file.name for file in path.iterdir())
    for given in ({"deser_key": bytes}, {"deser_value": bytes}, {"key_encoding": "hugedict"}):
        with pytest.raises(IncompatibleError, match='keys "ordered" and values "safe"') as caught:
            RocksDBDict(path, **given)  # type: ignore[arg-type]
        assert "this open asked for keys" in str(caught.value)
    assert sorted(file.name for file in path.iterdir()) == before


def test_pickles_of_functions(path: Path) -> None:
    d: RocksDBDict[Any, Any] = RocksDBDict(path, deser_key=lambda view: bytes(view))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(d)
