"""The keys and values that everybody stores."""

from __future__ import annotations

import hashlib
import pickle
import random
from typing import Any

_WORDS = (
    "cache store answer model prompt token value entry memory disk page tree write read process thread lock snapshot "
    "commit batch key hash time access limit evict expire sweep header payload secret cipher stage namespace"
).split()


def key(number: int) -> str:
    """A key of about 120 characters, as one of a memoized call would be."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return f"chat/gpt-large-2026/temperature=0.7/top_p=0.95/max_tokens={number % 4096:04}/{digest[:57]}"


def text(number: int, words: int) -> str:
    """Some words."""
    return " ".join(random.Random(number).choices(_WORDS, k=words))


def string(number: int) -> str:
    """A short string."""
    return f"{number}: {text(number, 12)}"


def document(number: int) -> dict[str, Any]:
    """A nested dict that takes about 1 KB pickled: the answer of a model, with its sources."""
    draw = random.Random(number)
    return {
        "id": f"chatcmpl-{number:08x}",
        "created": 1_700_000_000 + number,
        "model": "gpt-large-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text(number, 64)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": draw.randrange(4000), "completion_tokens": 96, "total_tokens": draw.randrange(9000)},
        "sources": [
            {"title": text(number + place, 4), "page": draw.randrange(500), "score": draw.random(), "cited": place < 2}
            for place in range(4)
        ],
        "logprobs": [round(-draw.random(), 4) for _ in range(6)],
        "tags": ["benchmark", text(number, 1), None],
    }


def documents(count: int) -> list[tuple[str, Any]]:
    """Keys with their documents."""
    return [(key(number), document(number)) for number in range(count)]


def pickled_size(count: int = 100) -> float:
    """Bytes of an average document when pickled."""
    return sum(len(pickle.dumps(document(number), 5)) for number in range(count)) / count
