"""A handle that was made before a process works in it: forked, spawned, in pools, by joblib; and secrets stay here."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cachemere
import joblib
import pytest
from cachemere import Cache, PersistDict
from cachemere.errors import WrongSecretError

KEY = b"0123456789abcdefghijklmnopqrstuv"
PHRASE = "correct horse battery staple"
METHODS = ["fork", "spawn", "forkserver"]
FACES: list[Any] = [PersistDict, Cache]


def in_a_fork(work: Callable[[], None]) -> None:
    """Runs it in a forked child, whose failure is the test's."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert status == 0, "the child failed: see its traceback"


def exchange(handle: Any, number: int) -> Any:
    """Reads what the parent wrote, writes, and reads it."""
    assert handle["from the parent"] == [1, 2]
    assert "absent" not in handle
    handle[number] = {"from": number}
    assert handle[number] == {"from": number}
    return list(handle)[0]


@pytest.mark.parametrize("face", FACES)
def test_a_handle_works_on_both_sides_of_a_fork(path: Path, face: Any) -> None:
    handle = face(path)
    handle["from the parent"] = [1, 2]
    assert handle["from the parent"] == [1, 2]
    in_a_fork(lambda: exchange(handle, 1) and None)
    assert handle[1] == {"from": 1}
    handle["after"] = 2

    def grandchild() -> None:
        assert handle["after"] == 2
        in_a_fork(lambda: exchange(handle, 3) and None)
        handle["after"] = 3

    in_a_fork(grandchild)
    assert handle["after"] == 3 and handle[3] == {"from": 3}
    assert handle.verify().is_clean
    handle.close()


@pytest.mark.parametrize("face", FACES)
def test_a_value_in_memory_is_not_stale_after_a_fork(path: Path, face: Any) -> None:
    handle = face(path)
    handle["k"] = 1
    assert handle["k"] == 1
    for number in range(2, 20):

        def child(number: int = number) -> None:
            assert handle["k"] == number - 1
            handle["k"] = number
            assert handle["k"] == number

        in_a_fork(child)
        assert handle["k"] == number
    handle.close()


def test_a_fork_in_the_midst_of_threads_that_read_and_write(path: Path, torture: bool) -> None:
    handle: Any = PersistDict(path)
    handle["from the parent"] = [1, 2]
    stop = threading.Event()
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                handle[f"thread {number}"] = {"n": [number]}
                assert handle[f"thread {number}"] == {"n": [number]}
                assert handle["from the parent"] == [1, 2]
                list(handle.items())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200 if torture else 20):
            in_a_fork(lambda number=number: exchange(handle, number) and None)  # type: ignore[misc]
            assert handle[number] == {"from": number}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors
    assert handle.verify().is_clean
    handle.close()


def test_a_handle_that_was_not_used_before_the_fork_is_used_in_both(path: Path) -> None:
    cache = Cache(path)
    in_a_fork(lambda: cache.set("child", 1))
    assert cache["child"] == 1
    cache.close()


def test_the_child_of_a_closed_handle_is_told_so(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1
    cache.close()

    def child() -> None:
        with pytest.raises(cachemere.errors.ClosedError):
            cache["k"]

    in_a_fork(child)


def test_a_child_that_ends_without_closing_harms_nobody(path: Path) -> None:
    cache = Cache(path)
    cache["k"] = 1

    def child() -> None:
        cache["child"] = 1
        os._exit(0)

    in_a_fork(child)
    assert cache["child"] == 1
    cache["k"] = 2
    cache.close()
    with Cache(path) as cache:
        assert cache["k"] == 2 and cache.verify().is_clean


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("face", FACES)
def test_a_handle_works_in_a_process_of_multiprocessing(path: Path, method: str, face: Any) -> None:
    handle = face(path)
    handle["from the parent"] = [1, 2]
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=exchange, args=(handle, 1))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert handle[1] == {"from": 1}
    handle.close()


@pytest.mark.parametrize("method", METHODS)
def test_handles_work_in_a_pool(path: Path, method: str) -> None:
    handles = [face(path, namespace=face.__name__) for face in FACES]
    for handle in handles:
        handle["from the parent"] = [1, 2]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for handle in handles:
            done = pool.map(exchange, [handle] * 6, range(6))
            assert list(done) == ["from the parent"] * 6
            assert sorted(key for key in handle if key != "from the parent") == list(range(6))
            handle.close()


def test_handles_work_with_joblib(path: Path) -> None:
    handle: Any = PersistDict(path)
    handle["from the parent"] = [1, 2]
    done = joblib.Parallel(n_jobs=2)(joblib.delayed(exchange)(handle, number) for number in range(6))
    assert done == ["from the parent"] * 6
    assert len(handle) == 7
    handle.close()


def test_options_go_with_a_pickled_handle(path: Path) -> None:
    cache = Cache(path, namespace="n", ttl=500, types=[Made], read_only=False, on_error="bypass", memory_bytes=1000)
    again = pickle.loads(pickle.dumps(cache))
    assert again._options == cache._options and again._guarded.on_error == "bypass"
    again["k"] = Made((1,))
    assert cache["k"] == Made((1,)) and type(cache["k"]) is Made
    d = PersistDict[Any, Any](path, expiration_days=1, verbose=True, name="mine")
    again = pickle.loads(pickle.dumps(d))
    assert (again._options, again._verbose, again._log.name) == (d._options, True, "cachemere.mine")


class Made(tuple[Any]):
    _fields = ("a",)


# --- secrets --------------------------------------------------------------------------------------------------------


def read_it(handle: Any) -> Any:
    return handle["k"]


def why_it_cannot_be_read(handle: Any) -> str:
    try:
        return f"was read: {handle['k']}"
    except WrongSecretError as error:
        return str(error)


@pytest.mark.parametrize("secret", [KEY, PHRASE])
@pytest.mark.parametrize("face", FACES)
def test_a_pickled_handle_has_no_secret(path: Path, secret: Any, face: Any) -> None:
    handle = face(path, encryption_key=secret)
    handle["k"] = 1
    spelled = secret if isinstance(secret, bytes) else secret.encode()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert spelled not in pickle.dumps(handle, protocol)
    assert spelled.decode() not in repr(handle) + str(handle._options)
    assert read_it(pickle.loads(pickle.dumps(handle))) == 1, "this process knows the secret"
    for file in path.rglob("*"):
        assert file.is_dir() or spelled not in file.read_bytes()
    handle.close()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("face", FACES)
def test_encrypted_handles_work_in_a_pool_that_was_told_the_secret(path: Path, method: str, face: Any) -> None:
    handle = face(path, encryption_key=KEY)
    handle["k"] = 1
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, context, initializer=cachemere.unlock, initargs=(path, KEY)) as pool:
        assert pool.submit(read_it, handle).result() == 1
    with ProcessPoolExecutor(1, context) as pool:
        why = pool.submit(why_it_cannot_be_read, handle).result()
    assert "encrypted" in why and "unlock" in why
    with ProcessPoolExecutor(1, context, initializer=cachemere.unlock, initargs=(path, "wrong")) as pool:
        assert "wrong secret" in pool.submit(why_it_cannot_be_read, handle).result()
    handle.close()


def test_a_forked_child_knows_the_secret(path: Path) -> None:
    cache = Cache(path, encryption_key=PHRASE)
    cache["k"] = 1
    in_a_fork(lambda: read_it(cache) and None)
    in_a_fork(lambda: read_it(pickle.loads(pickle.dumps(cache))) and None)
    cache.close()


def test_a_fork_while_another_thread_finds_the_default_store_leaves_a_cache_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finding, forked = threading.Event(), threading.Event()

    def found() -> Path:
        if threading.current_thread() is not threading.main_thread():
            finding.set()
            forked.wait()
        return tmp_path / "found"

    monkeypatch.setattr("cachemere._core.guarded.default_path", found)
    cache = Cache()
    other = threading.Thread(target=cache.set, args=("thread", 1))
    other.start()
    finding.wait()

    def use() -> None:
        signal.alarm(20)
        cache["child"] = 2

    try:
        in_a_fork(use)
    finally:
        forked.set()
        other.join()
    assert dict(cache.items()) == {"child": 2, "thread": 1}
    cache.close()


# --- nothing before the first use ------------------------------------------------------------------------------------


def test_importing_and_opening_make_no_file_and_no_thread(tmp_path: Path) -> None:
    program = """
import os, threading
def threads(): return len(os.listdir("/proc/self/task"))
before = threads()
import cachemere
cache = cachemere.open()
other = cachemere.Cache("somewhere/store")
print(threads() - before, os.listdir("."), repr(other)[:6])
cache["k"] = 1
print(sorted(os.listdir(".")), cache.path == os.path.join(os.getcwd(), "mine"))
"""
    environment = {**os.environ, "CACHEMERE_DIR": str(tmp_path / "mine"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["0 [] Cache(", "['mine'] True"]
    assert done.stderr == ""


def test_an_interpreter_that_ends_with_open_handles_keeps_everything(path: Path) -> None:
    program = f"import cachemere; c = cachemere.Cache({str(path)!r}); c['k'] = [1]; d = c.namespace('n'); d['k'] = 2"
    subprocess.run([sys.executable, "-c", program], check=True)
    with Cache(path) as cache:
        assert cache["k"] == [1] and cache.namespace("n")["k"] == 2


def test_a_loop_in_a_child_process_can_use_the_handle(path: Path) -> None:
    cache = Cache(path)
    cache["from the parent"] = [1, 2]

    async def work() -> None:
        await cache.aset("k", 1)
        assert await cache.aget("k") == 1

    in_a_fork(lambda: asyncio.run(work()))
    assert cache["k"] == 1
    cache.close()
