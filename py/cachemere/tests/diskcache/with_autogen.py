"""A program of AutoGen, run twice: the second process asks no model.

Not among the tests of `make test`, since AutoGen goes with other versions of libraries than these:
`make test-other-hosts`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from host_process import main, run, shown


def test_autogen_answers_from_disk(path: Path) -> None:
    first = run(__file__, "asked_twice", path)
    assert first == {"answers": ["blue", "blue"], "cached": [False, True], "asked": 1}
    assert run(__file__, "asked_twice", path) == {"answers": ["blue", "blue"], "cached": [True, True], "asked": 0}


def test_autogen_gets_calls_of_tools_and_probabilities_from_disk(path: Path) -> None:
    first = run(__file__, "tools", path)
    assert first["asked"] == 1 and run(__file__, "tools", path) == {**first, "asked": 0}


def test_autogen_gets_its_streams_from_disk(path: Path) -> None:
    first = run(__file__, "streamed", path)
    assert first == {"parts": ["the ", "sky"], "answer": "the sky", "asked": 1}
    assert run(__file__, "streamed", path) == {**first, "asked": 0}


def test_an_answer_of_a_class_that_is_not_named_fails_the_call(path: Path) -> None:
    assert run(__file__, "not_named", path) == ["UnsafeValueError", 0]


def asked_twice() -> Any:
    """A text, asked for twice."""
    model, client = _program(_answer("blue"))
    first, second = asyncio.run(_ask(client)), asyncio.run(_ask(client))
    return {
        "answers": [first.content, second.content],
        "cached": [first.cached, second.cached],
        "asked": len(model.asked),
    }


def tools() -> Any:
    """A call of a tool, and how probable the model held it."""
    model, client = _program(_call_of_a_tool())
    asyncio.run(_ask(client))
    answer = asyncio.run(_ask(client))
    assert answer == _call_of_a_tool().model_copy(update={"cached": True, "usage": answer.usage})
    return {"answer": answer.model_dump(), "asked": len(model.asked)}


def streamed() -> Any:
    """An answer in parts, read twice."""
    from autogen_core.models import UserMessage

    # Of a text, the model's answers come in parts.
    model, client = _program("the sky")

    async def read() -> list[Any]:
        return [part async for part in client.create_stream([UserMessage(content="Why?", source="user")])]

    asyncio.run(read())
    *parts, last = asyncio.run(read())
    return {"parts": parts, "answer": last.content, "asked": len(model.asked)}


def not_named() -> Any:
    """A call of a tool, over a cache that was told the classes of texts only."""
    import cachemere.diskcache

    _, client = _program(_call_of_a_tool())
    from autogen_core.models import CreateResult, RequestUsage

    client.store.cache = cachemere.diskcache.Cache("others", types=[CreateResult, RequestUsage])
    try:
        asyncio.run(_ask(client))
    except Exception as error:
        return [type(error).__name__, len(client.store.cache)]
    return None


def _program(answer: Any) -> tuple[Any, Any]:
    """A model that gives an answer once, and over it what the page shows."""
    from autogen_ext.models.replay import ReplayChatCompletionClient

    class Counted(ReplayChatCompletionClient):
        def __init__(self) -> None:
            super().__init__([answer])
            self.asked: list[Any] = []

        async def create(self, messages: Any, **options: Any) -> Any:
            self.asked.append(messages)
            return await super().create(messages, **options)

        async def create_stream(self, messages: Any, **options: Any) -> Any:
            self.asked.append(messages)
            async for part in super().create_stream(messages, **options):
                yield part

    program: dict[str, Any] = {"model_client": Counted()}
    exec(shown("AutoGen"), program)
    return program["model_client"], program["client"]


async def _ask(client: Any) -> Any:
    from autogen_core.models import UserMessage

    return await client.create([UserMessage(content="Why?", source="user")])


def _answer(content: Any, **more: Any) -> Any:
    from autogen_core.models import CreateResult, RequestUsage

    usage = RequestUsage(prompt_tokens=1, completion_tokens=2)
    return CreateResult(content=content, usage=usage, cached=False, **({"finish_reason": "stop"} | more))


def _call_of_a_tool() -> Any:
    from autogen_core import FunctionCall
    from autogen_core.models import ChatCompletionTokenLogprob, TopLogprob

    probable = ChatCompletionTokenLogprob(token="a", logprob=-0.5, top_logprobs=[TopLogprob(logprob=-0.5)])
    call = FunctionCall(id="1", arguments="{}", name="look")
    return _answer([call], finish_reason="function_calls", logprobs=[probable])


if __name__ == "__main__":
    main(globals())
