"""A bar that shows how far work is, by tqdm, which need not be installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any

from ..errors import InvalidOptionError


def find_tqdm() -> Any:
    """The class.

    Raises:
        InvalidOptionError: It is not installed.
    """
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError as cause:
        raise InvalidOptionError("show_progress needs tqdm: pip install 'cachemere[progress]'") from cause


@contextmanager
def progress(tqdm: Any, description: str, inputs: Iterable[Any]) -> Iterator[Callable[[], object]]:
    """What to call for each input that is done with. Without tqdm, nothing is shown."""
    if tqdm is None:
        yield lambda: None
        return
    with tqdm(desc=description or None, total=len(inputs) if isinstance(inputs, Sized) else None) as bar:
        yield bar.update
