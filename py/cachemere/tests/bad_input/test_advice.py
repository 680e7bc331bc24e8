"""What a message advises helps in the situation in which it is given."""

from __future__ import annotations

import ast
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import cachemere
import pytest
from cachemere import Cache, PersistDict
from cachemere.diskcache import DEFAULT_SETTINGS
from cachemere.errors import InvalidOptionError, ReadOnlyError, StoreIOError, TooLargeError

PROGRAM = """
import sys
from cachemere import Cache
try:
    {body}
except Exception as error:
    print(type(error).__name__, error)
"""


def told(body: str, *arguments: str | Path, **options: Any) -> str:
    """What another process prints."""
    program = PROGRAM.format(body=body)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_asked_to_read_only_is_not_told_of_permissions(path: Path) -> None:
    Cache(path)["k"] = 1
    with Cache(path, read_only=True) as cache, pytest.raises(ReadOnlyError, match="this handle was opened read-only"):
        cache["k"] = 2
    with pytest.raises(StoreIOError, match="no store at .* check the path; an open that only reads makes none"):
        Cache(path.with_name("absent"), read_only=True).get("k")


def test_who_may_not_write_is_not_told_to_open_it_writable(path: Path) -> None:
    with Cache(path) as cache:
        cache["k"] = 1
    for it in [*path.iterdir(), path]:
        it.chmod(0o555 if it.is_dir() else 0o444)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing"
        try:
            if os.geteuid() == 0:
                # Whom no permissions hold back.
                for it in [*path.iterdir(), path]:
                    os.chown(it, 65534, 65534)
                for parent in list(path.parents)[:3]:
                    parent.chmod(0o755)
                os.setuid(65534)
            Cache(path)["k"] = 2
        except BaseException as error:
            text = f"{type(error).__name__} {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    text = os.read(reading, 10_000).decode()
    os.close(reading)
    assert text.startswith("ReadOnlyError") and "change their permissions" in text, text


def test_a_missing_parent_is_told_of_where_it_is_what_is_wrong(path: Path) -> None:
    with pytest.raises(StoreIOError, match="parent directory"):
        Cache("/proc/absent/store")["k"] = 1


def test_no_memory_and_no_descriptors_are_told_of_as_what_they_are(path: Path) -> None:
    Cache(path)["k"] = 1

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))

    body = "files = [open('/dev/null') for _ in range(17)]; Cache(sys.argv[1])['k'] = 2"
    text = told(body, path, preexec_fn=few_files)
    assert "StoreIOError" in text and "limit of open files" in text and "parent directory" not in text, text

    body = (
        "import resource, cachemere; resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20));"
        "Cache(sys.argv[1])['k'] = 2"
    )
    text = told(body, path)
    assert text == "" or ("parent directory" not in text and "memory" in text), text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1e300, "less than 1.84e+19 seconds, not 1e+300: leave it out for no end"),
        (float("inf"), "less than 1.84e+19 seconds"),
        (10**400, "less than 1.84e+19 seconds"),
        (1e-9, "at least a microsecond"),
        (0, "a positive number of seconds"),
        (-1e300, "a positive number of seconds"),
        (-(10**400), "a positive number of seconds"),
        (float("nan"), "a positive number of seconds"),
        ("x", "a positive number of seconds"),
    ],
)
def test_a_time_that_cannot_be_is_told_why(path: Path, value: Any, words: str) -> None:
    with Cache(path) as cache:
        for use in (
            lambda: cache.set("k", 1, ttl=value),
            lambda: Cache(path, ttl=value),
            lambda: cache.touch("k", value),
        ):
            with pytest.raises(InvalidOptionError) as caught:
                use()
            assert words in str(caught.value)
    with pytest.raises(InvalidOptionError, match="expiration_days must be less than 2.14e\\+14 days"):
        PersistDict[str, int](path, expiration_days=1e300)
    with pytest.raises(InvalidOptionError, match="max_entries must be less than 2\\*\\*63"):
        Cache(path, max_entries=2**70)


def test_what_is_too_large_is_told_so(path: Path) -> None:
    body = "Cache(sys.argv[1])['k'] = bytes((1 << 30) + 1)"
    text = told(body, path)
    assert text.startswith("TooLargeError") and "store a reference to a file instead" in text
    assert issubclass(TooLargeError, InvalidOptionError)


def test_no_message_names_an_option_that_does_not_exist() -> None:
    options, named = set(DEFAULT_SETTINGS), {}
    for module in Path(cachemere.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                every = node.args
                options |= {each.arg for each in (*every.posonlyargs, *every.args, *every.kwonlyargs)}
            elif isinstance(node, ast.Raise):
                for text in ast.walk(node):
                    if isinstance(text, ast.Constant) and isinstance(text.value, str):
                        found = re.findall(r"(?<![\w.])([a-z_]+)=(?!=)", text.value)
                        named.update(dict.fromkeys(found, f"{module}:{text.lineno}"))
    assert len(named) > 10 and not {option: place for option, place in named.items() if option not in options}
