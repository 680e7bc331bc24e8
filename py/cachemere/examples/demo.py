"""Memoizes calls to a chat endpoint over real text, twice in separate processes, and prints what the second run saved.

The endpoint speaks as an OpenAI-style `/v1/chat/completions` does, plain and streamed, on the loopback interface, and
takes its time. The text is the paragraphs of this repository's documents. Run it: `python examples/demo.py`.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cachemere

#: What a call takes at the server, in seconds.
DELAY = 0.05
#: So many paragraphs are asked about.
PARAGRAPHS = 60
REPOSITORY = Path(__file__).resolve().parents[3]

# --- the server -------------------------------------------------------------------------------------------------------


class Model(BaseHTTPRequestHandler):
    """Answers each prompt from its last paragraph: with its first sentence, or its most frequent long words."""

    protocol_version = "HTTP/1.1"
    calls = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        self._reply("application/json", json.dumps({"calls": Model.calls}))

    def do_POST(self) -> None:
        with Model.lock:
            Model.calls += 1
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = self._answer(asked["messages"][-1]["content"])
        if asked.get("stream"):
            words = re.findall(r"\S+\s*", answer)
            chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
            time.sleep(DELAY)
            body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
            self._reply("text/event-stream", body)
            return
        time.sleep(DELAY)
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"total_tokens": len(answer.split())}
        self._reply("application/json", json.dumps({"model": asked["model"], "choices": [choice], "usage": usage}))

    def _answer(self, prompt: str) -> str:
        task, _, paragraph = prompt.partition("\n\n")
        if "keywords" in task:
            words = Counter(word.lower() for word in re.findall(r"[A-Za-z]{6,}", paragraph))
            return ", ".join(word for word, _ in words.most_common(5))
        return re.split(r"(?<=[.!?])\s", paragraph)[0]

    def _reply(self, kind: str, body: str) -> None:
        data = body.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


# --- the program that asks --------------------------------------------------------------------------------------------


class Client:
    """Of an OpenAI-style endpoint."""

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def post(self, body: dict[str, Any]) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._address)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        return connection.getresponse()


@cachemere.memoize(version="v1", ignore=("client",), cache_if=lambda answer: bool(answer["text"]))
def ask(client: Client, prompt: str, *, model: str = "demo-1", temperature: float = 0.0) -> dict[str, Any]:
    """The model's answer, with what it took."""
    messages = [{"role": "user", "content": prompt}]
    with client.post({"model": model, "temperature": temperature, "messages": messages}) as response:
        answer = json.load(response)
    return {"text": answer["choices"][0]["message"]["content"], "tokens": answer["usage"]["total_tokens"]}


@cachemere.memoize(version="v1", ignore=("client",))
def ask_streamed(client: Client, prompt: str, *, model: str = "demo-1") -> Iterator[str]:
    """The model's answer, word by word."""
    messages = [{"role": "user", "content": prompt}]
    with client.post({"model": model, "stream": True, "messages": messages}) as response:
        for line in response:
            data = line.removeprefix(b"data: ").strip()
            if data and data != b"[DONE]":
                yield json.loads(data)["choices"][0]["delta"]["content"]


def paragraphs() -> list[str]:
    """Of the repository's documents."""
    files = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
    texts = [part.strip() for file in files for part in file.read_text(encoding="utf-8").split("\n\n")]
    return [text for text in texts if len(text) > 150 and not text.startswith(("```", "|", "#"))][:PARAGRAPHS]


def run(url: str) -> None:
    """One run of the program, in a process of its own."""
    client, texts = Client(url), paragraphs()
    prompts = [f"{task}:\n\n{text}" for text in texts for task in ("Summarise in a sentence", "Give five keywords")]
    began = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda prompt: ask(client, prompt), prompts))
    streamed = "".join(ask_streamed(client, prompts[0]))
    seconds = time.perf_counter() - began
    assert streamed.split() == answers[0]["text"].split()
    infos = [ask.cache_info(), ask_streamed.cache_info()]
    told = {
        "seconds": seconds,
        "hits": sum(info.hits for info in infos),
        "saved": sum(info.saved for info in infos),
        "tokens": sum(answer["tokens"] for answer in answers),
        "example": answers[1]["text"],
    }
    print(json.dumps(told))


# --- the demonstration ------------------------------------------------------------------------------------------------


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    print(f"{len(paragraphs())} paragraphs of real text, two prompts each, {DELAY * 1000:.0f} ms a call")
    seen = 0
    with tempfile.TemporaryDirectory() as directory:
        for name in ("first", "second"):
            command = [sys.executable, __file__, url]
            output = subprocess.check_output(command, env={"CACHEMERE_DIR": f"{directory}/store"}, text=True)
            told, calls = json.loads(output), Model.calls - seen
            seen = Model.calls
            print(
                f"{name:>6} run: {told['seconds']:6.3f} s, {calls:3} calls to the server, {told['hits']:3} hits, "
                f"saved {told['saved']:5.2f} s of waiting"
            )
        print(f"for example, keywords of the first paragraph: {told['example']}")
        assert calls == 0, "the second run has called the server"
        print(f"The second run paid for none of its {told['tokens']} tokens.")
    server.shutdown()


if __name__ == "__main__":
    if len(sys.argv) == 2:
        run(sys.argv[1])
    else:
        main()
