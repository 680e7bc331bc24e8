"""Whether to run the long forms of tests of processes, staleness and properties: `CACHEMERE_TORTURE=1`."""

from __future__ import annotations

import os

TORTURE = os.environ.get("CACHEMERE_TORTURE", "") not in ("", "0")
