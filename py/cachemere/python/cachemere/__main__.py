"""`python -m cachemere`: see :mod:`cachemere.cli`."""

from __future__ import annotations

import sys

from .cli.program import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
