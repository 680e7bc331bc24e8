"""FastMCP's caching of responses with the store for py-key-value, run twice."""

from __future__ import annotations

from pathlib import Path

from programs import run


def test_a_server_of_fastmcp_does_not_run_its_tools_again(path: Path) -> None:
    assert run("tools", path) == [[3, 3, 4, "text"], ["add", "add", "text"]]
    assert run("tools", path) == [[3, 3, 4, "text"], []]
