"""What an import came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Reason = Literal["pickle", "no safe form", "unreadable", "part"]

#: Why an entry can be left out, and what that means.
REASONS: dict[Reason, str] = {
    "pickle": "pickles, not allowed to be read",
    "no safe form": "no form that is safe to store",
    "unreadable": "cannot be read",
    "part": "caches inside this one",
}

#: What helps an entry that came out of a pickle and has no safe form.
PICKLE_AGAIN = "pickle it again (--pickle-values, pickle_values=True)"

#: So many of each reason are in the summary.
NAMED = 10


@dataclass(frozen=True)
class Skipped:
    """An entry that was left out, or a part of the source."""

    #: Its key as Python writes it; where it is in the source, if the key cannot be read. Of a part, its directory.
    name: str
    reason: Reason
    #: What is wrong, in words, and what to do.
    why: str


@dataclass(frozen=True)
class ImportSummary:
    """What an import came to. `entries` is the sum of `imported`, `kept`, `expired` and `count_skipped`."""

    #: As the source was named: `"diskcache"`, say.
    kind: str
    source: str
    target: str
    namespace: str
    #: Entries met in the source.
    entries: int
    #: Entries written.
    imported: int
    #: Entries left out because the target had their key (`existing="keep"`).
    kept: int
    #: Entries left out because they had expired.
    expired: int
    #: Entries left out because they are pickles, which were not to be read.
    pickles: int
    #: Entries left out because only a pickle could hold them in the target.
    without_safe_form: int
    #: Entries left out because they are damaged, or not in the form they should be.
    unreadable: int
    #: Caches inside the source, each of which is imported by itself: those of a `FanoutCache`.
    parts: int
    #: Seconds it took.
    seconds: float
    #: Some of those left out, ten of each reason at most.
    skipped: tuple[Skipped, ...]

    @property
    def count_skipped(self) -> int:
        """How many entries could not be imported."""
        return self.pickles + self.without_safe_form + self.unreadable

    @property
    def is_complete(self) -> bool:
        """Whether all that has not expired is in the target now."""
        return self.count_skipped == 0 and self.parts == 0


@dataclass
class Tally:
    """The counts of an import at work."""

    entries: int = 0
    imported: int = 0
    kept: int = 0
    expired: int = 0
    left_out: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    named: list[Skipped] = field(default_factory=list)

    def skip(self, skipped: Skipped) -> None:
        """Counts what is left out."""
        self.left_out[skipped.reason] += 1
        if self.left_out[skipped.reason] <= NAMED:
            self.named.append(skipped)

    def summary(self, kind: str, source: Path, target: Path, namespace: str, seconds: float) -> ImportSummary:
        """What it came to."""
        return ImportSummary(
            kind=kind,
            source=str(source),
            target=str(target),
            namespace=namespace,
            entries=self.entries,
            imported=self.imported,
            kept=self.kept,
            expired=self.expired,
            pickles=self.left_out["pickle"],
            without_safe_form=self.left_out["no safe form"],
            unreadable=self.left_out["unreadable"],
            parts=self.left_out["part"],
            seconds=seconds,
            skipped=tuple(self.named),
        )
