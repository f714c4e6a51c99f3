"""Real requirement lines read by us, by packaging and by pip's own parser, and every difference.

    python benchmarks/pinning/lines.py FOLDER [--lines 300] [--seed 882] > lines.csv

FOLDER holds checkouts. The lines are drawn from every file that we take for a requirements file, at most twenty of one
file, the same for the same seed. One row for each line on which the three differ goes to standard output, with the
category of the difference, the counts to standard error. pip is asked through its internals, of the version that is
installed here.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pip._internal.exceptions import InstallationError, InvalidEggFragment, RequirementsFileParseError
from pip._internal.req.constructors import install_req_from_parsed_requirement
from pip._internal.req.req_file import (
    RequirementsFileParser,
    get_line_parser,
    handle_requirement_line,
)

from vramguard.extract.requirements import extract
from vramguard.facts import Include, Requirement, RequirementOption, Unknown
from vramguard.source import Document, kind_of, read
from vramguard.source.requirements import parse

OF_ONE_FILE = 20
SKIPPED = {".git", "node_modules", ".venv", "site-packages"}


class Seen(NamedTuple):
    """What a reader makes of a line, in words that all three share."""

    kind: str  # named, url, path, include, option, refused
    name: str = ""
    specifier: str = ""
    extras: tuple[str, ...] = ()
    pinned: str = ""


def logical_lines(folder: Path) -> list[tuple[str, str]]:
    """Every logical line of every requirements file below the folder, with where it stands."""
    found: list[tuple[str, str]] = []
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED)
        for name in sorted(names):
            file = Path(path) / name
            where = file.relative_to(folder).as_posix()
            if kind_of(where) != "requirements" or not file.is_file():
                continue
            document = read(where, file.read_bytes())
            if isinstance(document, Document) and "@EXPLICIT" not in document.text:  # those are conda's
                found += [(f"{where}:{line.span.line}", line.text) for line in document.value]
    return found


def ours(text: str) -> Seen:
    document = Document("requirements.txt", "requirements", text, "", parse(text))
    fact = next((f for f in extract(document) if isinstance(f, Requirement | Include | RequirementOption)), None)
    if isinstance(fact, Include):
        return Seen("include")
    if not isinstance(fact, Requirement):
        return Seen("refused" if fact is not None and fact.flaw else "option")
    if isinstance(fact.pinned, Unknown):
        return Seen("refused", fact.name)
    if fact.pinned is None:
        return Seen("path", pinned="path")
    kind = "url" if "://" in fact.specifier else "named"
    specifier = fact.specifier if kind == "url" else str(SpecifierSet(fact.specifier))
    return Seen(kind, fact.name, specifier, fact.extras, str(fact.pinned))


def packagings(text: str) -> Seen:
    """Of a requirement; a file's options, comments and paths are none of its concern."""
    try:
        found = Pep508(text)
    except InvalidRequirement:
        return Seen("refused")
    return Seen(
        "url" if found.url else "named", found.name, found.url or str(found.specifier), tuple(sorted(found.extras))
    )


def pips(text: str) -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(text + "\n", "utf-8")
        parser = RequirementsFileParser(None, get_line_parser(None))  # type: ignore[arg-type]
        try:
            line = next(parser._parse_file(str(path), constraint=False), None)  # noqa: SLF001
            if line is None:
                return Seen("option")
            if line.requirement is None:
                return Seen("include" if line.opts.requirements or line.opts.constraints else "option")
            wanted = install_req_from_parsed_requirement(handle_requirement_line(line))
        except (RequirementsFileParseError, InstallationError, InvalidEggFragment) as error:
            local = (
                "is not a valid editable" in str(error) or "does not exist" in str(error) or "setup.py" in str(error)
            )
            return Seen("path", pinned="path") if local else Seen("refused")
    link = str(wanted.link.url_without_fragment) if wanted.link else ""
    if link.startswith("file:"):
        return Seen("path", pinned="path")
    name = wanted.req.name if wanted.req else ""
    specifier = link or str(wanted.specifier)
    return Seen(
        "url" if link else "named",
        name,
        specifier,
        tuple(sorted(wanted.extras)),
        str(wanted.req is not None and wanted.is_pinned),
    )


def _named(seen: Seen) -> tuple[str, tuple[str, ...]]:
    return canonicalize_name(seen.name), seen.extras


def category(text: str, we: Seen, packaging: Seen, pip: Seen) -> str:  # noqa: PLR0911 - a row each
    """Why the three differ, "" where they do not."""
    if we.kind != pip.kind:
        return f"WE AND PIP DIFFER: {we.kind}, {pip.kind}"
    if we.kind in ("named", "url") and pip.name and _named(we) != _named(pip):
        return "WE AND PIP DIFFER: name or extras"
    if we.kind == "named" and we.specifier != pip.specifier:
        return "WE AND PIP DIFFER: specifier"
    if we.kind in ("option", "include", "path"):
        return f"packaging does not read {we.kind}s"
    if we.kind == "refused":
        return "" if packaging.kind == "refused" else "pip refuses what packaging takes"
    if packaging.kind == "refused":
        return (
            "packaging does not read options behind a requirement"
            if " -" in text
            else "packaging wants `name @` before a URL"
        )
    if we.kind == "named" and we.pinned != pip.pinned:
        return "pip calls a wildcard pinned" if "*" in we.specifier else "WE AND PIP DIFFER: pinned"
    if we.kind == "url" and we.pinned == "False":
        return "pip has no notion of a pinned URL"
    return ""


def sample(every: list[tuple[str, str]], count: int, chance: random.Random) -> list[tuple[str, str]]:
    """So many lines, no more than `OF_ONE_FILE` of any file: compiled ones are long and all alike."""
    files: Counter[str] = Counter()
    found: list[tuple[str, str]] = []
    for where, text in chance.sample(every, len(every)):
        file = where.rpartition(":")[0]
        files[file] += 1
        if files[file] <= OF_ONE_FILE and len(found) < count:
            found.append((where, text))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--lines", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=882)
    given = arguments.parse_args()
    every = logical_lines(given.folder)
    drawn = sample(every, given.lines, random.Random(given.seed))  # noqa: S311 - no secret
    table = csv.writer(sys.stdout)
    counts: Counter[str] = Counter()
    for where, text in sorted(drawn):
        seen = ours(text), packagings(text), pips(text)
        reason = category(text, *seen)
        counts[reason or "all three agree"] += 1
        if reason:
            table.writerow(
                [reason, where, text[:120], *(f"{s.kind} {s.name}{s.specifier} {s.pinned}".strip() for s in seen)]
            )
    sys.stderr.write(f"{len(every)} lines, {len(drawn)} drawn\n")
    for reason, count in counts.most_common():
        sys.stderr.write(f"{count:5}  {reason}\n")


if __name__ == "__main__":
    main()
