"""Values come back as what they were, of the very same types."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pydantic
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import DecodeError, InvalidOptionError, UnsafeValueError, ValueFormError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from plain_data import EXAMPLES, TYPES, Box, Pair, Point, Slim, same, values


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two handles on one store: the second knows nothing that it has not read."""
    path = tmp_path_factory.mktemp("values") / "store"
    with Cache(path, types=TYPES) as cache, Cache(path, types=TYPES, memory_bytes=0) as cold:
        yield cache, cold


def comes_back(caches: Any, value: Any) -> Any:
    cache, cold = caches
    cache["k"] = value
    for handle in (cache, cache, cold):
        found = handle["k"]
        assert same(found, value), (found, value)
    return found


@given(values)
def test_any_plain_value_comes_back(caches: Any, value: Any) -> None:
    comes_back(caches, value)


@pytest.mark.parametrize("value", EXAMPLES, ids=repr)
def test_every_type_comes_back(caches: Any, value: Any) -> None:
    comes_back(caches, value)
    comes_back(caches, [{"nested": (value,)}])


@given(st.lists(values, max_size=5))
def test_batches_come_back(caches: Any, many: list[Any]) -> None:
    cache, cold = caches
    cache.set_many(enumerate(many))
    for handle in (cache, cold):
        found = handle.get_many(range(len(many)))
        assert all(same(found[number], value) for number, value in enumerate(many))


@given(values)
@settings(max_examples=30)
def test_what_was_fetched_shares_nothing_with_the_store(caches: Any, value: Any) -> None:
    cache, _ = caches
    cache["k"] = {"value": value, "list": [1]}
    first = cache["k"]
    first["list"].append(2)
    first["value"] = None
    assert same(cache["k"], {"value": value, "list": [1]})


# --- numpy ----------------------------------------------------------------------------------------------------------


def same_array(a: Any, b: Any) -> bool:
    return (
        type(a) is type(b)
        and a.dtype == b.dtype
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
        and a.flags.f_contiguous == b.flags.f_contiguous
    )


dtypes = st.one_of(
    hypothesis_numpy.scalar_dtypes(),
    hypothesis_numpy.unicode_string_dtypes(max_len=5),
    hypothesis_numpy.byte_string_dtypes(max_len=5),
)


@given(hypothesis_numpy.arrays(dtypes, hypothesis_numpy.array_shapes(min_dims=0, min_side=0)), st.sampled_from("CF"))
def test_arrays_come_back_and_can_be_written_to(caches: Any, array: Any, order: Any) -> None:
    array = numpy.asarray(array, order=order)
    array.flags.writeable = False
    for handle in caches:
        handle["array"] = array
        found = handle["array"]
        assert same_array(found, array)
        assert found.flags.writeable
        if found.size:
            found.fill(0)
        assert same_array(handle["array"], array)


@pytest.mark.parametrize(
    "array",
    [
        numpy.array(5),
        numpy.zeros((0, 3)),
        numpy.zeros((3, 0), order="F"),
        numpy.arange(12).reshape(3, 4).T,
        numpy.arange(12).reshape(3, 4)[::2, ::-1],
        numpy.broadcast_to(numpy.arange(3), (2, 3)),
        numpy.arange(3, dtype=">i4"),
        numpy.array([True, False]),
        numpy.array([1 + 2j], dtype=numpy.complex64),
        numpy.array(["a", "bc", ""]),
        numpy.array([b"a", b"b\0c"]),
        numpy.array(["2024-01-01", "NaT"], dtype="datetime64[s]"),
        numpy.array([1, 2], dtype="timedelta64[us]"),
        numpy.array([1.5], dtype=numpy.longdouble),
        numpy.zeros(2, dtype="U0"),
    ],
    ids=repr,
)
def test_arrays_of_every_kind_come_back(caches: Any, array: Any) -> None:
    for handle in caches:
        handle["array"] = array
        found = handle["array"]
        assert (
            found.dtype == array.dtype
            and found.shape == array.shape
            and numpy.array_equal(found, array, equal_nan=array.dtype.kind in "fcmM")
        )
        assert found.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [
        numpy.float32(1.5),
        numpy.int8(-1),
        numpy.bool_(True),
        numpy.complex128(1j),
        numpy.str_("a"),
        numpy.str_(""),
        numpy.str_("a\0"),
        numpy.bytes_(b"a"),
        numpy.bytes_(b""),
        numpy.bytes_(b"a\0"),
        numpy.datetime64("2024-01-01"),
        numpy.timedelta64(5, "h"),
        numpy.longdouble(1) / 3,
    ],
    ids=repr,
)
def test_scalars_of_numpy_come_back(caches: Any, scalar: Any) -> None:
    for handle in caches:
        handle["scalar"] = scalar
        found = handle["scalar"]
        assert type(found) is type(scalar) and found == scalar and found.dtype == scalar.dtype


@pytest.mark.parametrize(
    "array",
    [
        numpy.array([object()]),
        numpy.zeros(2, dtype=[("a", "i4")]),
        numpy.ma.masked_array([1], [True]),
        numpy.dtype("i4"),
    ],
    ids=lambda array: type(array).__name__,
)
def test_arrays_that_need_pickle_are_refused_or_pickled(path: Path, array: Any) -> None:
    with Cache(path) as cache, pytest.raises(UnsafeValueError, match="numpy"):
        cache["k"] = array
    with PersistDict[str, Any](path) as d:
        d["k"] = array
        assert type(d["k"]) is type(array)


# --- registered types -----------------------------------------------------------------------------------------------


class Level(enum.Enum):
    LOW = 1
    HIGH = 2


class Line(NamedTuple):
    start: Point
    end: Point


@dataclasses.dataclass
class Started:
    """Counts how often its own code runs."""

    value: int
    twice: int = dataclasses.field(init=False)
    runs: Any = dataclasses.field(default=0, compare=False)

    def __post_init__(self) -> None:
        self.twice = self.value * 2
        self.runs += 1


class Inner(pydantic.BaseModel):
    name: str
    level: Level = Level.LOW


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    inner: Inner
    many: list[Inner] = []
    when: datetime.datetime | None = None
    line: Line | None = None
    aliased: int = pydantic.Field(default=0, alias="otherName")


class Swapped(pydantic.BaseModel):
    a: int = pydantic.Field(alias="b")
    b: int = pydantic.Field(alias="a")


class Private(pydantic.BaseModel):
    shown: int = 0
    _hidden: list[int] = pydantic.PrivateAttr(default_factory=list)

    def model_post_init(self, context: Any) -> None:
        self._hidden.append(self.shown)

    @functools.cached_property
    def length(self) -> int:
        return len(self._hidden)


class Root(pydantic.RootModel[list[int]]):
    pass


def test_registered_types_come_back(path: Path) -> None:
    outer = Outer(
        inner=Inner(name="x", level=Level.HIGH),
        many=[Inner(name="y")],
        when=datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc),
        line=Line(Point(1, 2), Point(3, 4)),
        otherName=5,
        unknown={"extra": [1]},
    )
    private = Private(shown=1)
    private._hidden.append(7)
    assert private.length == 2
    originals = [
        outer,
        Inner(name="z"),
        Swapped(a=1, b=2),
        private,
        Root([1, 2]),
        Line(Point(1, 2), Point(3, 4)),
        Pair(Box([Slim(1)]), Level.HIGH),
        Started(3),
        Level.LOW,
    ]
    types = [Outer, Inner, Swapped, Private, Root, Line, Point, Pair, Box, Slim, Started, Level]
    with Cache(path, types=types) as cache, Cache(path, types=types, memory_bytes=0) as cold:
        for original in originals:
            cache["k"] = original
            for handle in (cache, cache, cold):
                found = handle["k"]
                assert type(found) is type(original) and found == original
        cache["k"] = outer
        found = cold["k"]
        assert found.model_fields_set == outer.model_fields_set
        assert found.model_extra == {"unknown": {"extra": [1]}}
        assert type(found.line.start) is Point
        found.inner.name = "changed"
        found.many.append(found.inner)
        assert cache["k"] == outer
        cache["k"] = Started(3)
        assert cache["k"].runs == 1, "__post_init__ did not run again"


def test_fields_with_defaults_can_be_added_later(path: Path) -> None:
    def first() -> Any:
        @dataclasses.dataclass
        class Growing:
            a: int

        class Model(pydantic.BaseModel):
            a: int

        return Growing, Model

    def second() -> Any:
        @dataclasses.dataclass
        class Growing:
            a: int
            b: list[int] = dataclasses.field(default_factory=lambda: [1])

        class Model(pydantic.BaseModel):
            a: int
            b: list[int] = [1]

        return Growing, Model

    def third() -> Any:
        @dataclasses.dataclass
        class Growing:
            c: int

        class Model(pydantic.BaseModel):
            c: int

        return Growing, Model

    def named(make: Any) -> Any:
        made = make()
        for kind in made:
            kind.__qualname__ = kind.__name__
        return made

    old, new, other = named(first), named(second), named(third)
    with Cache(path, types=old) as cache:
        cache["dataclass"], cache["model"] = (kind(a=1) for kind in old)
    with Cache(path, types=new) as cache:
        assert cache["dataclass"] == new[0](a=1)
        assert cache["model"] == new[1](a=1)
    with Cache(path, types=other) as cache:
        for key in ("dataclass", "model"):
            with pytest.raises(DecodeError, match="field"):
                cache[key]


def test_types_that_are_not_registered_are_refused_by_name(path: Path) -> None:
    with Cache(path) as cache:
        for value in (Pair(1), [Point(1)], {"a": Inner(name="x")}, object(), len, Path):
            with pytest.raises(UnsafeValueError, match=r"(?s)has no safe form.*types=.*allow_pickle"):
                cache["k"] = value
            with pytest.raises(ValueFormError):
                cache.set_many({"fine": 1, "k": value})
        with pytest.raises(UnsafeValueError, match="plain_data.Pair"):
            cache["k"] = Pair(1)
        assert len(cache) == 0


def test_types_are_rebuilt_only_where_they_are_registered(path: Path) -> None:
    with Cache(path, types=[Pair]) as cache:
        cache["pair"], cache["plain"] = Pair(1), 1
    with Cache(path) as cache:
        with pytest.raises(UnsafeValueError, match=r"plain_data.Pair.*types=\[Pair\]"):
            cache["pair"]
        assert cache["plain"] == 1


@pytest.mark.parametrize("wrong", [int, object, 5, "Pair", None])
def test_what_cannot_be_registered_is_told_at_once(path: Path, wrong: Any) -> None:
    with pytest.raises(InvalidOptionError):
        Cache(path, types=[wrong])
    assert not path.exists()


def test_subclasses_keep_their_type_or_are_refused(path: Path) -> None:
    with PersistDict[str, Any](path) as d:
        for value in (MyStr("a"), MyInt(1), MyList([1]), MyDict(a=1), numpy.float64(1.5)):
            d["k"] = value
            assert type(d["k"]) is type(value) and d["k"] == value
    with Cache(path) as cache:
        for value in (MyStr("a"), MyInt(1), MyList([1]), MyDict(a=1)):
            with pytest.raises(UnsafeValueError):
                cache["k"] = value


class MyStr(str):
    pass


class MyInt(int):
    pass


class MyList(list[Any]):
    pass


class MyDict(dict[Any, Any]):
    pass


def test_what_contains_itself_is_pickled_or_refused(path: Path) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    deep: Any = None
    for _ in range(300):
        deep = [deep]
    with PersistDict[str, Any](path) as d:
        d["loop"], d["deep"] = loop, deep
        found = d["loop"]
        assert found[0] == 1 and found[1] is found
        assert repr(d["deep"]) == repr(deep)
    with Cache(path) as cache:
        for value in (loop, deep):
            with pytest.raises(ValueFormError, match="nested too deeply"):
                cache["k"] = value


def test_values_that_neither_way_can_hold_are_refused(path: Path) -> None:
    with PersistDict[str, Any](path) as d:
        for value in ((item for item in ()), lambda: None, sys.stdout, memoryview(b"x"), Local()):
            with pytest.raises(ValueFormError, match="pickled"):
                d["k"] = value
            with pytest.raises(TypeError):
                d.update(fine=1, k=value)
        assert len(d) == 0


def Local() -> Any:
    class Inside:
        pass

    return Inside()


def test_own_serializers_of_values_are_used_and_their_errors_pass(path: Path) -> None:
    def fail(value: Any) -> Any:
        raise LookupError("mine")

    def dumps(value: Any) -> bytes:
        return repr(value).encode()[::-1]

    def loads(stored: bytes) -> Any:
        return eval(stored[::-1])

    with PersistDict[str, Any](path, value_serializer=dumps, value_unserializer=loads) as d:
        d["a"] = {"b": [1, ...]}
        assert d["a"] == {"b": [1, ...]}
        d["a"]["b"].append(2)
        assert dict(d) == {"a": {"b": [1, ...]}}
    with PersistDict[str, Any](path, value_serializer=fail, value_unserializer=fail) as d:
        for use in (lambda: d["a"], lambda: d.__setitem__("a", 1), lambda: d.update(a=1), lambda: list(d.values())):
            with pytest.raises(LookupError, match="mine"):
                use()
        with pytest.raises(LookupError, match="mine"):
            d.popitem()
        with pytest.raises(LookupError, match="mine"):
            d.pop("a")
        assert list(d) == ["a"]
    with PersistDict[str, Any](path, value_serializer=dumps, value_unserializer=loads) as d:
        assert d["a"] == {"b": [1, ...]}
