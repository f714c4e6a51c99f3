"""Whether a locked version is one that was asked for, in the grammar that asked. Where it cannot be told, it is.

The three grammars are PEP 440's, poetry's (poetry-core 2.5.0, poetry/core/constraints/version/parser.py) and conda's
(conda 25, conda/models/version.py, VersionSpec).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Requirement

_CLAUSE = re.compile(r"\s*(\^|~=|~|===?|!=|<=|>=|<|>|=)?\s*v?([^\s,|<>=!~^]+)\s*")
_ANY = ("", "*")
_LONG = 400  # characters: beyond this no person wrote it


def grammar(requirement: Requirement) -> str:
    """pep440, poetry or conda, by where the requirement stands."""
    section = requirement.section
    if section.startswith("tool.poetry."):
        return "poetry"
    if requirement.form in ("conda", "pixi") or "tool.pixi." in section:
        return "pep440" if re.search(r"\bpip\b|pypi", section) else "conda"
    return "pep440"


def satisfies(version: str, specifier: str, grammar: str) -> bool:
    """Whether the version may be meant by the specifier."""
    if specifier in _ANY or "://" in specifier or "${" in specifier or len(specifier) + len(version) > _LONG:
        return True
    try:
        locked = Version(version)
        if grammar == "pep440":
            return SpecifierSet(specifier).contains(locked, prereleases=True)
        return any(_all(locked, part, grammar) for part in re.split(r"\|{1,2}", specifier))
    except ValueError:  # of packaging, and of numbers with too many digits
        return True


def _all(locked: Version, part: str, grammar: str) -> bool:
    """Whether the version meets every clause between two bars; a space parts poetry's clauses, and a build conda's."""
    bare = part.strip()
    if grammar == "conda":
        bare = re.sub(r"(?<=[^\s=<>!~,])(?:\s+|=)[^\s=<>!~,][^,]*$", "", bare.lstrip("= ") if _is_build(bare) else bare)
    clauses = _CLAUSE.findall(bare)
    if _CLAUSE.sub("", bare).strip(" ,"):
        return True  # a word of another grammar
    return all(_one(locked, operator, written, grammar) for operator, written in clauses)


def _is_build(bare: str) -> bool:
    """Whether conda's clause names a build behind its version: `1.26=py311_0`, `==1.26=py311_0`, `1.26 py311_0`."""
    return re.fullmatch(r"={0,2}\s*[^\s=<>!~,]+(?:\s+|=)[^\s=<>!~,]+", bare) is not None


def _one(locked: Version, operator: str, written: str, grammar: str) -> bool:
    if written == "*":
        return True
    if operator in ("^", "~"):
        return _between(locked, written, operator)
    if written.endswith("*") or (grammar == "conda" and operator == "="):
        prefix = written.rstrip("*").rstrip(".")
        return _set(locked, f"{'!=' if operator == '!=' else '=='}{prefix}.*")
    if operator in ("", "=", "=="):
        exact = _set(locked, f"=={written}")
        return exact or (grammar == "conda" and operator == "" and _set(locked, f"=={written}.*"))
    return _set(locked, f"{operator}{written}")


def _set(locked: Version, clause: str) -> bool:
    return SpecifierSet(clause).contains(locked, prereleases=True)


def _between(locked: Version, written: str, operator: str) -> bool:
    """Poetry's `^1.2.3`, up to where its first number that is not 0 changes; `~1.2.3`, up to the next minor."""
    least = Version(written)
    release = least.release
    if operator == "~":
        kept = min(len(release), 2)
    else:
        kept = next((place for place, number in enumerate(release, 1) if number), len(release))
    most = _next(release[:kept])
    return locked >= least and (locked.epoch, locked.release[:kept]) < (least.epoch, most)


def _next(release: Iterable[int]) -> tuple[int, ...]:
    *head, last = release
    return (*head, last + 1)
