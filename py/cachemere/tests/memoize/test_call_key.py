"""Calls that mean the same have one key, all others have keys of their own, and what cannot be told is an error."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import inspect
import pathlib
import random
import re
import subprocess
import sys
import threading
import typing
import uuid
import zoneinfo
from typing import Any

import numpy
import pydantic
import pytest
from cachemere import Cache
from cachemere._memo.canonical import Formless, form
from cachemere.errors import InvalidOptionError, KeyFormError
from hypothesis import given
from hypothesis import strategies as st

UTC = datetime.timezone.utc


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = 2


class Level(enum.IntEnum):
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0
    note: Any = dataclasses.field(default=None, compare=False)


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    model: str
    options: dict[str, Any] = {}


class Pair(typing.NamedTuple):
    a: int
    b: int


class Markup(str):
    pass


class Tagged(str):
    def __init__(self, text: str) -> None:
        self.tag = "hidden"


#: Objects of which no two are the same argument.
DIFFERENT: list[Any] = [
    None, "", "None", "1", b"", b"1", bytearray(b"1"), 0, 1, -1, 2**70, 10**5000, 0.5, float("inf"), float("nan"), 1j,
    [], [1], [1, 2], [2, 1], [[1], 2], (), (1,), (1, 2), ((1,), 2), {}, {"a": 1}, {"a": 2}, {1: "a"}, {"1": "a"},
    set(), {1}, {1, 2}, frozenset(), frozenset({1}), frozenset({1, 2}), {"a": [1]}, {"a": (1,)}, ["a, b"], ["a", "b"],
    ['a", "b'], Markup("1"), Pair(1, 2), Colour.RED, Colour.BLUE, Level.ONE, Access.READ, Access.READ | Access.WRITE,
    Point(1), Point(1, 1), Point("1"), Settings(model="m"), Settings(model="m", options={"a": 1}),
    Settings(model="m", more=1), Colour, Point, int, list, list[int], list[str], dict[str, int],
    decimal.Decimal(1), decimal.Decimal("1.0"), fractions.Fraction(1, 2), uuid.UUID(int=1), range(3), range(4), ...,
    pathlib.Path("a"), pathlib.Path("b"), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a"),
    datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, tzinfo=UTC),
    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")), datetime.time(1), datetime.timedelta(1),
    numpy.array([1, 2]), numpy.array([1, 2], "i4"), numpy.array([[1, 2]]), numpy.array([1.0, 2.0]), numpy.float64(1),
    numpy.float32(1), numpy.int64(1), numpy.str_("1"), numpy.dtype("f4"), collections.OrderedDict(a=1, b=2),
    collections.OrderedDict(b=2, a=1), collections.Counter("aab"), collections.deque([1]),
]  # fmt: skip

#: Objects that must be the same argument.
SAME: list[tuple[Any, Any]] = [
    ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}),
    ({3, 1, 2}, {2, 3, 1}),
    ({"x", "y", "z"}, {"z", "y", "x"}),
    (Colour.RED, Colour.CRIMSON),
    (Point(1, {"a": 1, "b": 2}, note=1), Point(1, {"b": 2, "a": 1}, note=object())),
    (Settings(model="m", options={"a": 1, "b": 2}), Settings(options={"b": 2, "a": 1}, model="m")),
    (numpy.arange(6).reshape(2, 3), numpy.asfortranarray(numpy.arange(6).reshape(2, 3))),
    (numpy.arange(10)[::2], numpy.array([0, 2, 4, 6, 8])),
    (float("nan"), -float("nan")),
    ("long" * 1000, "long" * 1000),
]

#: Objects that have no canonical form.
FORMLESS: list[Any] = [
    object(), threading.Lock(), Tagged("a"), collections.defaultdict(list), iter([]), [].__iter__(),
    numpy.array([object()]), numpy.zeros(1, dtype=[("a", "i4")]), sys, Exception("a"),
]  # fmt: skip


def test_each_argument_has_a_form_of_its_own_alone_and_nested() -> None:
    for wrap in (lambda it: it, lambda it: [it], lambda it: {"a": (it, [it])}, Point):
        for typed in (False, True):
            forms = [form(wrap(it), typed) for it in DIFFERENT]
            doubles = {made for made in forms if forms.count(made) > 1}
            assert not doubles


@pytest.mark.parametrize("pair", SAME, ids=repr)
def test_what_is_the_same_has_one_form(pair: tuple[Any, Any]) -> None:
    assert form(pair[0], False) == form(pair[1], False)
    assert form([{"k": pair[0]}], True) == form([{"k": pair[1]}], True)


@pytest.mark.parametrize("it", FORMLESS, ids=repr)
def test_what_cannot_be_told_has_no_form(it: Any) -> None:
    for wrapped in (it, [it], {"a": it}, Point(it), {"a": {"b": (it,)}}):
        with pytest.raises(Formless):
            form(wrapped, False)


def test_what_contains_itself_has_no_form() -> None:
    it: list[Any] = []
    it.append(it)
    with pytest.raises(Formless, match="contains itself"):
        form(it, False)


def test_a_local_class_has_no_form_but_its_dataclasses_have() -> None:
    @dataclasses.dataclass
    class Local:
        x: int

    with pytest.raises(Formless, match="cannot be imported"):
        form(Local, False)
    assert form(Local(1), False) != form(Local(2), False)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(plain, plain)
def test_plain_data_has_one_form_if_and_only_if_it_is_equal(a: Any, b: Any) -> None:
    assert (form(a, False) == form(b, False)) == (a == b)


@given(plain)
def test_equal_numbers_are_one_unless_types_are_told_apart(it: Any) -> None:
    def other(it: Any) -> Any:
        if isinstance(it, bool):
            return int(it)
        if isinstance(it, int) and abs(it) < 2**53:
            return float(it)
        if isinstance(it, list):
            return [other(item) for item in it]
        if isinstance(it, tuple):
            return tuple(other(item) for item in it)
        return {key: other(value) for key, value in it.items()} if isinstance(it, dict) else it

    changed = other(it)
    assert form(it, False) == form(changed, False)
    assert (form(it, True) == form(changed, True)) == (repr(it) == repr(changed))


def test_arguments_are_bound_and_defaults_applied(cache: Cache) -> None:
    @cache.memoize
    def f(x: int, y: int = 2, *rest: int, z: int = 3, **more: int) -> int:
        return x

    keys = {
        f.cache_key(1), f.cache_key(x=1), f.cache_key(1, 2), f.cache_key(1, y=2), f.cache_key(y=2, x=1),
        f.cache_key(1, z=3), f.cache_key(z=3, y=2, x=1),
    }  # fmt: skip
    assert len(keys) == 1
    assert f.cache_key(1, b=1, a=2) == f.cache_key(1, a=2, b=1)
    others = [f.cache_key(1, 2, 3), f.cache_key(1, 2, 3, 4), f.cache_key(1, a=1), f.cache_key(1, z=4), f.cache_key(2)]
    assert len({*others, *keys}) == 6


def test_keys_are_readable_and_never_huge(cache: Cache) -> None:
    @cache.memoize(version="v2")
    def f(prompt: str, **options: Any) -> str:
        return prompt

    kind, name, version, arguments, salt = f.cache_key("héllo", a=1)
    assert (kind, version, arguments, salt) == ("memoize/2", "v2", 'prompt="héllo", **options(a=1)', "")
    assert name.endswith("test_keys_are_readable_and_never_huge.<locals>.f")
    long = f.cache_key("x" * 100_000, a=1)[3]
    assert len(long) < 100 and long != f.cache_key("x" * 99_999 + "y", a=1)[3] and "a=1" in long
    many = f.cache_key("x", **{f"name{n}": n for n in range(1000)})[3]
    assert many.startswith("sha256:") and len(many) == 71
    # No text can pass for a digest.
    assert f.cache_key(long.partition("=")[2].partition(",")[0], a=1)[3] != long


def test_an_argument_without_a_form_is_named(cache: Cache) -> None:
    @cache.memoize
    def f(prompt: str, client: Any = None) -> str:
        return prompt

    with pytest.raises(
        KeyFormError, match=r"argument 'client' of .*\.f has no .*_thread\.lock.*ignore=.*'client'.*key="
    ):
        f("a", client=threading.Lock())
    with pytest.raises(TypeError):
        f("a", client={"deep": [object()]})
    assert f.cache_info().currsize == 0


def test_ignored_arguments_are_not_looked_at(cache: Cache) -> None:
    calls = []

    @cache.memoize(ignore=("client", "trace"))
    def f(client: Any, prompt: str, **more: Any) -> str:
        calls.append(prompt)
        return prompt

    assert f(object(), "a") == f(object(), "a") == f(prompt="a", client=object()) == f(object(), "a", trace=object())
    assert f(object(), "b", trace=1) == "b"
    assert calls == ["a", "b"]


def test_ignoring_a_parameter_that_does_not_exist_is_an_error_at_once(cache: Cache) -> None:
    with pytest.raises(InvalidOptionError, match="clint"):

        @cache.memoize(ignore=("clint",))
        def f(client: Any) -> None: ...

    with pytest.raises(InvalidOptionError, match="collection of str"):
        cache.memoize(ignore="client")


def test_a_key_function_takes_the_place_of_the_arguments(cache: Cache) -> None:
    calls = []

    @cache.memoize(key=lambda client, prompt: prompt.strip())
    def f(client: Any, prompt: str) -> str:
        calls.append(prompt)
        return prompt

    assert f(object(), "a") == f(object(), prompt=" a ") == "a"
    assert calls == ["a"]

    @cache.memoize(key=lambda it: object())
    def g(it: Any) -> None: ...

    with pytest.raises(KeyFormError, match="what key= made"):
        g(1)


def test_wrong_arguments_are_the_function_s_own_error(cache: Cache) -> None:
    @cache.memoize
    def f(x: int) -> int:
        return x

    with pytest.raises(TypeError, match=r"f\(\) missing 1 required positional argument: 'x'"):
        f()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'y'"):
        f(1, y=2)  # type: ignore[call-arg]


def test_equal_numbers_are_one_argument_and_typed_tells_them_apart(cache: Cache) -> None:
    calls: list[Any] = []

    def f(x: Any) -> str:
        calls.append(x)
        return repr(x)

    loose, typed = cache.memoize(f), cache.memoize(typed=True)(f)
    for _ in range(3):
        assert [loose(x) for x in (1, 1.0, True, (1, 2.0), (True, 2))] == ["1", "1", "1", "(1, 2.0)", "(1, 2.0)"]
    assert len(calls) == 2
    for _ in range(3):
        for x in (1, 1.0, True, 0, 0.0, False, (1,), (1.0,), (True,)):
            assert typed(x) == typed(x=x) == repr(x)
    assert len(calls) == 11


def test_the_short_way_takes_no_call_for_another(cache: Cache) -> None:
    def f(*args: Any, **options: Any) -> str:
        return repr((args, sorted(options.items())))

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1, 2), {}), (((1, 2),), {}), ((1, "y", 2), {}), ((1,), {"y": 2}), ((), {"y": 1}), ((), {"y": 2, "x": 1}),
        ((), {"x": 2, "y": 1}), (((1,), (("y", 2),)), {}), ((Markup("a"),), {}), (("a",), {}), ((b"a",), {}), ((), {}),
        ((None,), {}), ((Level.ONE,), {}), ((numpy.float64(1),), {}), ((float("nan"),), {}), (([1],), {}),
    ]  # fmt: skip
    for memo in (cache.memoize(f), cache.memoize(typed=True, version=2)(f)):
        for _ in range(3):
            for args, options in calls:
                assert memo(*args, **options) == f(*args, **options)
        assert memo(y=2, x=1) == f(x=1, y=2)
        assert memo.cache_info()[:2] == (2 * len(calls) + 1, len(calls))


def test_keys_are_the_same_in_every_process(cache: Cache) -> None:
    script = (
        "import cachemere, sys, tempfile\n"
        "sys.modules['other'] = sys.modules['__main__']; __name__ = 'other'\n"
        "@cachemere.memoize\n"
        "def f(x): ...\n"
        "print(f.cache_key({'b': {'z', 'y', 'x'}, 'a': frozenset('hello')}))"
    )
    keys = {subprocess.check_output([sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}) for seed in "123"}
    assert len(keys) == 1 and b"other.f" in keys.pop()


def test_a_program_s_functions_go_by_what_it_would_be_imported_as(tmp_path: pathlib.Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    keys = []
    for name in ("one.py", "two", "package/three.py"):
        file = tmp_path / name
        file.write_text("import cachemere\n@cachemere.memoize\ndef f(x): ...\nprint(f.cache_key(1)[1])")
        keys.append(subprocess.check_output([sys.executable, str(file)], text=True).strip())
    assert keys == ["one.f", "two.f", "package.three.f"]


class Client:
    def __init__(self, url: str) -> None:
        self.url = url


class Special(Client):
    pass


class Known:
    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()

    def __cachemere_key__(self) -> str:
        return self.name

    def ask(self, x: int) -> str:
        return self.name + str(x)


class Familiar(Known):
    pass


class Secretive(pydantic.BaseModel):
    model: str
    _style: str = pydantic.PrivateAttr(default="plain")


def of_style(style: str) -> Secretive:
    made = Secretive(model="m")
    made._style = style
    return made


Odd = enum.Enum("Odd", {"a, b": 1, "a": 2, "B.C": 3})
Looks = type("Point(1), test_call_key:Point", (Point,), {})


#: More objects of which no two are the same argument, of kinds that hostile or odd objects could be taken for.
ODD: list[Any] = [
    len, str.upper, "a".upper, "b".upper, {}.get, {"x": 1}.get, re.compile("a").findall, re.compile("b").findall,
    re.compile("a"), re.compile(b"a"), re.compile("a", re.I), functools.partial(len, [1]), functools.partial(len, [2]),
    of_style("plain"), of_style("odd"), Client, Special, Known("a"), Known("b"), Familiar("a"), Known("a").ask,
    Known("b").ask, int | str, str | int, list[int] | None, typing.List[int], list[int],  # noqa: UP006
    dict[str, list[int]], typing.Literal["a"], typing.Literal[1], typing.Literal[True], typing.Any, typing.Union,
    typing.Callable[[int], str], typing.Callable[..., str], typing.Annotated[int, 1], typing.Annotated[int, 2],
    Odd["a, b"], Odd["a"], Odd["B.C"], Looks(1), Point(1), Settings(model="m", **{"a=1, b": 2}),
    Settings(model="m", a=1, b=2), Settings(model="m", **{"": 1}), of_style, test_what_contains_itself_has_no_form,
    datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC")), zoneinfo.ZoneInfo("Europe/Paris"), "Europe/Paris",
]  # fmt: skip


@pytest.mark.parametrize("typed", [False, True])
def test_odd_objects_have_forms_of_their_own(typed: bool) -> None:
    forms = [form(it, typed) for it in ODD]
    doubles = {made for made in forms if forms.count(made) > 1}
    assert not doubles
    assert forms == [form(it, typed) for it in ODD]
    both = set(forms) & {form(it, typed) for it in DIFFERENT}
    assert both == {form(Point(1), typed), form(list[int], typed)}


def test_functions_are_their_name_their_code_and_what_they_carry() -> None:
    def maker(n: Any) -> Any:
        return lambda x, m=2: x + n + m

    one, other = (lambda: 1), (lambda: 2)
    assert form(maker(1), False) == form(maker(1), False) != form(maker(2), False)
    assert form(one, False) != form(other, False)
    with pytest.raises(Formless, match="lock"):
        form(maker(threading.Lock()), False)


def test_modules_are_refused_with_what_to_give() -> None:
    with pytest.raises(Formless, match="the module sys, .* give its name"):
        form([sys], False)


def test_odd_names_of_keywords_are_no_other_keywords(cache: Cache) -> None:
    @cache.memoize
    def f(**options: Any) -> str:
        return repr(options)

    calls: list[dict[str, Any]] = [
        {"a": 1, "b": 2}, {"a=1, b": 2}, {"a": "1, b=2"}, {"": 1}, {"a b": 1}, {'"a"': 1}, {"a": 1, "b=2)": 3},
    ]  # fmt: skip
    assert len({f.cache_key(**call) for call in calls}) == len(calls)
    assert [f(**call) for call in calls * 2] == [repr(call) for call in calls * 2]


def test_the_program_can_say_what_an_object_is(cache: Cache) -> None:
    @cache.memoize(key_types={Client: lambda it: it.url})
    def f(client: Client, x: int) -> str:
        return client.url

    assert [f(Client(url), 1) for url in "aba"] == ["a", "b", "a"] and f.cache_info()[:2] == (1, 2)
    f(Special("a"), 1)
    assert f.cache_info().misses == 3, "a subclass is another class"
    with pytest.raises(InvalidOptionError, match="key_types takes functions by classes"):
        cache.memoize(key_types={"Client": len})  # type: ignore[dict-item]


Call = tuple[tuple[Any, ...], dict[str, Any]]


def test_of_a_million_pairs_of_calls_those_share_a_key_that_bind_equal_arguments(cache: Cache) -> None:
    def f(a: Any, b: Any = 0, *c: Any, d: Any = "", **e: Any) -> None: ...

    atoms = [
        0,
        1,
        True,
        1.0,
        "",
        "a",
        "a=1",
        "a, b",
        "1",
        None,
        (),
        (1,),
        ("1",),
        b"a",
        [1],
        {"a": 1},
        {"a=1": 1},
        -0.0,
    ]
    names = ["d", "a=1, b", "x", "x=1", "", "e", "*c"]
    chance = random.Random(5)
    calls: list[Call] = [
        (
            tuple(chance.choices(atoms, k=chance.choice([1, 1, 2, 2, 3]))),
            {name: chance.choice(atoms) for name in chance.sample(names, chance.choice([0, 0, 1, 1, 2]))},
        )
        for _ in range(1500)
    ]
    memo = cache.memoize(f)
    signature = inspect.signature(f)

    def bound(call: Call) -> Any:
        made = signature.bind(*call[0], **call[1])
        made.apply_defaults()
        return made.arguments

    keys, arguments = [memo.cache_key(*args, **options) for args, options in calls], [bound(call) for call in calls]
    equal = 0
    for one in range(len(calls)):
        for other in range(one):
            is_one = keys[one] == keys[other]
            equal += is_one
            if is_one != (arguments[one] == arguments[other]):
                raise AssertionError((calls[one], calls[other]))
    assert equal > 100
