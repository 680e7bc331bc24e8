"""A chat endpoint for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat_endpoint import ChatEndpoint


@pytest.fixture
def endpoint() -> Iterator[ChatEndpoint]:
    with ChatEndpoint() as made:
        yield made
