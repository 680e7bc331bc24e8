"""Stored bytes that were made to kill, stop or fill the process that reads them give an error of this package, soon."""

from __future__ import annotations

import datetime
import random
import subprocess
import sys
import time
import tracemalloc
from collections import Counter, OrderedDict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pydantic
import pytest
from cachemere import Cache
from cachemere._forms.known_types import _DTYPE, UNPACK
from cachemere.errors import CacheError, DecodeError, ValueFormError
from how_long import TORTURE

#: Ints whose difference this is have the same hash.
MODULUS = sys.hash_info.modulus


class Place(NamedTuple):
    x: int
    y: int


class Model(pydantic.BaseModel):
    x: int = 0


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with Cache(tmp_path_factory.mktemp("crafted") / "store", types=[Place, Model]) as cache:
        yield cache


# --- a writer of forms that checks nothing ----------------------------------------------------------------------------


def length(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


class Raw(bytes):
    """A form as it stands."""


class Named(NamedTuple):
    name: str
    plain: Any


def form(it: Any) -> bytes:
    match it:
        case Raw():
            return it
        case Named(name, plain):
            return b"x" + length(len(name)) + name.encode() + form(plain)
        case None:
            return b"N"
        case bool():
            return b"1" if it else b"0"
        case int() if -(1 << 63) <= it < 1 << 63:
            return b"i" + it.to_bytes(8, "little", signed=True)
        case int():
            data = it.to_bytes(it.bit_length() // 8 + 1, "little", signed=True)
            return b"I" + length(len(data)) + data
        case str():
            return b"s" + length(len(it.encode())) + it.encode()
        case bytes():
            return b"b" + length(len(it)) + it
        case bytearray():
            return b"B" + length(len(it)) + it
        case dict():
            return b"d" + length(len(it)) + b"".join(form(key) + form(value) for key, value in it.items())
        case tuple() | list():
            return (b"t" if type(it) is tuple else b"l") + length(len(it)) + b"".join(map(form, it))
    raise AssertionError(it)


def items(tag: bytes, of: list[Any]) -> Raw:
    return Raw(tag + length(len(of)) + b"".join(map(form, of)))


def soon(work: Callable[[], Any], seconds: float = 2) -> None:
    """An error of this package, before it takes long."""
    begun = time.perf_counter()
    with pytest.raises(CacheError):
        work()
    assert time.perf_counter() - begun < seconds


# --- keys with the same hash ------------------------------------------------------------------------------------------

MANY = 20_000
COLLIDING = [number * MODULUS for number in range(MANY)]
TUPLES = [(number, "x", 0) for number in COLLIDING[:9000]]

CROWDS = {
    "set": items(b"e", COLLIDING),
    "frozenset": items(b"z", COLLIDING),
    "dict": Raw(b"d" + length(MANY) + b"".join(form(key) + b"N" for key in COLLIDING)),
    "tuples": items(b"e", TUPLES),
    "ordered dict": Named("ordereddict", [(key, None) for key in COLLIDING]),
    "ordered dict of lists": Named("ordereddict", [[key, None] for key in COLLIDING]),
    "counter": Named("counter", Raw(b"d" + length(MANY) + b"".join(form(key) + form(1) for key in COLLIDING))),
    "counter of a list": Named("counter", COLLIDING),
    "fractions": items(b"e", [Named("fraction", (number, 1)) for number in COLLIDING]),
    "many sets": items(b"l", [items(b"e", COLLIDING[:3000])] * 20),
    "sets in a set": items(b"e", [items(b"z", COLLIDING[start : start + 1000]) for start in range(60)]),
    # Python compares these for a minute.
    "an int and a decimal": items(b"e", [Named("decimal", "0"), MODULUS << 8_000_000]),
    "a decimal and an int": items(b"e", [(MODULUS << 8_000_000,), (Named("decimal", "0"),)]),
    "fields of a model": Named(f"of:{__name__}.Model", ({}, None, COLLIDING, None)),
}


@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_keys_with_one_hash_do_not_stop_who_reads_them(cache: Cache, crowd: Any) -> None:
    soon(lambda: cache._store.decode_value(form(crowd)))


def test_a_key_that_is_a_set_of_ints_with_one_hash_is_refused(cache: Cache) -> None:
    soon(lambda: cache._store.decode_key(CROWDS["frozenset"]))


@pytest.mark.parametrize(
    "value", [set(COLLIDING[:5000]), dict.fromkeys(COLLIDING[:5000]), OrderedDict.fromkeys(COLLIDING[:5000])], ids=type
)
def test_what_could_not_be_read_is_not_written(cache: Cache, value: Any) -> None:
    with pytest.raises(ValueFormError, match="same hash"):
        cache["crowd"] = value
    assert "crowd" not in cache


@pytest.mark.parametrize(
    "value",
    [
        set(COLLIDING[:1000]),
        {2.0**power for power in range(-1074, 1024)},
        {2**power for power in range(5000)},
        {(x, y, z): 0 for x in range(-9, 10) for y in range(-9, 10) for z in range(-9, 10)},
        {Decimal(number) / 8 for number in range(-5000, 5000)},
        {1 << 9000: 1, Decimal("1.5"): 2},
        Counter(range(5000)),
        OrderedDict((number, str(number)) for number in range(-5000, 5000)),
        {frozenset({x, y}) for x in range(60) for y in range(60)},
    ],
    ids=lambda value: type(value).__name__,
)
def test_keys_that_were_not_made_for_it_are_no_crowd(cache: Cache, value: Any) -> None:
    cache["honest"] = value
    assert cache["honest"] == value


# --- lengths ----------------------------------------------------------------------------------------------------------


def test_nested_lengths_make_no_more_room_than_there_are_bytes(cache: Cache) -> None:
    size = 2_000_000
    nested = Raw(b"".join(b"l" + length(size - 5 * depth) for depth in range(100)) + b"N" * size)
    tracemalloc.start()
    try:
        soon(lambda: cache._store.decode_value(nested))
        assert tracemalloc.get_traced_memory()[1] < 40 * size
    finally:
        tracemalloc.stop()


# --- plain data of the wrong shape ------------------------------------------------------------------------------------

ENDLESS = Named("range", (0, 1 << 62, 1))


@pytest.mark.parametrize("name", [*UNPACK, f"of:{__name__}.Place", f"of:{__name__}.Model"])
def test_what_could_be_iterated_without_end_is_not(cache: Cache, name: str) -> None:
    shapes = [ENDLESS, (ENDLESS, None), (ENDLESS, None, ENDLESS, None), ({}, None, ENDLESS, None), 1 << 40]
    shapes += [("|u1", ENDLESS, False, bytearray(8)), ("|u1", (8,), False, ENDLESS)]
    for shape in shapes:
        if isinstance(shape, tuple) and ((name == "slice" and len(shape) == 3) or name.endswith("Place")):
            # Anything goes there.
            continue
        soon(lambda shape=shape: cache._store.decode_value(form(Named(name, shape))))


@pytest.mark.parametrize(
    "named",
    [
        Named("fraction", (3**2_000_000, 2**3_000_000)),
        Named("range", (0, 3**4_000_000, 3**2_000_000)),
        Named("date", (1 << 70, 1, 1)),
        Named("datetime", (1, 1, 1, 0, 0, 0, 0, 7, None)),
        Named("timedelta", (1 << 62, 0, 0)),
        Named("timezone", (999, 0, 0, "x")),
        Named("timezone", "../../etc/passwd"),
        Named("timezone", "a" * 5000),
        Named("decimal", "1" * 100 + "x"),
        Named("uuid", b"short"),
        Named("ipv6", "1:" * 5000),
        Named("deque", ([1], -1)),
        Named("flag", (datetime.__name__, "date", 1)),
        Named("flag", ("plain_data", "Colour", 1)),
    ],
    ids=lambda named: named.name,
)
def test_odd_contents_are_refused_soon(cache: Cache, named: Named) -> None:
    soon(lambda: cache._store.decode_value(form(named)), 0.5)


def test_fractions_and_ranges_that_could_not_be_read_are_not_written(cache: Cache) -> None:
    for value in (Fraction(1, 3**20_000), range(3**20_000)):
        with pytest.raises(ValueFormError):
            cache["long"] = value
    for value in (Fraction(1, 3**5000), range(3**5000), 3**20_000, Decimal("1e200000")):
        cache["long"] = value
        assert cache["long"] == value


# --- numpy ------------------------------------------------------------------------------------------------------------


def array(dtype: str, shape: Any, data: bytes, fortran: Any = False) -> Named:
    return Named("numpy.ndarray", (dtype, shape, fortran, bytearray(data)))


@pytest.mark.parametrize(
    "named",
    [
        # Divides by zero, which ends the process.
        array("m8[Y/0]", (1,), bytes(8)),
        Named("numpy.generic", ("m8[Y/0]", bytes(8))),
        array("<m8[0s]", (1,), bytes(8)),
        array("<m8[9999999999s]", (1,), bytes(8)),
        array("O", (1,), bytes(8)),
        array("|O8", (1,), bytes(8)),
        array("|V8", (1,), bytes(8)),
        array("i4,i4", (1,), bytes(8)),
        array("(2,)i4", (1,), bytes(8)),
        array("{'names': ['a'], 'formats': ['O']}", (1,), bytes(8)),
        array("|S0", (1,), b""),
        array("<U999999999", (1,), b""),
        array("<i4\n", (1,), bytes(4)),
        array("", (1,), bytes(4)),
        # Shapes that are not those of the bytes.
        array("<i4", (-1,), bytes(8)),
        array("<i4", (3,), bytes(8)),
        array("<i4", (1 << 62, 1 << 62, 4), bytes(8)),
        array("<i4", (1 << 32, 1 << 32), bytes(8)),
        array("<i4", (1 << 70,), bytes(8)),
        array("<i4", ("2",), bytes(8)),
        array("<i4", (1,) * 65, bytes(4)),
        array("<i4", [2], bytes(8)),
        array("<i4", (2,), bytes(9)),
        array("<i4", (2,), bytes(8), fortran=1),
        # Bytes that are no items.
        array("|b1", (2,), b"\0\2"),
        Named("numpy.generic", ("|b1", b"\7")),
        array("<U1", (1,), b"\xff" * 4),
        Named("numpy.generic", (">U1", b"\xff" * 4)),
        Named("numpy.generic", ("<i4", bytes(8))),
        Named("numpy.generic", ("<i4", b"")),
        Named("numpy.bytes", 1 << 40),
    ],
    ids=lambda named: str(named.plain)[:30],
)
def test_crafted_arrays_are_refused(cache: Cache, named: Named) -> None:
    with pytest.raises(DecodeError):
        cache._store.decode_value(form(named))


def test_the_grammar_is_that_of_the_arrays_that_are_stored(cache: Cache) -> None:
    kinds = [*"?bBhHiIlLqQefdgFDG", "U1", "U20", "S1", "S300"]
    kinds += [
        f"{kind}8[{times}{unit}]" for kind in "mM" for times in ("", 25) for unit in "Y M W D h m s ms us ns as".split()
    ]
    for kind in kinds:
        for order in "<>":
            dtype = numpy.dtype(kind).newbyteorder(order)
            assert _DTYPE.fullmatch(dtype.str), dtype.str
            empty = numpy.zeros(2, dtype)
            cache["array"] = empty
            assert cache["array"].dtype == dtype
            cache["item"] = empty[0]
            assert cache["item"].dtype == empty[0].dtype
    # numpy reads the order of bytes of a length without a unit, and forgets it.
    cache["length"] = numpy.array([7], "m8")
    assert cache["length"].view("i8") == [7]
    with pytest.raises(ValueFormError):
        cache["length"] = numpy.array([7], ">i8").view(">m8")


#: Reads what comes in, and uses what comes out of it. What it prints last is what it was at when it died.
READER = """
import sys, warnings, datetime
import numpy
from cachemere import Cache
from cachemere.errors import CacheError
warnings.simplefilter("ignore")
read = Cache(sys.argv[1])._store.decode_value
made = 0
for line in sys.stdin:
    print(line, end="", flush=True)
    try:
        it = read(bytes.fromhex(line))
    except CacheError:
        continue
    made += 1
    for use in (repr, lambda it: it.tolist(), lambda it: it.item(), lambda it: it == it, lambda it: it.sum(), hash,
                lambda it: it.astype("M8[s]"), lambda it: it[it], numpy.unique, numpy.nonzero):
        try:
            use(it)
        except Exception:
            pass
print("made", made)
"""


def some_dtype(chosen: random.Random) -> str:
    """A text that numpy might take for a dtype."""
    pick = chosen.choice
    number = pick(["", "0", "1", "2", "4", "8", "16", "25", "2147483647", "2147483648", "-1", "007"])
    unit = pick("Y M W D h m s ms us ns ps fs as generic B x".split())
    divided = pick(["", "", "", "/0", "/1", "/7", "/2147483647", "//3"])
    order, kind = pick(["<", ">", "=", "|", "", "!"]), pick("?biufcSUmMOVaT")
    made = f"{order}{kind}{number}"
    if kind in "mM":
        made = f"{order}{kind}8" + pick(["", f"[{number}{unit}{divided}]", f"[{unit}]", "[", f"[{unit}"])
    made = pick([made] * 8 + [f"{made},{made}", f"({number},){made}", f"[('a', '{made}')]", made * 2])
    if chosen.random() < 0.1:
        place = chosen.randrange(len(made) + 1)
        made = made[:place] + pick(["\0", " ", "é", "[", "]", "/", "0"]) + made[place:]
    return made


#: Texts of dtypes, and the bytes of an item.
GOOD = [(f"|{kind}1", 1) for kind in "biuS"]
GOOD += [(f"{order}{kind}", int(kind[1:])) for order in "<>" for kind in "i2 i8 u4 f2 f8 f16 c8 c32 m8 M8".split()]
GOOD += [(f"{order}U2", 8) for order in "<>"]
GOOD += [
    (f"<{kind}8[{times}{unit}]", 8) for kind in "mM" for times in ("", 3, 2**31 - 1) for unit in "Y D h s as".split()
]


def some_array(chosen: random.Random) -> Named:
    pick = chosen.choice
    if chosen.random() < 0.4:
        dtype, width = pick(GOOD)
        count = pick([0, 1, 1, 2, 6])
        data = pick([bytes, chosen.randbytes])(count * width)
        if width == 1 and chosen.random() < 0.5:
            data = bytes(byte & 1 for byte in data)
        if count == 1 and chosen.random() < 0.5:
            return Named("numpy.generic", (dtype, data))
        return array(dtype, pick([(count,), (1, count), (count, 1, 1), (count // 2, 2)]), data, pick([False, True]))
    data = pick([bytes, chosen.randbytes])(pick([0, 1, 2, 4, 8, 16, 24, 32, 64]))
    dtype = some_dtype(chosen)
    if chosen.random() < 0.3:
        return Named("numpy.generic", (dtype, data))
    sides = [0, 1, 2, 3, 4, 8, -1, -2, 1 << 31, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63]
    shape = tuple(pick(sides) for _ in range(pick([0, 1, 1, 1, 2, 3, 33, 65])))
    if chosen.random() < 0.6:
        # One that fits, for some widths.
        shape = (len(data) // pick([1, 2, 4, 8, 16]),)
    return array(dtype, shape, data, pick([False, False, True]))


def test_no_crafted_array_kills_who_reads_and_uses_it(path: Path) -> None:
    chosen = random.Random(None if TORTURE else 5)
    lines = "".join(form(some_array(chosen)).hex() + "\n" for _ in range(400_000 if TORTURE else 6000))
    done = subprocess.run(
        [sys.executable, "-c", READER, path], input=lines, capture_output=True, text=True, timeout=600, check=False
    )
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 0, (done.returncode, bytes.fromhex(last), done.stderr)
    # It got through to numpy often enough.
    assert int(last.removeprefix("made ")) > (20_000 if TORTURE else 300)
