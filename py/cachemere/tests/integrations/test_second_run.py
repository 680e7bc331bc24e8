"""Programs of each host, run twice: the second process computes nothing."""

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


def test_litellm_answers_from_disk(path: Path) -> None:
    answers, embedded = run("litellm_calls", path)
    assert embedded == ["a", "b", "later", "and later"]
    # Another temperature is another question; asked later or at once is not.
    assert len(answers) == 8 and answers[0] == answers[1] and answers[3] == [[0.0, 0.5], [1.0, 0.5]]
    assert run("litellm_calls", path) == [answers, []]


def test_an_ingestion_pipeline_of_llama_index_does_nothing_again(path: Path) -> None:
    assert run("ingestion", path) == [["ONE", "TWO"], ["1", "2"], []]
    assert run("ingestion", path) == [["ONE", "TWO"], [], ["1", "2"]]
