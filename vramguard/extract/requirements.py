"""What a requirements or constraints file declares: requirements, other files, options."""

from __future__ import annotations

import posixpath
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract import declaration
from vramguard.extract.locks import is_conda_list
from vramguard.facts import Include, Requirement, RequirementOption, Unknown
from vramguard.source import ParseError
from vramguard.source.requirements import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document, Location
    from vramguard.source.requirements import Line

_ORPHAN = "pip ignores it: no requirement stands on its line"
_PROSE_LINES = 2  # this many lines that pip cannot read, and no fewer than those it can, are no requirements file


def extract(document: Document) -> Iterator[Fact]:
    """Every fact of a requirements file; a file that is mostly something else is one unreadable requirement."""
    if is_conda_list(document):
        return  # `locks` reads it
    facts = [fact for number, line in enumerate(document.value) for fact in _facts(line, document.at(number))]
    found = [fact for fact in facts if isinstance(fact, Requirement)]
    unread = [fact for fact in found if isinstance(fact.pinned, Unknown) and fact.reason.startswith("pip ")]
    if len(unread) >= _PROSE_LINES and 2 * len(unread) >= len(found):
        yield _not_requirements(unread, len(found))
        return
    yield from facts


def _not_requirements(unread: list[Requirement], total: int) -> Requirement:
    first = unread[0]
    reason = f"pip cannot read {len(unread)} of the file's {total} lines, this one first: {first.reason}"
    return Requirement(first.at, first.name, "", first.pinned, hashed=False, form="requirements", reason=reason)


def facts_of(text: str, at: Location, form: str, section: str = "") -> Iterator[Fact]:
    """The facts of lines of a requirements file that stand elsewhere: as an item of a list, which is at `at`."""
    try:
        lines = parse(text).value
    except ParseError:  # a template
        said = declaration.wrong(
            text, "a renderer fills it in", re.split(r"[\s\[=<>~!;@{]", text.strip(), maxsplit=1)[0]
        )
        yield declaration.fact(said, at, form, section)
        return
    for line in lines:
        yield from _facts(line, at, form, section)


def _facts(line: Line, at: Location, form: str = "requirements", section: str = "") -> Iterator[Fact]:
    if line.requirement:
        yield replace(_requirement(line, at, form), section=section)
        return
    includes = line.values("--requirement") or line.values("--constraint")
    if includes:  # pip takes the first -r of a line, or else the first -c, and drops the rest
        yield Include(at, target(at.path, includes[0]), constraint=not line.values("--requirement"))
        return
    if not line.options and not line.flaw:
        said = declaration.wrong(line.text, "pip ignores it")
        yield declaration.fact(said, at, form, section)
    for name, value in line.options:
        yield RequirementOption(at, name, value, line.flaw or (_ORPHAN if name == "--hash" else ""))
    if line.flaw and not line.options:
        yield RequirementOption(at, line.text, "", line.flaw)


def _requirement(line: Line, at: Location, form: str) -> Requirement:
    hashes = [] if line.flaw else line.values("--hash")
    said = declaration.read(line.requirement, hashed=bool(hashes))
    pinned, reason = said.pinned, said.reason
    if line.flaw and not line.flaw.startswith("--hash"):
        pinned, reason = Unknown(line.text), f"pip refuses the line: {line.flaw}"
    if line.editable and not isinstance(pinned, Unknown) and _is_project(said):
        pinned, reason = None, ""
    return Requirement(
        at,
        said.name,
        said.specifier,
        pinned,
        said.hashed,
        form,
        reason,
        extras=said.extras,
        marker=said.marker,
        editable=line.editable,
    )


def _is_project(said: declaration.Declaration) -> bool:
    """Whether `-e` names a folder: whatever is no URL is one."""
    return "://" not in said.specifier and not re.match(r"\w+\+", said.specifier)


def target(path: str, written: str) -> str | Unknown:
    """The path in the repository of the file that another at `path` takes in."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", written) or "${" in written or written.startswith(("/", "~")):
        return Unknown(written)
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), written.replace("\\", "/")))
    return Unknown(written) if found == ".." or found.startswith("../") else found
