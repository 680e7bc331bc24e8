"""What is told where a host is missing or has another interface."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import importlib.metadata as metadata, sys
sys.modules[{root!r}] = None
found = metadata.version
def version(name):
    if name == {distribution!r}:
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
"""
WITHOUT_A_NAME = "import {module}\ndel {module}.{name}\n"
WITH_ANOTHER_METHOD = """
from abc import abstractmethod
from typing import Generic, TypeVar
import {module}
T = TypeVar("T")
class BaseCache({module}.BaseCache{parameters}):
    @abstractmethod
    def peek(self): ...
{module}.BaseCache = BaseCache
"""
SHOW = """
import cachemere
try:
    import cachemere.integrations.{extra}
except cachemere.CacheError as error:
    assert isinstance(error, ImportError)
    print(type(error).__name__, error)
"""


def told(extra: str, before: str) -> str:
    program = before + SHOW.format(extra=extra)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("extra", "root", "distribution", "module"),
    [
        ("langchain", "langchain_core", "langchain-core", "langchain_core.caches"),
        ("langgraph", "langgraph", "langgraph", "langgraph.cache.base"),
    ],
)
def test_the_error_says_what_to_do(extra: str, root: str, distribution: str, module: str) -> None:
    line = f"pip install 'cachemere[{extra}]'"
    missing = told(extra, WITHOUT.format(root=root, distribution=distribution))
    assert missing.startswith("NotInstalledError") and line in missing
    # That of LangGraph is generic.
    parameters = "[T], Generic[T]" if extra == "langgraph" else ""
    another_method = WITH_ANOTHER_METHOD.format(module=module, parameters=parameters)
    for before in (WITHOUT_A_NAME.format(module=module, name="BaseCache"), another_method):
        other = told(extra, before)
        assert other.startswith("HostVersionError") and f"{distribution} >=1,<2, not" in other and line in other


@pytest.mark.parametrize(("library", "supported"), [("httpx", ">=0.27,<1"), ("httpx2", ">=2,<3")])
def test_the_transports_say_what_to_do(library: str, supported: str) -> None:
    line = f"pip install 'cachemere[{library}]'"
    missing = told(library, WITHOUT.format(root=library, distribution=library))
    assert missing.startswith("NotInstalledError") and line in missing
    for name in ("SyncByteStream", "BaseTransport", "Limits"):
        other = told(library, WITHOUT_A_NAME.format(module=library, name=name))
        assert other.startswith("HostVersionError") and f"{library} {supported}, not" in other and line in other


def test_the_storage_for_requests_says_what_to_do() -> None:
    line = "pip install 'cachemere[requests]'"
    missing = told("requests", WITHOUT.format(root="requests_cache", distribution="requests-cache"))
    assert missing.startswith("NotInstalledError") and line in missing
    of_another = "import requests_cache.serializers\ndel requests_cache.serializers.CattrStage\n"
    parameters = "[T, S], Generic[T, S]"
    another_method = WITH_ANOTHER_METHOD.format(module="requests_cache.backends.base", parameters=parameters)
    another_method = another_method.replace("BaseCache", "BaseStorage").replace("\nclass", "\nS = TypeVar('S')\nclass")
    for before in (of_another, another_method):
        other = told("requests", before)
        assert other.startswith("HostVersionError") and "requests-cache >=1.2,<2, not" in other and line in other


HOSTS = {"httpx", "httpx2", "langchain_core", "langgraph", "requests", "requests_cache"}


def test_the_package_itself_imports_no_host() -> None:
    program = f"import sys, cachemere\nprint(sorted({HOSTS!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
