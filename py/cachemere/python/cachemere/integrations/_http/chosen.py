"""Which requests are cached unless the program says otherwise: those to models that depend on nothing else."""

from __future__ import annotations

import re
from typing import Any

_MODEL_CALL = re.compile(r"(/chat/completions|/completions|/responses|/embeddings|/v\d+/messages)/?$")


def is_model_call(request: Any) -> bool:
    """Whether a request asks a model, by its path, in the way of OpenAI or Anthropic.

    The path ends in `/chat/completions`, `/completions`, `/responses`, `/embeddings`, or `/v1/messages`.
    """
    return _MODEL_CALL.search(request.url.path) is not None


def depends_on_more(body: Any) -> bool:
    """Whether the answer to a model call, with this JSON body, depends on what the server keeps and can change: a
    conversation, or work in the background that is asked for again later."""
    return isinstance(body, dict) and bool(body.get("conversation") or body.get("background"))
