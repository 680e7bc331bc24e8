"""A chat endpoint on loopback, in the ways of OpenAI and of Anthropic, for tests of what stands under their clients.

Each answer has the number of the request in it, so an answer that was asked anew is another one. Streams are sent in
chunks of their own. What is to go wrong is said in :attr:`ChatEndpoint.troubles`.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

#: In headers of every answer. Not to be found in a store.
SECRET_COOKIE = "cookie-of-the-account"
SECRET_ORGANIZATION = "org-of-the-account"

#: Seconds between the chunks of a stream, so that each is received by itself.
PAUSE = 0.01


@dataclass
class Asked:
    """A request that was received."""

    path: str
    #: By their names in lower case.
    headers: dict[str, str]
    body: Any


class ChatEndpoint:
    """A server in a thread, from `with` on until :meth:`stop`."""

    def __init__(self) -> None:
        #: All requests received.
        self.asked: list[Asked] = []
        #: What becomes of the next requests, one each: a status of HTTP, or `"error event"`, `"break"` (the connection
        #: ends in the midst), `"end"` (the stream does), `"stall"` (nothing more comes), `"gzip"`, `"slow"` (it takes
        #: 0.3 s). Of those after them, and for `None`, nothing bad.
        self.troubles: list[Any] = []
        self.is_stopped = threading.Event()
        endpoint = self

        class OfThis(_Handler):
            pass

        OfThis.endpoint = endpoint
        self._server = _Server(("127.0.0.1", 0), OfThis)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def note(self, asked: Asked) -> tuple[int, Any]:
        """The number of a request, from 1, and the trouble with it."""
        with self._lock:
            self.asked.append(asked)
            return len(self.asked), self.troubles.pop(0) if self.troubles else None

    def stop(self) -> None:
        """From now on nobody listens."""
        if not self.is_stopped.is_set():
            self.is_stopped.set()
            self._server.shutdown()
            self._server.server_close()

    def __enter__(self) -> ChatEndpoint:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Some clients leave in the midst, which is what their tests are about.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    endpoint: ChatEndpoint
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self._answer(json.loads(content))
        except ValueError:
            self._answer(content.decode("latin-1"))

    def _answer(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        number, trouble = self.endpoint.note(Asked(self.path, headers, body))
        # So that a client keeps no connection to a server that has stopped.
        self.close_connection = True
        if trouble == "slow":
            time.sleep(0.3)
        if isinstance(trouble, int):
            self._send(trouble, {"error": {"type": "api_error", "message": f"trouble {trouble}"}}, None)
            return
        path = self.path.partition("?")[0]
        if isinstance(body, dict) and body.get("stream"):
            self._stream(list(_STREAMS[path](body, number)), trouble)
        else:
            make = _ANSWERS.get(path)
            self._send(200, make(body, number) if make else {"path": path, "number": number}, trouble)

    def _head(self, status: int, content_type: str, **more: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Connection", "close")
        self.send_header("Set-Cookie", f"session={SECRET_COOKIE}; Path=/")
        self.send_header("OpenAI-Organization", SECRET_ORGANIZATION)
        self.send_header("X-Request-Id", f"request-{len(self.endpoint.asked)}")
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def _send(self, status: int, value: Any, trouble: Any) -> None:
        content = json.dumps(value).encode()
        more = {}
        if trouble == "gzip":
            content = gzip.compress(content)
            more["Content_Encoding"] = "gzip"
        self._head(status, "application/json", Content_Length=len(content), **more)
        self.wfile.write(content[: len(content) // 2] if trouble == "break" else content)

    def _stream(self, events: list[str], trouble: Any) -> None:
        self._head(200, "text/event-stream", Transfer_Encoding="chunked")
        half = len(events) // 2
        if trouble == "error event":
            events[half:] = ['event: error\ndata: {"type": "error", "error": {"message": "overloaded"}}\n\n']
        for position, event in enumerate(events):
            if position == half:
                if trouble == "break":
                    return
                if trouble == "end":
                    break
                if trouble == "stall":
                    self.endpoint.is_stopped.wait(30)
                    return
            self._chunk(event.encode())
            time.sleep(PAUSE)
        self._chunk(b"")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _text(body: Any, number: int) -> str:
    return f"answer {number} of {body.get('model')}"


def _words(body: Any, number: int) -> list[str]:
    return [word + " " for word in _text(body, number).split()]


def _data(value: Any, name: str | None = None) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(value)}\n\n"


# --- OpenAI: chat completions -----------------------------------------------------------------------------------------

_USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def _chat(body: Any, number: int) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": _text(body, number)}
    if body.get("tool_choice") not in (None, "auto", "none"):
        function = body["tools"][0]["function"]
        called = {"name": function["name"], "arguments": json.dumps(_filled(function["parameters"], number))}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": f"call-{number}", "type": "function", "function": called}],
        }
    return {
        "id": f"chat-{number}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": _USAGE,
    }


def _filled(schema: Any, number: int) -> Any:
    """An object of a JSON schema that has texts and numbers."""
    return {name: number if of["type"] == "integer" else "text" for name, of in schema["properties"].items()}


def _chat_stream(body: Any, number: int) -> Iterator[str]:
    head = {"id": f"chat-{number}", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    for word in _words(body, number):
        yield _data({**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}]})
    yield _data({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    yield "data: [DONE]\n\n"


# --- OpenAI: responses and embeddings ---------------------------------------------------------------------------------


def _response(body: Any, number: int, status: str = "completed") -> Any:
    part = {"type": "output_text", "text": _text(body, number), "annotations": []}
    message = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": f"response-{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "in_progress" if body.get("background") else status,
        "error": None,
        "model": body["model"],
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _response_stream(body: Any, number: int) -> Iterator[str]:
    def event(kind: str, place: int, **fields: Any) -> str:
        return _data({"type": kind, "sequence_number": place, **fields}, kind)

    yield event("response.created", 0, response=_response(body, number, "in_progress"))
    words = _words(body, number)
    for place, word in enumerate(words):
        more = {"item_id": "m", "output_index": 0, "content_index": 0, "logprobs": []}
        yield event("response.output_text.delta", place + 1, delta=word, **more)
    yield event("response.completed", len(words) + 1, response=_response(body, number))


def _embeddings(body: Any, number: int) -> Any:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors = [[float(number), float(len(text)), 0.5] for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<3f", *vector)).decode() for vector in vectors]  # type: ignore[misc]
    return {
        "object": "list",
        "model": body["model"],
        "data": [{"object": "embedding", "index": place, "embedding": it} for place, it in enumerate(vectors)],
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


# --- Anthropic: messages ----------------------------------------------------------------------------------------------


def _message(body: Any, number: int, text: str | None = None) -> Any:
    return {
        "id": f"message-{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": _text(body, number)}] if text is None else [],
        "stop_reason": "end_turn" if text is None else None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    }


def _message_stream(body: Any, number: int) -> Iterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return _data({"type": kind, **fields}, kind)

    yield event("message_start", message=_message(body, number, ""))
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    for word in _words(body, number):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield event("content_block_stop", index=0)
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=delta, usage={"output_tokens": 2})
    yield event("message_stop")


_ANSWERS: dict[str, Any] = {
    "/v1/chat/completions": _chat,
    "/v1/responses": _response,
    "/v1/embeddings": _embeddings,
    "/v1/messages": _message,
}
_STREAMS: dict[str, Any] = {
    "/v1/chat/completions": _chat_stream,
    "/v1/responses": _response_stream,
    "/v1/messages": _message_stream,
}
