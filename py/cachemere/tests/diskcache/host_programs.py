"""Programs of DSPy and instructor over the facade."""

from __future__ import annotations

from typing import Any

from host_process import main, shown


def dspy_installed() -> Any:
    """DSPy imports diskcache by itself: it finds the facade."""
    exec(shown("DSPy"), globals())
    return _ask_dspy()


def dspy_attribute() -> Any:
    """DSPy is given the facade in place of its own cache on disk."""
    program, comment = shown("DSPy"), "# or, without install(): "
    # What the comment says, instead of what it is the other way to.
    for line in (
        "cachemere.diskcache.install(types=types)\n",
        'dspy.configure_cache(disk_cache_dir="answers")\n',
        comment,
    ):
        assert line in program
        program = program.replace(line, "")
    exec(program, globals())
    return _ask_dspy()


def _ask_dspy() -> Any:
    import cachemere.diskcache
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
    assert type(dspy.cache.disk_cache) is cachemere.diskcache.FanoutCache
    return [second.answer, len(asked), len(dspy.cache.disk_cache)]


def instructor_cache() -> Any:
    """instructor's `DiskCache` imports diskcache by itself: it finds the facade."""
    asked: list[Any] = []
    program: dict[str, Any] = {"openai_client": _openai_client(asked)}
    exec(shown("instructor"), program)
    cache = program["DiskCache"]("answers")
    assert type(cache._cache) is program["cachemere"].diskcache.Cache
    return _ask_instructor(program["client"], asked)


def instructor_decorator() -> Any:
    """The decorator that instructor's pages recommend, with a `diskcache.Cache`."""
    import functools
    import inspect

    import cachemere.diskcache as diskcache
    import instructor

    cache = diskcache.Cache("answers")

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

    asked: list[Any] = []
    return _ask_instructor(instructor.from_openai(_openai_client(asked)), asked, cached)


def _openai_client(asked: list[Any]) -> Any:
    import httpx
    import openai

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        function = {"name": "Colour", "arguments": '{"name": "blue"}'}
        calls = [{"id": "1", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
        choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        return httpx.Response(200, json=body)

    http: Any = httpx.Client(transport=httpx.MockTransport(answer))
    return openai.OpenAI(api_key="none", http_client=http)


def _ask_instructor(client: Any, asked: list[Any], decorate: Any = lambda function: function) -> Any:
    from pydantic import BaseModel

    class Colour(BaseModel):
        name: str

    def ask(question: str) -> Colour:
        messages = [{"role": "user", "content": question}]
        return client.create(model="m", response_model=Colour, messages=messages)  # type: ignore[no-any-return]

    ask.__annotations__["return"] = Colour
    asking = decorate(ask)
    first, second = asking("Why?"), asking("Why?")
    assert isinstance(first, Colour) and isinstance(second, Colour)
    return [second.name, len(asked)]


if __name__ == "__main__":
    main(globals())
