"""An answer of OpenAI's client as a value: its class is all that need be registered."""

from __future__ import annotations

from pathlib import Path

import pytest
from cachemere import Cache
from cachemere.errors import UnsafeValueError
from openai.types.chat import ChatCompletion


def test_a_real_answer_of_a_model_needs_one_class(path: Path) -> None:
    answer = ChatCompletion.model_validate(
        {
            "id": "a",
            "created": 1,
            "model": "m",
            "object": "chat.completion",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "42"}},
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )
    with Cache(path, types=[ChatCompletion], memory_bytes=0) as cache:
        cache["k"] = answer
        assert cache["k"] == answer
    with Cache(path) as cache, pytest.raises(UnsafeValueError, match="types="):
        cache["k"] = answer
