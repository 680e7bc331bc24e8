"""Several that ask the same at once, a loop that must not wait, and a process that is killed in the midst."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cachemere import Cache
from cachemere.integrations.httpx2 import AsyncCachemereTransport, CachemereTransport
from chat_endpoint import ChatEndpoint
from clients import MESSAGES, async_openai_client, openai_client

MANY = 12


def test_of_threads_that_ask_the_same_one_does(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))
    endpoint.troubles = ["slow"]
    with ThreadPoolExecutor(MANY) as pool:
        ask = lambda _: client.chat.completions.create(model="m", messages=MESSAGES).id  # noqa: E731
        assert list(pool.map(ask, range(MANY))) == ["chat-1"] * MANY
    assert len(endpoint.asked) == 1


async def test_of_tasks_that_ask_the_same_one_does(endpoint: ChatEndpoint, path: Path) -> None:
    client = async_openai_client(endpoint.url, Cache(path))
    endpoint.troubles = ["slow"]
    answers = await asyncio.gather(*(client.chat.completions.create(model="m", messages=MESSAGES) for _ in range(MANY)))
    assert [answer.id for answer in answers] == ["chat-1"] * MANY and len(endpoint.asked) == 1


class Unreachable(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """A server that cannot be reached, which shows after a while."""

    def __init__(self) -> None:
        self.asked = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        time.sleep(0.3)
        raise httpx2.ConnectError("no way there")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        await asyncio.sleep(0.3)
        raise httpx2.ConnectError("no way there")


URL, BODY = "http://nowhere.invalid/v1/chat/completions", {"model": "m", "messages": MESSAGES}


async def test_those_that_wait_for_a_request_that_fails_fail_with_it(path: Path) -> None:
    server = Unreachable()
    with httpx2.Client(transport=CachemereTransport(Cache(path), server)) as client, ThreadPoolExecutor(MANY) as pool:
        doing = [pool.submit(client.post, URL, json=BODY) for _ in range(MANY)]
        errors: list[Any] = [await asyncio.to_thread(each.exception, 20) for each in doing]
    assert [type(error) for error in errors] == [httpx2.ConnectError] * MANY and server.asked == 1
    assert len({id(error) for error in errors}) == MANY
    async with httpx2.AsyncClient(transport=AsyncCachemereTransport(Cache(path), server)) as tasks:
        asking = (tasks.post(URL, json=BODY) for _ in range(MANY))
        errors = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(error) for error in errors] == [httpx2.ConnectError] * MANY and server.asked == 2


PROGRAM = """
import sys
import httpx2
from cachemere import Cache
from cachemere.integrations.httpx2 import CachemereTransport
url, store, body = sys.argv[1] + "/v1/chat/completions", sys.argv[2], {"model": "m", "stream": sys.argv[3] == "stream"}
client = httpx2.Client(transport=CachemereTransport(Cache(store), on_error="raise"))
print("ready", flush=True)
sys.stdin.readline()
with client.stream("POST", url, json=body) as answer:
    for chunk in answer.iter_text():
        print("chat-1" if "chat-1" in chunk else chunk, flush=True)
"""


def other_process(endpoint: ChatEndpoint, path: Path, what: str) -> subprocess.Popen[str]:
    """A process that asks once it is told."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, endpoint.url, str(path), what],
        cwd=Path(__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_of_processes_that_ask_the_same_one_does(endpoint: ChatEndpoint, path: Path) -> None:
    endpoint.troubles = ["slow"]
    children = [other_process(endpoint, path, "plain") for _ in range(2)]
    for child in children:
        tell(child)
    assert [child.communicate(timeout=60)[0] for child in children] == ["chat-1\n"] * 2
    assert len(endpoint.asked) == 1


def test_if_the_one_that_asks_fails_another_takes_over(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path)).with_options(max_retries=0)
    endpoint.troubles = [500, "slow"]

    def ask(_: int) -> str:
        try:
            return client.chat.completions.create(model="m", messages=MESSAGES).id
        except Exception as error:
            return type(error).__name__

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(ask, range(MANY)))
    assert sorted(answers) == ["InternalServerError"] + ["chat-2"] * (MANY - 1) and len(endpoint.asked) == 2


async def test_a_task_that_is_cancelled_lets_another_take_over(endpoint: ChatEndpoint, path: Path) -> None:
    client = async_openai_client(endpoint.url, Cache(path))
    endpoint.troubles = ["slow"]

    async def ask(name: str) -> str:
        trace = {"X-Trace": name}
        return (await client.chat.completions.create(model="m", messages=MESSAGES, extra_headers=trace)).id

    tasks = {name: asyncio.ensure_future(ask(name)) for name in "ab"}
    while not endpoint.asked:
        assert not any(task.done() for task in tasks.values()), tasks
        await asyncio.sleep(0.01)
    # Either can have been the first.
    asks = tasks.pop(endpoint.asked[0].headers["x-trace"])
    asks.cancel()
    (waits,) = tasks.values()
    assert await asyncio.wait_for(waits, 10) == "chat-2" and asks.cancelled()


def test_a_stream_that_nobody_reads_holds_nobody_up(endpoint: ChatEndpoint, path: Path) -> None:
    client = openai_client(endpoint.url, Cache(path))
    begun = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    whole = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert [chunk.id for chunk in whole] == ["chat-2"] * len(whole)
    # The first one was read to its end after all, last.
    assert {chunk.id for chunk in begun} == {"chat-1"}
    assert next(client.chat.completions.create(model="m", messages=MESSAGES, stream=True)).id == "chat-1"
    # An answer that only turned out to be a stream does not either.
    streamed = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: [DONE]\n\n")
    transport = CachemereTransport(Cache(path), httpx2.MockTransport(lambda request: streamed))
    got: list[Any] = []
    with httpx2.Client(transport=transport) as plain:
        with plain.stream("POST", "https://a.example/v1/responses", json={}):
            asker = threading.Thread(target=lambda: got.append(plain.post("https://a.example/v1/responses", json={})))
            asker.start()
            asker.join(10)
    assert [answer.content for answer in got] == [b"data: [DONE]\n\n"]


def test_a_process_that_is_killed_in_the_midst_of_a_stream_leaves_nothing(endpoint: ChatEndpoint, path: Path) -> None:
    endpoint.troubles = ["stall"]
    child = other_process(endpoint, path, "stream")
    tell(child)
    assert child.stdout is not None and child.stdout.readline() == "chat-1\n"
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=30)
    child.communicate()
    cache = Cache(path)
    assert len(cache.namespace("http")) == 0
    client = openai_client(endpoint.url, cache)
    for _ in range(2):
        chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
        assert {chunk.id for chunk in chunks} == {"chat-2"}
    assert cache.verify().is_clean


def test_without_asyncio_requests_go_through_and_nothing_is_cached(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []

    def server(request: Any) -> Any:
        asked.append(request)
        return httpx2.Response(200, json=len(asked))

    async def ask() -> Any:
        transport = AsyncCachemereTransport(Cache(path), httpx2.MockTransport(server))
        async with httpx2.AsyncClient(transport=transport) as client:
            return (await client.post("https://a.example/v1/responses", json={})).json()

    for number in (1, 2):
        # As another loop would, without anything that is asyncio's.
        with pytest.raises(StopIteration) as ended:
            ask().send(None)
        assert ended.value.value == number
    assert "goes on without this entry" in caplog.text


async def test_the_loop_goes_on_while_the_store_is_at_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to the disk is made slow; the loop must not notice."""
    transport = AsyncCachemereTransport(
        Cache(path, memory_bytes=0),
        httpx2.MockTransport(lambda request: httpx2.Response(200, json={"a": 1})),
        on_error="raise",
    )
    part = transport._answers._part
    in_the_loop: list[str] = []
    slept: list[str] = []

    def slow(name: str) -> None:
        found = getattr(Cache, name)

        def slowly(self: Cache, *args: Any, **options: Any) -> Any:
            if self is part:
                slept.append(name)
                if threading.current_thread() is threading.main_thread():
                    in_the_loop.append(name)
                time.sleep(0.4)
            return found(self, *args, **options)

        monkeypatch.setattr(Cache, name, slowly)

    slow("get")
    slow("set")
    longest, last = 0.0, time.perf_counter()

    async def watch() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.perf_counter() - last), time.perf_counter()

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0.01)
    longest = 0.0
    async with httpx2.AsyncClient(transport=transport) as client:
        for expected in ("miss", "hit"):
            answer = await client.post("https://a.example/v1/responses", json={})
            assert answer.headers["x-cachemere"] == expected
    watching.cancel()
    assert in_the_loop == [] and slept.count("set") == 1 and slept.count("get") >= 2
    assert longest < 0.3, longest
