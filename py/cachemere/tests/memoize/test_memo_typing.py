"""What type checkers see of a memoized function is what they saw of the function."""

from __future__ import annotations

from pathlib import Path

from type_checker import check_types

PROGRAM = """
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any
from typing_extensions import assert_type
import cachemere
from cachemere import Cache, Hit

cache = Cache("/nowhere")

@cache.memoize(ttl=1, version="v2", ignore=("y",))
def f(x: int, *, y: str = "") -> list[int]:
    return [x]

@cachemere.memoize
def g(x: int) -> str:
    return ""

@cache.memoize
async def h(x: int) -> bytes:
    return b""

@cachemere.memoize()
def stream(x: int) -> Generator[int, None, str]:
    yield x
    return ""

@cachemere.memoize(typed=True)
async def astream(x: int) -> AsyncGenerator[int, None]:
    yield x

class C:
    @cache.memoize()
    def m(self, x: int) -> str:
        return ""

    @cache.memoize
    async def am(self, x: int) -> str:
        return ""

    @staticmethod
    @cache.memoize
    def sm(x: int) -> str:
        return ""

assert_type(f(1, y="a"), list[int])
assert_type(f.refresh(x=1), list[int])
assert_type(f.bypass(1), list[int])
assert_type(f.salted(1)(1, y=""), list[int])
assert_type(f.cached(1), Hit | None)
assert_type(f.__wrapped__(1), list[int])
assert_type(f.cache_info().hits, int)
assert_type(g(1), str)
assert_type(stream(1), Generator[int, None, str])
assert_type(astream(1), AsyncGenerator[int, None])
assert_type(C().m(1), str)
assert_type(C().m.refresh(x=1), str)
assert_type(C.m(C(), 1), str)
assert_type(C.sm(1), str)

async def main() -> None:
    assert_type(await h(1), bytes)
    assert_type(await h.refresh(1), bytes)
    assert_type(await C().am(1), str)
    async for item in astream(1):
        assert_type(item, int)

f("a")           # error: arg-type
f(1, z=2)        # error: call-arg
f.refresh()      # error: call-arg
C().m("a")       # error: arg-type
C().m.cached(1, 2)  # error: call-arg
"""


def test_types_are_kept(tmp_path: Path) -> None:
    check_types(PROGRAM, tmp_path)
