"""types=[Outer] is enough for the classes that its fields name, and adds nothing that the program has not named."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, NewType, Optional, TypeVar, Union

import attrs
import pydantic
import pytest
from cachemere import Cache, PersistDict
from cachemere._forms.annotated_types import annotated
from cachemere.errors import CacheError, DecodeError, KeyFormError, UnsafeValueError
from cachemere.integrations._part import Part

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Access(enum.Flag):
    READ = 1


class Pair(NamedTuple):
    a: int
    inner: Leaf


@dataclasses.dataclass(frozen=True)
class Leaf:
    n: int = 0


@dataclasses.dataclass
class Deep:
    leaf: Leaf
    again: Deep | None = None


class Message(pydantic.BaseModel):
    text: str = ""
    _deep: Deep | None = None


class Other(pydantic.BaseModel):
    colour: Colour = Colour.RED


class Box(pydantic.BaseModel, Generic[T]):
    it: T


class Unnamed(pydantic.BaseModel):
    pass


Renamed = NewType("Renamed", Leaf)


class Outer(pydantic.BaseModel):
    one: Optional[Message] = None  # noqa: UP045
    many: list[dict[str, Other]] = []
    either: Union[int, tuple[Pair, ...]] = 1  # noqa: UP007
    noted: Annotated[Deep | None, "a note"] = None
    word: Literal["a"] = "a"
    anything: Any = None
    box: Box[Other] | None = None


@dataclasses.dataclass
class Bag:
    known: list[Deep]
    lost: list[NotDefined]  # type: ignore[name-defined]  # noqa: F821
    call: Callable[[Message], Other] | None = None
    mapped: Mapping[str, Renamed] | None = None
    shared: ClassVar[Access] = Access.READ
    choice: Literal[Colour.RED] = Colour.RED


WHOLE = Outer(
    one=Message(text="a"),
    many=[{"a": Other()}],
    either=(Pair(1, Leaf(2)),),
    noted=Deep(Leaf(1), Deep(Leaf(2))),
    box=Box[Other](it=Other()),
)


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (Outer, {Message, Other, Pair, Leaf, Deep, Colour, Box[Other]}),
        (Bag, {Deep, Leaf, Message, Other, Colour}),
        (Deep, {Leaf}),
        (Pair, {Leaf}),
        (Colour, set()),
        (Unnamed, set()),
    ],
)
def test_what_the_fields_name_is_found(kind: type, named: set[type]) -> None:
    found = annotated([kind])
    assert set(found) == named and len(found) == len(named)


def test_one_class_is_enough(path: Path) -> None:
    with Cache(path, types=[Outer]) as cache:
        cache["k"] = WHOLE
    with Cache(path, types=[Outer], memory_bytes=0) as cold, PersistDict[str, Any](path.with_name("d")) as d:
        found = cold["k"]
        assert found == WHOLE and type(found.noted.again.leaf) is Leaf and type(found.either[0]) is Pair
        assert type(found.box) is Box[Other]
        d["k"] = 1
    with PersistDict[str, Any](path.with_name("e"), types=[Outer], allow_pickle=False) as d:
        d["k"] = WHOLE
        assert d["k"] == WHOLE
    with Cache(path) as cache, pytest.raises(UnsafeValueError, match="not registered"):
        cache["k"]


def test_read_before_anything_was_written(path: Path) -> None:
    with Cache(path, types=[Deep, Leaf]) as cache:
        cache["k"] = Leaf(3)
    with Cache(path, types=[Outer]) as cache:
        assert cache["k"] == Leaf(3)


def test_what_cannot_be_resolved_is_passed_over(path: Path) -> None:
    with Cache(path, types=[Bag]) as cache:
        cache["k"] = Bag([Deep(Leaf(1))], [], mapped={"a": Leaf(2)})
        assert cache["k"].known == [Deep(Leaf(1))]


def test_what_no_field_names_is_refused(path: Path) -> None:
    class Sub(Message):
        pass

    with Cache(path, types=[Outer]) as cache:
        for value in (Outer(anything=Unnamed()), Outer(one=Sub()), Unnamed(), [object()]):
            with pytest.raises(UnsafeValueError):
                cache["k"] = value
        assert "k" not in cache


def test_an_enum_that_needs_no_registering_is_stored_as_ever(path: Path) -> None:
    with Cache(path, types=[Outer, Bag]) as cache:
        cache["k"] = [Colour.RED, Access.READ]
    with Cache(path) as cache:
        assert cache["k"] == [Colour.RED, Access.READ]


def test_a_local_enum_is_registered_with_its_model(path: Path) -> None:
    class Local(enum.Enum):
        A = 1

    class Model(pydantic.BaseModel):
        it: Local
        __annotations__ = {"it": Local}

    with Cache(path, types=[Model], memory_bytes=0) as cache:
        cache["k"] = Model(it=Local.A)
        assert cache["k"].it is Local.A


def test_keys_are_of_named_classes_only(path: Path) -> None:
    """A dict that pickles keys has pickled those of classes it did not know, and must find them again."""
    with PersistDict[Any, int](path) as d:
        d[Leaf(1)] = 1
    with PersistDict[Any, int](path, types=[Deep]) as d:
        assert d[Leaf(1)] == 1
    with Cache(path.with_name("c"), types=[Deep]) as cache, pytest.raises(KeyFormError):
        cache[Leaf(1)] = 1


def test_an_adapter_s_own_classes_bring_no_others(path: Path) -> None:
    part = Part.of(Cache(path), "part", [Deep])
    with pytest.raises(UnsafeValueError, match="Leaf"):
        part["k"] = Deep(Leaf(1))
    with_own = Part.of(Cache(path, types=[Pair]), "part", [Deep])
    with_own["k"] = Deep(Leaf(1)), Pair(1, Leaf(2))
    assert with_own["k"] == (Deep(Leaf(1)), Pair(1, Leaf(2)))


def test_another_class_of_the_same_name_is_not_taken_for_it(path: Path) -> None:
    def make() -> Any:
        @dataclasses.dataclass
        class Twin:
            n: int

        return Twin

    one, other = make(), make()
    holder = dataclasses.make_dataclass("Holder", [("it", other)])
    with Cache(path, types=[holder, one]) as cache:
        cache["k"] = one(1)
        with pytest.raises(UnsafeValueError):
            cache["k"] = holder(other(1))
        assert type(cache["k"]) is one


def test_it_is_done_once_and_only_if_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cachemere._forms import forms

    asked = []

    def counted(kinds: Any) -> Iterator[type]:
        asked.append(kinds)
        return iter(annotated(kinds))

    monkeypatch.setattr(forms, "annotated", counted)
    with Cache(path, types=[Outer]) as cache:
        cache["k"] = {"plain": (1, Outer())}
        assert cache.get("k") is not None and asked == [(Outer,)] or asked == []
        for _ in range(3):
            cache["k"] = WHOLE
            with pytest.raises(UnsafeValueError):
                cache["j"] = threading.Lock()
        assert asked == [(Outer,)]


@attrs.define
class Point:
    x: int
    leaves: list[Leaf] = attrs.field(factory=list)
    _hidden: int = 0
    twice: int = attrs.field(init=False, default=attrs.Factory(lambda self: self.x * 2, takes_self=True))


@attrs.frozen(cache_hash=True, slots=False)
class Fixed:
    point: Point = attrs.field(hash=False)
    name: str = attrs.field(converter=str.upper, default="n")


def test_attrs_classes_are_what_they_were(path: Path) -> None:
    fixed = Fixed(Point(1, [Leaf(2)], 3), "name")
    with Cache(path, types=[Fixed]) as cache:
        cache["k"] = fixed
    with Cache(path, types=[Fixed]) as cache:
        found = cache["k"]
    assert found == fixed and type(found) is Fixed and hash(found) == hash(fixed)
    assert type(found.point) is Point and found.point.leaves == [Leaf(2)] and found.point._hidden == 3


def test_attrs_classes_that_changed_since(path: Path) -> None:
    with Cache(path, types=[Point]) as cache:
        cache["k"] = Point(1)

    @attrs.define
    class More:
        x: int
        leaves: list[Leaf]
        _hidden: int
        new: list[int] = attrs.field(factory=list)
        thrice: int = attrs.field(default=attrs.Factory(lambda self: self.x * 3, takes_self=True))

    More.__module__, More.__qualname__ = Point.__module__, Point.__qualname__
    with Cache(path, types=[More]) as cache, pytest.raises(DecodeError, match=r"has fields \['twice'\]"):
        cache["k"]
    with Cache(path, types=[attrs.make_class("Point", ["y"])]) as cache, pytest.raises(CacheError):
        cache["k"]
