"""What an attestation can say: a difference, or a note beside it, each of one kind with its meaning in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from vramguard.extract.masking import masked, masked_within

_LONGEST: Final = 160  # characters of a line out of the environment that a message repeats

# What each kind of difference means; docs/attest.md lists them, and a test holds the two together.
KINDS: Final[Mapping[str, str]] = {
    "altered": "a file is not the one that its RECORD names",
    "missing": "a file that RECORD names is not there",
    "extra": "files that no RECORD names",
    "clobbered": "two distributions record one file, each with its own content",
    "unhashed": "RECORD names a file without a hash",
    "weak-hash": "RECORD has only a hash that can be forged, or none that is known",
    "no-record": "a distribution without RECORD: none of its files can be compared",
    "broken-record": "a RECORD that cannot be read to its end",
    "record-outside": "RECORD names a path outside the environment, which was not read",
    "link": "a link that was not followed",
    "unreadable": "something that cannot be read",
    "broken-metadata": "metadata that cannot be understood",
    "duplicate": "one distribution is installed more than once",
    "no-lock": "no lock: versions were compared with nothing",
    "not-in-lock": "installed, and in no lock",
    "not-installed": "a line of the requirements file that is not installed",
    "version": "another version than the lock holds",
    "source": "installed from elsewhere than the lock says",
    "missing-requirement": "required, and not installed",
    "unmet-requirement": "installed in a version that does not meet what others require",
    "requires-python": "made for another Python",
    "editable": "installed as a link to a folder, whose files no digest covers",
    "startup-hook": "code that Python runs at every start, and that no RECORD vouches for",
    "outside-path": "a .pth file adds a folder whose files no digest covers",
    "system-site-packages": "the environment also sees the packages of the Python that it was made from",
    "stale-bytecode": "bytecode that was compiled from another source",
    "unchecked-bytecode": "bytecode that Python runs without a look at the source",
    "orphan-bytecode": "bytecode without a source",
    "foreign-bytecode": "bytecode of another Python",
    "broken-bytecode": "a .pyc file with a header that Python refuses",
    "digest": "the digest is not the expected one",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it should be, or, among the notes, that one should know.

    `distribution` is a name and version, `path` runs from the root of the environment; `data` is for programs.
    """

    kind: str
    what: str
    distribution: str | None = None
    path: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Kinds as `KINDS` has them, those of notes alone last; then by path and words."""
        kinds = list(KINDS)
        rank = kinds.index(self.kind) if self.kind in KINDS else len(kinds)
        return rank, self.path or "", self.distribution or "", self.what


@dataclass(slots=True)
class Findings:
    """What the parts of an attestation report to."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[Difference] = field(default_factory=list)

    def add(self, found: Difference, *, note: bool = False) -> None:
        """Keep a difference; as a note where nothing is wrong with it."""
        told = replace(found, what=masked(found.what), data=masked_within(dict(found.data)))
        (self.notes if note else self.differences).append(told)


def shortened(text: str) -> str:
    """Text out of the environment, cut to what a message can carry."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def some(items: list[str], shown: int = 3) -> str:
    """The first items of a list, and how many there are beside."""
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest:,} more" if rest > 0 else "")
