"""Programs of LangChain and LangGraph, run twice: the second process computes nothing."""

from __future__ import annotations

from pathlib import Path

from programs import run


def test_a_chat_model_answers_from_disk(path: Path) -> None:
    assert run("chat", path) == ["blue", "blue", 1]
    assert run("chat", path) == ["blue", "blue", 0]


def test_embeddings_come_from_disk(path: Path) -> None:
    vectors, query, asked = run("embeddings", path)
    assert asked == ["a", "b"]
    assert run("embeddings", path) == [vectors, query, []]


def test_a_node_of_a_graph_is_not_run_again(path: Path) -> None:
    assert run("graph", path) == ["WHY", ["think", "end"]]
    assert run("graph", path) == ["WHY", []]
