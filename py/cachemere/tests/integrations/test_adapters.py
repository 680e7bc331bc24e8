"""What all adapters do with hostile entries, stores that cannot be used, and other processes."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile
import pytest
from adapters import ADAPTERS, Adapter, opened
from cachemere import Cache
from cachemere.errors import CacheError, InvalidOptionError

every = pytest.mark.parametrize("adapter", ADAPTERS, ids=str)


@every
async def test_what_is_written_is_read_back_and_the_reader_s_own(path: Path, adapter: Adapter) -> None:
    await adapter.awrite(opened(adapter, Cache(path)), adapter.value)
    other = opened(adapter, Cache(path, memory_bytes=0))
    assert await adapter.aread(other) == adapter.value
    # From memory, twice.
    made = opened(adapter, Cache(path))
    first, second = await adapter.aread(made), await adapter.aread(made)
    assert first == second == adapter.value and first is not second
    if adapter.read is not None:
        assert adapter.read(made) == adapter.read(other) == adapter.value


@every
async def test_an_encrypted_store_gives_nothing_to_who_has_no_key(path: Path, adapter: Adapter) -> None:
    await adapter.awrite(opened(adapter, Cache(path, encryption_key=b"k" * 32)), adapter.value)
    assert await adapter.aread(opened(adapter, Cache(path, encryption_key=b"k" * 32))) == adapter.value
    assert b"of an answer" not in (path / "data.mdb").read_bytes()
    with pytest.raises(CacheError):
        await adapter.aread(opened(adapter, Cache(path)))
    assert await adapter.aread(adapter.make(Cache(path))) is None


@every
@pytest.mark.parametrize("name", hostile.entries(Path("/nowhere")))
async def test_a_hostile_entry_is_refused_and_nothing_run(
    path: Path, tmp_path: Path, adapter: Adapter, name: str
) -> None:
    mark = tmp_path / "ran"
    value = hostile.entries(mark)[name]
    hostile.write(path, adapter.namespace, adapter.key, value)
    # Not even where the program allows pickle for its own entries.
    cache = Cache(path, allow_pickle=True)
    strict, lenient = opened(adapter, cache), adapter.make(cache)
    for read in (adapter.read, adapter.aread):
        if read is None:
            continue
        try:
            found = read(strict)
            found = await found if inspect.isawaitable(found) else found
        except CacheError:
            found = None
        # Bytes are bytes, whatever is in them.
        assert found is None or (adapter.name == "langchain-bytes" and found == [value])
        bypassed = read(lenient)
        assert (await bypassed if inspect.isawaitable(bypassed) else bypassed) == found
    await adapter.awrite(lenient, adapter.value)
    assert await adapter.aread(lenient) == adapter.value
    assert not mark.exists()


@every
async def test_entries_of_other_adapters_are_refused(path: Path, adapter: Adapter) -> None:
    for other in ADAPTERS:
        if other is adapter:
            continue
        part = opened(other, Cache(path))
        await other.awrite(part, other.value)
        stored = part._part.get(other.key)
        types = (*part._part._options.types, *part._part._options.exact_types)
        with Cache(path, namespace=adapter.namespace, types=types) as under_its_key:
            under_its_key[adapter.key] = stored
        strict = opened(adapter, Cache(path))
        with pytest.raises(CacheError):
            await adapter.aread(strict)
        assert await adapter.aread(adapter.make(Cache(path))) is None


@every
async def test_a_store_that_cannot_be_opened_breaks_no_call(
    path: Path, adapter: Adapter, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("a file, not a directory")
    made = adapter.make(Cache(path))
    for _ in range(2):
        await adapter.awrite(made, adapter.value)
        assert await adapter.aread(made) is None
        if adapter.write is not None and adapter.read is not None:
            adapter.write(made, adapter.value)
            assert adapter.read(made) is None
    # Once, since it is one kind of trouble.
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1
    with pytest.raises(CacheError):
        await adapter.awrite(opened(adapter, Cache(path)), adapter.value)
    assert path.read_text() == "a file, not a directory"


@every
def test_it_is_true_and_has_no_length(path: Path, adapter: Adapter) -> None:
    made = adapter.make(Cache(path))
    assert made and not hasattr(type(made), "__len__") and not hasattr(type(made), "__bool__")
    assert not path.exists(), "nothing is opened before it is used"


@every
def test_wrong_arguments_are_told_at_once(path: Path, adapter: Adapter) -> None:
    for arguments in ({"on_error": "ignore"}, {"namespace": ""}):
        with pytest.raises(InvalidOptionError):
            adapter.make(Cache(path), **arguments)
    with pytest.raises(InvalidOptionError, match="cachemere.Cache"):
        adapter.make({})
    if "ttl" in inspect.signature(adapter.make).parameters:
        with pytest.raises(InvalidOptionError):
            adapter.make(Cache(path), ttl=0)


READ = """
import asyncio, sys
sys.path.insert(0, sys.argv[2])
from adapters import ADAPTERS, opened
from cachemere import Cache
async def main():
    for adapter in ADAPTERS:
        assert await adapter.aread(opened(adapter, Cache(sys.argv[1]))) == adapter.value, adapter
    print(len(ADAPTERS))
asyncio.run(main())
"""


async def test_another_process_reads_what_was_written(path: Path) -> None:
    for adapter in ADAPTERS:
        await adapter.awrite(opened(adapter, Cache(path)), adapter.value)
    arguments: list[Any] = [sys.executable, "-c", READ, path, Path(__file__).parent]
    done = await asyncio.to_thread(subprocess.run, arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(ADAPTERS)
