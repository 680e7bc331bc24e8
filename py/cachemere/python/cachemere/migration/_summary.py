"""What an import came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Reason = Literal["pickle", "no safe form", "unreadable"]

#: Why an entry can be left out, and what that means.
REASONS: dict[Reason, str] = {
    "pickle": "pickles, which were not allowed to be read",
    "no safe form": "without a form that is safe to store",
    "unreadable": "that cannot be read",
}

#: So many of each reason are in the summary.
NAMED = 10


@dataclass(frozen=True)
class Skipped:
    """An entry that was left out."""

    #: Its key as Python writes it; where it is in the source, if the key cannot be read.
    name: str
    reason: Reason
    #: What is wrong, in words, and what to do.
    why: str


@dataclass
class ImportSummary:
    """What an import came to. `entries` is the sum of `imported`, `kept`, `expired` and those that were skipped."""

    #: As the source was named: `"diskcache"`, say.
    kind: str
    source: str
    target: str
    namespace: str
    #: Entries met in the source.
    entries: int = 0
    #: Entries written.
    imported: int = 0
    #: Entries left out because the target had their key (`existing="keep"`).
    kept: int = 0
    #: Entries left out because they had expired.
    expired: int = 0
    #: Entries left out because they are pickles, which were not to be read.
    pickles: int = 0
    #: Entries left out because only a pickle could hold them in the target.
    without_safe_form: int = 0
    #: Entries left out because they are damaged, or not in the form they should be.
    unreadable: int = 0
    #: Seconds it took.
    seconds: float = 0.0
    #: Some of those left out, ten of each reason at most.
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def count_skipped(self) -> int:
        """How many entries could not be imported."""
        return self.pickles + self.without_safe_form + self.unreadable

    @property
    def is_complete(self) -> bool:
        """Whether all that has not expired is in the target now."""
        return self.count_skipped == 0

    def skip(self, skipped: Skipped) -> None:
        """Counts an entry that is left out."""
        if skipped.reason == "pickle":
            self.pickles += 1
        elif skipped.reason == "no safe form":
            self.without_safe_form += 1
        else:
            self.unreadable += 1
        if sum(other.reason == skipped.reason for other in self.skipped) < NAMED:
            self.skipped.append(skipped)
