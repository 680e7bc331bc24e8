"""What is told where a host is missing or has another interface."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import cachemere.integrations
import pytest


@dataclasses.dataclass(frozen=True)
class Imported:
    """What an adapter imports of its host."""

    #: The adapter's module.
    name: str
    extra: str
    distribution: str
    #: The host's package, the module with a base class of the adapter, and that class.
    root: str
    module: str
    base: str
    #: How a subclass is generic too.
    parameters: str = ""

    def __str__(self) -> str:
        return self.name


HOSTS = [
    Imported("langchain", "langchain", "langchain-core", "langchain_core", "langchain_core.caches", "BaseCache"),
    Imported(
        "langgraph", "langgraph", "langgraph", "langgraph", "langgraph.cache.base", "BaseCache", "[T], Generic[T]"
    ),
    Imported("litellm", "litellm", "litellm", "litellm", "litellm.caching.base_cache", "BaseCache"),
    Imported(
        "llama_index",
        "llama-index",
        "llama-index-core",
        "llama_index",
        "llama_index.core.storage.kvstore.types",
        "BaseKVStore",
    ),
    Imported("key_value", "key-value", "py-key-value-aio", "key_value", "key_value.aio.stores.base", "BaseCullStore"),
    Imported(
        "requests",
        "requests",
        "requests-cache",
        "requests_cache",
        "requests_cache.backends.base",
        "BaseStorage",
        "[T, S], Generic[T, S]",
    ),
]
#: Whose base classes ask for no methods.
TRANSPORTS = [
    Imported("httpx", "httpx", "httpx", "httpx", "httpx", "BaseTransport"),
    Imported("httpx2", "httpx2", "httpx2", "httpx2", "httpx2", "BaseTransport"),
]
ALL = [*HOSTS, *TRANSPORTS]

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
# By importlib, since a package can have another thing under the name of its module.
WITHOUT_A_NAME = "import importlib\ndel importlib.import_module({module!r}).{base}\n"
WITH_ANOTHER_METHOD = """
import importlib
from abc import abstractmethod
from typing import Generic, TypeVar
module = importlib.import_module({module!r})
T, S = TypeVar("T"), TypeVar("S")
class Base(module.{base}{parameters}):
    @abstractmethod
    def peek(self): ...
module.{base} = Base
"""
SHOW = """
import cachemere
try:
    import cachemere.integrations.{name}
except cachemere.CacheError as error:
    assert isinstance(error, ImportError)
    print(type(error).__name__, error)
"""
OLDEST = Path(__file__).parent / "oldest.txt"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def told(before: str, host: Imported) -> str:
    program = (before + SHOW).format(**dataclasses.asdict(host))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions(extra: str, distribution: str) -> str:
    """The versions of a distribution that an extra installs. Python 3.10 has nothing that reads TOML."""
    line = re.search(rf"^{extra} = \[(.*?)\]$", PYPROJECT.read_text(), re.MULTILINE | re.DOTALL)
    assert line is not None, f"no extra {extra}"
    [found] = re.findall(rf'"{distribution}([<>=!~][^";]*)', line[1])
    return str(found)


@pytest.mark.parametrize("host", HOSTS, ids=str)
def test_the_error_says_what_to_do(host: Imported) -> None:
    line = f"pip install '{host.distribution}{versions(host.extra, host.distribution)}'"
    known = f"{host.distribution} {versions(host.extra, host.distribution)}, not"
    missing = told(WITHOUT, host)
    assert missing.startswith("NotInstalledError") and line in missing
    for before in (WITHOUT_A_NAME, WITH_ANOTHER_METHOD):
        other = told(before, host)
        assert other.startswith("HostVersionError") and known in other and line in other


def test_another_litellm_that_makes_its_keys_otherwise_is_refused() -> None:
    [host] = [host for host in HOSTS if host.name == "litellm"]
    before = "from litellm.caching.caching import Cache\ndel Cache._add_namespace_to_cache_key\n"
    other = told(before, host)
    assert other.startswith("HostVersionError") and "_add_namespace_to_cache_key" in other


@pytest.mark.parametrize("host", TRANSPORTS, ids=str)
def test_the_transports_say_what_to_do(host: Imported) -> None:
    line = f"pip install '{host.distribution}{versions(host.extra, host.distribution)}'"
    missing = told(WITHOUT, host)
    assert missing.startswith("NotInstalledError") and line in missing
    for base in ("SyncByteStream", "BaseTransport", "Limits"):
        other = told(WITHOUT_A_NAME, dataclasses.replace(host, base=base))
        known = f"{host.distribution} {versions(host.extra, host.distribution)}, not"
        assert other.startswith("HostVersionError") and known in other and line in other


def test_another_requests_cache_that_serializes_otherwise_is_refused() -> None:
    [host] = [host for host in HOSTS if host.name == "requests"]
    other = told("import requests_cache.serializers\ndel requests_cache.serializers.CattrStage\n", host)
    assert other.startswith("HostVersionError") and "CattrStage" in other


def test_the_package_itself_imports_no_host() -> None:
    roots = sorted({"requests", *(host.root for host in ALL)})
    program = f"import sys, cachemere\nprint(sorted(set({roots}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


MODULES = [
    module.name for module in pkgutil.iter_modules(cachemere.integrations.__path__) if not module.name.startswith("_")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_versions_of_an_adapter_are_those_of_its_extra(name: str) -> None:
    host = importlib.import_module(f"cachemere.integrations.{name}")._HOST
    assert host.module == name and host.supported == versions(host.extra, host.distribution)


@pytest.mark.parametrize("host", ALL, ids=str)
def test_the_lowest_versions_that_are_tried_are_the_lowest_that_are_allowed(host: Imported) -> None:
    tried = re.search(rf"^{host.distribution}==(.*)$", OLDEST.read_text(), re.MULTILINE)
    lowest = re.match(r">=([\d.]+)", versions(host.extra, host.distribution))
    assert tried is not None and lowest is not None
    # `>=1` is `>=1.0.0`.
    assert numbers(tried[1]) == numbers(lowest[1])


def numbers(version: str) -> list[int]:
    found = [int(number) for number in version.split(".")]
    return found + [0] * (3 - len(found))


def test_no_adapter_is_forgotten_here() -> None:
    assert sorted(host.name for host in ALL) == sorted(MODULES)
