"""Other checkers that a repository has set up: what they judge already need not be said twice."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.facts import Action, Image, Requirement
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts

# Where each finds its configuration (zizmor 1.16, docs/configuration.md, "Discovery"; hadolint 2.14, README.md).
_FILES: Final[Mapping[str, re.Pattern[str]]] = {
    "zizmor": re.compile(r"(?:\.github/)?\.?zizmor\.ya?ml"),
    "hadolint": re.compile(r"\.?hadolint\.ya?ml"),
}
_RUN: Final = ("workflow", "pre-commit", "tox", "nox", "makefile")  # where a checker is run, not shipped
PEERS: Final = tuple(_FILES)


@lru_cache(maxsize=8)  # Facts are compared by identity
def configured(facts: Facts, tool: str) -> Location | None:
    """Where the repository sets up `zizmor` or `hadolint`: its configuration, a hook or a step of CI; None if nowhere.

    A step's `run:` is seen where it installs the tool or runs its image.
    """
    return min(_places(facts, tool), default=None)


def _places(facts: Facts, tool: str) -> Iterator[Location]:
    pattern = _FILES.get(tool)
    if pattern is None:
        return
    yield from (Location(path) for path in facts.paths if pattern.fullmatch(path))
    for action in facts.of(Action):
        if action.form in _RUN and tool in action.name.lower():
            yield action.at
    for image in facts.of(Image):
        if image.form in _RUN and image.name.rpartition("/")[2] == tool:
            yield image.at
    for requirement in facts.of(Requirement):
        if requirement.form in _RUN and requirement.name.lower() in (tool, f"{tool}-bin", f"{tool}-py"):
            yield requirement.at
