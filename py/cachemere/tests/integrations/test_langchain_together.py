"""Models that are asked the same at once are asked once, and nobody waits for one that has failed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cachemere import Cache
from cachemere.integrations.langchain import CachemereCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel, SimpleChatModel
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.messages import BaseMessage, HumanMessage

asked: list[str] = []


class Slow(SimpleChatModel):
    """Answers after a while; fails so many times before."""

    failures: int = 0

    @property
    def _llm_type(self) -> str:
        return "slow"

    def _answer(self, messages: list[BaseMessage]) -> str:
        asked.append(str(messages[-1].content))
        if len(asked) <= self.failures:
            raise OSError("busy")
        return f"to {messages[-1].content}"

    def _call(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        time.sleep(0.2)
        return self._answer(messages)

    async def _agenerate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
        from langchain_core.messages import AIMessage
        from langchain_core.outputs import ChatGeneration, ChatResult

        await asyncio.sleep(0.2)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(self._answer(messages)))])


@pytest.fixture(autouse=True)
def answers(path: Path) -> Iterator[CachemereCache]:
    asked.clear()
    answers = CachemereCache(Cache(path), on_error="raise")
    set_llm_cache(answers)
    yield answers
    set_llm_cache(None)
    answers.close()


async def test_of_200_tasks_on_5_prompts_5_ask() -> None:
    model: BaseChatModel = Slow()
    found = await asyncio.gather(*(model.ainvoke(f"p{n % 5}") for n in range(200)))
    assert [it.content for it in found] == [f"to p{n % 5}" for n in range(200)]
    assert sorted(asked) == [f"p{n}" for n in range(5)]


def test_of_threads_on_5_prompts_5_ask() -> None:
    model: BaseChatModel = Slow()
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(model.invoke, [f"p{n % 5}" for n in range(40)]))
    assert [it.content for it in found] == [f"to p{n % 5}" for n in range(40)]
    assert sorted(asked) == [f"p{n}" for n in range(5)]


async def test_a_batch_with_the_same_prompts_asks_for_each_once() -> None:
    model: BaseChatModel = Slow()
    assert len(await model.abatch(["a", "b", "a", "a"])) == 4 and sorted(asked) == ["a", "b"]
    assert len(await asyncio.to_thread(model.batch, ["c", "d", "c", "c"])) == 4 and sorted(asked) == [
        "a",
        "b",
        "c",
        "d",
    ]
    await model.agenerate([[HumanMessage("e")], [HumanMessage("e")]])
    assert asked.count("e") == 1


async def test_tasks_that_wait_for_one_that_fails_fail_with_it() -> None:
    model: BaseChatModel = Slow(failures=1)
    found = await asyncio.gather(*(model.ainvoke("p") for _ in range(20)), return_exceptions=True)
    assert [type(it) for it in found] == [OSError] * 20 and asked == ["p"]
    assert (await model.ainvoke("p")).content == "to p"


async def test_if_the_task_that_asks_is_cancelled_another_asks() -> None:
    model: BaseChatModel = Slow()
    tasks = [asyncio.create_task(model.ainvoke("p")) for _ in range(5)]
    await asyncio.sleep(0.1)
    tasks[0].cancel()
    found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [getattr(it, "content", it) for it in found[1:]] == ["to p"] * 4 and asked == ["p"]


def test_threads_that_wait_for_one_that_fails_ask_for_themselves_at_once() -> None:
    model: BaseChatModel = Slow(failures=1)
    began = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        found = [each.exception(10) or each.result() for each in [pool.submit(model.invoke, "p") for _ in range(10)]]
    assert [type(it) for it in found].count(OSError) == 1 and time.monotonic() - began < 2
    assert not [thread for thread in threading.enumerate() if thread.name == "cachemere-calls" and asked == []]


def test_a_thread_that_goes_on_after_a_failure_holds_nobody_up() -> None:
    model: BaseChatModel = Slow(failures=1)
    failed, done = threading.Event(), threading.Event()

    def fail() -> None:
        try:
            model.invoke("p")
        except OSError:
            failed.set()
        done.wait(20)

    thread = threading.Thread(target=fail)
    thread.start()
    assert failed.wait(10)
    began = time.monotonic()
    assert model.invoke("p").content == "to p" and time.monotonic() - began < 2
    done.set()
    thread.join()


async def test_models_for_text_are_asked_as_before() -> None:
    model = FakeListLLM(responses=["one", "two"])
    assert await model.ainvoke("p") == await model.ainvoke("p") == "one"
    assert await asyncio.to_thread(model.generate, ["q", "q"])
