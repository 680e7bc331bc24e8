"""The cache for LiteLLM: what its calls say of it, which of them are one question, and what they do when it fails."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import litellm
import pytest
from cachemere import Cache
from cachemere.errors import CacheError, InvalidOptionError, UnsafeValueError, ValueFormError
from cachemere.integrations.litellm import CachemereCache, enable_cache

MESSAGES = [{"role": "user", "content": "Why?"}]


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    before = litellm.enable_caching_on_provider_specific_optional_params
    yield
    litellm.disable_cache()
    litellm.enable_caching_on_provider_specific_optional_params = before


@pytest.fixture
def backend(path: Path) -> CachemereCache:
    return CachemereCache(Cache(path), on_error="raise")


def ask(answer: str, **options: Any) -> str:
    """What the model answers, which would be `answer` if it were asked now."""
    call = {"model": "gpt-4o", "messages": MESSAGES, "mock_response": answer, **options}
    found: Any = litellm.completion(**call)
    return str(found.choices[0].message.content)


async def ask_later(answer: str, **options: Any) -> str:
    call = {"model": "gpt-4o", "messages": MESSAGES, "mock_response": answer, **options}
    found: Any = await litellm.acompletion(**call)
    # It writes in a task of its own.
    await asyncio.sleep(0.1)
    return str(found.choices[0].message.content)


def test_an_answer_says_that_it_was_kept(path: Path) -> None:
    enable_cache(Cache(path))
    calls = [litellm.completion(model="gpt-4o", messages=MESSAGES, mock_response=it) for it in "ab"]
    assert [it._hidden_params.get("cache_hit") for it in calls] == [None, True]
    assert calls[0].usage == calls[1].usage and calls[0].id == calls[1].id


OTHER_QUESTIONS: list[dict[str, Any]] = [
    {"temperature": 0.5},
    {"model": "gpt-4o-mini"},
    {"messages": [{"role": "system", "content": "s"}, *MESSAGES]},
    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
    {"n": 2},
    {"seed": 1},
    # LiteLLM alone takes these for the same question.
    {"extra_body": {"guided_json": {"type": "object"}}},
    {"extra_body": {"guided_json": {"type": "string"}}},
    {"api_base": "http://one.example"},
    {"api_base": "http://two.example"},
    {"custom_llm_provider": "openai"},
    {"of_the_provider": 1},
]


def test_another_question_is_another_entry(path: Path) -> None:
    made = enable_cache(Cache(path), on_error="raise")
    assert ask("plain") == "plain"
    for number, options in enumerate(OTHER_QUESTIONS):
        assert ask(str(number), **options) == str(number), options
    assert ask("again") == "plain"
    for number, options in enumerate(OTHER_QUESTIONS):
        assert ask("again", **options) == str(number), options
    assert len(made.cache._part) == 1 + len(OTHER_QUESTIONS)


def test_deployments_of_a_router_are_one_model(path: Path) -> None:
    made = enable_cache(Cache(path), on_error="raise")
    names = ["http://one.example", "http://two.example"]
    router = litellm.Router(
        [
            {
                "model_name": "chat",
                "litellm_params": {"model": "openai/x", "api_base": name, "api_key": "k", "mock_response": name},
            }
            for name in names
        ],
        cache_responses=True,
    )
    answers = {router.completion("chat", MESSAGES).choices[0].message.content for _ in range(12)}
    assert len(answers) == 1 and len(made.cache._part) == 1


async def test_the_controls_of_a_call_are_heeded(path: Path) -> None:
    made = enable_cache(Cache(path), on_error="raise")
    for asked in (ask, ask_later):

        async def answer(text: str, asked: Callable[..., Any] = asked, **options: Any) -> str:
            found = asked(text, user=asked.__name__, **options)
            return str(await found if inspect.isawaitable(found) else found)

        assert await answer("first", cache={"no-store": True}) == "first"
        assert await answer("second") == "second"
        assert await answer("third", cache={"no-cache": True}) == "third"
        assert await answer("fourth") in ("second", "third")
        assert await answer("other", cache={"namespace": "other"}) == "other"
        assert await answer("brief", seed=1, cache={"ttl": 60}) == "brief" == await answer("again", seed=1)
        newest = next(reversed(made.cache._part))
        left = await made.cache.async_get_ttl(newest)
        assert 30 < left <= 60 and "brief" in made.cache.get_cache(newest)["response"]
        await asyncio.sleep(0.01)
        assert await answer("too old", seed=1, cache={"s-maxage": 0.001}) == "too old"


def test_lifetimes(path: Path) -> None:
    backend = CachemereCache(Cache(path, ttl=100), ttl=50, on_error="raise")

    def left(key: str) -> Any:
        return asyncio.run(backend.async_get_ttl(key))

    backend.set_cache("own", 1)
    backend.set_cache("said", 1, ttl="20")
    backend.set_cache("fraction", 1, ttl=0.3)
    assert 47 < left("own") <= 50 and 17 < left("said") <= 20 and left("absent") is None
    backend.set_cache("said", 2, ttl=0)
    assert backend.get_cache("said") is None, "it has expired, and so has what was there before"
    time.sleep(0.35)
    assert backend.get_cache("fraction") is None
    CachemereCache(Cache(path, ttl=100), on_error="raise").set_cache("of the cache", 1)
    assert 97 < left("of the cache") <= 100
    # LiteLLM's base class would say a minute.
    CachemereCache(Cache(path), on_error="raise").set_cache("ever", 1)
    assert left("ever") is None and backend.get_cache("ever") == 1


async def test_many_entries_at_once(backend: CachemereCache) -> None:
    await backend.async_set_cache_pipeline([("a", {"n": 1}), ("b", [1.5]), ("c", "text")], ttl=60)
    assert await backend.async_batch_get_cache(["c", "absent", "a"]) == ["text", None, {"n": 1}]
    assert backend.batch_get_cache(["b"]) == [[1.5]]
    for pair, error in ((("d", object()), ValueFormError), (("d", {"o": object()}), UnsafeValueError)):
        with pytest.raises(error):
            await backend.async_set_cache_pipeline([("a", {"n": 2}), pair])
    assert backend.get_cache("a") == {"n": 1}, "all of them or none"
    await backend.async_delete_cache("a")
    assert await backend.delete_cache_keys(["b", "absent"]) == 1
    assert await backend.async_batch_get_cache(["a", "b", "c"]) == [None, None, "text"]
    await backend.async_flush_cache()
    assert backend.get_cache("c") is None


async def test_a_lifetime_of_nothing_counts_and_keeps_nothing(backend: Any) -> None:
    assert backend.increment_cache("n", 2, ttl=0) == 2
    assert backend.get_cache("n") is None
    backend.set_cache("n", 5)
    assert await backend.async_increment("n", 2, ttl=0) == 7
    assert backend.get_cache("n") is None
    backend.set_cache("text", "x", ttl=0)
    assert backend.get_cache("text") is None
    assert await backend.async_increment("n", 1, ttl=-1) == 1


async def test_a_counter_keeps_the_end_of_its_window(backend: Any) -> None:
    assert backend.increment_cache("n", 1, ttl=600) == 1
    ends = backend._part.info("n").expires_at
    assert await backend.async_increment("n", 2, ttl=5000) == 3
    assert abs(backend._part.info("n").expires_at - ends) < 0.5
    assert await backend.async_increment("n", 2, ttl=5000, refresh_ttl=True) == 5
    assert backend._part.info("n").expires_at > ends + 4000
    backend.set_cache("for ever", 1)
    assert backend.increment_cache("for ever", 1, ttl=600) == 2 and await backend.async_get_ttl("for ever") > 500
    operations = [{"key": "n", "increment_value": 1, "ttl": 60}, {"key": "new", "increment_value": 2, "ttl": None}]
    assert await backend.async_increment_pipeline(operations) == [6, 2]
    backend.set_cache("text", "x")
    with pytest.raises(ValueFormError):
        backend.increment_cache("text", 1)


COUNT = """
import sys
from cachemere import Cache
from cachemere.integrations.litellm import CachemereCache
backend = CachemereCache(Cache(sys.argv[1]), on_error="raise")
print("counting", flush=True)
for _ in range(100):
    backend.increment_cache("count", 1, ttl=600)
"""


async def test_counting_is_atomic(path: Path, backend: CachemereCache) -> None:
    other = subprocess.Popen([sys.executable, "-c", COUNT, str(path)], stdout=subprocess.PIPE)
    assert other.stdout is not None
    await asyncio.to_thread(other.stdout.readline)
    thread = threading.Thread(target=lambda: [backend.increment_cache("count", 1) for _ in range(100)])
    thread.start()
    await asyncio.gather(*(backend.async_increment("count", 0.5) for _ in range(50)))
    thread.join()
    assert other.wait() == 0
    other.stdout.close()
    assert backend.get_cache("count") == 225


@pytest.mark.parametrize("on_error", ["bypass", "raise"])
async def test_a_store_that_cannot_be_opened_breaks_no_call(path: Path, on_error: str) -> None:
    path.write_text("a file, not a directory")
    made = enable_cache(Cache(path), on_error=on_error)
    assert ask("a") == "a" and ask("b") == "b"
    assert await ask_later("c") == "c" and await ask_later("d") == "d"
    assert (await made.cache.test_connection())["status"] == "failed"
    for remove in (made.cache.flush_cache, lambda: made.cache.delete_cache("k"), lambda: asyncio.run(made.ping())):
        with pytest.raises(CacheError):
            await asyncio.to_thread(remove)


async def test_the_store_can_be_tried_and_closed(path: Path) -> None:
    made = enable_cache(Cache(path))
    assert await made.ping() is True and (await made.cache.test_connection())["status"] == "success"
    await made.disconnect()
    assert ask("a") == "a" and ask("b") == "b"


@pytest.mark.parametrize("name", hostile.entries(Path("/nowhere")))
async def test_a_hostile_entry_is_not_answered_with(path: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    made = enable_cache(Cache(path, allow_pickle=True))
    ask("kept")
    [key] = made.cache._part
    value = hostile.entries(mark)[name]
    for entry in (value, ("litellm", {"timestamp": 1.0, "response": value})):
        hostile.write(path, "litellm", key, entry)
        assert ask("new", cache={"no-store": True}) == "new"
        assert await ask_later("new", cache={"no-store": True}) == "new"
    assert not mark.exists()


async def test_what_is_no_answer_breaks_no_call(path: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    made = enable_cache(Cache(path))
    ask("kept")
    [key] = made.cache._part
    call = f"__import__('os').mkdir({str(mark)!r})"
    responses = [
        "",
        "{}",
        "[1]",
        '"text"',
        "7",
        "null",
        '{"choices": 1}',
        '{"choices": [{"message": 1}]}',
        call,
        None,
        5,
    ]
    for value in [*({"timestamp": 1.0, "response": it} for it in responses), {"timestamp": "x"}, [1], "text", True]:
        made.cache._part[key] = ("litellm", value)
        assert ask("new", cache={"no-store": True}) == "new", value
        assert await ask_later("new", cache={"no-store": True}) == "new", value
    assert not mark.exists()


def test_options_of_litellm_are_handed_on(path: Path) -> None:
    made = enable_cache(Cache(path), mode="default_off", supported_call_types=["completion"])
    assert made is litellm.cache and made.supported_call_types == ["completion"]
    assert ask("a") == "a" and ask("b") == "b"
    assert ask("c", cache={"use-cache": True}) == "c" == ask("d", cache={"use-cache": True})
    if "max_messages" in inspect.signature(litellm.Cache).parameters:
        enable_cache(Cache(path), max_messages=1)
        assert ask("a", messages=MESSAGES * 2) == "a" and ask("b", messages=MESSAGES * 2) == "b"
    enable_cache(Cache(path))
    assert ask("a", messages=MESSAGES * 9) == "a" == ask("b", messages=MESSAGES * 9)


def test_what_litellm_lacks_for_any_cache_is_told_before_the_first_hit(path: Path) -> None:
    program = """
import sys
sys.modules["fastapi"] = None
import cachemere, litellm
from cachemere.integrations.litellm import enable_cache
try:
    enable_cache(cachemere.Cache(sys.argv[1]))
except cachemere.errors.NotInstalledError as error:
    assert litellm.cache is None
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Earlier versions lack nothing.
    assert not done.stdout or ("fastapi" in done.stdout and "pip install 'litellm>=" in done.stdout)


@pytest.mark.parametrize(
    "options", [{"tll": 3}, {"disc_cache_dir": "d"}, {"_backend": 1}, {"max_messages": -1}], ids=str
)
def test_options_that_litellm_does_not_have_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(options))):
        enable_cache(Cache(path), **options)
    assert litellm.cache is None and not path.exists()


def test_the_backend_alone_is_put_into_a_cache_of_litellm(path: Path) -> None:
    own = litellm.Cache()
    own.cache = CachemereCache(Cache(path), on_error="raise")
    litellm.cache = own
    assert (ask("one"), ask("two")) == ("one", "one")


def answer(content: str, reason: str = "stop") -> dict[str, Any]:
    choices = [{"message": {"role": "assistant", "content": content}, "finish_reason": reason}]
    return {"timestamp": 1.5, "response": json.dumps({"object": "chat.completion", "choices": choices})}


def test_an_answer_that_was_cut_off_or_is_empty_is_not_kept(path: Path) -> None:
    cache = CachemereCache(Cache(path), on_error="raise")
    for key, value in {"good": answer("t"), "cut": answer("t", "length"), "empty": answer("")}.items():
        cache.set_cache(key, value)
    assert cache.batch_get_cache(["good", "cut", "empty"]) == [answer("t"), None, None]
    every = CachemereCache(Cache(path), cache_if=lambda answer: True, on_error="raise")
    every.set_cache("cut", answer("t", "length"))
    assert every.get_cache("cut") == answer("t", "length")
    seen: list[Any] = []
    CachemereCache(Cache(path), cache_if=lambda it: bool(seen.append(it)), on_error="raise").set_cache("k", answer("t"))
    assert seen == [json.loads(answer("t")["response"])] and every.get_cache("k") is None
