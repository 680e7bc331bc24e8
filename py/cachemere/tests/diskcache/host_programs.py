"""Programs of libraries that take diskcache, each run in a process of its own: `host_programs.py NAME STORE`.

Each prints what it answers and how often the model was asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(name: str, store: Path) -> Any:
    """What a program prints, run in another process."""
    environment = os.environ | {
        "DSPY_CACHEDIR": str(store.with_name("dspy's own")),
        "HOME": str(store.parent),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(
        [sys.executable, __file__, name, str(store)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def dspy_installed(store: str) -> Any:
    """DSPy imports diskcache by itself: it finds the facade."""
    import cachemere.diskcache

    cachemere.diskcache.install(types=_responses())
    import dspy

    dspy.configure_cache(disk_cache_dir=store, enable_memory_cache=False)
    assert type(dspy.cache.disk_cache) is cachemere.diskcache.FanoutCache
    return _ask_dspy()


def dspy_attribute(store: str) -> Any:
    """DSPy is given the facade in place of its own cache on disk."""
    import cachemere.diskcache as diskcache
    import dspy

    dspy.configure_cache(enable_memory_cache=False)
    dspy.cache.disk_cache = diskcache.FanoutCache(store, types=_responses())
    return _ask_dspy()


def _responses() -> list[type]:
    import litellm.types.utils
    from pydantic import BaseModel

    kinds = vars(litellm.types.utils).values()
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel]


def _ask_dspy() -> Any:
    import dspy
    import litellm

    asked = []
    complete = litellm.completion

    def counted(*args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs)
        return complete(*args, **kwargs)

    litellm.completion = counted
    answer = "[[ ## answer ## ]]\nblue\n\n[[ ## completed ## ]]"
    dspy.configure(lm=dspy.LM("openai/gpt-4o-mini", api_key="none", mock_response=answer))
    ask = dspy.Predict("question -> answer")
    first, second = ask(question="Why?"), ask(question="Why?")
    assert first.answer == second.answer
    assert type(dspy.cache.disk_cache).__module__ == "cachemere.diskcache.fanout"
    return [second.answer, len(asked), len(dspy.cache.disk_cache)]


def instructor_cache(store: str) -> Any:
    """instructor's `DiskCache` imports diskcache by itself: it finds the facade."""
    import cachemere.diskcache

    cachemere.diskcache.install()
    from instructor.cache import DiskCache

    cache = DiskCache(store)
    assert type(cache._cache) is cachemere.diskcache.Cache
    return _ask_instructor({"cache": cache, "cache_ttl": 1000, "cache_namespace": "colours"})


def instructor_decorator(store: str) -> Any:
    """The decorator that instructor's pages recommend, with a `diskcache.Cache`."""
    import functools
    import inspect

    import cachemere.diskcache as diskcache

    cache = diskcache.Cache(store)

    def cached(function: Any) -> Any:
        model = inspect.signature(function, eval_str=True).return_annotation

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            key = f"{function.__name__}-{functools._make_key(args, kwargs, typed=False)}"
            found = cache.get(key)
            if found is not None:
                return model.model_validate_json(found)
            result = function(*args, **kwargs)
            cache.set(key, result.model_dump_json())
            return result

        return wrapper

    return _ask_instructor({}, cached)


def _ask_instructor(options: dict[str, Any], decorate: Any = lambda function: function) -> Any:
    import httpx
    import instructor
    import openai
    from pydantic import BaseModel

    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        function = {"name": "Colour", "arguments": '{"name": "blue"}'}
        calls = [{"id": "1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        return httpx.Response(200, json=body)

    class Colour(BaseModel):
        name: str

    http = httpx.Client(transport=httpx.MockTransport(answer))
    client = instructor.from_openai(openai.OpenAI(api_key="none", http_client=http), **options)

    def ask(question: str) -> Colour:
        messages = [{"role": "user", "content": question}]
        return client.create(model="m", response_model=Colour, messages=messages)  # type: ignore[no-any-return]

    ask.__annotations__["return"] = Colour
    asking = decorate(ask)
    first, second = asking("Why?"), asking("Why?")
    assert isinstance(first, Colour) and isinstance(second, Colour)
    return [second.name, len(asked)]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
