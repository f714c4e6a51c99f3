"""What the environments of tox depend on, and what their commands install: tox.ini, setup.cfg, its TOML tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vramguard.extract.declaration import Declaration, fact, read
from vramguard.extract.installs.commands import Reading, Runs
from vramguard.extract.installs.words import is_path
from vramguard.extract.tools.values import Node
from vramguard.facts import Install, Requirement, Unknown, Word
from vramguard.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document, Location

_FORM = "tox"
_SECTION = re.compile(r"(?:tox:)?(?:testenv|env_run_base|base)\b.*|tox")
_FACTORS = re.compile(r"!?[\w.,{}!-]+:(?=\s|$)")  # `py311,lint: torch==2`
_OPTION = re.compile(r"(-r|--requirement|-c|--constraint|-e|--editable)(?:[ =]\s*|(?=\S))(.+)")
_OTHER = re.compile(r"\{\[[^\]]+\][^}]*\}")  # `{[testenv]deps}`: read where it stands
_FILLED = re.compile(r"\{[^{}]*\}")
_CLAUSES = frozenset("=<>!~")
_COMMANDS = ("commands_pre", "commands", "commands_post", "install_command")
_IGNORED = re.compile(r"^(\s*)([-!]\s+)")  # `- pip …`: its failure is ignored


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a file that configures tox."""
    if "testenv" not in document.text and "tox" not in document.text:
        return
    if document.kind == "ini":
        yield from _ini(document)
    else:
        yield from _toml(document)


def _ini(document: Document) -> Iterator[Fact]:
    value: object = document.value
    for section, keys in value.items() if isinstance(value, Mapping) else ():
        if not _SECTION.fullmatch(section) or not isinstance(keys, Mapping):
            continue
        place = f"{document.path}#{section.removeprefix('tox:')}"
        listed = [
            (line, document.at(section, key, number))
            for key in ("deps", "requires")
            for number, line in enumerate(keys.get(key, ()))
        ]
        listed += [
            (_of_pip(line), document.at(section, "pip_version", number))
            for number, line in enumerate(keys.get("pip_version", ()))
        ]
        yield from _dependencies(listed, place, section)
        reading = Reading(document.lines)
        for key in _COMMANDS:
            for number, line in enumerate(keys.get(key, ())):
                _command(line, document.at(section, key, number), place, reading)
        yield from reading.facts


def _of_pip(line: str) -> str:
    """The requirement that the plugin tox-pip-version makes of its key: `24.3`, `==24.3`, `pip==24.3`."""
    if line.startswith("pip"):
        return line
    return f"pip{line}" if line[:1] in _CLAUSES else f"pip=={line}"


def _command(line: str, at: Location, place: str, reading: Reading) -> None:
    factor = _FACTORS.match(line)
    start = len(line) - len(line[factor.end() :].lstrip()) if factor else 0
    bare = _IGNORED.sub(lambda mark: mark[1] + " " * len(mark[2]), line[start:])
    word = Word(bare, at._replace(column=at.column + start), first=(at.line, at.column + start))
    reading.script(word, Runs(_FORM, place, apart=True))


def _dependencies(listed: list[tuple[str, Location]], place: str, section: str) -> Iterator[Fact]:
    """The lines of `deps`, as the install that tox makes of them."""
    found: list[Requirement] = []
    files: list[str | Unknown] = []
    constraints: list[str | Unknown] = []
    first: Location | None = None
    for line, at in listed:
        factor = _FACTORS.match(line)
        start = len(line) - len(line[factor.end() :].lstrip()) if factor else 0
        text = line[start:].split(" #")[0].strip()
        if not text or _OTHER.fullmatch(text):
            continue
        first = first or at
        option = _OPTION.fullmatch(text)
        if option and option[1] not in {"-e", "--editable"}:
            path = option[2].strip().removeprefix("{toxinidir}/").removeprefix("{tox_root}/")
            known = path if not _FILLED.search(path) else Unknown(path)
            (files if option[1] in {"-r", "--requirement"} else constraints).append(known)
        elif not text.startswith("-") or option:
            place_of = at._replace(column=at.column + start, end_column=at.column + start + len(text))
            found.append(_requirement(option[2].strip() if option else text, place_of, section))
    if first is None:
        return
    kept = tuple(item for item in found if item.pinned is not None)
    local = tuple(item.specifier for item in found if item.pinned is None)
    yield from kept
    yield Install(first, _FORM, "pip", "install", place, kept, tuple(files), tuple(constraints), local)


def _requirement(text: str, at: Location, section: str) -> Requirement:
    held = _FILLED.sub("${VALUE}", text)
    said = Declaration(text, text, None) if is_path(text) else read(held)
    if said.pinned is None:
        said = said._replace(name=text, specifier=text)
    elif held != text:
        reason = "a variable says it, and nothing here says what that holds"
        name = text if "$" in said.name else said.name
        said = said._replace(name=name, specifier=text, pinned=Unknown(text), reason=reason)
    return fact(said, at, _FORM, section)


def _toml(document: Document) -> Iterator[Fact]:
    """Tox 4's own tables, and `legacy_tox_ini`, the text of a tox.ini."""
    table = Node(document, (), document.value)
    tox = table.get("tool", "tox") if document.path.endswith("pyproject.toml") else table
    legacy = tox.get("legacy_tox_ini")
    if isinstance(legacy.value, str):
        yield from _legacy(document, legacy)
    for name, node in (*tox.get("env").items(), ("env_run_base", tox.get("env_run_base"))):
        deps = [item for item in node.get("deps") if isinstance(item.value, str)]
        place = f"{document.path}#{name}"
        yield from _dependencies([(item.value, item.at) for item in deps], place, name)
        reading = Reading(document.lines)
        for key in _COMMANDS[:3]:
            for item in node.get(key) if isinstance(node.get(key).value, list) else ():
                if isinstance(item.value, list):
                    reading.command(item.words(), Runs(_FORM, place))
        yield from reading.facts


def _legacy(document: Document, node: Node) -> Iterator[Fact]:
    """A tox.ini in a string: its lines stand in the file as they are."""
    from vramguard.source import Document as Inner
    from vramguard.source import ini

    row = node.at.line - 1 + (1 if document.lines[node.at.line - 1].rstrip().endswith(('"""', "'''")) else 0)
    parsed = ini.parse("\n" * row + node.value.lstrip("\n"))
    yield from _ini(Inner(document.path, "ini", document.text, document.sha256, Parsed(parsed.value, parsed.locate)))
