"""Whether the answer of a model is one to keep, unless the program says otherwise by `cache_if=`.

Not kept is an answer that was cut off, by its length or by a filter, and one that says nothing: who asks again may get
a better one. Interfaces of OpenAI (chat, completions, responses, embeddings) and Anthropic are known; of whatever has
another shape nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: Why a model stopped before it was done, as the providers say it, in lower case.
_CUT_OFF = frozenset(
    {
        "length",
        "max_tokens",
        "max_output_tokens",
        "model_length",
        "model_context_window_exceeded",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "refusal",
        "safety",
        "recitation",
        "error",
    }
)

#: Where a choice of an answer has what it says.
_SAYS = ("content", "tool_calls", "function_call", "audio", "reasoning_content", "text")


def is_cut_off(reason: Any) -> bool:
    """Whether a model that stopped for this reason was not done."""
    return isinstance(reason, str) and reason.lower() in _CUT_OFF


def is_finished(answer: Any) -> bool:
    """Whether an answer is one to keep: the JSON of its body, or a list of that of the events of a stream."""
    if isinstance(answer, list):
        return _is_finished_stream([event for event in answer if isinstance(event, dict)])
    if not isinstance(answer, dict):
        return True
    if isinstance(answer.get("choices"), list):
        return bool(answer["choices"]) and all(map(_is_finished_choice, _dicts(answer["choices"])))
    if answer.get("object") == "response":
        return answer.get("status") != "incomplete" and answer.get("output") != []
    if answer.get("type") == "message":
        return not is_cut_off(answer.get("stop_reason")) and answer.get("content") != []
    return not (answer.get("object") == "list" and answer.get("data") == [])


def _dicts(items: Iterable[Any]) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)]


def _is_finished_choice(choice: dict[str, Any]) -> bool:
    if is_cut_off(choice.get("finish_reason")):
        return False
    message = choice.get("message") if isinstance(choice.get("message"), dict) else choice
    # What is neither of chat nor of completions says something else.
    return not isinstance(message, dict) or not message.keys() & set(_SAYS) or _says_something(message)


def _says_something(message: dict[str, Any]) -> bool:
    return any(message.get(name) for name in _SAYS)


def _is_finished_stream(events: list[dict[str, Any]]) -> bool:
    says, is_known = False, False
    for event in events:
        kind = event.get("type")
        for choice in _dicts(event["choices"]) if isinstance(event.get("choices"), list) else ():
            is_known = True
            if is_cut_off(choice.get("finish_reason")):
                return False
            delta = choice.get("delta") if isinstance(choice.get("delta"), dict) else choice
            says = says or (isinstance(delta, dict) and _says_something(delta))
        if kind == "response.incomplete":
            return False
        if kind == "message_start":
            is_known = True
        delta = event.get("delta")
        if kind == "message_delta" and isinstance(delta, dict) and is_cut_off(delta.get("stop_reason")):
            return False
        says = says or kind == "content_block_start"
    return says or not is_known
