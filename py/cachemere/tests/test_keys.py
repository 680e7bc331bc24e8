"""Keys: those that are equal in a dict are one key, all others are different, and each comes back as it was given."""

from __future__ import annotations

import datetime
import enum
import fractions
import pathlib
import pickle
import time
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import KeyFormError
from hypothesis import assume, example, given
from hypothesis import strategies as st
from plain_data import EXAMPLES, TYPES, Colour, Number, Pair, Point, Word, atoms, keys, same

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
UTC = datetime.timezone.utc
AMBIGUOUS = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS)


@pytest.fixture(scope="module")
def key_bytes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], bytes]:
    """The canonical bytes of a key."""
    cache = Cache(tmp_path_factory.mktemp("keys") / "store", types=TYPES)
    return cache._store.key_bytes


def is_same_key(a: Any, b: Any) -> bool:
    """Whether a dict takes them for one key."""
    return b in {a: 0}


def has_nan(key: Any) -> bool:
    """All NaN are one key here, while a dict knows each by its identity."""
    if isinstance(key, (tuple, frozenset)):
        return any(has_nan(item) for item in key)
    if isinstance(key, Pair):
        return has_nan(key.left) or has_nan(key.right)
    if hasattr(key, "content"):
        return has_nan(key.content)
    return bool(key != key)


@given(keys, keys)
def test_keys_are_one_if_they_are_equal(key_bytes: Callable[[Any], bytes], a: Any, b: Any) -> None:
    assume(not has_nan(a) and not has_nan(b))
    assert (key_bytes(a) == key_bytes(b)) == is_same_key(a, b)


@given(st.lists(atoms, min_size=2, max_size=40))
def test_of_many_keys_those_are_one_that_are_equal(key_bytes: Callable[[Any], bytes], many: list[Any]) -> None:
    many = [key for key in many if not has_nan(key)]
    assert len({key_bytes(key) for key in many}) == len(set(many))


@given(keys)
def test_a_key_has_one_form_however_it_is_written(key_bytes: Callable[[Any], bytes], key: Any) -> None:
    variants: list[Any] = [key]
    if isinstance(key, bool):
        variants += [int(key), float(key), Decimal(key), complex(key), fractions.Fraction(key), numpy.bool_(key)]
    elif type(key) is int and abs(key) < 2**53:
        variants += [float(key), Decimal(key), complex(key), fractions.Fraction(key), numpy.int64(key)]
    elif type(key) is float and key == key and abs(key) != float("inf"):
        variants += [Decimal(key), complex(key), fractions.Fraction(key), numpy.float64(key)]
    elif type(key) is str:
        variants += [numpy.str_(key)] if "\0" not in key and key.isprintable() else []
    elif isinstance(key, datetime.datetime) and key.tzinfo is UTC:
        variants += [key.astimezone(PARIS), key.replace(fold=1 - key.fold)]
    for variant in variants:
        assert (key_bytes(variant) == key_bytes(key)) == is_same_key(variant, key) or has_nan(key)


class Later(datetime.datetime):
    """As a class of a library that computes with times."""


class Length(datetime.timedelta):
    pass


class Day(datetime.date, enum.Enum):
    NEW_YEAR = (2024, 1, 1)


class Price(Decimal):
    pass


class Share(fractions.Fraction):
    pass


class Wave(complex):
    pass


class Id(uuid.UUID):
    pass


ONE = [
    (1, 1.0),
    (1, True),
    (0, -0.0),
    (0, False),
    (1, Decimal("1.00")),
    (0.5, Decimal("0.5")),
    (0.5, fractions.Fraction(1, 2)),
    (Decimal("0.1"), fractions.Fraction(1, 10)),
    (2, 2 + 0j),
    (2.0**70, 2**70),
    (float("inf"), Decimal("Infinity")),
    (1, numpy.int8(1)),
    (1, numpy.uint64(1)),
    (1.5, numpy.float32(1.5)),
    (1.5, numpy.longdouble(1.5)),
    (1, numpy.bool_(True)),
    ("a", numpy.str_("a")),
    (b"a", numpy.bytes_(b"a")),
    (Number.ONE, 1),
    (Word.A, "a"),
    (Point(1, 2), (1, 2)),
    ((1, True), (True, 1.0)),
    (frozenset({1, 2}), frozenset({2.0, True})),
    (range(0), range(5, 5)),
    (range(0, 5, 2), range(0, 6, 2)),
    (range(1, 2), range(1, 3, 2)),
    (pathlib.Path("a/b"), pathlib.PurePosixPath("a//b/")),
    (pathlib.PureWindowsPath("A\\b"), pathlib.PureWindowsPath("a/B")),
    (datetime.datetime(2024, 1, 1, 12, tzinfo=UTC), datetime.datetime(2024, 1, 1, 13, tzinfo=PARIS)),
    (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, fold=1)),
    (AMBIGUOUS, AMBIGUOUS.replace(fold=1)),
    (datetime.time(12, tzinfo=UTC), datetime.time(13, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))),
    (datetime.timezone(datetime.timedelta(0), "zero"), UTC),
    (Pair(1, "a"), Pair(1.0, "a")),
    (10**200_000, Decimal("1E200000")),
    (-(10**100_001), Decimal("-10E100000")),
    (12 * 10**150_000, Decimal("1.2E150001")),
    (3**250_000, Decimal(3**250_000)),
    ((10**200_000,), (Decimal("1E200000"),)),
    (datetime.timedelta(1), numpy.timedelta64(1, "D")),
    (datetime.timedelta(1), numpy.timedelta64(24, "h")),
    (datetime.timedelta(microseconds=3), numpy.timedelta64(3, "us")),
    (datetime.timedelta(weeks=2), numpy.timedelta64(2, "W")),
    (numpy.timedelta64(1, "Y"), numpy.timedelta64(12, "M")),
    (numpy.timedelta64(5000, "ps"), numpy.timedelta64(5, "ns")),
    (numpy.timedelta64(2, "s"), numpy.array([2], "m8[2s]")[0] / 2),
    (datetime.datetime(2024, 1, 1, 3), numpy.datetime64("2024-01-01T03", "h")),
    (datetime.datetime(2024, 1, 1, 3, 0, 0, 5), numpy.datetime64("2024-01-01T03:00:00.000005")),
    (numpy.datetime64("2024-03-01"), numpy.datetime64("2024-03")),
    (numpy.datetime64("1900-02"), numpy.datetime64("1900-02-01T00", "h")),
    (numpy.datetime64("-20000-03"), numpy.datetime64("-20000-03-01")),
    (Later(2024, 1, 1, 12, tzinfo=UTC), datetime.datetime(2024, 1, 1, 13, tzinfo=PARIS)),
    (Later(2024, 1, 1), datetime.datetime(2024, 1, 1)),
    (Day.NEW_YEAR, datetime.date(2024, 1, 1)),
    (Length(3), datetime.timedelta(3)),
    (Price("1.50"), Decimal("1.5")),
    (Price(3), 3),
    (Share(1, 2), 0.5),
    (Wave(1, 0), 1),
    (Wave(1, 2), 1 + 2j),
    (numpy.complex128(1 + 2j), 1 + 2j),
    (Id(int=5), uuid.UUID(int=5)),
]

DIFFERENT = [
    ("a", b"a"),
    ("1", 1),
    (("a", "b"), "a,b"),
    (("a", "b"), ("a,b",)),
    (("a", ("b",)), (("a",), "b")),
    ((), ""),
    ((), None),
    ((), frozenset()),
    ((1, 2), frozenset({1, 2})),
    ("", b""),
    (None, "None"),
    (2**53, 2.0**53 + 2),
    (0.1, Decimal("0.1")),
    (0.1, fractions.Fraction(1, 10)),
    (1, 1 + 1j),
    (float("inf"), float("-inf")),
    (Colour.RED, 1),
    (Colour.RED, "RED"),
    (Word.RED, Colour.RED),
    (pathlib.Path("a"), "a"),
    (pathlib.Path("a"), pathlib.PureWindowsPath("a")),
    (pathlib.Path("a"), pathlib.Path("A")),
    (datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1)),
    (datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=UTC)),
    (AMBIGUOUS, AMBIGUOUS.astimezone(UTC)),
    (AMBIGUOUS, datetime.datetime(2024, 10, 27, 1, 30, tzinfo=UTC)),
    (range(3), (0, 1, 2)),
    (Pair(1, 2), (1, 2)),
    (Pair(1, 2), Point(1, 2)),
    (datetime.timedelta(1), 86400),
    (numpy.timedelta64(5, "ns"), 5),
    (numpy.timedelta64(5, "ns"), numpy.timedelta64(5, "ps")),
    (numpy.timedelta64(5, "Y"), 5),
    (numpy.datetime64("2024-01-01T00:00:00.000000001"), datetime.datetime(2024, 1, 1)),
    (numpy.datetime64("2024-01-01T00:00:00.000000001"), numpy.datetime64("2024-01-01T00:00:00")),
    (10**200_000, 10**200_000 + 1),
    (10**200_000, Decimal("1E200001")),
    (10**200_000, -(10**200_000)),
    (Decimal("1E-200000"), Decimal("1E200000")),
]


def shown(key: Any) -> str:
    try:
        return repr(key)[:40]
    except ValueError:
        return "long"


@pytest.mark.parametrize(("a", "b"), ONE, ids=shown)
def test_equal_keys_are_one(key_bytes: Callable[[Any], bytes], a: Any, b: Any) -> None:
    assert is_same_key(a, b)
    assert key_bytes(a) == key_bytes(b)


@pytest.mark.parametrize(("a", "b"), DIFFERENT, ids=shown)
def test_different_keys_are_two(key_bytes: Callable[[Any], bytes], a: Any, b: Any) -> None:
    assert not is_same_key(a, b)
    assert key_bytes(a) != key_bytes(b)


def test_keys_of_all_types_are_found_again_with_memory_and_without(path: Path) -> None:
    model: dict[Any, Any] = {}
    for number, (a, b) in enumerate(ONE + DIFFERENT):
        model[a] = number
        model[b] = -number
    with Cache(path, types=TYPES) as cache, Cache(path, types=TYPES, memory_bytes=0) as cold:
        for number, (a, b) in enumerate(ONE + DIFFERENT):
            cache[a] = number
            cache[b] = -number
        for _ in range(2):
            for handle in (cache, cold):
                assert len(handle) == len(model)
                assert all(handle[key] == value for key, value in model.items())
        assert [*cache] == [*model]
        for key in model:
            del cache[key]
        assert [*cold] == []


@given(st.lists(keys, max_size=6))
@example([key for key in EXAMPLES if key.__hash__])
def test_keys_come_back_as_the_type_they_were_given(tmp_path: Path, given_keys: list[Any]) -> None:
    with Cache(tmp_path / "keys come back", types=TYPES) as cache:
        cache.clear()
        model = {key: number for number, key in enumerate(given_keys) if not has_nan(key)}
        cache.set_many(model)
        found = dict(cache.items())
        assert list(found.values()) == list(model.values())
        for before, after in zip(model, found, strict=True):
            assert same(before, after), (before, after)


class Whole(int):
    pass


@pytest.mark.parametrize(
    ("key", "known"),
    [
        (Later(2024, 1, 1, 12, tzinfo=PARIS), datetime.datetime(2024, 1, 1, 12, tzinfo=PARIS)),
        (Length(1), datetime.timedelta(1)),
        (Price("1.50"), Decimal("1.50")),
        (Share(1, 3), fractions.Fraction(1, 3)),
        (Wave(1, 2), 1 + 2j),
        (Id(int=5), uuid.UUID(int=5)),
        (Whole(5), 5),
        ((1, (Price("1.5"), frozenset({Whole(6)}))), (1, (Decimal("1.5"), frozenset({6})))),
    ],
    ids=repr,
)
@pytest.mark.parametrize("face", [Cache, PersistDict])
def test_a_key_of_a_subclass_comes_back_as_what_it_is_equal_to(path: Path, face: Any, key: Any, known: Any) -> None:
    with face(path) as mapping:
        mapping[key] = 1
        assert mapping[known] == 1 and mapping[key] == 1
        assert [same(found, known) for found in mapping] == [True]
        mapping[known] = 2
        assert len(mapping) == 1 and mapping[key] == 2


def test_of_equal_keys_the_one_written_last_is_shown(path: Path) -> None:
    with PersistDict[Any, int](path) as d:
        for key in (True, 1, 2.0, 2):
            d[key] = int(key)
        assert [(type(key), key) for key in d] == [(int, 1), (int, 2)]
        d[1.0] = 5
        assert [(type(key), key) for key in d] == [(float, 1.0), (int, 2)]
        assert d == {1: 5, 2: 2}


def test_a_key_of_any_length_fits(path: Path) -> None:
    long = "k" * 100_000
    with PersistDict[Any, int](path) as d:
        d[long] = 1
        d[long + "x"] = 2
        d[(long,)] = 3
        assert [d[long], d[long + "x"], d[(long,)]] == [1, 2, 3]
        assert list(d) == [long, long + "x", (long,)]


class Strange(str):
    """Equal to what no `str` is equal to."""

    def __eq__(self, other: object) -> bool:
        return len(self) == len(str(other))

    def __hash__(self) -> int:
        return 1


class StrangeFloat(float):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Shouting(str):
    """A `str` that looks different, but is equal to what it was made of."""

    def __str__(self) -> str:
        return "SHOUTING"


class Listed(tuple):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return iter(("something", "else"))


class Failing:
    def __hash__(self) -> int:
        raise LookupError("mine")


class Unlike(enum.Enum):
    A = 1

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


def test_subclasses_that_keep_equality_are_what_they_are_equal_to(key_bytes: Callable[[Any], bytes]) -> None:
    assert key_bytes(Shouting("a")) == key_bytes("a")
    assert key_bytes(Listed((1, 2))) == key_bytes((1, 2))


@pytest.mark.parametrize(
    "key",
    [
        Strange("a"),
        StrangeFloat(1),
        Unlike.A,
        object(),
        lambda: None,
        Decimal("sNaN"),
        numpy.datetime64("NaT"),
        numpy.timedelta64("NaT"),
        numpy.timedelta64(1),
        memoryview(b"a"),
        iter(()),
        (1, (object(),)),
        frozenset({object()}),
    ],
)
def test_a_key_without_a_canonical_form_is_refused(path: Path, key: Any) -> None:
    with Cache(path) as cache:
        for use in (lambda: cache.get(key), lambda: cache.set(key, 1), lambda: key in cache, lambda: cache.delete(key)):
            with pytest.raises(KeyFormError):
                use()
        assert len(cache) == 0


@pytest.mark.parametrize("key", [[], {}, set(), bytearray(), ([],), {1: 2}.keys(), numpy.zeros(2), slice(1)])
def test_an_unhashable_key_is_refused_as_a_dict_does(path: Path, key: Any) -> None:
    if isinstance(key, slice) and _is_hashable(key):
        pytest.skip("slices can be hashed from Python 3.12 on")
    with PersistDict[Any, int](path) as d:
        for use in (lambda: d[key], lambda: d.__setitem__(key, 1), lambda: key in d, lambda: d.pop(key, None)):
            with pytest.raises(KeyFormError, match="unhashable"):
                use()
            with pytest.raises(TypeError, match="unhashable"):
                use()
        assert len(d) == 0


def _is_hashable(key: Any) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


def test_errors_of_the_keys_own_hash_pass_through(path: Path) -> None:
    with PersistDict[Any, int](path) as d:
        for use in (lambda: d[Failing()], lambda: d.__setitem__(Failing(), 1), lambda: Failing() in d):
            with pytest.raises(LookupError, match="mine"):
                use()


@given(st.integers(-(10**9), 10**9), st.integers(99_985, 100_005), st.integers(-1, 1))
def test_an_int_and_a_decimal_are_one_key_around_the_limit(
    key_bytes: Callable[[Any], bytes], number: int, exponent: int, more: int
) -> None:
    digits = tuple(map(int, str(abs(number))))
    as_decimal = Decimal((int(number < 0), digits, exponent))
    as_int = number * 10**exponent
    assert key_bytes(as_int) == key_bytes(as_decimal)
    assert (key_bytes(as_int + more) == key_bytes(as_decimal)) == (more == 0)


moments = st.builds(
    lambda kind, count, times, unit: numpy.array([count], f"{kind}8[{times}{unit}]")[0],
    st.sampled_from("mM"),
    st.one_of(
        st.integers(-3, 3),
        st.sampled_from([24, 12, 60, 7, 1000, 10**6, 86_400, 3_600_000]),
        st.integers(-(10**6), 10**6),
    ),
    st.sampled_from([1, 1, 2, 7, 12]),
    st.sampled_from(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps"]),
)


@given(st.lists(moments, min_size=2, max_size=12))
def test_times_of_numpy_are_one_key_if_they_are_equal(key_bytes: Callable[[Any], bytes], some: list[Any]) -> None:
    some += [it.item() for it in some if isinstance(it.item(), (datetime.datetime, datetime.timedelta))]
    for a in some:
        for b in some:
            try:
                is_one = is_same_key(a, b)
            except (OverflowError, ValueError, TypeError):
                # numpy does not compare these, but may find out that they have one hash.
                continue
            mixed = {type(a), type(b)} & {datetime.datetime, datetime.timedelta} and type(a) is not type(b)
            if is_one or not mixed:
                # Equality of these is not transitive: only some units are compared with those of the standard library.
                assert (key_bytes(a) == key_bytes(b)) == is_one, (a, b)


def test_a_fraction_too_long_to_be_stored_is_no_key(path: Path) -> None:
    with PersistDict[Any, int](path) as d:
        d[Decimal("1E-200000")] = 1
        with pytest.raises(KeyFormError):
            d[fractions.Fraction(1, 10**200_000)] = 2
        assert len(d) == 1


def test_a_long_int_is_quick(key_bytes: Callable[[Any], bytes]) -> None:
    # Where nothing has to be found out about it: no more than its bytes are read.
    begun = time.perf_counter()
    assert key_bytes(1 << 8_000_000 | 1) != key_bytes(1 << 8_000_000 | 3)
    assert time.perf_counter() - begun < 1


def test_a_huge_decimal_is_quick(key_bytes: Callable[[Any], bytes]) -> None:
    assert key_bytes(Decimal("1e999999")) != key_bytes(Decimal("1e999998"))
    assert key_bytes(Decimal("1e99999999")) == key_bytes(Decimal("10e99999998"))
    assert key_bytes(Decimal("1e-99999999")) == key_bytes(Decimal("10e-100000000"))


class Money:
    """Defines what equal means, and can be pickled, but has no canonical form."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)


class Unequal:
    """Equal to nothing but itself."""


@dataclass(frozen=True)
class Envelope:
    inside: Any


def test_other_keys_can_be_pickled_if_that_is_allowed(path: Path) -> None:
    with PersistDict[Any, int](path) as d:
        d[Money(1)] = 1
        assert d[Money(1)] == 1
        assert Money(2) not in d
        d[(1, Money(1))] = 2
        assert d[(1, Money(1))] == 2 and (1, Money(2)) not in d
        assert list(d) == [Money(1), (1, Money(1))]
        # Of two that are different the pickles are the same.
        for unlike in (
            Unequal(),
            (1, Unequal()),
            frozenset({Unequal()}),
            (Money(1), (Unequal(),)),
            Envelope(Unequal()),
        ):
            with pytest.raises(KeyFormError, match="define what equal means"):
                d[unlike] = 1
            with pytest.raises(KeyFormError, match="define what equal means"):
                d.get(unlike)
        with pytest.raises(KeyFormError):
            d[object()] = 1
        with pytest.raises(KeyFormError, match="pickled"):
            d[(Money(1), (item for item in ()))] = 1
    with Cache(path) as cache, pytest.raises(KeyFormError):
        cache.get(Money(1))


def test_own_serializers_of_keys_are_used(path: Path) -> None:
    def dumps(key: Any) -> str:
        return f"k{key}"

    def loads(stored: Any) -> Any:
        return int(stored[1:])

    with PersistDict[Any, int](path, key_serializer=dumps, key_unserializer=loads) as d:
        d[1], d[2] = 1, 2
        assert list(d) == [1, 2] and d["1"] == 1 and 3 not in d
        assert d.pop(1) == 1
    with pytest.raises(KeyFormError, match="str or bytes"):
        PersistDict[Any, int](path, key_serializer=lambda key: [key], key_unserializer=loads)[1]


def test_errors_of_own_serializers_pass_through(path: Path) -> None:
    def fail(key: Any) -> Any:
        raise LookupError("mine")

    with PersistDict[Any, int](path, key_serializer=str, key_unserializer=fail) as d:
        d[1] = 1
        with pytest.raises(LookupError, match="mine"):
            list(d)
        with pytest.raises(LookupError, match="mine"):
            d.popitem()
        assert d[1] == 1, "what could not be read was not removed"
    with pytest.raises(LookupError, match="mine"):
        PersistDict[Any, int](path, key_serializer=fail, key_unserializer=fail)[1]


@pytest.mark.parametrize(
    ("key", "instead"),
    [([1], "a tuple"), ({"a": 1}, "a tuple"), ({1}, "a frozenset"), ((1, [2]), "a tuple"), (bytearray(), "a str, int")],
    ids=repr,
)
def test_an_unhashable_key_is_refused_with_what_to_give(path: Path, key: Any, instead: str) -> None:
    with Cache(path) as cache:
        for use in (cache.get, cache.delete, lambda key: cache.set(key, 1), lambda key: cache.get_many([key])):
            with pytest.raises(KeyFormError, match=f"^unhashable type: '.*': give {instead}") as caught:
                use(key)
            again = pickle.loads(pickle.dumps(caught.value))
            assert str(again) == str(caught.value) and again.args == caught.value.args
    with PersistDict[Any, int](path, namespace="d") as d, pytest.raises(KeyFormError, match=f"give {instead}"):
        d[key] = 1


def test_other_errors_of_keys_are_told_as_they_are() -> None:
    assert str(KeyFormError("a key of type 'object' has no canonical form")).endswith("canonical form")
