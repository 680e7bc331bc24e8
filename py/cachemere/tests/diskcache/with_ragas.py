"""A program of ragas, run twice: the second process asks no model.

Not among the tests of `make test`, since ragas goes with other versions of libraries than these:
`make test-other-hosts`.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from host_process import main, run, shown


def test_ragas_answers_from_disk(path: Path) -> None:
    assert run(__file__, "structured", path) == [{"is_true": True, "reason": "answer 1"}] * 2 + [1]
    assert run(__file__, "structured", path) == [{"is_true": True, "reason": "answer 1"}] * 2 + [0]


def test_ragas_gets_its_embeddings_from_disk(path: Path) -> None:
    assert run(__file__, "embeddings", path) == [[1.0, 0.5], [1.0, 0.5], [2.0, 0.5], 2]
    assert run(__file__, "embeddings", path) == [[1.0, 0.5], [1.0, 0.5], [2.0, 0.5], 0]


def test_an_answer_of_a_class_that_is_not_named_fails_the_call(path: Path) -> None:
    assert run(__file__, "not_named", path) == ["UnsafeValueError", 1, 0]


def structured() -> Any:
    """Answers in the form of a class."""
    asked: list[Any] = []
    program = _program(asked)
    llm, verdict = program["llm"], program["Verdict"]
    assert type(llm.cache.cache) is program["cachemere"].diskcache.Cache
    answers = [llm.generate("Is the sky blue?", verdict) for _ in range(2)]
    assert type(answers[1]) is verdict
    return [*(answer.model_dump() for answer in answers), len(asked)]


def embeddings() -> Any:
    """Vectors of texts, in threads and in tasks."""
    asked: list[Any] = []
    cache = _program(asked)["llm"].cache
    from ragas.embeddings.base import BaseRagasEmbedding

    class Lengths(BaseRagasEmbedding):
        def embed_text(self, text: str, **options: Any) -> list[float]:
            asked.append(text)
            return [float(len(text)), 0.5]

        async def aembed_text(self, text: str, **options: Any) -> list[float]:
            return self.embed_text(text)

    model = Lengths(cache=cache)
    return [model.embed_text("a"), model.embed_text("a"), asyncio.run(model.aembed_text("bb")), len(asked)]


def not_named() -> Any:
    """An answer in the form of a class that `install` was not told."""
    asked: list[Any] = []
    program = _program(asked)
    from pydantic import BaseModel

    class Another(BaseModel):
        is_true: bool
        reason: str

    try:
        program["llm"].generate("Is the sky blue?", Another)
    except Exception as error:
        return [type(error).__name__, len(asked), len(program["llm"].cache.cache)]
    return None


def _program(asked: list[Any]) -> dict[str, Any]:
    """What the page shows, with a client whose answers are counted."""
    import httpx
    import openai

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        content = json.dumps({"is_true": True, "reason": f"answer {len(asked)}"})
        choices = [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        return httpx.Response(200, json=body)

    client = openai.OpenAI(api_key="none", http_client=httpx.Client(transport=httpx.MockTransport(answer)))
    globals()["openai_client"] = client
    exec(shown("ragas"), globals())
    return globals()


if __name__ == "__main__":
    main(globals())
