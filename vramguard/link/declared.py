"""Requirements outside requirements files: in manifests, scripts, and commands with what these install beside them.

The lines of requirements files are joined in `environments`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.facts import Install, Requirement
from vramguard.link.installs import installs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts

_PIP: Final = frozenset({"pip", "uv", "pipx"})
_ELSEWHERE: Final = re.compile(r"[A-Za-z][\w+.-]*://|(?:git|hg|svn|bzr)\+|git@", re.IGNORECASE)


def standing(facts: Facts) -> Iterator[Requirement]:
    """Every requirement outside requirements files; one that its own command makes exact is exact.

    A command's constraints do, as does an exact line of what it installs with it: pip takes both for one package.
    """
    commands: dict[Requirement, Install] = {}
    for install in facts.of(Install):
        commands.update(dict.fromkeys(install.requirements, install))
    pins = _Pins(facts)
    for requirement in dict.fromkeys([*facts.of(Requirement), *commands]):
        if requirement.form != "requirements":
            within = commands.get(requirement)
            yield pins.applied(requirement, within) if within is not None else requirement


def is_elsewhere(requirement: Requirement) -> bool:
    """Whether it names a repository or a URL, of which a rule of their own speaks."""
    return _ELSEWHERE.match(requirement.specifier) is not None


class _Pins:
    """The exact versions that hold for a command."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._lines: dict[str, dict[str, Requirement]] = defaultdict(dict)
        for line in facts.of(Requirement):
            if line.form == "requirements" and line.pinned is True and not line.marker:
                self._lines[line.at.path][canonicalize_name(line.name)] = line
        self._of: dict[int, Mapping[str, Requirement]] = {}

    def applied(self, requirement: Requirement, install: Install) -> Requirement:
        """The requirement, exact where something beside it in its command is."""
        if requirement.pinned is not False or is_elsewhere(requirement) or install.tool not in _PIP:
            return requirement
        if id(install) not in self._of:
            self._of[id(install)] = self._held(install)
        pin = self._of[id(install)].get(canonicalize_name(requirement.name))
        return replace(requirement, pinned=True, hashed=pin.hashed, reason="") if pin else requirement

    def _held(self, install: Install) -> Mapping[str, Requirement]:
        named = {canonicalize_name(r.name): r for r in install.requirements if r.pinned is True and not r.marker}
        written = [word for word in (*install.constraints, *install.files) if isinstance(word, str)]
        written += [value for name, value in install.options if name in ("constraint", "constraints") and value]
        known = installs_of(self._facts)
        paths = [path for word in written if isinstance(path := known.file(install, word), str)]
        return {name: line for path in paths for name, line in self._lines.get(path, {}).items()} | named
