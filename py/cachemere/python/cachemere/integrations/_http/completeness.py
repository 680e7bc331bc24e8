"""Whether a body is a whole answer that is no error: only such are stored.

* A status of success, but not 202 (the answer comes later) nor 206 (a part).
* JSON must be JSON, without an `error`; a response of OpenAI must not have failed nor still be worked on.
* An event stream must have ended as its interface says: `[DONE]`, `message_stop`, `response.completed` or
  `response.incomplete`. A stream of another interface must have ended with a whole event, in a connection that tells an
  end from a break. None of its events may be an error.
* A body that was left before its end is stored only if it is an event stream whose last event was read: clients of
  OpenAI stop reading at `[DONE]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_LAST_EVENTS = frozenset({"message_stop", "response.completed", "response.incomplete"})
_ERRORS = frozenset({"error", "response.failed"})
_UNFINISHED = frozenset({"cancelled", "failed", "in_progress", "queued"})


def may_be_stored(status: int) -> bool:
    """Whether the answer with this status can be one that is stored."""
    return 200 <= status < 300 and status not in (202, 206)


def is_event_stream(content_type: str) -> bool:
    """Whether the body is an event stream."""
    return _media_type(content_type) == "text/event-stream"


def is_finite(content_type: str) -> bool:
    """Whether the body is made before it is sent, and not a stream of some kind."""
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def is_whole(content_type: str, body: bytes, *, has_ended: bool, is_delimited: bool) -> bool:
    """Whether a body is to be stored.

    Args:
        has_ended: Whether it was read to its end.
        is_delimited: Whether its end is told from a break: by its length, the connection's chunks, or its encoding.
    """
    if is_event_stream(content_type):
        return _is_whole_stream(body, has_ended and is_delimited)
    if not has_ended:
        return False
    media_type = _media_type(content_type)
    try:
        if is_finite(content_type):
            return not _is_error(json.loads(body))
        if media_type.endswith(("ndjson", "jsonl")):
            return is_delimited and not any(_is_error(json.loads(line)) for line in body.splitlines() if line)
    except (ValueError, RecursionError):
        return False
    return is_delimited


def parsed(content_type: str, body: bytes) -> Any:
    """What a whole body says: JSON, or a list of that of an event stream's events; else its bytes."""
    if is_event_stream(content_type):
        return [_json(data) for _, data in _events(_text(body)) if not data.startswith("[DONE]")]
    return json.loads(body) if is_finite(content_type) else body


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _is_error(it: Any) -> bool:
    if not isinstance(it, dict):
        return False
    return bool(it.get("error")) or (it.get("object") == "response" and str(it.get("status")) in _UNFINISHED)


# --- event streams ----------------------------------------------------------------------------------------------------


def _is_whole_stream(body: bytes, is_told_end: bool) -> bool:
    try:
        text = _text(body)
    except UnicodeDecodeError:
        return False
    kinds = set()
    for name, data in _events(text):
        if data.startswith("[DONE]"):
            return True
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        told = {name, str(value.get("type"))} if isinstance(value, dict) else {name}
        if told & _ERRORS or (isinstance(value, dict) and value.get("error")):
            return False
        if told & _LAST_EVENTS:
            return True
        kinds.add(_interface(value))
    # Nothing that was known as one of the interfaces with a last event, and nothing that was cut in an event.
    return is_told_end and kinds == {None} and text.endswith("\n\n")


def _events(text: str) -> Iterator[tuple[str, str]]:
    """The name and data of each event, also of one at the end that no empty line follows."""
    for block in text.split("\n\n"):
        name, data = "", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
        if name or data:
            yield name, "\n".join(data)


def _interface(value: Any) -> str | None:
    """The interface with a last event that an event is of."""
    if not isinstance(value, dict):
        return None
    kind, what = value.get("type"), value.get("object")
    if isinstance(what, str) and what in ("chat.completion.chunk", "text_completion"):
        return "chat"
    if isinstance(kind, str) and kind.startswith(("message_", "content_block_", "response.")):
        return "messages"
    return None
