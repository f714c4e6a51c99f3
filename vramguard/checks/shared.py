"""What checks share: which paths they judge, and how they name a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from packaging.utils import canonicalize_name

from vramguard import data
from vramguard.checks import Evidence, Severity
from vramguard.facts import PathClass
from vramguard.schema import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Facts, LockedPackage, Requirement
    from vramguard.facts.outputs import Step

_NAMED = 3  # how many of a list are named before "and N more"
JUDGED = (PathClass.SERVING, PathClass.TRAINING)
SHOWN = (PathClass.EXAMPLE, PathClass.DOCS)  # copied by people, served to nobody: a warning
WEAKER = (PathClass.EXAMPLE, PathClass.TEST, PathClass.DOCS)  # run by people, not by customers: a warning


def evidence(steps: Iterable[Step]) -> tuple[Evidence, ...]:
    """A way, step by step."""
    return tuple(Evidence(step.at, step.what) for step in steps)


class Judging(Protocol):
    """A check that treats classes of paths apart."""

    @property
    def classes(self) -> tuple[PathClass, ...]: ...
    @property
    def warnings(self) -> tuple[PathClass, ...]: ...


def weight(rule: Judging, facts: Facts, path: str) -> tuple[bool, Severity | None]:
    """Whether the rule judges the path at all, and the severity that takes the rule's own place."""
    found = facts.classify(path)
    return found in (*rule.classes, *rule.warnings), Severity.WARNING if found in rule.warnings else None


def names(found: Iterable[Requirement | LockedPackage]) -> str:
    """The names of the first few, each package once, and how many more there are."""
    return some(_packages(found).values(), ", ")


def count(found: Iterable[Requirement | LockedPackage]) -> int:
    """How many packages these are, each name once."""
    return len(_packages(found))


def _packages(found: Iterable[Requirement | LockedPackage]) -> dict[str, str]:
    """The packages by their names in normal form, each as it is written first."""
    named: dict[str, str] = {}
    for item in found:
        named.setdefault(canonicalize_name(item.name), item.name)
    return named


def some(words: Iterable[str], joint: str) -> str:
    """The first few, and how many more there are."""
    listed = list(words)
    rest = len(listed) - _NAMED
    return joint.join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def unknown_gpu(name: str) -> str:
    """What is said of a card that the catalogue lacks, with the one that was meant."""
    known = [word for card in data.gpus().values() for word in (card.name, *card.aliases)]
    return f"unknown GPU `{name}`{suggestion(name.lower(), known)}"
