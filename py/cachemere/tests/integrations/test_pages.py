"""The programs on the pages of the documentation do what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from chat_endpoint import ChatEndpoint

DOCS = Path(__file__).parents[4] / "docs"
PAGES = sorted(
    [
        *DOCS.glob("integrations/*.md"),
        *(page for page in DOCS.glob("tutorial/*.md") if page.stem != "rust"),
        *(DOCS / f"how-to/{name}.md" for name in ("batches", "damaged", "lifetimes", "load", "parallel")),
        *(page for page in DOCS.glob("from-*.md") if page.stem != "from-rust-caches"),
        DOCS / "importing.md",
        DOCS.parent / "README.md",
    ]
)


def programs(page: Path) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_program_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    program = "\n".join(programs(page))
    assert "assert " in program, "a page shows what comes out"
    environment = os.environ | {"CACHEMERE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    with ChatEndpoint() as endpoint:
        # Which the clients of models look for.
        environment |= {"OPENAI_BASE_URL": endpoint.url + "/v1", "ANTHROPIC_BASE_URL": endpoint.url}
        environment |= {"OPENAI_API_KEY": "sk-key", "ANTHROPIC_API_KEY": "sk-key"}
        asked = []
        # Twice, since a cache is there for the second run.
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", program],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            asked.append(len(endpoint.asked))
    # A page that asks a model is about how it is asked but once.
    assert asked[0] == asked[1]
    assert asked[0] > 0 or "OpenAI(" not in program
