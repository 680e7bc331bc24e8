"""A function's code is part of its key: what does the same is the same, on all versions of Python."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere._memo import code_digest, source
from cachemere.errors import InvalidOptionError

BASE = """
def f(x, y=2):
    total = x + y
    return [str(total), f"{total:>{y}} of {x}"]
"""

SAME = {
    "it was moved down": "import os\n\n\n" + BASE,
    "comments": BASE.replace("    return", "    # a comment\n\n    return"),
    "a docstring": BASE.replace("    total", '    """Says something."""\n    total', 1),
    "annotations": BASE.replace("x, y=2)", "x: int, y: int = 2) -> list[str]").replace("total =", "total: int ="),
    "a declaration": BASE.replace("    total =", "    z: int\n    total =", 1),
    "it is written otherwise": BASE.replace("x + y", "(x +\n        y)")
    .replace('"{total', "'{total")
    .replace('{x}"', "{x}'"),
    "a decorator": "import functools\n@(lambda it: it)" + BASE,
    "future annotations": "from __future__ import annotations\n" + BASE,
    "another name": BASE.replace("def f", "def g") + "f = g\n",
    "in a class": "class A:\n" + textwrap.indent(BASE, "    ") + "f = A.f\n",
}

OTHER = {
    "a number": BASE.replace("y=2", "y=3"),
    "an operator": BASE.replace("x + y", "x - y"),
    "a text": BASE.replace(" of ", " off "),
    "a format": BASE.replace(":>", ":<"),
    "a name": BASE.replace("str(", "repr("),
    "a parameter": BASE.replace("y=2", "*, y=2"),
    "one more statement": BASE.replace("    return", "    print(x)\n    return"),
    "a tuple": BASE.replace("[str", "(str").replace('{x}"]', '{x}")'),
    "a float": BASE.replace("y=2", "y=2.0"),
    "a coroutine": BASE.replace("def f", "async def f"),
    "bytes": BASE.replace("str(total)", "b'total'"),
    "the class within": BASE.replace("    return", "    class A:\n        x: int\n    return"),
}


def made(tmp_path: Path, text: str, name: str = "module") -> Any:
    file = tmp_path / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def digest(tmp_path: Path, text: str, name: str = "module") -> str:
    found = code_digest.of_function(made(tmp_path, text, name).f)
    assert not found.startswith("compiled")
    return found


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_what_changes_nothing_is_not_in_the_digest(tmp_path: Path, text: str) -> None:
    assert text != BASE
    assert digest(tmp_path, BASE, "one") == digest(tmp_path, text, "other")


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_what_changes_something_is_in_the_digest(tmp_path: Path, text: str) -> None:
    assert text != BASE
    assert digest(tmp_path, BASE, "one") != digest(tmp_path, text, "other")


#: All that the grammar of Python 3.10 has.
GRAMMAR = r'''
def f(prompt, /, a: int = 1, *rest, b=2, **more):
    """Doc."""
    x: int = 3; z: str
    text = f"a{x!r:>{a}} {{}} b" "c" f"{x=}" + """
  not indented
more\n""" + f"{x:%Y-%m}{'nested'}{more['a']}" f"{x}" "" f"" + rb"\x" .decode() + "\N{BULLET}\ud800"
    async def inner(a, /, b, *c, d=1, **e):
        async with a as b, c as d:
            async for i in b:
                yield lambda x, *, y=2: (x if y else [*c, {**e, "k": 1}])
        await a; [i async for i in a if await b]; return
    try:
        del rest[1:2, ::3]; x = y = -1j + 1e400 + 10**3 + 0xFFFFFFFFFFFFFFFFFFFFFF; assert x, "no"
    except (ValueError, TypeError) as err:
        raise err from None
    except: pass
    else: x @= y; x.a = y[...] = 1
    finally:
        global zz
        zz = not (1 < a <= 3 != 4) and (x or y) and x is not y and x not in y
    match a:
        case {"a": 1, **rest} | [1, {**rest}] if a: pass
        case Point(x=0) as p: ...
        case None | True | "s" | -1 | 1.5 | b"b": pass
        case 1 + 2j: pass
        case (1, *_) | a.b: pass
        case _: pass
    class A(B, metaclass=C):
        """doc"""
        x: int
        y: "str" = 1
        @property
        def g(self) -> int:
            """doc"""
            return (yield from {i: j for i, j in x if i if j})
    w = (q := 3), {1, 2}, {i for i in x} if 0 else (i for i in x), *rest
    from . import a as b, c; import os.path, sys as t
    while x:
        if x: continue
        elif y: break
    else: x = lambda: (yield)
    for x, *y in z: pass
    else: nonlocal_ = print(*x, a=1, **y)
    with open(x): return
g = lambda x: x + 1
two = [lambda x: x * 2, lambda x: x * 3, (lambda x: x * 2)]
'''


def interpreters() -> list[str]:
    """Of other versions of Python that are here."""
    found = [shutil.which(f"python3.{minor}") for minor in range(10, 20)]
    found += [str(it) for it in Path.home().glob(".pyenv/versions/3.1[0-9].*/bin/python")]
    return sorted({os.path.realpath(it) for it in found if it is not None})


TOLD = """
import sys, types, importlib, importlib.util
package = types.ModuleType("memo"); package.__path__ = [sys.argv[1]]; sys.modules["memo"] = package
digests = importlib.import_module("memo.code_digest")
spec = importlib.util.spec_from_file_location("grammar", sys.argv[2])
module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)
print([digests.of_function(it) for it in (module.f, module.g, *module.two)])
"""


@pytest.mark.filterwarnings("ignore")
def test_all_versions_of_python_have_one_digest(tmp_path: Path) -> None:
    file = tmp_path / "grammar.py"
    file.write_text(GRAMMAR, encoding="utf-8")
    package = str(Path(code_digest.__file__).parent)
    told = {
        name: subprocess.run(
            [name, "-W", "ignore", "-c", TOLD, package, str(file)], stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        for name in {os.path.realpath(sys.executable), *interpreters()}
        if subprocess.run([name, "-c", "pass"], capture_output=True).returncode == 0
    }
    assert len(set(told.values())) == 1, told
    (digests,) = set(told.values())
    assert digests.strip() == GRAMMAR_DIGESTS, "what was stored before is found: never change this"


GRAMMAR_DIGESTS = str(
    [
        "8fef76011b48421dcecfb99cf79db03a",
        "3b620234f1a59b3789086fd2b552bd67",
        "960c797ce42b3cd64ed5aeeffeb453de",
        "9a3307dd6a0024bcd99ed781dfa5c48b",
        "960c797ce42b3cd64ed5aeeffeb453de",
    ]
)


def test_lambdas_on_one_line_are_told_apart(tmp_path: Path) -> None:
    module = made(tmp_path, "two = [lambda x: x * 2, lambda x: x * 3, (lambda x: x * 2)]\n")
    one, other, again = map(code_digest.of_function, module.two)
    assert one == again != other


def test_a_file_that_was_edited_while_the_program_runs_is_not_its_source(tmp_path: Path) -> None:
    module = made(tmp_path, BASE.replace("total", "whole"))
    (tmp_path / "module.py").write_text(BASE.replace("+", "-"))
    assert code_digest.of_function(module.f).startswith("compiled:")


def test_the_source_of_a_file_older_than_the_program_is_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = made(tmp_path, BASE)
    monkeypatch.setattr(source, "_BEGAN", time.time() + 10)
    monkeypatch.setattr(source, "_compiles_to", lambda *_: pytest.fail("compiled"))
    assert not code_digest.of_function(module.f).startswith("compiled:")


def test_the_end_of_a_function_is_found(tmp_path: Path) -> None:
    odd = 'def f(x):\n    y = """\nzero\n  def g(): ...\n"""\n# zero\n    if 0:\n        z = 1\n    pass; """\nend"""\n'
    assert digest(tmp_path, odd, "one") != digest(tmp_path, odd.replace("end", "other"), "other")
    assert digest(tmp_path, odd, "three") == digest(tmp_path, odd + "y = 2\n", "four")


def test_what_has_no_source_goes_by_its_bytecode(cache: Cache) -> None:
    names: dict[str, Any] = {"__name__": "made", "calls": []}
    exec("def f(x):\n    calls.append(x)\n    return x + 1", names)
    f = names["f"]
    assert code_digest.of_function(f).startswith("compiled:")
    memo = cache.memoize(f)
    assert memo(1) == memo(1) == 2 and names["calls"] == [1]
    exec("def f(x):\n    calls.append(x)\n    return x + 2", names)
    assert cache.memoize(names["f"])(1) == 3


def test_a_changed_function_gets_no_old_results_and_an_edit_undone_finds_them(cache: Cache, tmp_path: Path) -> None:
    before, after, undone = (
        cache.memoize(made(tmp_path, text, "edited").f) for text in (BASE, BASE.replace("+", "*"), BASE)
    )
    assert before(3)[0] == "5"
    assert after(3)[0] == "6", "not what the old code made"
    assert undone(3)[0] == "5" and undone.cache_info()[:2] == (1, 0)
    assert undone.cache_info().currsize == 2, "nothing was removed"


def test_with_a_version_the_programmer_says_what_is_the_same(cache: Cache, tmp_path: Path) -> None:
    for options in ({"version": "v1"}, {"on_change": "ignore"}):
        before, after = (
            cache.memoize(**options)(made(tmp_path, text, "edited").f)  # type: ignore[call-overload]
            for text in (BASE, BASE.replace("+", "*"))
        )
        assert before(3) == after(3)
    both = [
        cache.memoize(version="v1", on_change="recompute")(made(tmp_path, text, "edited").f)
        for text in (BASE, BASE.replace("+", "*"))
    ]
    assert both[0](3) != both[1](3)


def test_what_it_depends_on_can_be_included(cache: Cache, tmp_path: Path) -> None:
    text = "RATE = 2\ndef helper(x): return x * 2\ndef f(x): return helper(x) * RATE\n"

    def memo(text: str) -> Any:
        module = made(tmp_path, text, "needing")
        return cache.memoize(depends_on=[module.helper, module.RATE])(module.f)

    assert memo(text)(1) == 4
    assert memo(text.replace("x * 2", "x * 3"))(1) == 6
    assert memo(text.replace("RATE = 2", "RATE = 5"))(1) == 10
    assert memo(text)(1) == 4 and memo(text).cache_info().currsize == 3
    classes = [
        cache.memoize(depends_on=[module.A])(module.f)
        for number in ("1", "2", "1")
        for module in [
            made(tmp_path, f"class A:\n    def m(self): return {number}\ndef f(x): return A().m()", "needing")
        ]
    ]
    assert [f(1) for f in classes] == [1, 2, 1] and classes[2].cache_info().hits == 1
    with pytest.raises(TypeError, match="depends_on= takes"):
        cache.memoize(depends_on=[object()])(lambda x: x)(1)


def test_functions_with_a_name_by_hand_share_results_wherever_they_are(cache: Cache, tmp_path: Path) -> None:
    one = cache.memoize(name="ask")(made(tmp_path, BASE, "one").f)
    other = cache.memoize(name="ask")(made(tmp_path, BASE, "other").f)
    assert one(1) == other(1) and other.cache_info().hits == 1
    assert one.cache_key(1)[1] == "ask"


def test_the_digest_is_made_once(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    @cache.memoize
    def f(x: int) -> int:
        return x

    f(1)
    monkeypatch.setattr(code_digest, "_read", lambda *_: pytest.fail("made again"))
    assert f(2) == 2 and isinstance(f.__wrapped__, types.FunctionType)


def test_one_line_tells_how_many_results_a_change_left(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def memo(text: str) -> Any:
        return cache.memoize(made(tmp_path, text, "edited").f)

    before, after = BASE, BASE.replace("+", "*")
    for n in range(5):
        memo(before)(n)
    assert not caplog.records
    for n in range(3):
        memo(after)(n)
    assert [it.levelname for it in caplog.records] == ["WARNING"]
    assert "the code of edited.f has changed: 5 results of its earlier code are kept" in caplog.text
    assert memo(before)(0) and len(caplog.records) == 1, "what is found again is no news"
    assert len(cache) == 8 and memo(after).cache_info().currsize == 8


def test_results_of_earlier_code_are_used_if_that_is_asked_for(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def memo(text: str, **options: Any) -> Any:
        return cache.memoize(**options)(made(tmp_path, text, "edited").f)

    old, new = BASE, BASE.replace("+", "*")
    assert memo(old)(3)[0] == "5" and memo(new)(4)[0] == "8"
    caplog.clear()
    newest = BASE.replace("+", "-")
    ignoring = memo(newest, on_change="ignore")
    assert [ignoring(3)[0], ignoring(4)[0], ignoring(5)[0]] == ["5", "8", "3"] and not caplog.records
    warned = memo(BASE.replace("+", "%"), on_change="warn")
    assert [warned(3)[0], warned(4)[0]] * 2 == ["5", "8"] * 2
    assert len(caplog.records) == 1 and "earlier code are used, as on_change='warn' says" in caplog.text
    assert memo(newest)(3)[0] == "1", "computed anew by default"


async def test_coroutines_and_streams_use_results_of_earlier_code(cache: Cache, tmp_path: Path) -> None:
    text = "async def f(x):\n    return x + 1\ndef g(x):\n    yield x + 1\n"
    for given in (text, text.replace("+", "-")):
        module = made(tmp_path, given, "edited")
        f, g = (cache.memoize(on_change="ignore")(it) for it in (module.f, module.g))
        assert await f(1) == 2 and list(g(1)) == [2]


def test_two_functions_that_share_results_by_name_are_noticed(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = (
        cache.memoize(name="ask", version=1)(made(tmp_path, text, name).f)
        for text, name in ((BASE, "one"), (BASE.replace("+", "*"), "other"))
    )
    one(1)
    assert not caplog.records
    other(1)
    assert "two functions with different code are memoized as ask" in caplog.text
    caplog.clear()
    del one
    cache.memoize(name="ask", version=1)(made(tmp_path, BASE.replace("+", "*"), "again").f)(1)
    assert not caplog.records, "the same code"


def test_options_about_code_are_checked(cache: Cache) -> None:
    for options in ({"on_change": "redo"}, {"name": ""}, {"name": 3}, {"depends_on": "f"}, {"version": 1.5}):
        with pytest.raises(InvalidOptionError):
            cache.memoize(**options)  # type: ignore[call-overload]
