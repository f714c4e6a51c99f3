"""What a check finds in files: a path's class is told by its first folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.checks import Severity
from vramguard.extract import extract
from vramguard.facts import Facts, PathClass
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from vramguard.checks import Check, Problem
    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def classify(path: str) -> PathClass:
    """`docs/a.txt` is of the docs, what no class is called after is serving."""
    return next((kind for kind in PathClass if path.startswith(f"{kind.value}/")), PathClass.SERVING)


def problems(check: Check, files: dict[str, str]) -> list[Problem]:
    """What the check finds in the files alone."""
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    return list(check.find(Facts(found, classify, files)))


# What a rule of demand 1 weighs by the class of a path: its own severity where None.
WEIGHTS = {
    PathClass.SERVING: None,
    PathClass.TRAINING: None,
    PathClass.TEST: Severity.WARNING,
    PathClass.EXAMPLE: Severity.WARNING,
    PathClass.DOCS: Severity.WARNING,
}


def weights(check: Check, name: str, text: str) -> dict[PathClass, Severity | None]:
    """What the check makes of a file in a folder of each class; nothing for a class that it does not judge."""
    found = {kind: problems(check, {f"{kind.value}/{name}": text}) for kind in PathClass}
    return {kind: problem.severity for kind, listed in found.items() for problem in listed}
